"""A claim on one key of a shared directory: computed by one worker at a time, taken over when its owner dies.

The claim is a file made with O_EXCL that names its owner. A thread renews its time stamp. It may be taken over where
its owner's process on this machine is gone, or where whoever waits has seen no renewal for ``seconds`` of its own
clock: the clocks of two machines are never compared. Taking over is renaming it away, and only one can win that. The
store's manifest, not the claim, decides what is true: a claim only avoids double work.

A claim that cannot be read is not somebody else's: transient errors are waited out, and one that stays is raised.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from mss_core.disk import patiently


class ClaimLost(RuntimeError):
    """Another worker took this stage over: whatever this one has must not be written."""


class Claim:
    """A context manager that waits until the claim is ours and releases it at the end."""

    def __init__(self, path: Path, seconds: float = 60.0, poll: float = 0.2) -> None:
        self.path, self.seconds, self.poll = path, seconds, poll
        self.owner = uuid.uuid4().hex
        self._stop = threading.Event()
        self._lost = threading.Event()
        self._thread: threading.Thread | None = None
        self._seen: tuple[str, int] | None = None
        self._seen_at = 0.0

    def __enter__(self) -> Claim:
        begun = time.monotonic()
        while not self.acquire():  # the longer it takes, the less often it is asked: many may wait for one
            time.sleep(max(self.poll, min((time.monotonic() - begun) / 10, self.seconds / 12)))
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
        self._thread = threading.Thread(target=self._renew, name="claim", daemon=True)
        self._thread.start()
        return True

    def release(self) -> None:
        """Give the claim back, if it is still ours; afterwards ``lost`` says whether it was."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with contextlib.suppress(OSError):  # it cannot be read or removed: it is not renewed any more, and ages
            if not self._is_ours():
                self._lost.set()
            if not self.lost:
                patiently(self.path.unlink)

    @property
    def lost(self) -> bool:
        """Whether another worker has been seen to own the claim."""
        return self._lost.is_set()

    def acquire_or_refuse(self) -> bool:
        """Take the claim, waiting only to see whether its owner is dead; False where it lives."""
        first = None
        while not self.acquire():
            seen, content = _stamp(self.path), _read(self.path)
            first = first or seen
            if seen is not None and (seen != first or alive(content)):
                return False
            time.sleep(self.poll)
        return True

    def check(self) -> None:
        """Raise ClaimLost unless the claim is still ours, OSError where that cannot be read."""
        if self.lost or not self._is_ours():
            self._lost.set()
            raise ClaimLost(f"another worker took over {self.path.name}")

    def holder(self) -> dict:
        """Who has the claim: owner, host, pid; empty where nobody has."""
        return _read(self.path)

    def _create(self) -> bool:
        me = {"owner": self.owner, "host": socket.gethostname(), **this_process()}
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            return False
        try:
            with os.fdopen(handle, "w") as file:
                json.dump(me, file)
                file.flush()
                os.fsync(file.fileno())
        except OSError:  # a full disk: an empty claim would only make others wait
            self.path.unlink(missing_ok=True)
            raise
        return True

    def _is_ours(self) -> bool:
        return _read(self.path).get("owner") == self.owner

    def _is_stale(self) -> bool:
        seen = _stamp(self.path)
        if seen is None:
            return False
        if alive(_read(self.path)) is False:
            self._seen = seen
            return True
        if seen != self._seen:
            self._seen, self._seen_at = seen, time.monotonic()
        return time.monotonic() - self._seen_at > self.seconds

    def _take_away(self) -> None:
        """Rename a stale claim away. If what was moved is not what was seen to be stale, put it back."""
        aside = self.path.with_name(f"{self.path.name}.{self.owner}")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return
        if _stamp(aside) != self._seen:
            with contextlib.suppress(OSError):  # somebody has a new one, or the disk has no links: its owner will see
                os.link(aside, self.path)
        aside.unlink(missing_ok=True)

    def _renew(self) -> None:
        while not self._stop.wait(self.seconds / 6):
            with contextlib.suppress(OSError):
                if not self._is_ours():
                    self._lost.set()
                    return
                os.utime(self.path)


def _read(path: Path) -> dict[str, Any]:
    """A claim's content; empty where there is none, or one not written to its end. OSError where it cannot be read."""
    try:
        content = json.loads(patiently(path.read_text))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _stamp(path: Path) -> tuple[str, int] | None:
    """Owner and time stamp of a claim file; None where there is none."""
    owner = str(_read(path).get("owner"))
    try:
        return owner, patiently(path.stat).st_mtime_ns
    except FileNotFoundError:
        return None


# ---- processes


def this_process() -> dict[str, Any]:
    """What others may know this process by; ``alive`` reads it."""
    return {"machine": machine(), "pid": os.getpid(), "started": started(os.getpid()), "uid": os.getuid()}


def alive(process: Mapping[str, Any]) -> bool | None:
    """Whether a process that described itself by ``this_process`` lives; None where that cannot be seen from here.

    Only this user's processes on this machine are looked at: systems may hide the others (``hidepid``).
    """
    if process.get("machine") != machine() or process.get("uid") != os.getuid() or "pid" not in process:
        return None
    return started(process["pid"]) == process.get("started")


def machine() -> str:
    """What process numbers are valid in: this host since it was started, and this container."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    except OSError:  # no /proc on this system; two machines may have one name
        parts.append(f"{uuid.getnode():012x}")
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def started(pid: int) -> str | None:
    """The start time of a process on this machine (so that a reused number is not mistaken), or None if gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except PermissionError:
        return "alive"
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
        try:  # no /proc on this system
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return "alive"
    return None if fields[0] == "Z" else fields[19]
