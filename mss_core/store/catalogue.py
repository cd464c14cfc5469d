"""What lies in a store: its artefacts, which studies name them, and their sizes."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mss_core import disk
from mss_core.store import sources
from mss_core.store.manifest import read_manifest

KEY = re.compile(r"[0-9a-f]{64}")
OTHERS = {"studies", "drivers", "ray", "mlartifacts", sources.FOLDER}
"""Folders of a store that hold no artefacts."""


@dataclass(frozen=True)
class Artefact:
    """One committed artefact."""

    stage: str
    key: str
    folder: Path
    manifest: dict[str, Any]

    @property
    def bytes(self) -> int:
        return sum(file["size"] for file in self.manifest["files"].values())


def artefacts(root: Path) -> list[Artefact]:
    """Every committed artefact of a store, by stage and key."""
    found = []
    for folder in folders(root):
        manifest = read_manifest(folder)
        if manifest is not None and KEY.fullmatch(folder.name):
            found.append(Artefact(folder.parent.name, folder.name, folder, manifest))
    return found


def folders(root: Path) -> Iterator[Path]:
    for stage in stage_folders(root):
        yield from (path for path in disk.entries(stage) if disk.is_folder(path) or disk.is_link(path))


def stage_folders(root: Path) -> list[Path]:
    return [path for path in disk.entries(root) if path.name not in OTHERS and disk.is_folder(path)]


def named(root: Path, held: list[Artefact]) -> dict[str, set[str]]:
    """By key, the studies that name it in any of their files, or that need what it was made for."""
    inputs = {each.key: [up["key"] for up in each.manifest.get("inputs", {}).values()] for each in held}
    found: dict[str, set[str]] = defaultdict(set)

    def name(key: str, study: str) -> None:
        if study not in found[key]:
            found[key].add(study)
            for upstream in inputs.get(key, ()):
                name(upstream, study)

    for study in filter(disk.is_folder, disk.entries(root / "studies")):
        for file in disk.walk(study):
            text = disk.read(file).decode(errors="replace") if file.suffix == ".json" else ""
            for key in set(KEY.findall(text)):
                name(key, study.name)
    return found


def find(root: Path, start: str) -> Artefact:
    """The artefact whose key starts so; ValueError where there is none, or more than one."""
    fits = [each for each in artefacts(root) if each.key.startswith(start)]
    if not fits:
        raise ValueError(
            f"no artefact in {root} has a key that starts with {start!r}; "
            "python -m mss_core.store list --keys shows them"
        )
    if len(fits) > 1:
        raise ValueError(
            f"{len(fits)} artefacts have keys that start with {start!r}: "
            f"{', '.join(f'{each.stage} {each.key[:12]}' for each in fits[:4])}; give more of it"
        )
    return fits[0]


def size_of_all(held: list[Artefact]) -> str:
    return size_of(sum(each.bytes for each in held))


def size_of(amount: float) -> str:
    """Bytes as a person reads them.

    >>> size_of(1_500), size_of(2_000_000), size_of(3.2e9)
    ('1.5 kB', '2.0 MB', '3.2 GB')
    """
    for unit, power in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if amount >= power:
            return f"{amount / power:.1f} {unit}"
    return f"{amount / 1e3:.1f} kB"
