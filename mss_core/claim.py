"""A claim on one key of a shared directory: computed by one worker at a time, taken over when its owner dies.

The claim is a file made with O_EXCL that names its owner. A thread renews its time stamp; a claim whose stamp is
older than ``seconds``, or whose process on this machine is gone, may be taken over by renaming it away (only one
can win that rename). The store's manifest, not the claim, decides what is true: a claim only avoids double work.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType


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

    def __enter__(self) -> Claim:
        while not self._acquire():
            time.sleep(self.poll)
        self._thread = threading.Thread(target=self._renew, name="claim", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 traceback: TracebackType | None) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if not self._lost.is_set() and self._is_ours():
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()

    def check(self) -> None:
        """Raise ClaimLost unless the claim is still ours."""
        if self._lost.is_set() or not self._is_ours():
            self._lost.set()
            raise ClaimLost(f"another worker took over {self.path.name}")

    def _acquire(self) -> bool:
        me = {"owner": self.owner, "host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}
        try:
            handle = os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        except FileExistsError:
            if self._is_stale():
                self._take_away()
            return False
        with os.fdopen(handle, "w") as file:
            json.dump(me, file)
            file.flush()
            os.fsync(file.fileno())
        return True

    def _is_ours(self) -> bool:
        return _read(self.path).get("owner") == self.owner

    def _is_stale(self) -> bool:
        try:
            age = time.time() - self.path.stat().st_mtime
        except FileNotFoundError:
            return False
        content = _read(self.path)
        if content.get("host") == socket.gethostname() and "pid" in content:
            if _started(content["pid"]) != content.get("started"):
                return True
        return age > self.seconds

    def _take_away(self) -> None:
        """Rename a stale claim away. Re-read what was moved: if it was renewed meanwhile, put it back."""
        aside = self.path.with_name(f"{self.path.name}.{self.owner}")
        try:
            self.path.rename(aside)
        except FileNotFoundError:
            return
        stale = Claim(aside, self.seconds)._is_stale()
        if not stale:
            with contextlib.suppress(FileExistsError):
                os.link(aside, self.path)
        aside.unlink(missing_ok=True)

    def _renew(self) -> None:
        while not self._stop.wait(self.seconds / 6):
            if not self._is_ours():
                self._lost.set()
                return
            with contextlib.suppress(OSError):
                os.utime(self.path)


def _read(path: Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        return {}
    return content if isinstance(content, dict) else {}


def _started(pid: int) -> str | None:
    """The start time of a process on this machine (so that a reused number is not mistaken), or None if gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
        try:  # no /proc on this system
            os.kill(pid, 0)
        except OSError:
            return None
        return "alive"
    return None if fields[0] == "Z" else fields[19]
