"""Stage ``train_tail``: the tail alone on the downstream task [Garoufis et al., stage 2 and the "tail" baseline]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mss_core import audio, models
from mss_core.apply import inputs
from mss_core.artefact import write_json, write_trained
from mss_core.augment import UNCHANGED, Augment, augmented, check
from mss_core.data.batches import Feed, Segments, places, waveforms
from mss_core.data.packed import Packed, loss_of, starts
from mss_core.graph import Context
from mss_core.losses import LOSSES
from mss_core.runtime import seeded
from mss_core.training import TrainConfig, fit


def train_tail(
    *,
    data: Path,
    tail: dict[str, Any],
    frames: int,
    train: TrainConfig,
    pretrained: Path | None = None,
    augment: Augment = UNCHANGED,
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Train a tail on mixtures, from published weights where they are given; leaves model.json, weights.pt and
    best.json."""
    packed = Packed(data)
    with seeded(train.seed, ctx.device):
        described = {**tail, "classes": len(packed.labels)}
        module = models.build(described)
        if pretrained is not None:
            models.take_backbone(module, models.state(pretrained), "published weights")
        best = fit_classifier(module, packed, frames, train, ctx, augment)
    write_trained(out, described, module, best)
    write_json(out, "labels.json", packed.labels)


def fit_classifier(
    module: nn.Module, packed: Packed, frames: int, train: TrainConfig, ctx: Context, augment: Augment = UNCHANGED
) -> dict[str, float]:
    """Train on one random crop a clip and epoch; validate on all whole slices of the validation clips.

    The crops start at whole STFT hops, so each equals a slice of the whole clip's spectrum. Raises ValueError for an
    augmentation that clips cannot be given.
    """
    check(augment, "augment", clips=True)
    crop = audio.samples_of(frames)
    loss = LOSSES[loss_of(packed)]
    segments = Segments(packed, "train", crop, train.batch, train.seed, ("mixture",), audio.HOP, train.epoch_steps)
    feed = Feed(packed, segments.rows, crop, segments.draw, ctx)
    truth = torch.from_numpy(packed.truth(packed.split("train"))).to(ctx.device)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        samples, index = feed(step)
        return augmented(waveforms(samples)[:, :, None], augment, train.seed, step)[:, 0, 0], truth[index]

    held_out = packed.split("valid")
    held_truth = torch.from_numpy(packed.truth(held_out)).to(ctx.device)
    slices = [(item, start, row) for row, item in enumerate(held_out) for start in starts(item, crop)]

    def validate(module: nn.Module) -> dict[str, float]:
        values = []
        for first in range(0, len(slices), 32):
            group = slices[first : first + 32]
            waves = waveforms(feed.read(places([(item, start) for item, start, _ in group], 1, crop)))[:, 0]
            labels = held_truth[[row for _, _, row in group]]
            values.append(loss(module(inputs(module, waves)).float(), labels))
        return {"loss": float(torch.cat(values).mean())}

    def objective(module: nn.Module, pair: tuple[Tensor, Tensor]) -> Tensor:
        waves, labels = pair
        with torch.autocast(ctx.device.split(":")[0], enabled=False):
            read = inputs(module, waves)
        return loss(module(read).float(), labels).mean()

    return fit(module, train, epoch_steps=segments.steps, batch=batch, loss=objective, validate=validate, ctx=ctx)
