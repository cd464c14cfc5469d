"""Stage ``infer``: class probabilities of whole clips, from half-overlapping slices [Garoufis et al., Sec. III]."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mss_core import models
from mss_core.apply import predict_clips
from mss_core.data.packed import Packed, loss_of
from mss_core.errors import choose
from mss_core.graph import Context
from mss_core.losses import probabilities


@dataclass(frozen=True)
class InferConfig:
    """How a clip is scored.

    Attributes:
        hop: frames between slices (half a slice by default).
        aggregate: ``"mean"`` or ``"max"`` over a clip's slices.
        split: which clips.
    """

    hop: int = 192
    aggregate: str = "mean"
    split: str = "test"

    def __post_init__(self) -> None:
        choose("aggregate", self.aggregate, ("mean", "max"))
        choose("split", self.split, ("valid", "test"))
        if self.hop < 1:
            raise ValueError(f"'hop' must be at least 1 frame, not {self.hop}")


def infer(
    *, data: Path, model: Path, frames: int, config: InferConfig, version: int = 1, out: Path, ctx: Context
) -> None:
    """Leaves predictions.parquet: item, target, truth, score."""
    import pandas as pd  # slow to import, and every process of a study imports this module

    packed = Packed(data)
    module = models.load(model).to(ctx.device)
    clips = packed.split(config.split)
    with torch.inference_mode():
        scores = []
        waveforms = (packed.read(clip) for clip in clips)
        loss = loss_of(packed)
        for number, row in enumerate(
            predict_clips(
                module,
                waveforms,
                frames,
                config.hop,
                lambda logits: probabilities(logits, loss),
                config.aggregate,
                ctx.device,
            ),
            start=1,
        ):
            scores.append(row)
            if number % 50 == 0 or number == len(clips):
                ctx.report(step=number, total=len(clips))
    targets = len(packed.labels)
    table = pd.DataFrame(
        {
            "item": np.repeat([clip.name for clip in clips], targets),
            "target": np.tile(packed.labels, len(clips)),
            "truth": packed.truth(clips).astype(np.int8).ravel(),
            "score": np.stack(scores).astype(np.float64).ravel(),
        }
    )
    table.to_parquet(out / "predictions.parquet", index=False)
