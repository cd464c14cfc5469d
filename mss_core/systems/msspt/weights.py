"""Stage ``prepare_weights``: published weights of a vision transformer, as an AST tail starts from them."""

from __future__ import annotations

from pathlib import Path

import torch

from mss_core.artefact import write_notes
from mss_core.data import weights
from mss_core.data.sets import WeightSet, find_root
from mss_core.graph import Context
from mss_core.systems.msspt.ast_tail import from_vision


def prepare_weights(*, data: WeightSet, frames: int, version: int = 1, out: Path, ctx: Context) -> None:
    """A vision transformer's published weights as an AST tail's for segments of ``frames``; leaves weights.pt and,
    in notes.json, which file they are from."""
    path = weights.find(data, find_root(data.name, ctx.data))
    state = weights.read(path)
    torch.save(from_vision(state, frames), out / "weights.pt")
    text = f"published weights {data.name!r} that transformers start from"
    write_notes(out, [weights.note(text, path, f"{len(state)} tensors, ")])
    ctx.report(step=1, total=1)
