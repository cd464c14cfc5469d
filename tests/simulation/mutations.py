"""Guards of the project, taken away one at a time: the simulation must find what each is for.

Each mutation is a context manager. Two of them are faults that an audit found and that were mended: F1 (a packing
worker that was paused writes into the other's open file) and F2 (a commit that meets another's artefact fails).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from unittest import mock

from mss_core import claim, disk
from mss_core.claim import Claim
from mss_core.data import pieces
from mss_core.graph import HISTORY, WORK, Context
from mss_core.store import artefacts, attempts
from mss_core.store.artefacts import Store
from mss_core.study.search import journal
from tests.simulation.world import Files

Mutation = Callable[[], AbstractContextManager[Any]]


def without(target: object, name: str, answer: Any = None) -> Mutation:
    """A function that does nothing."""
    return lambda: mock.patch.object(target, name, lambda *_, **__: answer)


def instead(target: object, name: str, other: Callable[..., Any]) -> Mutation:
    return lambda: mock.patch.object(target, name, other)


class Instead:
    """The module disk as one of its readers sees it, with some calls replaced."""

    def __init__(self, **other: Callable[..., Any]) -> None:
        self.__dict__.update(other)

    def __getattr__(self, name: str) -> Any:
        return getattr(disk, name)


@contextlib.contextmanager
def one_file_for_all_attempts() -> Iterator[None]:
    """F1: pieces and journal are named by no attempt, opened to append, and nothing is verified at the end."""

    def recover(task: str, work: Path, rows: tuple[str, ...]) -> list[pieces.Record]:
        path, records, sizes = pieces.journal(work, ""), [], [0]
        with contextlib.suppress(FileNotFoundError, ValueError):
            head, *lines = disk.read(path).decode().splitlines() or ["{}"]
            for line in lines if json.loads(head).get("task") == task else ():
                records.append(json.loads(line))
                sizes.append(sizes[-1] + 2 * records[-1]["length"])
        for row in rows:
            have = disk.status(pieces.piece(work, row, "")).st_size if disk.exists(pieces.piece(work, row, "")) else 0
            records = [record for record, size in zip(records, sizes[1:], strict=False) if size <= have]
        start = sum(record["length"] for record in records)
        for row in rows:
            with disk.opened(pieces.piece(work, row, ""), "ab"):
                pass
            with disk.opened(pieces.piece(work, row, ""), "r+b") as file:
                file.truncate(2 * start)
        disk.remove(path)
        return [{**record, "attempt": "", "offset": 0} for record in records]

    def join(records: list[pieces.Record], rows: tuple[str, ...], own: str, work: Path, out: Path) -> None:
        start = 0
        for record in records:
            record["start"], start = start, start + record["length"]
        for row in rows:
            disk.rename(pieces.piece(work, row, ""), out / f"{row}.i16")

    def appending(path: Path, mode: str = "rb") -> Any:
        return disk.opened(path, "ab" if mode == "xb" else mode)

    from mss_core.data import packing

    with (
        mock.patch.object(pieces, "piece", lambda work, row, attempt: work / f"{row}.i16"),
        mock.patch.object(pieces, "journal", lambda work, attempt: work / "packed.jsonl"),
        mock.patch.object(pieces, "recover", recover),
        mock.patch.object(pieces, "join", join),
        mock.patch.object(pieces, "drop_unused", lambda *_: None),
        mock.patch.object(packing, "disk", Instead(opened=appending)),
    ):
        yield


@contextlib.contextmanager
def an_artefact_that_is_there_is_a_failure() -> Iterator[None]:
    """F2: whoever commits second fails, and nobody looks again when its folder has its own name."""
    begin, get = Store.begin, Store.get

    def publish(store: Store, stage: Any, partial: Path, held: Claim | None) -> None:
        disk.rename(partial, store.directory(stage))

    def begin_blindly(store: Store, stage: Any, held: Claim | None = None) -> Path:
        found = begin(store, stage, held)
        store.blind = True  # type: ignore[attr-defined]
        return found

    def get_once(store: Store, stage: Any, held: Claim | None = None) -> Path | None:
        if store.__dict__.pop("blind", False):
            return None
        return get(store, stage, held)

    with _patched(
        mock.patch.object(Store, "_publish", publish),
        mock.patch.object(Store, "begin", begin_blindly),
        mock.patch.object(Store, "get", get_once),
    ):
        yield


def begin_in_the_earlier_folder(directory: Path, partial: Path, held: Claim) -> None:
    """The folder of an earlier attempt gets another name, and is worked in: who has it open reaches it."""
    earlier = attempts._take_over(directory, held)
    if earlier:
        disk.rename(earlier[0], partial)
    disk.make_folder(partial / WORK)
    for path in [*disk.entries(partial), *earlier[1:]]:
        if path.name not in (WORK, HISTORY):
            disk.remove(path)
    held.check()


def careless_write(path: Path, content: Any, durable: bool = True) -> None:
    with disk.opened(path, "wb") as file:
        file.write(content) if isinstance(content, bytes) else content(file)


def unforced_write(path: Path, content: Any, durable: bool = True) -> None:
    real_write(path, content, False)


real_write, real_commit = disk.write_atomically, Store.commit


def commit_unclaimed(store: Store, stage: Any, facts: Any, held: Claim) -> Path:
    with mock.patch.object(held, "check", lambda: None):
        return real_commit(store, stage, facts, held)


def take_away_blindly(held: Claim) -> None:
    with contextlib.suppress(FileNotFoundError):
        disk.unlink(held.path)


def release_whatever_is_there(held: Claim) -> None:
    held._end_renewals()
    with contextlib.suppress(OSError):
        disk.unlink(held.path)


MUTATIONS: dict[str, Mutation] = {
    "F1: one file for all attempts": one_file_for_all_attempts,
    "F2: a second commit fails": an_artefact_that_is_there_is_a_failure,
    "a commit does not look at its claim": instead(Store, "commit", commit_unclaimed),
    "nothing is forced out": without(Files, "force_out"),
    "files are not written atomically": instead(disk, "write_atomically", careless_write),
    "what is written atomically is not forced out": instead(disk, "write_atomically", unforced_write),
    "transient errors are not waited out": lambda: _patched(
        mock.patch.object(disk, "PAUSES", ()), mock.patch.object(artefacts, "PAUSES", ())
    ),
    "a claim is taken away without a second look": instead(Claim, "_take_away", take_away_blindly),
    "a claim is released whoever has it": instead(Claim, "release", release_whatever_is_there),
    "a claim is not renewed": without(Claim, "_renew", True),
    "every process counts as dead": without(claim, "alive", False),
    "journals have no lock": lambda: _patched(
        mock.patch.object(journal.Lock, "acquire", lambda lock: True),
        mock.patch.object(journal.Lock, "check", lambda lock: None),
        mock.patch.object(journal.Lock, "release", lambda lock: None),
    ),
    "a journal's lock is not looked at again": without(journal.Lock, "check"),
    "half a line of a journal is not cut off": without(journal.Lock, "_cut"),
    "what attempts leave is not swept": without(Store, "sweep"),
    "an earlier attempt's folder is worked in": instead(attempts, "begin", begin_in_the_earlier_folder),
    "artefacts are not verified": without(artefacts, "damaged_file"),
    "history is not forced out before a checkpoint": instead(Context, "before_checkpoint", Context.guard),
    "an artefact that was found is not forced out": without(Store, "settle"),
    "a folder without manifest is believed": lambda: mock.patch.object(
        attempts, "disk", Instead(touch=lambda path: None)
    ),
}


@contextlib.contextmanager
def _patched(*patches: Any) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for patch in patches:
            stack.enter_context(patch)
        yield
