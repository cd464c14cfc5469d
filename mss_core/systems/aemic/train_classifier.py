"""Stage ``train_classifier``: an instrument classifier of segments, stopped by its AUC [Ligtenberg, 3.5]."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mss_core import models
from mss_core.apply import inputs
from mss_core.artefact import note, write_notes, write_trained
from mss_core.data.batches import Feed, Segments, places, waveforms
from mss_core.data.packed import Packed, loss_of
from mss_core.errors import choose
from mss_core.graph import Context
from mss_core.losses import LOSSES, Penalty, penalty, probabilities
from mss_core.metrics.classification import macro, roc_auc
from mss_core.runtime import seeded
from mss_core.systems.aemic.decibels import Grid
from mss_core.training import TrainConfig, fit


@dataclass(frozen=True)
class Learning:
    """What a classifier learns from, beside the training itself.

    Attributes:
        class_weights: whether an item's loss is weighted by total / (classes * count), the released code's weights,
            computed on the training split: the mean over the item's labels, where Keras takes that of the first label.
        regularisation: penalty on the kernels. The thesis writes L2, the released code has L1.
        select_on: whose AUC decides which epoch is kept and when to stop: ``"valid"``, or ``"test"`` as the published
            runs did, whose test scores are therefore too high.
    """

    class_weights: bool = True
    regularisation: Penalty = Penalty("l2", 1e-6)
    select_on: str = "valid"

    def __post_init__(self) -> None:
        choose("split to select on", self.select_on, ("valid", "test"))


def train_classifier(
    *,
    data: Path,
    classifier: dict[str, Any],
    grid: Grid,
    stored: bool,
    learning: Learning,
    train: TrainConfig,
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Train on the packed segments ``data`` (spectrograms where ``stored``, else waveforms); leaves model.json,
    weights.pt and best.json, and a note where the epoch was chosen on the test split.

    The history's ``valid_loss``, which decides, is 1 - mean AUC over labels of the split selected on.
    Raises ValueError where that split has no label with both positive and negative items.
    """
    packed = Packed(data)
    items, held_out = packed.split("train"), packed.split(learning.select_on)
    truth, held_truth = torch.from_numpy(packed.truth(items)), packed.truth(held_out)
    if not (held_truth.any(0) & ~held_truth.all(0)).any():
        raise ValueError(
            f"the AUC that chooses the epoch is undefined: no label of the {learning.select_on} split has "
            "both positive and negative clips"
        )
    name = loss_of(packed)
    weights = item_weights(truth) if learning.class_weights else torch.ones(len(truth))
    length = grid.bins * grid.frames if stored else grid.samples
    segments = Segments(packed, "train", length, train.batch, train.seed, ("mixture",), steps=train.epoch_steps)
    feed = Feed(packed, segments.rows, length, segments.draw, ctx)
    truth, weights = truth.to(ctx.device), weights.to(ctx.device)
    with seeded(train.seed, ctx.device):
        described = {
            **classifier,
            "classes": len(packed.labels),
            "stored": stored,
            "grid": [grid.size, grid.hop, grid.samples],
        }
        module = models.build(described)

        def batch(step: int) -> tuple[Tensor, Tensor, Tensor]:
            waves, index = feed(step)
            return waveforms(waves)[:, 0], truth[index], weights[index]

        def objective(module: nn.Module, triple: tuple[Tensor, Tensor, Tensor]) -> Tensor:
            waves, labels, weight = triple
            with torch.autocast(ctx.device.split(":")[0], enabled=False):
                read = inputs(module, waves)
            value = (LOSSES[name](module(read).float(), labels) * weight).mean()
            return value + penalty(module, learning.regularisation)

        def validate(module: nn.Module) -> dict[str, float]:
            scores, losses = [], []
            for first in range(0, len(held_out), 32):
                group = held_out[first : first + 32]
                waves = waveforms(feed.read(places([(item, 0) for item in group], 1, length)))[:, 0]
                logits = module(inputs(module, waves)).float().cpu()
                losses.append(LOSSES[name](logits, torch.from_numpy(held_truth[first : first + 32])))
                scores.append(probabilities(logits, name))
            area = float(macro(roc_auc(held_truth, torch.cat(scores).numpy())))
            return {"loss": 1 - area, "auc": area, name: float(torch.cat(losses).mean())}

        best = fit(module, train, epoch_steps=segments.steps, batch=batch, loss=objective, validate=validate, ctx=ctx)
    write_trained(out, described, module, best)
    if learning.select_on == "test":
        text = "a classifier's epoch was chosen by its AUC on the test clips, as published: its scores are too high"
        write_notes(out, [note("selected on test", text, [], count=1)])


def item_weights(truth: Tensor) -> Tensor:
    """The mean over an item's labels of total / (classes * count), total the number of labels given.

    Shape: (item, label) in {0, 1} -> (item,).

    >>> item_weights(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    tensor([0.7500, 0.7500, 1.5000])
    """
    counts = truth.sum(0)
    each = counts.sum() / (truth.shape[1] * counts.clamp_min(1))
    return (truth @ each) / truth.sum(1).clamp_min(1)
