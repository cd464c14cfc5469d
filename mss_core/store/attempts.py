"""The folders that attempts at a stage work in, and how a later one goes on from what earlier ones have left.

Each attempt has a folder of its own beside the artefact's place, ``<key>.<claim's owner>.partial/``, that nobody had
before. What earlier attempts have left is first renamed, so that an earlier owner that still lives has nothing to
commit; then its scratch files are linked into the new folder. A machine that remembers a folder of a file server by an
earlier name reaches the earlier folder alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from mss_core import disk
from mss_core.claim import Claim
from mss_core.graph import HISTORY, WORK
from mss_core.store.manifest import MANIFEST, is_present

LOOKS = 3
"""How often what others have left is looked for again where it went while it was looked at."""


def partial_folder(root: Path, name: str, key: str, claim: Claim | None = None) -> Path:
    """Where the owner of ``claim`` works on a stage; without one, where whoever has the claim now does."""
    owner = claim.owner if claim is not None else Claim(root / name / f"{key}.claim").holder().get("owner", "")
    return root / name / ".".join(filter(None, [key, str(owner)[:12], "partial"]))


def left(directory: Path) -> list[Path]:
    """What attempts at the artefact ``directory`` have left, the last one first."""
    found = list[str]()
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        found = [
            name
            for name in disk.names(directory.parent)
            if name.startswith(f"{directory.name}.") and name.endswith("partial")
        ]
    return sorted((directory.with_name(name) for name in sorted(found)), key=_worth, reverse=True)


def begin(directory: Path, partial: Path, claim: Claim | None) -> None:
    """Make ``partial``, with the scratch files and the history of earlier attempts at the artefact ``directory``.

    Only links are made of scratch files, and earlier folders go when all of that is on the disk: whoever dies before
    has taken nothing away. Raises ClaimLost where ``claim`` has another owner by now.
    """
    earlier = _take_over(directory, claim)
    disk.make_folder(partial / WORK)
    for folder in earlier:
        _inherit(folder, partial)
    if claim is not None:
        claim.check()  # whoever slept meanwhile leaves the folders to who has the claim now
    for folder in earlier:
        clear(folder)


def clear(path: Path) -> None:
    """Remove what can be removed of a folder."""
    with contextlib.suppress(OSError):
        disk.remove(path)


def move_back(moved: Path, directory: Path) -> None:
    """Undo a move, unless there is something else by now."""
    try:
        disk.patiently(disk.rename, moved, directory)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _take_over(directory: Path, claim: Claim | None) -> list[Path]:
    """What earlier attempts have left, the most worth first, under names that nobody else knows. An owner that lost its
    claim may be doing the same, late: what it took is looked for, too."""
    taken = list[Path]()
    for _ in range(LOOKS):
        with contextlib.suppress(FileNotFoundError):  # a machine may remember it from before a dead owner's work
            disk.touch(directory.parent)
        found = [path for path in left(directory) if path not in taken]
        if disk.is_folder(directory) and not is_present(directory):
            disk.touch(directory)  # a machine may remember it from before it had its manifest; now it looks again
            if not is_present(directory):
                found.append(directory)  # a move that was cut short
        if claim is not None:
            claim.check()  # after the look at what is there: a later owner's folder is not among it
        missed = False
        for path in found:
            aside = directory.with_name(f"{directory.name}.{disk.token()[:12]}.partial")
            try:
                disk.rename(path, aside)
                if path == directory and disk.exists(aside / MANIFEST):
                    move_back(aside, directory)
                else:
                    taken.append(aside)
            except FileNotFoundError:
                missed = True
        if not missed:
            break
    return sorted(taken, key=_worth, reverse=True)


def _inherit(earlier: Path, partial: Path) -> None:
    """Link the scratch files of an earlier attempt, and copy its history, to which it may still write. What is there
    already, of an attempt that is worth more, stays; another process may be removing these files, which it has."""
    files = list[Path]()
    with contextlib.suppress(FileNotFoundError):
        if not disk.exists(partial / HISTORY):
            disk.write_atomically(partial / HISTORY, disk.read(earlier / HISTORY))
    with contextlib.suppress(FileNotFoundError):
        files += disk.walk(earlier / WORK)
    for path in files:
        if path.suffix == ".tmp" or path.name.startswith(".nfs"):
            continue
        target = partial / path.relative_to(earlier)
        if path.parent != earlier / WORK:
            disk.make_folder(target.parent)
        with contextlib.suppress(FileNotFoundError):
            disk.link_or_move(path, target)
    for folder in sorted({partial / path.parent.relative_to(earlier) for path in files}):
        disk.force_out(folder)


def _worth(partial: Path) -> tuple[float, int, float]:
    """What to go on from first: the latest checkpoint, else the most that is in the scratch folder, else the latest."""
    work = partial / WORK
    kept = [status for path in disk.entries(work) if (status := _status(path)) is not None]
    times = [status.st_mtime for path in (work, partial) if (status := _status(path)) is not None]
    checkpoint = _status(work / "checkpoint.pt")
    return checkpoint.st_mtime if checkpoint else 0.0, sum(status.st_size for status in kept), max(times, default=0.0)


def _status(path: Path) -> os.stat_result | None:
    """Size and times of what is there; None where nothing is."""
    try:
        return disk.patiently(disk.status, path)
    except FileNotFoundError:
        return None
