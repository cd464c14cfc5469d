"""Stage ``train_target``: a separator of one instrument, with or without activity labels [Hung and Lerch 2020]."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mss_core import models, names
from mss_core.artefact import write_trained
from mss_core.augment import Augment, augmented
from mss_core.data.activity import Confidences
from mss_core.data.batches import Feed, Places, stacked, validation_segments, waveforms
from mss_core.data.channels import Sided, beside, open_sided, sided
from mss_core.data.mixing import AccompanimentMixer, RemixMixer, mix
from mss_core.data.packed import Packed
from mss_core.graph import UNSAID, Context
from mss_core.losses import LOSSES
from mss_core.runtime import seeded
from mss_core.systems.iass.masking import Transform
from mss_core.training import TrainConfig, fit

KINDS = ("accompaniment", "one of each")


@dataclass(frozen=True)
class Remix:
    """How training mixtures are made, on the fly.

    Attributes:
        kind: the target with ``fewest`` to ``most`` tracks of other instruments (MM): target instruments by song, all
            others one by one; or a chunk of each source, each from a song of its own (MUSDB18). Or a mixer of another
            package, ``package.module:Class``, that takes what ``RemixMixer`` takes.
        low, high: gains.
        channel_swap: probability, by part, of exchanging left and right (stereo only), 0.5 in Open-Unmix; None:
            never.
        seconds: of a chunk.
        samples_per_track: chunks of each song that holds the target in an epoch.
        valid_segments: coherent segments scored at each validation, spread over the validation tracks.
    """

    kind: str = "accompaniment"
    fewest: int = 1
    most: int = 5
    low: float = 0.25
    high: float = 1.25
    seconds: float = 6.0
    samples_per_track: int = 64
    valid_segments: int = 200
    channel_swap: float | None = field(default=None, metadata=UNSAID)

    def __post_init__(self) -> None:
        names.check("kind of training mixture", self.kind, KINDS)
        if not 0 < self.low <= self.high or min(self.seconds, self.samples_per_track, self.valid_segments) <= 0:
            raise ValueError(
                f"gains need 0 < low <= high, and 'seconds', 'samples_per_track' and 'valid_segments' "
                f"must be positive; got {self}"
            )
        if self.channel_swap is not None and not 0 <= self.channel_swap <= 1:
            raise ValueError(f"'channel_swap' is a probability from 0 to 1 (or None), not {self.channel_swap}")


Batch = tuple[Tensor, Tensor, Tensor | None]


def train_target(
    *,
    data: Path,
    pool: Path | None,
    activity: Path | None,
    statistics: Path,
    target: str,
    separator: dict[str, Any],
    transform: Transform,
    bandwidth: float,
    mixing: Remix,
    alpha: float,
    label_threshold: float,
    train: TrainConfig,
    version: int = 3,
    out: Path,
    ctx: Context,
) -> None:
    """Train on ``MSE(masked magnitude, target magnitude) + alpha * BCE(activity)``; leaves model.json, weights.pt and
    best.json, which says whether its classifier was trained.

    The weights of the lowest validation MSE are kept whatever ``alpha`` is, so that trainings with and without labels
    are selected alike. ``pool`` holds the single tracks that stand in the accompaniment for the row ``"other"``; None
    where the set has only that row. ``activity`` is None where ``alpha`` is 0: such a training sees no label. A set of
    two channels is heard in stereo: gains and places are those of a part, for both alike.
    """
    packed = open_sided(data)
    channels = packed.channels if isinstance(packed, Sided) else 1
    length = round(mixing.seconds * packed.samplerate)
    mixer = _mixer(packed, pool and Packed(pool), target, length, mixing, train.seed)
    labels = None if activity is None else Confidences(activity, packed, label_threshold)
    centres = transform.training_centres(length)

    def draw(step: int) -> tuple[Places, np.ndarray]:
        where, gains = mixer.draw(step, train.batch)
        return (beside(where, channels) if channels > 1 else where), gains

    stored = packed.packed if isinstance(packed, Sided) else mixer.packed
    feed = Feed(stored, sided(mixer.rows, channels), length, draw, ctx)

    def labels_at(starts: np.ndarray) -> Tensor | None:
        if labels is None:
            return None
        return torch.from_numpy(labels.chunks(target, starts, centres).astype(np.float32)).to(ctx.device)

    with seeded(train.seed, ctx.device):
        described = {**separator, "bins": transform.bins, "max_bin": transform.bins_below(bandwidth, packed.samplerate)}
        if channels > 1:
            described["channels"] = channels
        module = models.build(described)
        module.band.settle(*torch.from_numpy(np.load(statistics / "statistics.npy")).float())

        def batch(step: int) -> Batch:
            parts, gains = feed(step)
            voices = mixer.voices(waveforms(parts))
            voices = voices * gains[(..., *(None,) * (voices.ndim - 2))]
            if mixing.channel_swap:
                voices = augmented(voices, Augment(channel_swap=mixing.channel_swap), train.seed, step)
            mixtures, targets = mix(mixer, voices)
            where, _ = mixer.draw(step, train.batch)  # the target is the first part
            return mixtures, targets[:, 0], labels_at(where.start[:, 0])

        def losses(module: nn.Module, triple: Batch) -> tuple[Tensor, Tensor | None]:
            mixtures, references, truth = triple
            magnitude = transform.training(mixtures)
            mask, logits = module(magnitude)
            error = LOSSES["mse"](mask.float() * magnitude, transform.training(references)).mean()
            if truth is None:
                return error, None
            return error, LOSSES["binary_cross_entropy"](logits.float(), truth).mean()

        def objective(module: nn.Module, triple: Batch) -> Tensor:
            error, confusion = losses(module, triple)
            return error if confusion is None else error + alpha * confusion

        held_out = _validation_segments(packed, target, length, mixing.valid_segments, labels_at)

        def validate(module: nn.Module) -> dict[str, float]:
            found = [losses(module, (x.to(ctx.device), y.to(ctx.device), truth)) for x, y, truth in held_out]
            weights = [len(x) for x, _, _ in held_out]
            metrics = {"loss": float(np.average([float(error) for error, _ in found], weights=weights))}
            if labels is not None:
                metrics["bce"] = float(np.average([float(confusion) for _, confusion in found], weights=weights))
            return metrics

        epoch_steps = train.epoch_steps or max(1, mixing.samples_per_track * mixer.items // train.batch)
        judge = validate if held_out else None  # the target may sound in no validation track
        best = fit(module, train, epoch_steps=epoch_steps, batch=batch, loss=objective, validate=judge, ctx=ctx)
    write_trained(out, described, module, best, classified=labels is not None, songs=mixer.items)


def _mixer(
    packed: Packed, single: Packed | None, target: str, length: int, mixing: Remix, seed: int
) -> AccompanimentMixer | RemixMixer:
    gains = (mixing.low, mixing.high)
    if mixing.kind == "accompaniment":
        return AccompanimentMixer(packed, target, length, seed, mixing.fewest, mixing.most, gains, single)
    kind = names.named("kind of training mixture", mixing.kind, {KINDS[1]: RemixMixer})
    mixer: RemixMixer = kind(packed, target, length, seed, gains)
    return mixer


def _validation_segments(packed: Packed, target: str, length: int, count: int, labels_at: Any) -> list[Batch]:
    """Coherent mixtures, targets and labels of held-out segments, by batch."""
    return [
        (
            stacked(packed, segments, "mixture", length),
            stacked(packed, segments, target, length),
            labels_at(np.array([item.start + start for item, start in segments])),
        )
        for segments in validation_segments(packed, length, count, (target,))
    ]
