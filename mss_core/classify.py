"""What ``train_tail`` and ``finetune`` share: training a classifier of segments on labelled clips."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from mss_core import audio
from mss_core.apply import inputs
from mss_core.data.packed import Packed
from mss_core.graph import Context
from mss_core.losses import LOSSES
from mss_core.training import TrainConfig, fit


def loss_of(packed: Packed) -> str:
    """Cross-entropy where every clip has one label, binary cross-entropy otherwise."""
    return "cross_entropy" if packed.single_label else "binary_cross_entropy"


def fit_classifier(module: nn.Module, packed: Packed, frames: int, train: TrainConfig,
                   ctx: Context) -> dict[str, float]:
    """Train on one random crop a clip and epoch; validate on all whole slices of the validation clips.

    The crops start at whole STFT hops, so each equals a slice of the whole clip's spectrum.
    """
    clips = packed.split("train")
    truth = torch.from_numpy(packed.truth(clips))
    crop = audio.samples_of(frames)
    loss = LOSSES[loss_of(packed)]
    steps = train.epoch_steps or max(1, len(clips) // train.batch)

    def batch(step: int) -> tuple[Tensor, Tensor]:
        epoch, within = divmod(step, steps)
        order = np.random.default_rng([train.seed, epoch]).permutation(len(clips))
        rng = np.random.default_rng([train.seed, epoch, within])
        chosen = np.take(order, np.arange(within * train.batch, (within + 1) * train.batch), mode="wrap")
        waves = []
        for index in chosen:
            spare = max(0, (clips[index].length - crop) // audio.HOP)
            waves.append(packed.read(clips[index], "mixture", int(rng.integers(0, spare + 1)) * audio.HOP, crop))
        return torch.from_numpy(np.stack(waves)).to(ctx.device), truth[torch.from_numpy(chosen)].to(ctx.device)

    held_out = packed.split("valid")
    held_truth = torch.from_numpy(packed.truth(held_out))
    slices = [(item, start, row) for row, item in enumerate(held_out)
              for start in (range(0, item.length - crop + 1, crop) or range(1))]

    def validate(module: nn.Module) -> dict[str, float]:
        values = []
        for first in range(0, len(slices), 32):
            group = slices[first:first + 32]
            waves = torch.from_numpy(np.stack([packed.read(item, "mixture", start, crop) for item, start, _ in group]))
            labels = held_truth[[row for _, _, row in group]]
            values.append(loss(module(inputs(module, waves.to(ctx.device))).float(), labels.to(ctx.device)))
        return {"loss": float(torch.cat(values).mean())}

    def objective(module: nn.Module, pair: tuple[Tensor, Tensor]) -> Tensor:
        waves, labels = pair
        with torch.autocast(ctx.device.split(":")[0], enabled=False):
            read = inputs(module, waves)
        return loss(module(read).float(), labels).mean()

    return fit(module, train, epoch_steps=steps, batch=batch, loss=objective, validate=validate, ctx=ctx)
