"""What is left of a training that has not ended: uploaded while it runs, and taken over on another machine.

It is its last checkpoint, its history and its seconds, below ``work/STAGE/KEY/`` by their content. The stage's claim
says which they are, so that nobody but its owner can point to others.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mss_core import disk
from mss_core.claim import ClaimLost
from mss_core.graph import HISTORY, WORK, Stage
from mss_core.store.remote.claim import ObjectClaim

if TYPE_CHECKING:
    from mss_core.store.remote.joined import Joined

CHECKPOINT, SECONDS = "checkpoint.pt", "seconds"
REST = 3.0
"""So many times as long as an upload took is waited before the next."""


def take_over(store: Joined, stage: Stage, claim: ObjectClaim) -> None:
    """Put what another machine has left of the stage's work where an earlier attempt's would be."""
    left = claim.work()
    if not left or (left.get("machine") == _own_name(store.root) and store.local.checkpoint_time(stage)):
        return
    partial = store.root / stage.name / f"{stage.key}.{disk.token()[:12]}.partial"
    disk.make_folder(partial / WORK)
    for name, sha256 in left["files"].items():
        target = partial / name if name == HISTORY else partial / WORK / name
        harm = store.objects.download(f"work/{stage.name}/{stage.key}/{sha256}", target, sha256)
        if harm:  # it is begun again, or goes on from what this machine has
            disk.remove(partial)
            return


class Kept:
    """What is uploaded of a training's work while it runs: its last checkpoint, history and seconds."""

    def __init__(self, store: Joined, stage: Stage, claim: ObjectClaim) -> None:
        self.store, self.stage, self.claim = store, stage, claim
        self.seen: tuple[int, int] | None = None
        self.rest_until = 0.0

    def keep(self, last: bool = False) -> bool:
        """Upload a new checkpoint and let the claim point to it; False where the claim is lost. An object store that
        does not answer is asked again the next time. What takes long is done less often, but for the ``last``."""
        if not last and disk.monotonic() < self.rest_until:
            return True
        begun = disk.monotonic()
        try:
            self._keep()
        except ClaimLost:
            return False
        except (OSError, ValueError):
            pass
        self.rest_until = disk.monotonic() + REST * (disk.monotonic() - begun)
        return True

    def _keep(self) -> None:
        partial = next(iter(self.store.local.partials(self.stage)), None)
        if partial is None or not disk.exists(partial / WORK / CHECKPOINT):
            return
        with _scratch(self.store.root) as folder:
            _same_file(partial / WORK / CHECKPOINT, folder / CHECKPOINT)  # it is replaced by a rename, and this stays
            status = disk.status(folder / CHECKPOINT)
            if (status.st_ino, status.st_mtime_ns) == self.seen:
                return
            for name, path in ((HISTORY, partial / HISTORY), (SECONDS, partial / WORK / SECONDS)):
                with contextlib.suppress(FileNotFoundError):  # read after the checkpoint: no row before it is lacking
                    disk.write(folder / name, disk.read(path))
            below = f"work/{self.stage.name}/{self.stage.key}/"
            files = {path.name: disk.checksum(path) for path in disk.entries(folder)}
            for name, sha256 in files.items():
                self.store.objects.upload(below + sha256, folder / name)
            self.claim.note({"machine": _own_name(self.store.root), "time": status.st_mtime_ns, "files": files})
            self.seen = (status.st_ino, status.st_mtime_ns)
            for name in self.store.objects.list(below):
                if name.removeprefix(below) not in files.values():
                    self.store.objects.delete(name)


def _own_name(root: Path) -> str:
    """What this machine's copies are called; other copies have another name, and so have these made anew."""
    path = root / "copies"
    disk.make_folder(root)
    with contextlib.suppress(FileExistsError), disk.opened(path, "xb") as file:
        file.write(disk.token().encode())
    return disk.read(path).decode()


def _same_file(path: Path, target: Path) -> None:
    """A second name for a file, or a copy of it where the folder's disk has no links."""
    try:
        disk.link(path, target)
    except OSError as error:
        if error.errno not in disk.NO_LINKS:
            raise
        shutil.copy2(path, target)


@contextlib.contextmanager
def _scratch(root: Path) -> Iterator[Path]:
    folder = root / ".uploads" / disk.token()
    disk.make_folder(folder)
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            disk.remove(folder)
