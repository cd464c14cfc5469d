"""Checkpoints with random values in the layouts of released weights: names (``/`` between those of nested dicts),
shapes and types of the tensors in the public files, with where they are from, in layouts.json. Never from a model of
ours."""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

LAYOUTS: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))


def checkpoint(name: str, root: Path, labels: Sequence[str] = ()) -> Path:
    """The released file of ``name`` under its own file name in ``root``, and labels.txt where there are labels."""
    layout = LAYOUTS[name]
    generator = torch.Generator().manual_seed(0)
    content: dict[str, Any] = {}
    for place, what in layout["tensors"].items():
        *above, last = place.split("/")
        branch = content
        for key in above:
            branch = branch.setdefault(key, {})
        branch[last] = _value(what, generator)
    root.mkdir(parents=True, exist_ok=True)
    torch.save(content, root / layout["file"])
    if labels:
        (root / "labels.txt").write_text("\n".join(labels) + "\n", encoding="utf-8")
    return root / layout["file"]


def _value(what: str, generator: torch.Generator) -> object:
    """Small random numbers, around 1 in vectors (scales and variances); anything but a tensor as it stands."""
    kind, _, size = what.partition(" ")
    dtype = getattr(torch, kind, None)
    if not isinstance(dtype, torch.dtype):
        return ast.literal_eval(what)
    shape = [int(length) for length in size.split("x") if length]
    if not dtype.is_floating_point:
        return torch.ones(shape, dtype=dtype)
    if len(shape) < 2:
        return (torch.rand(shape, generator=generator) + 0.5).to(dtype)
    return (0.02 * torch.randn(shape, generator=generator)).to(dtype)
