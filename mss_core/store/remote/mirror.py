"""What a driver writes beside artefacts, copied to the object store as it is written: a study's folder (tables, report,
ledger) and the journals of its search.

Objects have the files' names, so that a table can be read without this project. Each is put over the version that this
machine saw last, so a driver that another has replaced overwrites nothing. A driver begins with what the object store
has of another machine's; a file of its own that it could not put any more before it died is newer, and stays.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mss_core import disk
from mss_core.claim import Claim, ClaimLost
from mss_core.store.artefacts import Store
from mss_core.store.remote.joined import Joined
from mss_core.store.remote.objects import Stamp

EVERY = 15.0
"""Seconds between two looks at what a driver has written: so much a machine that is lost takes along."""

SEARCH = "search"


def fetch(store: Store, title: str) -> None:
    """Have here what the object store holds of a study beside artefacts; nothing where the store is a folder."""
    if isinstance(store, Joined):
        _Mirror(store, title).fetch()


@contextlib.contextmanager
def mirrored(store: Store, title: str, claim: Claim, say: Callable[[str], None]) -> Iterator[None]:
    """Copy what is written of a study to the object store until the block ends, and then the last of it; nothing where
    the store is a folder. ``claim`` is the study's.

    Raises OSError where the object store does not answer at the end.
    """
    if not isinstance(store, Joined):
        yield
        return
    say(f"object store {store.place}; this machine's copy is {store.root}")
    mirror = _Mirror(store, title)
    mirror.fetch()
    end = disk.every(EVERY, lambda: mirror.try_push(claim))
    try:
        yield
    finally:
        end()
        with contextlib.suppress(ClaimLost):
            mirror.push(claim)


class _Mirror:
    def __init__(self, store: Joined, title: str) -> None:
        self.store, self.folders = store, (f"studies/{title}", SEARCH)
        self.record = store.root / "mirrored" / f"{title}.json"
        self.seen: dict[str, dict[str, Any]] = {}  # of each name: the stamp there, size and time of the file here
        with contextlib.suppress(FileNotFoundError, ValueError):
            self.seen = dict(json.loads(disk.read(self.record)))

    def fetch(self) -> None:
        for folder in self.folders:
            for name in disk.patiently(self.store.objects.list, f"{folder}/"):
                found = disk.patiently(self.store.objects.read, name)
                path = self.store.root / name
                if found is None or (disk.exists(path) and self.seen.get(name, {}).get("stamp") == dict(found.stamp)):
                    continue
                disk.make_folder(path.parent)
                disk.write_atomically(path, found.content)
                self._note(name, disk.status(path), found.stamp)
        self._save()

    def try_push(self, claim: Claim) -> bool:
        """``push``, False where another driver has the study. What does not answer is asked again the next time."""
        try:
            self.push(claim)
        except ClaimLost:
            return False
        except OSError:
            pass
        return True

    def push(self, claim: Claim) -> None:
        """Upload what has changed here and remove what is gone. Raises ClaimLost where another driver has the study,
        OSError where the object store does not answer."""
        claim.check()
        there = set[str]()
        for folder in self.folders:
            for name, path in _files(self.store.root / folder, folder):
                there.add(name)
                with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
                    self._push_file(name, path)
        for name in [name for name in self.seen if name not in there]:
            self.store.objects.delete(name)
            del self.seen[name]
        self._save()

    def _push_file(self, name: str, path: Path) -> None:
        seen, status = self.seen.get(name), disk.status(path)
        if seen is not None and (seen["size"], seen["time"]) == (status.st_size, status.st_mtime_ns):
            return
        content = disk.read(path)
        objects = self.store.objects
        if seen is None:
            stamp = disk.patiently(objects.create, name, content)
        else:
            stamp = disk.patiently(objects.swap, name, content, seen["stamp"])
        if stamp is None:
            found = disk.patiently(objects.read, name)
            if found is not None and found.content == content:  # the answer was lost, or another wrote the same
                stamp = found.stamp
            elif name.startswith(f"{SEARCH}/"):  # of another study, whose driver goes on with it
                return
            else:
                raise ClaimLost(f"another driver has written {name}")
        self._note(name, status, stamp)

    def _note(self, name: str, status: os.stat_result, stamp: Stamp) -> None:
        self.seen[name] = {"stamp": dict(stamp), "size": status.st_size, "time": status.st_mtime_ns}

    def _save(self) -> None:
        disk.make_folder(self.record.parent)
        disk.write_atomically(self.record, json.dumps(self.seen).encode(), durable=False)


def _files(folder: Path, name: str) -> Iterator[tuple[str, Path]]:
    """The files below a folder, hidden ones left out, and the names of their objects."""
    if disk.is_folder(folder):
        for path in disk.walk(folder):
            parts = path.relative_to(folder).parts
            if not any(part.startswith(".") for part in parts):
                yield "/".join((name, *parts)), path
