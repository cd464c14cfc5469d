"""Stage ``train_autoencoder``: the AE-MIC separator, from mixtures to the target's spectrogram [Ligtenberg, 3.2]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mss_core import models
from mss_core.artefact import write_trained
from mss_core.augment import generator
from mss_core.data.batches import Feed, Segments, places, waveforms
from mss_core.data.packed import Packed
from mss_core.graph import Context
from mss_core.losses import LOSSES, Penalty, penalty
from mss_core.names import named
from mss_core.runtime import seeded
from mss_core.systems.aemic.augmentation import VARIANTS, Augmentation, vary
from mss_core.systems.aemic.decibels import Grid, decibels
from mss_core.training import TrainConfig, fit

ROWS = ("mixture", "target")


def train_autoencoder(
    *,
    data: Path,
    autoencoder: dict[str, Any],
    grid: Grid,
    loss: str,
    regularisation: Penalty,
    augmentation: Augmentation | None,
    train: TrainConfig,
    version: int = 2,
    out: Path,
    ctx: Context,
) -> None:
    """Train on segments of the packed set ``data`` (rows ``mixture`` and ``target``); leaves model.json, weights.pt
    and best.json. The history holds the training loss (penalty included) and, on the validation segments, the loss
    without it and the mean absolute error, of those in which the target sounds.

    With an ``augmentation`` each training segment is met as a variant drawn for the occasion.
    """
    packed = Packed(data)
    segments = Segments(packed, "train", grid.samples, train.batch, train.seed, ROWS, steps=train.epoch_steps)
    feed = Feed(packed, ROWS, grid.samples, segments.draw, ctx)
    held_out = [item for item in packed.split("valid") if "target" not in item.silent]
    with seeded(train.seed, ctx.device):
        described = {**autoencoder, "grid": [grid.size, grid.hop, grid.samples]}
        module = models.build(described)

        def batch(step: int) -> Tensor:
            pairs = waveforms(feed(step)[0])  # (batch, row, time)
            if augmentation is not None:
                rng = generator(train.seed, step)
                drawn = torch.randint(len(VARIANTS), (len(pairs),), generator=rng).tolist()
                pairs = torch.stack(
                    [vary(pair, VARIANTS[index], augmentation, rng) for pair, index in zip(pairs, drawn, strict=True)]
                )
            return pairs

        def spectra(pairs: Tensor) -> tuple[Tensor, Tensor]:
            with torch.autocast(ctx.device.split(":")[0], enabled=False):
                values = decibels(pairs, grid)
            return values[:, 0], values[:, 1]

        criterion = named("autoencoder loss", loss, LOSSES)

        def objective(module: nn.Module, pairs: Tensor) -> Tensor:
            mixtures, targets = spectra(pairs)
            return criterion(module(mixtures).float(), targets).mean() + penalty(module, regularisation)

        def validate(module: nn.Module) -> dict[str, float]:
            losses, errors = [], []
            for first in range(0, len(held_out), 8):
                group = held_out[first : first + 8]
                pairs = waveforms(feed.read(places([(item, 0) for item in group], len(ROWS), grid.samples)))
                mixtures, targets = spectra(pairs)
                estimates = module(mixtures).float()
                losses.append(criterion(estimates, targets))
                errors.append(LOSSES["l1"](estimates, targets))
            return {"loss": float(torch.cat(losses).mean()), "mae": float(torch.cat(errors).mean())}

        judge = validate if held_out else None
        best = fit(module, train, epoch_steps=segments.steps, batch=batch, loss=objective, validate=judge, ctx=ctx)
    write_trained(out, described, module, best)
