"""The journal file of a search on a disk that machines may share: its lock, and what a kill leaves of it."""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from pathlib import Path

from optuna.storages.journal import JournalFileOpenLock

from mss_core.claim import machine, started

LOCK_SECONDS = 10
"""A journal's lock that is older belongs to a machine that died holding it."""


class Lock(JournalFileOpenLock):
    """The lock of a journal: a file that names its owner, so that one left by a killed process is taken at once.

    Optuna's own locks do not say whose they are and are waited for until they have aged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def acquire(self) -> bool:
        mine = self.path.with_name(f"{self.path.name}.{uuid.uuid4().hex}")
        mine.write_text(json.dumps([machine(), os.getpid(), started(os.getpid())]))
        wait = 0.001
        try:
            while True:
                try:
                    os.link(mine, self.path)  # unlike a new file, it has its content from the start
                    return True
                except FileExistsError:
                    if _is_stale(self.path):
                        self._take_away(mine.with_name(f"{mine.name}.stale"))
                        continue
                time.sleep(wait)
                wait = min(2 * wait, 0.05)
        finally:
            mine.unlink()

    def release(self) -> None:
        self.path.unlink(missing_ok=True)

    def _take_away(self, aside: Path) -> None:
        """Move a stale lock away; one that somebody else took meanwhile is put back."""
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(aside)
            if not _is_stale(aside):
                with contextlib.suppress(FileExistsError):
                    os.link(aside, self.path)
            aside.unlink()


def _is_stale(path: Path) -> bool:
    try:
        where, process, since = json.loads(path.read_text())
        age = time.time() - path.stat().st_mtime
    except (FileNotFoundError, ValueError):
        return False
    return age > LOCK_SECONDS or (where == machine() and started(process) != since)


def mend(path: Path) -> None:
    """Cut off the last line of a journal where a kill left half of it; the next one would be written behind it."""
    content = path.read_bytes() if path.exists() else b""
    if content and not content.endswith(b"\n"):
        with open(path, "r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
