"""Which processes are running a study on a store now: the tracking and ``prune`` leave alone what is theirs.

Each leaves a file in ``<store>/drivers/`` that names its process and is touched while it lives.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

from mss_core import disk
from mss_core.claim import Claim, alive, this_process

SECONDS = 300.0
"""A driver on another machine counts as gone when its file was not touched for so long."""


class Driver:
    """This process runs a study on this store, from ``start`` to ``stop``.

    Attributes:
        name: unique; what it writes to MLflow is tagged with it.
    """

    def __init__(self, root: Path, claim: Claim | None = None) -> None:
        self.root, self.claim = root, claim
        self.name = f"{disk.hostname()}-{disk.pid()}-{disk.token()[:8]}"
        self.path = root / "drivers" / f"{self.name}.json"
        self._end_touches: Callable[[], None] = lambda: None

    def start(self) -> None:
        disk.make_folder(self.path.parent)
        disk.write_atomically(self.path, json.dumps(this_process()).encode(), durable=False)
        self._end_touches = disk.every(SECONDS / 10, self._touch)

    def check(self) -> None:
        """Raise ClaimLost where another driver has taken over what this one claims; called before every table."""
        if self.claim is not None:
            self.claim.check()

    def stop(self) -> None:
        self._end_touches()
        with contextlib.suppress(OSError):
            disk.unlink(self.path)

    def _touch(self) -> None:
        with contextlib.suppress(OSError):
            disk.touch(self.path)


def living(root: Path) -> set[str]:
    """Names of the drivers that run on this store, this process among them. Files of dead ones are removed."""
    folder, found = root / "drivers", set[str]()
    if not disk.is_folder(folder):
        return found
    now = clock(folder)
    for path in disk.entries(folder):
        if path.suffix != ".json":
            continue
        who: object = None
        try:
            touched = disk.status(path).st_mtime
            who = json.loads(disk.read(path))
        except OSError:
            continue
        except ValueError:  # cut short by a loss of power: only its age tells
            pass
        lives = alive(who) if isinstance(who, dict) else None
        if now - touched < SECONDS if lives is None else lives:
            found.add(path.stem)
        elif lives is False or now - touched > 10 * SECONDS:
            with contextlib.suppress(OSError):
                disk.unlink(path)
    return found


def clock(folder: Path) -> float:
    """The time by the clock that stamps files there, which on a shared file system is not this machine's."""
    probe = folder / f".{disk.token()}.tmp"
    try:
        disk.write(probe, b"")
        return disk.status(probe).st_mtime
    finally:
        with contextlib.suppress(OSError):
            disk.unlink(probe)
