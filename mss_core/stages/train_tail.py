"""Stage ``train_tail``: the tail alone on the downstream task [Garoufis et al., stage 2 and the "tail" baseline]."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mss_core import models
from mss_core.artefact import write_json, write_trained
from mss_core.augment import UNCHANGED, Augment
from mss_core.classifiers import fit_classifier
from mss_core.data.packed import Packed
from mss_core.graph import Context
from mss_core.runtime import seeded
from mss_core.training import TrainConfig


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
