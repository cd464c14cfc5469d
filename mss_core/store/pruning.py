"""Deleting what is of no use to any study of a store."""

from __future__ import annotations

from pathlib import Path

from mss_core import disk
from mss_core.graph import WORK
from mss_core.store.catalogue import KEY, artefacts, named, size_of, stage_folders
from mss_core.store.drivers import clock, living
from mss_core.store.manifest import MANIFEST


def prune(root: Path, delete: bool) -> int:
    """Show, or delete, what no study names: artefacts, unfinished and damaged ones, logs of failures.

    Raises ValueError where a study is running on the store, or where it holds no study at all.
    """
    running = living(root)
    if running:
        raise ValueError(
            f"a study is running on {root} ({', '.join(sorted(running))}): what it makes is named by no "
            "study until it ends; prune afterwards"
        )
    if not any(disk.exists(study / "study.json") for study in disk.entries(root / "studies")):
        raise ValueError(f"{root}/studies names no study: everything would go. Delete the folder if you mean that")
    owners, now = named(root, artefacts(root)), clock(root)
    gone: list[tuple[Path, int]] = []
    for stage in stage_folders(root):
        inside = disk.entries(stage)
        for path in sorted([*inside, *(path / WORK for path in inside if disk.exists(path / WORK))]):
            key = (path.parent.name if path.name == WORK else path.name.removeprefix("."))[:64]
            if path.name == WORK and not (KEY.fullmatch(path.parent.name) and disk.exists(path.with_name(MANIFEST))):
                continue
            if not KEY.fullmatch(key) or (owners.get(key) and ".damaged-" not in path.name and not _is_left_over(path)):
                continue
            if disk.is_folder(path) or _is_old(path, now):
                if path.suffix == ".claim" or not _is_claimed(stage / f"{key}.claim", now):
                    gone.append((path, _on_disk(path)))
    gone += [(path, _on_disk(path)) for path in _strays(root) if _is_old(path, now)]
    for path, amount in gone:
        print(f"{'deleted' if delete else 'would delete'} {path.relative_to(root)}  {size_of(amount)}")
        if delete:
            try:
                discard(path)
            except OSError as error:  # a file server keeps a file that somebody reads
                print(f"not all of {path.relative_to(root)} could be deleted: {error.strerror}; prune again later")
    total = size_of(sum(amount for _, amount in gone))
    print(f"{len(gone)} entries, {total}" + ("" if delete or not gone else ": prune --delete deletes them"))
    return 0


def _is_left_over(path: Path) -> bool:
    """Whether an entry is of no use although its key is: of an earlier prune, a claim that nobody renews (what is not
    old is left alone), or work beside or in a committed artefact."""
    if path.name.endswith((".pruned", ".claim")) or ".claim." in path.name or path.name == WORK:
        return True
    return path.name.endswith((".partial", ".log")) and disk.exists(path.with_name(path.name[:64]) / MANIFEST)


def _strays(root: Path) -> list[Path]:
    """What drivers that died have left outside of the stages' folders: claims on studies, files half written."""
    claims = [path for path in disk.entries(root) if path.name.startswith(".") and ".claim" in path.name]
    studies = disk.entries(root / "studies")
    hidden = [path for study in studies for path in disk.entries(study) if path.name.startswith(".")]
    folders = [root, root / "drivers", root / "sources", *studies, *filter(disk.is_folder, hidden)]
    inside = [path for folder in folders for path in disk.entries(folder) if path.name.startswith(".")]
    files = [path for path in inside if not disk.is_folder(path)]
    return claims + [path for path in files if path.suffix == ".tmp"]


def _is_old(path: Path, now: float) -> bool:
    """Whether nobody has touched a file for an hour, by the clock that stamps files there."""
    try:
        return now - disk.status(path, follow=False).st_mtime > 3600
    except FileNotFoundError:
        return False


def _is_claimed(claim: Path, now: float) -> bool:
    """Whether somebody may be at a stage: those who live renew their claims."""
    return disk.exists(claim) and not _is_old(claim, now)


def discard(path: Path) -> None:
    aside = path
    if (
        disk.is_folder(path, follow=False) and path.name != WORK and not path.name.endswith(".pruned")
    ):  # a reader sees all of it or nothing
        aside = path.with_name(f".{path.name}.pruned")
        disk.rename(path, aside)
    disk.remove(aside)


def _on_disk(path: Path) -> int:
    files = disk.walk(path) if disk.is_folder(path, follow=False) else [path]
    return sum(disk.status(file, follow=False).st_size for file in files)
