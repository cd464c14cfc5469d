"""Stage ``finetune``: separator and tail together on the downstream task [Garoufis et al., stage 3]."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mss_core import models
from mss_core.artefact import write_trained
from mss_core.augment import UNCHANGED, Augment
from mss_core.data.packed import Packed
from mss_core.errors import choose
from mss_core.graph import Context
from mss_core.models.layers import POOLS
from mss_core.runtime import seeded
from mss_core.stages.train_tail import fit_classifier
from mss_core.systems.msspt.joint import INFLATIONS, inflate
from mss_core.training import TrainConfig


@dataclass(frozen=True)
class Joining:
    """How separator and tail are put together.

    Attributes:
        inflation: what a one-channel tail's first convolution becomes for several input channels: ``"mixture"`` (its
            kernel on the mixture, zeros on the estimates), ``"replicate"`` or ``"random"``. The paper says nothing.
        stage2: whether the tail starts from its own training on the task (stage 2), or without it.
        pooling: of the joint model's U-Net where it is not the separator's (the released code pools a multi-source
            separator by average and then by maximum); empty: the same.
    """

    inflation: str = "mixture"
    stage2: bool = True
    pooling: str = ""

    def __post_init__(self) -> None:
        choose("inflation", self.inflation, INFLATIONS)
        choose("pooling of the joint model (or '' for the separator's)", self.pooling, ("", *POOLS))


def finetune(
    *,
    data: Path,
    separator_model: dict[str, Any],
    sources: int,
    tail_model: dict[str, Any],
    joint: dict[str, Any],
    joining: Joining,
    frames: int,
    train: TrainConfig,
    separator: Path | None,
    tail: Path | None,
    pretrained: Path | None = None,
    augment: Augment = UNCHANGED,
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Train the joint model, each part from the weights it is given or from scratch; nothing is frozen.

    The tail starts from stage 2 (``tail``) or else from published weights (``pretrained``); adapters that copy a
    patch kernel copy the published one where there is one.
    """
    packed = Packed(data)
    channels = sources + 1
    with seeded(train.seed, ctx.device):
        pooled = {"pooling": joining.pooling} if joining.pooling else {}
        described = {
            **joint,
            "separator": {**separator_model, **pooled, "sources": sources},
            "tail": {**tail_model, "classes": len(packed.labels), "channels": channels},
        }
        module = models.build(described)
        if separator is not None:
            module.separator.load_state_dict(models.state(separator))
        published = None if pretrained is None else models.state(pretrained)
        if tail is not None:
            trained = models.state(tail)
            module.tail.load_state_dict(inflate(trained, module.tail, joining.inflation))
            module.begin(published or trained)
        elif published is not None:
            models.take_backbone(module.tail, inflate(published, module.tail, joining.inflation), "published weights")
            module.begin(published)
        best = fit_classifier(module, packed, frames, train, ctx, augment)
    write_trained(out, described, module, best)
