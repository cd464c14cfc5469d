"""Stages ``separate_clips`` and ``separate_tracks``: the AE-MIC separator over a packed set of segments, once.

Whatever is done to its output afterwards (removal of soft bins, reconstruction) reads what these leave.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mss_core import models
from mss_core.data.packed import Packed, PackedItem
from mss_core.graph import Context
from mss_core.systems.aemic.decibels import Grid, decibels
from mss_core.systems.aemic.derived import derive


def separate_clips(*, data: Path, model: Path, grid: Grid, version: int = 1, out: Path, ctx: Context) -> None:
    """Leaves a packed set with the separated spectrogram of every clip, flattened, as its row ``mixture``."""
    packed = Packed(data)
    _separate(packed, packed.items, model, grid, out, ctx)


def separate_tracks(*, data: Path, model: Path, grid: Grid, version: int = 1, out: Path, ctx: Context) -> None:
    """The same of the test tracks' segments."""
    packed = Packed(data)
    _separate(packed, packed.split("test"), model, grid, out, ctx)


def _separate(packed: Packed, items: list[PackedItem], model: Path, grid: Grid, out: Path, ctx: Context) -> None:
    module = models.load(model).to(ctx.device)
    derive(
        packed,
        [(item.name, item, partial(_estimate, packed, item, module, grid, ctx.device)) for item in items],
        ("mixture",),
        out,
        ctx,
    )


def _estimate(packed: Packed, item: PackedItem, module: nn.Module, grid: Grid, device: str) -> dict[str, np.ndarray]:
    waveform = torch.from_numpy(packed.read(item, "mixture", 0, grid.samples))[None].to(device)
    with torch.inference_mode():
        values = module(decibels(waveform, grid)).float()
    return {"mixture": values.flatten().cpu().numpy()}
