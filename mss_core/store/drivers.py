"""Which processes are running a study on a store now: the tracking and ``prune`` leave alone what is theirs.

Each leaves a file in ``<store>/drivers/`` that names its process and is touched while it lives.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import uuid
from pathlib import Path

from mss_core.claim import Claim, alive, this_process
from mss_core.graph import write_atomically

SECONDS = 300.0
"""A driver on another machine counts as gone when its file was not touched for so long."""


class Driver:
    """This process runs a study on this store, from ``start`` to ``stop``.

    Attributes:
        name: unique; what it writes to MLflow is tagged with it.
    """

    def __init__(self, root: Path, claim: Claim | None = None) -> None:
        self.root, self.claim = root, claim
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.path = root / "drivers" / f"{self.name}.json"
        self._stop = threading.Event()

    def start(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path, json.dumps(this_process()).encode(), sync=False)
        threading.Thread(target=self._touch, name="driver", daemon=True).start()

    def check(self) -> None:
        """Raise ClaimLost where another driver has taken over what this one claims; called before every table."""
        if self.claim is not None:
            self.claim.check()

    def stop(self) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            self.path.unlink()

    def _touch(self) -> None:
        while not self._stop.wait(SECONDS / 10):
            with contextlib.suppress(OSError):
                os.utime(self.path)


def living(root: Path) -> set[str]:
    """Names of the drivers that run on this store, this process among them. Files of dead ones are removed."""
    folder, found = root / "drivers", set[str]()
    if not folder.is_dir():
        return found
    now = _clock(folder)
    for path in folder.glob("*.json"):
        try:
            who, touched = json.loads(path.read_text()), path.stat().st_mtime
        except (OSError, ValueError):
            continue
        lives = alive(who)
        if now - touched < SECONDS if lives is None else lives:
            found.add(path.stem)
        elif lives is False or now - touched > 10 * SECONDS:
            with contextlib.suppress(OSError):
                path.unlink()
    return found


def _clock(folder: Path) -> float:
    """The time by the clock that stamps files there, which on a shared file system is not this machine's."""
    probe = folder / f".{uuid.uuid4().hex}"
    try:
        probe.touch()
        return probe.stat().st_mtime
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()
