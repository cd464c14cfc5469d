"""Stage ``prepare_separator``: a released separator as an artefact like any trained model."""

from __future__ import annotations

from pathlib import Path

from mss_core import models
from mss_core.artefact import write_notes
from mss_core.data import weights
from mss_core.data.sets import WeightSet, find_root
from mss_core.errors import choose
from mss_core.graph import Context
from mss_core.models.released import from_torchaudio
from mss_core.models.xumx import from_released

LAYOUTS = {"xumx": from_released, "hdemucs": from_torchaudio}
"""Who reads which layout: X-UMX as its authors publish it for PyTorch, Hybrid Demucs as torchaudio does."""


def prepare_separator(*, data: WeightSet, layout: str, version: int = 1, out: Path, ctx: Context) -> None:
    """Leaves model.json and weights.pt. Nothing is downloaded; ValueError where the file is not of this layout."""
    choose("layout of released weights", layout, LAYOUTS)
    path = weights.find(data, find_root(data.name, ctx.data))
    described, module = LAYOUTS[layout](weights.read(path), f"weights {data.name!r} ({path.name})")
    models.save(out, described, module)
    write_notes(out, [weights.note(f"released weights {data.name!r}", path)])
