"""Published weights on this machine: one file in a folder that the user names, as a data set is.

Nothing is downloaded. The file is known by its checksum, which is part of every key that depends on it; where it is
not there, a run stops and says so.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch

from mss_core.data.config import WeightSet
from mss_core.data.files import reason
from mss_core.data.items import Item, Sound, Survey
from mss_core.disk import checksum

SUFFIXES = (".pth", ".pt", ".bin", ".safetensors", ".tar")
_TYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def survey(config: WeightSet, root: Path) -> Survey:
    """The one weight file in ``root``; ValueError where there is none, or several, or a damaged one."""
    path = find(config, root)
    return Survey((Item(path.name, "train", _silent, files=(path,)),))


def note(text: str, path: Path, facts: str = "") -> dict[str, Any]:
    """What a stage notes of the file it took its weights from, with ``facts`` about it."""
    return {"kind": "weights", "text": text, "count": 1, "items": [f"{path.name}, {facts}sha256 {checksum(path)}"]}


def _silent() -> Sound:
    raise AssertionError("weights are not audio")


def find(config: WeightSet, root: Path) -> Path:
    """The weight file; a checksum in its name (``deit_base-b5f2ef4d.pth``) must be its own."""
    found = sorted(path for path in root.iterdir() if path.suffix in SUFFIXES)
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ValueError(f"weights {config.name!r}: {root} must hold one file {', '.join(SUFFIXES)}; it holds {names}")
    (path,) = found
    named = re.search(r"-([0-9a-f]{8,64})$", path.stem)
    if named:
        real = checksum(path)
        if not real.startswith(named[1]):
            raise ValueError(
                f"weights {config.name!r}: {path} has the checksum {real[: len(named[1])]}, not the one "
                "in its name (damaged or renamed)"
            )
    return path


def read(path: Path) -> dict[str, torch.Tensor]:
    """A state_dict from a torch or safetensors file; training checkpoints that hold one as ``model`` or
    ``state_dict`` are opened. ValueError for anything else."""
    try:
        if path.suffix == ".safetensors":
            return _safetensors(path.read_bytes())
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes of it
        raise ValueError(f"{path}: cannot be read as weights ({reason(error)})") from None
    for name in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    tensors = {str(k): v for k, v in state.items() if torch.is_tensor(v)} if isinstance(state, dict) else {}
    if not tensors:
        raise ValueError(f"{path}: holds no state_dict")
    return tensors


def _safetensors(content: bytes) -> dict[str, torch.Tensor]:
    """The format is a length, a JSON header and the tensors' bytes."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    found = {}
    for name, facts in header.items():
        if name == "__metadata__":
            continue
        first, stop = facts["data_offsets"]
        block = bytearray(content[8 + size + first : 8 + size + stop])
        found[name] = torch.frombuffer(block, dtype=_TYPES[facts["dtype"]]).reshape(facts["shape"])
    return found
