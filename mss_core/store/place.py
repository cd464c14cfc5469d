"""Where a store may be."""

from __future__ import annotations

import os
from pathlib import Path

from mss_core import folders
from reports.contract.names import nearest

OBJECTS = ("s3", "s3a", "gs", "az", "abfs", "abfss", "memory", "file")
"""The schemes of object stores' URLs."""


def is_url(place: str) -> bool:
    """Whether a place is an object store's, and no folder."""
    scheme, slashes, _ = place.partition("://")
    return bool(slashes) and scheme in OBJECTS


def is_store(folder: Path) -> bool:
    """Whether studies have run on a folder: drivers and studies have their folders in it."""
    return (folder / "drivers").is_dir() and (folder / "studies").is_dir()


def check_place(place: str, objects: bool = False) -> None:
    """Raise ValueError for what cannot be a store: no name, a file, a place below a file. An object store's URL can be
    one where ``objects`` are asked for."""
    if not place.strip():
        raise ValueError("--store (or MSS_STORE) names no folder: it is empty")
    if not place.isprintable():  # bytes that are no UTF-8 are not, either
        raise ValueError(f"--store {place!r} cannot be the name of a folder")
    if is_url(place):
        if not objects:
            raise ValueError(
                f"--store {place}: this works on a folder, such as a machine's copy of an object store; a study says "
                "at its start where that lies"
            )
        return
    scheme, slashes, _ = place.partition("://")
    if slashes and scheme and "/" not in scheme:
        raise ValueError(f"--store {place}: no object store is named {scheme + '://'!r}; {nearest(scheme, OBJECTS)}")
    path = folders.place(place).absolute()
    for above in path.resolve().parents:
        if is_store(above) and not is_store(path):
            raise ValueError(f"--store {place} lies within the store {above}: name that one, or a folder beside it")
    for above in (path, *path.parents):
        if above.is_dir():
            return
        if os.path.lexists(above):
            what = "a link that leads nowhere" if above.is_symlink() else "a file"
            raise ValueError(f"--store {place}: {above} is {what}, and a store is a folder")
