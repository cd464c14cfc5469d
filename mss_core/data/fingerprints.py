"""What a data set is by content: a hash of its files, remembered so that a large set is hashed once."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from mss_core.data.items import Survey
from mss_core.graph import checksum, write_atomically


class Fingerprints:
    """sha256 of files, remembered by path, size and time of change, so that a large set is hashed once."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        try:
            self.known = json.loads(path.read_text(encoding="utf-8")) if path else {}
        except (FileNotFoundError, json.JSONDecodeError):
            self.known = {}
        self.changed = False

    def of(self, path: Path) -> str:
        status = path.stat()
        entry = self.known.get(str(path))
        if entry is None or entry[:2] != [status.st_size, status.st_mtime_ns]:
            entry = [status.st_size, status.st_mtime_ns, checksum(path)]
            self.known[str(path)] = entry
            self.changed = True
        return entry[2]

    def save(self) -> None:
        if self.changed and self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(self.known).encode())
            self.changed = False


def fingerprint(found: Survey, root: Path | None, hashes: Fingerprints) -> str:
    """One hash of a set's content: every file's path below the root and checksum, splits and labels."""
    total = hashlib.sha256()
    for item in found.items:
        total.update(json.dumps([item.name, item.split, list(item.labels)]).encode())
        for file in item.files:
            name = file.relative_to(root).as_posix() if root else file.name
            total.update(json.dumps([name, hashes.of(file.absolute())]).encode())
    for note in found.notes:
        total.update(json.dumps([note.kind, note.text, list(note.items)]).encode())
    total.update(json.dumps([list(found.labels), dict(found.extra)], sort_keys=True).encode())
    return total.hexdigest()
