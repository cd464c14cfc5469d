"""The journal file of a search on a disk that machines may share: its lock, and what a kill leaves of it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from mss_core import disk
from mss_core.claim import Claim, ClaimLost

LOCK_SECONDS = 30.0
"""A journal's lock that was not renewed for so long, by the clock of whoever waits, is taken over."""


class Lock(JournalFileOpenLock):
    """The lock of a journal: a claim. Optuna's own locks do not say whose they are, and are judged by two clocks."""

    def __init__(self, journal: Path, seconds: float = LOCK_SECONDS) -> None:
        self.journal, self.path, self.seconds = journal, Path(f"{journal}.lock"), seconds
        self._claim: Claim | None = None

    def acquire(self) -> bool:
        self._claim = Claim(self.path, self.seconds, poll=0.001).__enter__()
        try:
            self._cut()
        except BaseException:
            self.release()
            raise
        return True

    def release(self) -> None:
        if self._claim is not None:
            self._claim.release()
            self._claim = None

    def check(self) -> None:
        """Raise ClaimLost where this process has slept, and another has the lock."""
        assert self._claim is not None
        self._claim.check()

    @contextlib.contextmanager
    def opened(self, mode: str) -> Iterator[Any]:
        """The journal, open to change it. What others have written since this process got the lock would be lost: so
        the lock is looked at once more when the file is open."""
        with disk.opened(self.journal, mode) as file:
            self.check()
            yield file
            disk.sync(file)

    def _cut(self) -> None:
        """Cut off the last line where a kill left half of it: the next one would be written behind it."""
        if disk.exists(self.journal):
            with disk.opened(self.journal) as file:
                file.seek(max(0, disk.status(self.journal).st_size - 1))
                whole = file.read() in (b"", b"\n")
            if not whole:
                size = disk.read(self.journal).rfind(b"\n") + 1
                with self.opened("r+b") as file:
                    file.truncate(size)


class Journal(JournalFileBackend):
    """A search's journal: Optuna's, but that whoever loses the lock before it writes gets the lock again."""

    def __init__(self, path: Path) -> None:
        self.lock = Lock(path)
        super().__init__(str(path), lock_obj=self.lock)

    def append_logs(self, logs: Sequence[Mapping[str, Any]]) -> None:
        content = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        while not self._append(content):
            pass

    def _append(self, content: bytes) -> bool:
        with contextlib.suppress(ClaimLost):
            self.lock.acquire()
            try:
                with self.lock.opened("ab") as file:
                    file.write(content)
                return True
            finally:
                self.lock.release()
        return False


def opened(path: Path) -> Journal:
    """The journal at ``path``, made with its folder where it is new, mended where it is not."""
    disk.make_folder(path.parent)
    mend(path)
    found = Journal(path)  # which makes the file
    disk.force_out(path.parent)
    return found


def mend(path: Path) -> None:
    """Cut off the last line of a journal where a kill left half of it.

    Raises ValueError naming the first whole line that is none of a journal's.
    """
    lock = Lock(path)
    lock.acquire()
    try:
        content = disk.read(path) if disk.exists(path) else b""
    finally:
        lock.release()
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            json.loads(line)
        except ValueError as error:
            raise ValueError(
                f"{path}, line {number}: not an entry of a search's journal ({error}); move the file away and give the "
                "same command again: the search starts anew, and trainings that the store has are not repeated"
            ) from None
