"""Stage ``released``: released weights as an artefact like any trained model."""

from __future__ import annotations

from pathlib import Path

from mss_core import models
from mss_core.data.sets import Weights, weights_file
from mss_core.graph import Context, checksum
from mss_core.models.released import from_torchaudio
from mss_core.models.xumx import from_released
from mss_core.naming import choose

LAYOUTS = {"xumx": from_released, "hdemucs": from_torchaudio}
"""Who reads which layout: X-UMX as its authors publish it for PyTorch, Hybrid Demucs as torchaudio does."""


def released(*, weights: Weights, layout: str, version: int = 1, out: Path, ctx: Context) -> None:
    """Leaves model.json and weights.pt. Nothing is downloaded. Raises ValueError where the file is another than the
    one the study was planned with, or is not of this layout."""
    choose("layout of released weights", layout, LAYOUTS)
    file = weights_file(weights.name, ctx.data)
    found = checksum(file)
    if found != weights.sha256:
        raise ValueError(f"{file} has the checksum {found[:12]}, the study was planned with {weights.sha256[:12]}")
    described, module = LAYOUTS[layout](file)
    models.save(out, described, module)
    ctx.report(step=1, total=1)
