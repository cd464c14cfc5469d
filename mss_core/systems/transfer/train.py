"""Stage ``train_stems``: a four-source separator trained as X-UMX is [Sawata et al. 2021]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mss_core import audio, models
from mss_core.artefact import write_trained
from mss_core.augment import Augment, augmented
from mss_core.data.batches import Feed, Mapped, waveforms
from mss_core.data.channels import sided
from mss_core.data.packed import Packed
from mss_core.graph import Context
from mss_core.losses import combinations, mse, weighted_sdr
from mss_core.runtime import seeded
from mss_core.systems.transfer.stem_places import StemPlaces
from mss_core.training import TrainConfig, fit


@dataclass(frozen=True)
class StemTraining:
    """What X-UMX is trained on, and with which of its losses.

    Attributes:
        seconds: of a training segment; each stem comes from a track and a place of its own.
        augment: of the stems before they are summed.
        combine: whether every sum of one to three stems is compared, or the stems alone.
        time_weight: of the weighted SDR beside the magnitudes' squared error; 0: magnitudes alone.
        valid_segments: segments of validation tracks as they are, spread evenly.
    """

    seconds: float = 6.0
    augment: Augment = Augment(channel_swap=0.5, gain=(0.25, 1.25))
    combine: bool = True
    time_weight: float = 10.0
    valid_segments: int = 200

    def __post_init__(self) -> None:
        if self.seconds <= 0 or self.time_weight < 0 or self.valid_segments < 1:
            raise ValueError(
                f"'seconds' and 'valid_segments' must be positive and 'time_weight' not negative; got "
                f"{self.seconds:g}, {self.valid_segments} and {self.time_weight:g}"
            )


def train_stems(
    *,
    data: Path,
    model: dict[str, Any],
    training: StemTraining,
    train: TrainConfig,
    version: int = 2,
    out: Path,
    ctx: Context,
) -> None:
    """Train on mixtures of stems of different tracks; leaves model.json, weights.pt and best.json.

    Validation leaves a stem out of tracks in which it is silent; where none sounds in any, the last weights are kept.
    """
    packed = Packed(data)
    length = round(training.seconds * packed.samplerate)
    with seeded(train.seed, ctx.device):
        described = {**model, "samplerate": packed.samplerate}
        module = models.build(described)
        module.set_scaling(*statistics(packed, module, length))
        places = StemPlaces(packed, module.stems, module.channels, length, train.seed)
        feed = Feed(packed, places.rows, length, lambda step: (places.draw(step, train.batch), np.zeros(1)), ctx)
        held = list(places.held(training.valid_segments))

        def batch(step: int) -> Tensor:
            return augmented(waveforms(feed(step)[0]), training.augment, train.seed, step)

        def validate(module: nn.Module) -> dict[str, float]:
            mapped = Mapped(packed, places.rows, length)
            losses = [
                value(module, waveforms(mapped.read(where)).to(ctx.device), training, stems) for where, stems in held
            ]
            return {"loss": float(torch.cat(losses).mean())}

        epoch_steps = train.epoch_steps or max(1, places.items // train.batch)
        best = fit(
            module,
            train,
            epoch_steps=epoch_steps,
            batch=batch,
            loss=lambda module, stems: value(module, stems, training).mean(),
            validate=validate if held else None,
            ctx=ctx,
        )
    write_trained(out, described, module, best)


def value(module: nn.Module, stems: Tensor, training: StemTraining, sounding: Sequence[int] | None = None) -> Tensor:
    """The loss of each item, of the stems that are ``sounding`` or of all; the mixture is the sum of the stems. Shape:
    (batch, stem, channel, time) -> (batch,)."""
    mixtures = stems.sum(1)
    mixture = module.spectrum(mixtures)  # (batch, channel, frame, bin)
    estimates = module(mixture.abs()).float() * mixture.abs()[:, None]
    truth = module.spectrum(stems).abs()
    if sounding is not None and len(sounding) < stems.shape[1]:
        stems, estimates, truth = (each[:, list(sounding)] for each in (stems, estimates, truth))
    parts = combinations if training.combine else (lambda x: x)
    loss = mse(parts(estimates), parts(truth))
    if not training.time_weight:
        return loss
    phases = mixture / mixture.abs().clamp_min(1e-8)
    heard = parts(module.waveform(estimates * phases[:, None], stems.shape[-1]))
    agreement = weighted_sdr(heard, parts(stems), mixtures[:, None].expand_as(heard))
    return loss + training.time_weight * (1.0 + agreement)


def statistics(packed: Packed, module: nn.Module, length: int, most: int = 200) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of training mixtures' magnitudes, by bin; no deviation is below 1e-4 of the
    largest. Shape: (bin,), (bin,)."""
    rows = sided(module.stems, module.channels)
    stems = (
        sum(packed.read(item, row, 0, min(item.length, 4 * length)) for row in rows)
        for item in packed.split("train")[:most]
    )
    spectra = (module.spectrum(torch.from_numpy(x / module.channels)).abs() for x in stems)
    mean, deviation = map(torch.from_numpy, audio.moments(spectra))
    return mean.float(), deviation.clamp_min(float(1e-4 * deviation.max())).clamp_min(1e-8).float()
