"""Stage ``finetune``: separator and tail together on the downstream task [Garoufis et al., stage 3]."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mss_core import models
from mss_core.augment import UNCHANGED, Augment
from mss_core.classify import fit_classifier
from mss_core.data.packed import Packed
from mss_core.graph import Context
from mss_core.models.joint import INFLATIONS, inflate
from mss_core.naming import choose
from mss_core.runtime import seeded
from mss_core.training import TrainConfig


@dataclass(frozen=True)
class Joining:
    """How separator and tail are put together.

    Attributes:
        inflation: what a stage-2 tail's first convolution becomes for several input channels: ``"mixture"`` (its
            kernel on the mixture, zeros on the estimates), ``"replicate"`` or ``"random"``.
        adapters: ``"zero"``, so that the joint model begins as the tail it is given and has nothing to recover from,
            or ``"glorot"``. The paper says nothing of either.
    """

    inflation: str = "mixture"
    adapters: str = "zero"

    def __post_init__(self) -> None:
        choose("inflation", self.inflation, INFLATIONS)
        choose("adapter initialisation", self.adapters, ("zero", "glorot"))


def finetune(*, data: Path, separator_model: dict[str, Any], sources: int, tail_model: dict[str, Any],
             joining: Joining, frames: int, train: TrainConfig, separator: Path | None, tail: Path | None,
             augment: Augment = UNCHANGED, version: int = 1, out: Path, ctx: Context) -> None:
    """Train the joint model, each part from the weights it is given or from scratch; nothing is frozen."""
    packed = Packed(data)
    channels = sources + 1
    with seeded(train.seed, ctx.device):
        described = {"name": "joint_cnn", "separator": {**separator_model, "sources": sources},
                     "tail": {**tail_model, "classes": len(packed.labels), "channels": channels}}
        module = models.build(described)
        if joining.adapters == "zero":
            for adapter in module.adapters:
                torch.nn.init.zeros_(adapter.weight)
        if separator is not None:
            module.separator.load_state_dict(models.state(separator))
        if tail is not None:
            weights = inflate(models.state(tail), channels, joining.inflation)
            missing, unexpected = module.tail.load_state_dict(weights, strict=False)
            left_out = {"blocks.0.0.weight"} if joining.inflation == "random" else set()
            assert set(missing) == left_out and not unexpected, (missing, unexpected)
        best = fit_classifier(module, packed, frames, train, ctx, augment)
    models.save(out, described, module)
    (out / "best.json").write_text(json.dumps(best), encoding="utf-8")
