"""Where a store may be."""

from __future__ import annotations

import os

from mss_core import folders


def check_place(place: str) -> None:
    """Raise ValueError for what cannot be a store: no name, a file, a place below a file."""
    if not place.strip():
        raise ValueError("--store (or MSS_STORE) names no folder: it is empty")
    if not place.isprintable():  # bytes that are no UTF-8 are not, either
        raise ValueError(f"--store {place!r} cannot be the name of a folder")
    path = folders.place(place).absolute()
    for above in (path, *path.parents):
        if above.is_dir():
            return
        if os.path.lexists(above):
            what = "a link that leads nowhere" if above.is_symlink() else "a file"
            raise ValueError(f"--store {place}: {above} is {what}, and a store is a folder")
