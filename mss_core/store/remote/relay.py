"""A run's own folder, where the nodes of a cluster share no folder but an object store.

A driver asks its workers to stop by a file in that folder. Here the file is handed on as an object, and appears in a
folder of the same name on each node. A driver also asks each node whether it reaches the object store.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from mss_core import disk
from mss_core.store.artefacts import Store
from mss_core.store.remote.joined import Joined
from mss_core.store.remote.objects import Objects, probe

EVERY = 2.0
"""Seconds between two looks for the file."""


@contextlib.contextmanager
def relayed(store: Store, folder: Path, name: str) -> Iterator[None]:
    """In a driver: hand a file of this name on, when it comes, until the block ends. Nothing where the store is a
    folder."""
    if not isinstance(store, Joined):
        yield
        return

    def hand_on() -> bool:
        with contextlib.suppress(OSError):
            if disk.exists(folder / name):
                store.objects.create(_name(folder, name), b"")
                return False
        return True

    end = disk.every(EVERY, hand_on)
    try:
        yield
    finally:
        end()
        with contextlib.suppress(OSError):
            store.objects.delete(_name(folder, name))


@contextlib.contextmanager
def run_folder(store: Store, folder: Path, name: str) -> Iterator[Path]:
    """In a worker: the run's folder; of an object store one below this machine's copies, where a file of this name
    appears when the driver has made one."""
    if not isinstance(store, Joined):
        yield folder
        return
    here = store.root / "ray" / folder.name
    disk.make_folder(here)

    def look() -> bool:
        with contextlib.suppress(OSError):
            if store.objects.read(_name(folder, name)) is not None:
                disk.write(here / name, b"")
                return False
        return True

    end = disk.every(EVERY, look)
    try:
        yield here
    finally:
        end()


def leave_mark(objects: Objects) -> str:
    """An object that the nodes are to find; its name."""
    mark = f"nodes/{disk.token()}"
    objects.create(mark, socket.gethostname().encode())
    return mark


def find_mark(url: str, mark: str) -> str:
    """On a node: try the object store, and look for the mark. Returns what is wrong, or nothing."""
    try:
        objects = Objects(url, retries=2)
        probe(objects)
        return "" if objects.read(mark) is not None else f"{url} is another place there"
    except (ValueError, RuntimeError, OSError) as error:
        return str(error)


def _name(folder: Path, name: str) -> str:
    return f"runs/{folder.name}/{name}"
