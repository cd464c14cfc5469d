"""Stages ``prepare_tracks``, ``prepare_clips`` and ``prepare_weights``: what comes from outside, checked and packed."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from mss_core.data import weights
from mss_core.data.packed import pack
from mss_core.data.sets import ClipSet, TrackSet, WeightSet, find_root, survey
from mss_core.graph import Context, checksum
from mss_core.models.ast_tail import from_vision


def prepare_tracks(*, data: TrackSet, segment: int, version: int = 3, out: Path, ctx: Context) -> None:
    """Pack the mixture and the sources of every track; tracks shorter than ``segment`` samples are counted."""
    pack(survey(data, ctx.data), ("mixture", *data.sources), data.samplerate, segment, out, ctx)


def prepare_clips(*, data: ClipSet, segment: int, version: int = 3, out: Path, ctx: Context) -> None:
    """Pack every clip with its labels; clips shorter than ``segment`` samples are counted."""
    pack(survey(data, ctx.data), ("mixture",), data.samplerate, segment, out, ctx)


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
