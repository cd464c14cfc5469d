"""Where a store may be."""

from __future__ import annotations

import os

from mss_core import folders
from reports.contract.names import nearest

OBJECTS = ("s3", "s3a", "gs", "az", "abfs", "abfss", "memory", "file")
"""The schemes of object stores' URLs."""


def is_url(place: str) -> bool:
    """Whether a place is an object store's, and no folder."""
    scheme, slashes, _ = place.partition("://")
    return bool(slashes) and scheme in OBJECTS


OWN = ("drivers", "studies")
"""Folders that every store has once a study has run on it."""


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
    whole = path.resolve()
    for store in whole.parents:
        if whole.relative_to(store).parts[0] in OWN and all((store / name).is_dir() for name in OWN):
            raise ValueError(f"--store {place} lies among the files of the store {store}: name that one")
    for above in (path, *path.parents):
        if above.is_dir():
            return
        if os.path.lexists(above):
            what = "a link that leads nowhere" if above.is_symlink() else "a file"
            raise ValueError(f"--store {place}: {above} is {what}, and a store is a folder")
