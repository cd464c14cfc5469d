"""Stages ``remove_soft`` and ``reconstruct``: what is done to separated clips before they are classified
[Ligtenberg, 3.3]. Neither trains anything."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from mss_core.data.packed import Packed, PackedItem
from mss_core.graph import Context
from mss_core.systems.aemic.decibels import Grid, Reconstruction, SoftBins, remove_soft_bins, waveforms
from mss_core.systems.aemic.derived import derive


def remove_soft(*, data: Path, grid: Grid, removal: SoftBins, version: int = 1, out: Path, ctx: Context) -> None:
    """Leaves the packed spectrograms ``data`` without their soft bins."""
    packed = Packed(data)
    derive(
        packed,
        [(item.name, item, partial(_removed, packed, item, grid, removal)) for item in packed.items],
        ("mixture",),
        out,
        ctx,
    )


def _removed(packed: Packed, item: PackedItem, grid: Grid, removal: SoftBins) -> dict[str, np.ndarray]:
    return {"mixture": remove_soft_bins(stored(packed, item, grid), removal).flatten().numpy()}


def reconstruct(
    *, data: Path, clips: Path, grid: Grid, reconstruction: Reconstruction, version: int = 1, out: Path, ctx: Context
) -> None:
    """Leaves waveforms of the packed spectrograms ``data``; ``clips`` holds the waveforms they were made from."""
    packed, originals = Packed(data), Packed(clips)
    by_name = {item.name: item for item in originals.items}
    derive(
        packed,
        [
            (item.name, item, partial(_waveform, packed, item, originals, by_name[item.name], grid, reconstruction))
            for item in packed.items
        ],
        ("mixture",),
        out,
        ctx,
    )


def _waveform(
    packed: Packed,
    item: PackedItem,
    originals: Packed,
    original: PackedItem,
    grid: Grid,
    reconstruction: Reconstruction,
) -> dict[str, np.ndarray]:
    mixture = torch.from_numpy(originals.read(original, "mixture", 0, grid.samples))
    return {"mixture": waveforms(stored(packed, item, grid), grid, reconstruction, mixture).numpy()}


def stored(packed: Packed, item: PackedItem, grid: Grid) -> torch.Tensor:
    """A stored spectrogram. Shape: (bins, frames)."""
    return torch.from_numpy(packed.read(item)).reshape(grid.bins, grid.frames)
