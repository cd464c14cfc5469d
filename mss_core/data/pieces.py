"""The scratch files of a packed set that is being built, from which a later attempt goes on.

Every attempt writes to files of its own: ``<row>.<attempt>.i16`` holds the samples that it decoded and
``packed.<attempt>.jsonl`` is its journal, with one record per item. An earlier attempt that was only paused still has
its files open; what it writes when it wakes up reaches no other attempt's files. A record counts only as far as the
samples on disk have the hash that was taken when they were decoded.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from mss_core import disk

BLOCK = 2**24
"""Bytes that are copied at a time."""

Record = dict[str, Any]
"""What is known of a decoded item, among it ``attempt`` and ``offset`` (samples), which say where its samples lie."""


def piece(work: Path, row: str, attempt: str) -> Path:
    """The file that holds what one attempt decoded of a row: int16, all items end to end."""
    return work / f"{row}.{attempt}.i16"


def journal(work: Path, attempt: str) -> Path:
    """The file of an attempt's records: a line that names the task, then one line per item."""
    return work / f"packed.{attempt}.jsonl"


def digest_of(samples: Iterable[np.ndarray]) -> str:
    """sha256 (hex) of an item's samples, row after row."""
    found = hashlib.sha256()
    for values in samples:
        found.update(np.ascontiguousarray(values).data)  # no copy: an item may be long
    return found.hexdigest()


def recover(task: str, work: Path, rows: tuple[str, ...]) -> list[Record]:
    """The records of the attempt that got farthest with this task, as far as their samples are there."""
    journals = [path for path in disk.entries(work) if fnmatch(path.name, journal(work, "*").name)]
    return max((_intact(path, task, work, rows) for path in journals), key=len, default=[])


def drop_unused(work: Path, rows: tuple[str, ...], attempts: Iterable[str], own: str) -> None:
    """Delete other journals than ``own`` and the pieces of other attempts than those given."""
    kept = {journal(work, own), *(piece(work, row, attempt) for row in rows for attempt in attempts)}
    for path in disk.entries(work):
        if path.suffix in (".jsonl", ".i16") and path not in kept:
            disk.remove(path)


def join(records: list[Record], rows: tuple[str, ...], own: str, work: Path, out: Path) -> None:
    """Make each row's file in ``out`` of the pieces, and say in each record at which sample its item starts.

    Raises OSError where a file does not hold the samples that were decoded.
    """
    lengths: dict[str, int] = {}
    start = 0
    for record in records:
        lengths[record["attempt"]] = lengths.get(record["attempt"], 0) + record["length"]
        record["start"] = start
        start += record["length"]
    files = [out / f"{row}.i16" for row in rows]
    for row, path in zip(rows, files, strict=True):
        if set(lengths) <= {own}:
            disk.rename(piece(work, row, own), path)
        else:  # an earlier attempt may still write to its own pieces, so they are copied
            with disk.opened(path, "wb") as file:
                for attempt, length in lengths.items():
                    with disk.opened(piece(work, row, attempt)) as source:
                        for first in range(0, 2 * length, BLOCK):
                            file.write(source.read(min(BLOCK, 2 * length - first)))
        size = disk.status(path).st_size
        if size != 2 * start:
            raise OSError(f"{path.name} has {size} bytes where {2 * start} were decoded")
    for record in records:
        if not record["skipped"] and _content(files, record["start"], record["length"]) != record["content"]:
            raise OSError(f"{record['name']}: the samples on disk are not the ones that were decoded")


def _intact(path: Path, task: str, work: Path, rows: tuple[str, ...]) -> list[Record]:
    """The records of a journal of this task, up to the first whose line is torn or whose samples are not there."""
    records: list[Record] = []
    with contextlib.suppress(FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
        head, *lines = disk.read(path).decode().splitlines() or ["{}"]
        if json.loads(head).get("task") != task:
            return []
        for line in lines:
            record = json.loads(line)
            if "attempt" not in record or record in records:
                break  # where a write had an error, Python may have written lines twice
            files = [piece(work, row, record["attempt"]) for row in rows]
            if not record["skipped"] and _content(files, record["offset"], record["length"]) != record["content"]:
                break
            records.append(record)
    return records


def _content(files: Iterable[Path], first: int, length: int) -> str:
    """``digest_of`` the same ``length`` samples, from ``first`` on, of several files."""
    found = hashlib.sha256()
    for path in files:
        with disk.opened(path) as file:
            file.seek(2 * first)
            for start in range(0, 2 * length, BLOCK):
                found.update(file.read(min(BLOCK, 2 * length - start)))
    return found.hexdigest()
