"""A claim on one key of a shared directory: computed by one worker at a time, taken over when its owner dies.

The claim is a file made with O_EXCL that names its owner. A thread renews its time stamp. It may be taken over where
its owner's process on this machine is gone, or where whoever waits has seen no renewal for ``seconds`` of its own
clock: the clocks of two machines are never compared. Taking over is renaming it away, and only one can win that. The
store's manifest, not the claim, decides what is true: a claim only avoids double work.

A claim that cannot be read is not somebody else's: transient errors are waited out, and one that stays is raised.
"""

from __future__ import annotations

import contextlib
import errno
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mss_core import disk
from mss_core.disk import patiently


class ClaimLost(RuntimeError):
    """Another worker took this stage over: whatever this one has must not be written."""


class Claim:
    """A context manager that waits until the claim is ours and releases it at the end."""

    def __init__(self, path: Path, seconds: float = 60.0, poll: float = 0.2) -> None:
        self.path, self.seconds, self.poll = path, seconds, poll
        self.owner = disk.token()
        self._lost = threading.Event()
        self._end_renewals: Callable[[], None] = lambda: None
        self._seen: tuple[str, int] | None = None
        self._seen_at, self._holder_lives = 0.0, False

    def __enter__(self) -> Claim:
        begun = disk.monotonic()
        while not self.acquire():
            self._wait(begun)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()

    def acquire(self) -> bool:
        """Take the claim if it is free; otherwise look whether its owner is dead, and say no."""
        if not self._create():
            if self._is_stale():
                self._take_away()
            return False
        self._end_renewals = disk.every(self.seconds / 6, self._renew)
        return True

    def release(self) -> None:
        """Give the claim back, if it is still ours; afterwards ``lost`` says whether it was."""
        self._end_renewals()
        with contextlib.suppress(OSError):  # it cannot be read or removed: it is not renewed any more, and ages
            if not self._is_ours():
                self._lost.set()
            if not self.lost and not self._move_away(lambda aside: _read(aside).get("owner") == self.owner):
                self._lost.set()

    @property
    def lost(self) -> bool:
        """Whether another worker has been seen to own the claim."""
        return self._lost.is_set()

    def acquire_or_refuse(self) -> bool:
        """Take the claim, waiting only to see whether its owner is dead; False where it lives."""
        first, begun = None, disk.monotonic()
        while not self.acquire():
            first = first or self._seen
            if self._seen != first or self._holder_lives:
                return False
            self._wait(begun)
        return True

    def check(self) -> None:
        """Raise ClaimLost unless the claim is still ours, OSError where that cannot be read."""
        if self.lost or not self._is_ours():
            self._lost.set()
            raise ClaimLost(f"another worker took over {self.path.name}")

    def holder(self) -> dict:
        """Who has the claim: owner, host, pid; empty where nobody has."""
        return _read(self.path)

    def free(self, process: Mapping[str, Any]) -> None:
        """Take the claim away from a process that is known to be dead, described as by ``this_process``; nobody else's,
        and not one that is renewed meanwhile."""
        holder, seen = _look(self.path)
        if seen is not None and all(name in holder and holder[name] == value for name, value in process.items()):
            self._seen = seen
            self._take_away()

    def _create(self) -> bool:
        me = {"owner": self.owner, "host": disk.hostname(), **this_process()}
        try:
            file = disk.opened(self.path, "xb")
        except FileExistsError:
            return False
        try:
            with file:
                file.write(json.dumps(me).encode())
                disk.sync(file)
        except OSError as error:  # a full disk: an empty claim would only make others wait
            self._move_away(lambda aside: _read(aside).get("owner") in (None, self.owner))
            if error.errno == errno.ESTALE:  # somebody took it away for dead before it was whole
                return False
            raise
        return True

    def _is_ours(self) -> bool:
        return _read(self.path).get("owner") == self.owner

    def _wait(self, begun: float) -> None:
        """Sleep before the next look: the longer it takes, the less often one is taken, for many may wait for one."""
        disk.sleep(max(self.poll, min((disk.monotonic() - begun) / 10, self.seconds / 12)))

    def _is_stale(self) -> bool:
        """Whether the claim that is there now may be taken over; ``_seen`` and ``_holder_lives`` say what was seen."""
        content, seen = _look(self.path)
        if seen is None:
            return False
        if seen != self._seen:
            self._seen, self._seen_at = seen, disk.monotonic()
        lives = alive(content)
        self._holder_lives = bool(lives)
        return lives is False or disk.monotonic() - self._seen_at > self.seconds

    def _take_away(self) -> None:
        """Remove a stale claim; not one that was made or renewed since it was seen to be stale."""
        self._move_away(lambda aside: _look(aside)[1] == self._seen)

    def _move_away(self, meant: Callable[[Path], bool]) -> bool:
        """Rename the claim away and delete it, or put it back if it is not the one that was meant."""
        aside = self.path.with_name(f"{self.path.name}.{self.owner}")
        try:
            disk.move(self.path, aside)
        except FileNotFoundError:
            return False
        right = meant(aside)
        if not right:
            with contextlib.suppress(OSError):  # somebody has a new one, or the disk has no links: its owner will see
                patiently(disk.link, aside, self.path)
        with contextlib.suppress(FileNotFoundError):
            patiently(disk.unlink, aside)
        return right

    def _renew(self) -> bool:
        with contextlib.suppress(OSError):
            if not self._is_ours():
                self._lost.set()
            else:
                disk.touch(self.path)
        return not self.lost


def _read(path: Path) -> dict[str, Any]:
    """A claim's content; empty where there is none, or one not written to its end. OSError where it cannot be read."""
    try:
        content = json.loads(patiently(disk.read, path))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _look(path: Path) -> tuple[dict[str, Any], tuple[str, int] | None]:
    """A claim's content, and its owner with the file's time stamp; None for these where there is no file."""
    content = _read(path)
    try:
        return content, (str(content.get("owner")), patiently(disk.status, path).st_mtime_ns)
    except FileNotFoundError:
        return content, None


# ---- processes


def this_process() -> dict[str, Any]:
    """What others may know this process by; ``alive`` reads it."""
    pid = disk.pid()
    return {"machine": disk.machine(), "pid": pid, "started": disk.started(pid), "uid": disk.uid()}


def alive(process: Mapping[str, Any]) -> bool | None:
    """Whether a process that described itself by ``this_process`` lives; None where that cannot be seen from here.

    Only this user's processes on this machine are looked at: systems may hide the others (``hidepid``).
    """
    if process.get("machine") != disk.machine() or process.get("uid") != disk.uid() or "pid" not in process:
        return None
    return disk.started(process["pid"]) == process.get("started")
