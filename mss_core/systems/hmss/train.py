"""Stage ``train_levels``: one mask network for some or all nodes of a path [Manilow et al. 2020; Zhang, Sec. 4.4]."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mss_core import models
from mss_core.artefact import write_trained
from mss_core.data.batches import Feed, spread, waveforms
from mss_core.data.packed import Packed
from mss_core.errors import choose
from mss_core.graph import Context
from mss_core.losses import separation_loss
from mss_core.runtime import seeded
from mss_core.systems.hmss.levels import LevelSeparator
from mss_core.systems.hmss.masks import inputs_of
from mss_core.systems.hmss.saliency import ChunkReader, Sampling, chunks
from mss_core.training import TrainConfig, fit

JUDGED = ("own", "product")


@dataclass(frozen=True)
class Objective:
    """What is minimised.

    Attributes:
        loss: one of SEPARATION_LOSSES: of waveforms, of masks, or of masked magnitudes.
        judged: for masks that multiply their parent's estimate, whether each is compared on its ``"own"``, given the
            true parent, or as the ``"product"`` that multiplies the mixture. Direct masks are both.
    """

    loss: str = "mask_tpsa"
    judged: str = "own"

    def __post_init__(self) -> None:
        separation_loss(self.loss)
        choose("'judged' of the objective", self.judged, JUDGED)


def train_levels(
    *,
    data: Path,
    paths: tuple[tuple[str, ...], ...],
    levels: tuple[int, ...],
    network: dict[str, Any],
    query: bool,
    mask: str,
    constraint: str,
    objective: Objective,
    sampling: Sampling,
    train: TrainConfig,
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Train masks for the nodes of ``paths`` at ``levels`` (0 is the leaf) on salient chunks.

    Several paths need a network that is told by a query which one is meant. Chunks are chosen by leaf and path,
    whatever levels are learnt, so that models of single levels see what a model of all of them sees.
    """
    packed = Packed(data)
    length = round(sampling.seconds * packed.samplerate)
    nodes = [[path[level] for level in levels] for path in paths]
    leaves = [path[0] for path in paths] if query else None
    reader = ChunkReader(packed, chunks(packed, "train", paths, sampling), nodes, length, train.seed, leaves)
    held = ChunkReader(
        packed, spread(chunks(packed, "valid", paths, sampling), sampling.valid_items), nodes, length, 0, leaves
    )
    feed = Feed(packed, reader.rows, length, lambda step: reader.draw(step, train.batch), ctx)
    with seeded(train.seed, ctx.device):
        described = {
            "name": "level_separator",
            "network": {**network, "sources": len(levels)},
            "mask": mask,
            "constraint": constraint,
        }
        module = models.build(described)

        def validate(module: LevelSeparator) -> dict[str, float]:
            losses = [value(module, *batch, objective) for batch in held.batches(train.batch, ctx.device)]
            return {"loss": float(torch.cat(losses).mean())}

        epoch_steps = train.epoch_steps or max(1, len(reader.found) // train.batch)
        best = fit(
            module,
            train,
            epoch_steps=epoch_steps,
            batch=lambda step: reader.split(waveforms(feed(step)[0])),
            loss=lambda module, batch: value(module, *batch, objective).mean(),
            validate=validate,
            ctx=ctx,
        )
    write_trained(out, described, module, best, chunks=len(reader.found))


def value(
    separator: LevelSeparator, mixtures: Tensor, references: Tensor, queries: Tensor | None, objective: Objective
) -> Tensor:
    """The loss of each item. Shape: (batch, time), (batch, level, time), queries (batch, time) -> (batch,)."""
    mixture, truth = separator.spectrum(mixtures), separator.spectrum(references)
    example = None if queries is None else separator.spectrum(queries).abs()
    masks = separator.own_masks(mixture.abs(), example)
    if objective.judged == "own" and separator.mask != "direct":
        inputs = inputs_of(separator.mask, mixture, truth)
    else:
        masks, inputs = separator.masks(masks), mixture[:, None]
    loss, of_masks = separation_loss(objective.loss)
    if of_masks:
        return loss(masks, inputs, truth)
    return loss(separator.waveform(masks * inputs), separator.waveform(truth))
