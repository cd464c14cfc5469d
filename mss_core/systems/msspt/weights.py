"""Stage ``prepare_weights``: published weights of a vision transformer, as an AST tail starts from them."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from mss_core.data import weights
from mss_core.data.sets import WeightSet, find_root
from mss_core.graph import Context, checksum
from mss_core.systems.msspt.ast_tail import from_vision


def prepare_weights(*, data: WeightSet, frames: int, version: int = 1, out: Path, ctx: Context) -> None:
    """A vision transformer's published weights as an AST tail's for segments of ``frames``; leaves weights.pt and,
    in notes.json, which file they are from."""
    path = weights.find(data, find_root(data.name, ctx.data))
    state = weights.read(path)
    torch.save(from_vision(state, frames), out / "weights.pt")
    note = {
        "kind": "weights",
        "text": f"published weights {data.name!r} that transformers start from",
        "count": 1,
        "items": [f"{path.name}, {len(state)} tensors, sha256 {checksum(path)}"],
    }
    (out / "notes.json").write_text(json.dumps([note]), encoding="utf-8")
    ctx.report(step=1, total=1)
