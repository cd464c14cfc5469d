"""The journal file of a search on a disk that machines may share: its lock, and what a kill leaves of it."""

from __future__ import annotations

import json
from pathlib import Path

from optuna.storages.journal import JournalFileOpenLock

from mss_core import disk
from mss_core.claim import Claim

LOCK_SECONDS = 30.0
"""A journal's lock that was not renewed for so long, by the clock of whoever waits, is taken over."""


class Lock(JournalFileOpenLock):
    """The lock of a journal: a claim. Optuna's own locks do not say whose they are, and are judged by two clocks."""

    def __init__(self, path: Path, seconds: float = LOCK_SECONDS) -> None:
        self.path, self.seconds = path, seconds
        self._claim: Claim | None = None

    def acquire(self) -> bool:
        self._claim = Claim(self.path, self.seconds, poll=0.001).__enter__()
        return True

    def release(self) -> None:
        if self._claim is not None:
            self._claim.release()
            self._claim = None


def mend(path: Path) -> None:
    """Cut off the last line of a journal where a kill left half of it; the next one would be written behind it.

    Raises ValueError naming the first whole line that is none of a journal's.
    """
    lock = Lock(Path(f"{path}.lock"))
    lock.acquire()
    try:
        content = disk.read(path) if disk.exists(path) else b""
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            with disk.opened(path, "r+b") as file:
                file.truncate(whole)
    finally:
        lock.release()
    for number, line in enumerate(content[:whole].split(b"\n")[:-1], start=1):
        try:
            json.loads(line)
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: not an entry of a search's journal ({error}); move the file away and give the "
                "same command again: the search starts anew, and trainings that the store has are not repeated"
            ) from None
