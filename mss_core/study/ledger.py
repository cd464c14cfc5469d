"""The append-only record of what a study declared, and of what was known by then.

Before the first stage of every run starts, one line is added to ``declarations.jsonl`` in the study's folder: the time,
the declaration and its hash, the commit, the seeds, the trials that had scores already, and the hash of the line
before. The report reads it: only a declaration that was there before any score was "declared before the run", and a
later one is a deviation. The chain of hashes shows a line that was edited or taken out.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mss_core import disk
from mss_core.graph import digest, plain

NAME = "declarations.jsonl"
TURNS = ".declarations"
"""Holds each line as a file of its own, named by its number, which only one driver can make: the ledger is written of
these, and none is lost where a driver sleeps past its claim and another goes on."""


def record(
    folder: Path,
    declaration: Mapping[str, Any],
    scored: Collection[str],
    commit: str,
    only: Sequence[str] = (),
    guard: Callable[[], None] = lambda: None,
) -> None:
    """Append one line to the ledger below ``folder``, on disk before this returns.

    The file is replaced as a whole: no loss of power leaves half a line. Half a line that lies at its end, of a copy or
    of a full disk, was followed by no stage and is left out. Two drivers that write at one time both have their line.

    Args:
        declaration: as it will stand in study.json.
        scored: the planned trials that have scores already; the study's last results tell it of others.
        only: the variants and controls that this run was told to run, where it leaves some out.
        guard: called before the line is written; it raises where this process is the study's driver no more.
    """
    disk.make_folder(folder / TURNS)
    while True:
        before = lines(folder)
        line = {
            "time": datetime.datetime.fromtimestamp(disk.wall(), datetime.UTC).isoformat(timespec="seconds"),
            "declared": digest(declaration),
            "commit": commit,
            "seeds": list(declaration.get("seeds", ())),
            "scored": sorted({*scored} | reported(folder)),
            "declaration": plain(declaration),
            "previous": hashlib.sha256(before[-1]).hexdigest() if before else "",
            **({"only": list(only)} if only else {}),
        }
        found = [*before, json.dumps(line, sort_keys=True).encode()]
        guard()
        if _first(_turn(folder, len(found)), found[-1]):
            break
        disk.sleep(1.0)  # this machine does not see yet what another has written
    written: list[bytes] = []
    while len(found) > len(written):
        written = found
        disk.write_atomically(folder / NAME, b"".join(line + b"\n" for line in written))
        found = lines(folder)


def lines(folder: Path) -> list[bytes]:
    """The ledger's lines, those included that ``NAME`` lacks: a driver that slept while it replaced that file may have
    put an older one over a newer."""
    path = folder / NAME
    content = disk.read(path) if disk.exists(path) else b""
    found = content[: content.rfind(b"\n") + 1].splitlines()
    with contextlib.suppress(FileNotFoundError):
        while True:
            found.append(disk.patiently(disk.read, _turn(folder, len(found) + 1)))
    return found


def _turn(folder: Path, number: int) -> Path:
    return folder / TURNS / f"{number:05}.json"


def _first(path: Path, content: bytes) -> bool:
    """Write a file that nobody has written before, whole or not at all; whether it was the first."""
    mine = path.with_name(f".{path.name}.{disk.token()}.tmp")
    try:
        with disk.opened(mine, "wb") as file:
            file.write(content)
            disk.sync(file)
        try:
            disk.patiently(disk.link, mine, path)
        except OSError as error:
            if error.errno not in disk.NO_LINKS:
                raise
            with disk.opened(path, "xb") as file:
                file.write(content)
                disk.sync(file)
    except FileExistsError:  # perhaps by this very call, whose answer was lost
        if disk.patiently(disk.read, path) != content:
            return False
    finally:
        with contextlib.suppress(OSError):
            disk.unlink(mine)
    disk.force_out(path.parent)
    return True


def reported(folder: Path) -> set[str]:
    """The trials that have scores in a study's last results: also those of more seeds than are asked for now.

    Raises ValueError naming the file where it is damaged.
    """
    path = folder / "study.json"
    try:
        trials = json.loads(disk.read(path))["trials"] if disk.exists(path) else []
        return {trial["trial"] for trial in trials if trial["status"] == "done"}
    except (ValueError, LookupError, TypeError):
        raise ValueError(
            f"{path} is damaged; move it away and give the same command again: the tables are made anew of what the "
            "store holds"
        ) from None


def most_seeds(folder: Path) -> int:
    """Seeds of the variant that has scores of the most, as the study's ledger and last results know it."""
    seen = reported(folder)
    for line in lines(folder):
        with contextlib.suppress(ValueError):  # a damaged line: the report says so
            seen |= {*json.loads(line)["scored"]}
    return max(Counter(name.rpartition("/seed")[0] for name in seen).values(), default=0)
