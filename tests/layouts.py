"""Checkpoints with random values in the layouts of released weights, as the public code writes them: names, shapes and
types come from the metadata beside the checkout, never from a model of ours."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import torch


def checkpoint(folder: Path, name: str, root: Path, seed: int = 0) -> Path:
    """The released file of ``name`` under its own file name in ``root``; nested where its names have slashes.

    Args:
        folder: the metadata's ``released_layouts``.
    """
    layout = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    generator = torch.Generator().manual_seed(seed)
    content: dict[str, Any] = {}
    for place, what in layout["tensors"].items():
        *above, last = place.split("/")
        branch = content
        for key in above:
            branch = branch.setdefault(key, {})
        branch[last] = _value(what, last, generator)
    root.mkdir(parents=True, exist_ok=True)
    torch.save(content, root / layout["file"])
    return root / layout["file"]


def _value(what: Any, name: str, generator: torch.Generator) -> Any:
    if isinstance(what, str):
        return ast.literal_eval(what)
    shape, kind = what
    if kind.startswith("int"):
        return torch.zeros(shape, dtype=getattr(torch, kind))
    values = 0.05 * torch.randn(shape, generator=generator)
    return values.abs() + 0.5 if name.endswith(("running_var", "bw_Q")) else values
