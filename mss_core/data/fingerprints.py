"""What a data set is by content: a hash of its files, remembered so that a large set is hashed once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from mss_core.data.items import REMARKS, Survey
from mss_core.disk import checksum, write_atomically
from mss_core.folders import plain


class Fingerprints:
    """sha256 of files, remembered by path, so that a large set is hashed once.

    A file is hashed again where its size, inode, time of writing or time of change (ctime, which no copy can set) is
    another. With ``rehash`` nothing is remembered: what a disk altered by itself has all of these as before.
    """

    def __init__(self, path: Path | None, rehash: bool = False) -> None:
        self.path = path
        self.known: dict[str, Any] = {}
        try:
            found = json.loads(path.read_text(encoding="utf-8")) if path and not rehash else {}
        except (FileNotFoundError, ValueError, RecursionError):  # what cannot be read is hashed again
            found = {}
        if isinstance(found, dict):
            self.known = {name: entry for name, entry in found.items() if isinstance(entry, list) and len(entry) == 5}
        self.changed = False

    def of(self, path: Path) -> str:
        status = path.stat()
        entry = self.known.get(str(path))
        version = [status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns]
        if entry is None or entry[:-1] != version:
            entry = [*version, checksum(path)]
            self.known[str(path)] = entry
            self.changed = True
        return entry[-1]

    def save(self) -> None:
        if self.changed and self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(self.known).encode())
            self.changed = False


def fingerprint(found: Survey, root: Path | None, hashes: Fingerprints) -> str:
    """One hash of a set's content: every file's path below the root and checksum, splits and labels. How a system
    spells a name (Unicode form, case of the suffix) changes nothing."""
    total = hashlib.sha256()
    for item in found.items:
        total.update(json.dumps([item.name, item.split, list(item.labels)]).encode())
        for file in item.files:
            name = file.relative_to(root).as_posix() if root else file.name
            total.update(json.dumps([plain(name), hashes.of(file.absolute())]).encode())
    for note in found.notes:
        if note.kind in REMARKS:
            continue
        total.update(json.dumps([note.kind, note.text, list(note.items)]).encode())
    total.update(json.dumps([list(found.labels), dict(found.extra)], sort_keys=True).encode())
    return total.hexdigest()
