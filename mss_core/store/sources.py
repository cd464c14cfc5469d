"""What a store keeps of source: ``<store>/sources/<fingerprint>.json``, the hash of each definition. A manifest holds
the fingerprint alone, since most artefacts of a study share one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mss_core import disk

FOLDER = "sources"


def keep(root: Path, fingerprint: str, functions: Mapping[str, str]) -> None:
    """Leave the hashes of a fingerprint's definitions in a store, once."""
    path = root / FOLDER / f"{fingerprint}.json"
    if not disk.exists(path):
        disk.make_folder(path.parent)
        disk.write_atomically(path, json.dumps({"functions": dict(functions)}, indent=0).encode())


def kept(root: Path, fingerprint: str) -> Mapping[str, str] | None:
    """The hashes of a fingerprint's definitions; None where the store has lost them."""
    try:
        found = json.loads(disk.read(root / FOLDER / f"{fingerprint}.json"))["functions"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) else None
