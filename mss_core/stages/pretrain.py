"""Stage ``pretrain``: separation pre-training of a separator on chosen sources [Garoufis et al., stage 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mss_core import audio, models, names
from mss_core.artefact import write_trained
from mss_core.augment import Augment, augmented, check
from mss_core.data.batches import Feed, sounding, stacked, validation_segments, waveforms
from mss_core.data.mixing import AccompanimentMixer, CoherentMixer, IncoherentMixer, Mixer, mix
from mss_core.data.packed import Packed
from mss_core.graph import Context
from mss_core.losses import separation_loss
from mss_core.models.unet import separate
from mss_core.runtime import seeded
from mss_core.training import TrainConfig, fit

KINDS = ("incoherent", "accompaniment", "coherent")


@dataclass(frozen=True)
class Mixing:
    """How training mixtures are made.

    Attributes:
        kind: ``"incoherent"``, segments of different songs [Garoufis et al.]; ``"accompaniment"``, one source over
            random tracks of others [Hung and Lerch 2020]; ``"coherent"``, segments of songs as they are. Or a mixer of
            another package, ``package.module:Class``, that takes what ``CoherentMixer`` takes.
        segment_seconds, hop_seconds: the grid of segments over each training track.
        frames: length of a training crop in STFT frames (384 frames are 3.862 s).
        summed: segments that make the target, and as many the rest, when one source is separated incoherently; 1 is
            without additive augmentation (the paper says so of bass, the released code sums two).
        copies: segments summed for each source when several are separated incoherently.
        accompaniments: fewest and most tracks of accompaniment.
        augment: of what is summed; none in [Garoufis et al.]. Gains from 0.25 to 1.25 in [Hung and Lerch 2020].
        valid_segments: coherent segments scored at each validation, spread over the validation tracks.
    """

    kind: str = "incoherent"
    segment_seconds: float = 6.0
    hop_seconds: float = 3.0
    frames: int = 384
    summed: int = 2
    copies: dict[str, int] = field(default_factory=lambda: {"vocals": 2, "drums": 2, "bass": 1, "other": 2})
    accompaniments: tuple[int, int] = (1, 5)
    augment: Augment = Augment()
    valid_segments: int = 182

    def __post_init__(self) -> None:
        names.check("kind of mixing", self.kind, KINDS)
        check(self.augment, "augment")
        if len(self.accompaniments) != 2 or not 1 <= self.accompaniments[0] <= self.accompaniments[1]:
            raise ValueError(f"'accompaniments' is a pair, fewest (at least 1) and most, not {self.accompaniments}")
        if self.hop_seconds <= 0 or self.segment_seconds <= 0 or self.valid_segments < 1:
            raise ValueError(f"'segment_seconds', 'hop_seconds' and 'valid_segments' must be positive; got {self}")
        if self.summed < 1 or any(count < 1 for count in self.copies.values()):
            raise ValueError(f"'summed' and 'copies' count segments from 1; got {self.summed} and {self.copies}")


def pretrain(
    *,
    data: Path,
    sources: tuple[str, ...],
    separator: dict[str, Any],
    mixing: Mixing,
    loss: str,
    train: TrainConfig,
    version: int = 3,
    out: Path,
    ctx: Context,
) -> None:
    """Train a separator on mixtures of the training tracks; leaves model.json, weights.pt and best.json.

    A source has no part in the validation loss of a track in which it is silent; where the sources sound in no
    validation track, nothing is selected and the last weights are kept.
    """
    packed = Packed(data)
    crop = audio.samples_of(mixing.frames)
    mixer = mixer_of(packed, sources, mixing, train.seed)
    feed = Feed(packed, mixer.rows, crop, lambda step: mixer.draw(step, train.batch), ctx)
    with seeded(train.seed, ctx.device):
        described = {**separator, "sources": len(sources)}
        module = models.build(described)

        def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
            parts, gains = feed(step)
            voices = mixer.voices(waveforms(parts)) * gains[..., None]
            return mix(mixer, augmented(voices[:, :, None], mixing.augment, train.seed, step)[:, :, 0])

        def objective(module: nn.Module, pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            return _losses(module, *pair, loss).mean()

        held_out = _validation_segments(packed, sources, crop, mixing.valid_segments)

        def validate(module: nn.Module) -> dict[str, float]:
            losses = [_losses(module, x.to(ctx.device), y.to(ctx.device), loss, heard) for x, y, heard in held_out]
            return {"loss": float(torch.cat(losses).mean())}

        epoch_steps = train.epoch_steps or max(1, mixer.items // train.batch)
        judge = validate if held_out else None
        best = fit(module, train, epoch_steps=epoch_steps, batch=batch, loss=objective, validate=judge, ctx=ctx)
    write_trained(out, described, module, best)


def _losses(
    module: nn.Module, mixtures: torch.Tensor, references: torch.Tensor, loss: str, heard: Sequence[int] | None = None
) -> torch.Tensor:
    """The loss of each mixture, of its waveforms or of its masks (without the Nyquist bin), over all sources or those
    at the places ``heard``, of which the references are."""
    function, of_masks = separation_loss(loss)
    if not of_masks:
        estimates = separate(module, mixtures)
        return function(estimates if heard is None else estimates[:, heard], references)
    spectra = audio.stft(mixtures)[:, None, :, :-1]
    masks = module(spectra[:, 0].abs()).float()
    return function(masks if heard is None else masks[:, heard], spectra, audio.stft(references)[..., :-1])


def mixer_of(packed: Packed, sources: tuple[str, ...], mixing: Mixing, seed: int) -> Mixer:
    """The mixer of a packed set's training tracks. ValueError for accompaniment of several sources."""
    crop = audio.samples_of(mixing.frames)
    length, hop = (round(seconds * packed.samplerate) for seconds in (mixing.segment_seconds, mixing.hop_seconds))
    if mixing.kind == "incoherent":
        return IncoherentMixer(packed, sources, mixing.copies, length, hop, crop, seed, mixing.summed)
    if mixing.kind != "accompaniment":
        kind = names.named("kind of mixing", mixing.kind, {"coherent": CoherentMixer})
        mixer: Mixer = kind(packed, sources, length, hop, crop, seed)
        return mixer
    if len(sources) > 1:
        raise ValueError(f"accompaniment is mixed for one source, not for {', '.join(sources)}")
    return AccompanimentMixer(packed, sources[0], crop, seed, *mixing.accompaniments, gains=(1.0, 1.0))


def _validation_segments(
    packed: Packed, sources: tuple[str, ...], crop: int, count: int
) -> list[tuple[torch.Tensor, torch.Tensor, list[int] | None]]:
    """Coherent mixtures and stems of held-out segments, by batch, and the places of the sources that sound in them
    (None: all)."""
    batches = []
    for segments in validation_segments(packed, crop, count, sources):
        heard = list(sounding(segments[0][0], sources))
        stems = torch.stack([stacked(packed, segments, sources[place], crop) for place in heard], 1)
        whole = len(heard) == len(sources)
        batches.append((stacked(packed, segments, "mixture", crop), stems, None if whole else heard))
    return batches
