"""What a look at a data set's folder finds: items in splits, and notes about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

SPLITS = ("train", "valid", "test")
DRAWS = 200
REMARKS = ("unread", "labels", "coverage", "lengths")
"""Kinds of note about what lies beside a set or how it is spelled: they are no part of what the set is."""


@dataclass(frozen=True)
class Note:
    """Something about the data that a report must say: ``kind`` groups equal cases, ``items`` names them."""

    kind: str
    text: str
    items: tuple[str, ...] = ()


class Rows(Mapping[str, np.ndarray]):
    """Rows that are read each time they are asked for, by name."""

    def __init__(self, readers: Mapping[str, Callable[[], np.ndarray]]) -> None:
        self.readers = dict(readers)

    def __getitem__(self, row: str) -> np.ndarray:
        return self.readers[row]()

    def __iter__(self) -> Iterator[str]:
        return iter(self.readers)

    def __len__(self) -> int:
        return len(self.readers)


@dataclass(frozen=True)
class Sound:
    """A decoded item: ``{row: float32 (channel, time)}``, which may decode a row each time it is asked for
    (:class:`Rows`), so that a long track need not be in memory whole. Rows are ``"mixture"`` and, for a track, its
    sources; the sample rate in Hz; and the labels of an item that only rendering it tells."""

    rows: Mapping[str, np.ndarray]
    samplerate: int
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """One track or clip. ``read()`` decodes it, and raises BadFile where a file of it cannot be used; any other
    exception of it is a fault of ours and ends the stage.

    ``artist`` and ``seconds`` (the published duration) are empty where nothing tells them.
    """

    name: str
    split: str
    read: Callable[[], Sound]
    labels: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    artist: str = ""
    seconds: float = 0.0


Reader = Callable[[], tuple[np.ndarray, dict[str, np.ndarray]]]
"""Reads the published confidences of a track: times (s), and values by source."""


@dataclass(frozen=True)
class Survey:
    """What a data set holds: items in a fixed order, notes, the label names and whether an item has just one."""

    items: tuple[Item, ...]
    notes: tuple[Note, ...] = ()
    labels: tuple[str, ...] = ()
    single_label: bool = False
    extra: Mapping[str, object] = field(default_factory=dict)


def leaks(items: Iterable[Item]) -> tuple[Note, ...]:
    """A note that names the artists (for IRMAS, recordings) with items in more than one split."""
    where: dict[str, set[str]] = {}
    for item in items:
        where.setdefault(item.artist, set()).add(item.split)
    both = tuple(
        f"{artist} ({', '.join(s for s in SPLITS if s in splits)})"
        for artist, splits in sorted(where.items())
        if artist and len(splits) > 1
    )
    return (Note("leak", "artists with items in more than one split", both),) if both else ()


def hold_out(
    items: Iterable[Item],
    share: float,
    seed: int,
    what: str,
    notes: Iterable[Note] = (),
    by_artist: bool = False,
    things: Sequence[str] = (),
    has: Callable[[Item, str], bool] = lambda item, thing: thing in item.labels,
) -> tuple[tuple[Item, ...], tuple[Note, ...]]:
    """Give a set without a validation split one, by name and seed; anything else passes unchanged.

    With ``by_artist`` whole artists (for IRMAS, recordings) are held out until their items make up the share. Where
    the first draw lacks one of ``things`` (labels, sources), that of 200 is taken which leaves most of them on both
    sides. Where too few items are left, the error names what ``notes`` say was
    skipped.
    """
    items = tuple(items)
    if any(item.split == "valid" for item in items):
        return items, ()
    training = sorted((item for item in items if item.split == "train"), key=lambda item: item.name)
    if len(training) < 2:
        raise ValueError(
            f"data set {what!r}: no validation split, and {len(training)} training item(s) are too few "
            f"to hold one out: add some, or a validation split{skipped(notes)}"
        )
    count = min(max(1, round(share * len(training))), len(training) - 1)
    rng = np.random.default_rng([seed, 7])

    def draw() -> set[str]:
        if by_artist:
            return _whole_artists(training, count, rng)
        return {training[index].name for index in rng.permutation(len(training))[:count]}

    held = _covering(draw, training, things, has)
    moved = tuple(
        replace(item, split="valid") if item.split == "train" and item.name in held else item for item in items
    )
    note = Note(
        "split",
        f"{what} has no validation split: {len(held)} of {len(training)} training items held out (seed {seed})"
        + (", whole recordings of them" if by_artist else ""),
        tuple(sorted(held)),
    )
    return moved, (note,)


def _covering(
    draw: Callable[[], set[str]], training: list[Item], things: Sequence[str], has: Callable[[Item, str], bool]
) -> set[str]:
    """The first draw where it has everything, else the best of many."""
    held = draw()
    if all(any(has(item, thing) for item in training if item.name in held) for thing in things):
        return held
    owners = [{item.name for item in training if has(item, thing)} for thing in things]
    draws = [held, *(draw() for _ in range(DRAWS))]
    return max(draws, key=lambda names: sum(bool(of & names) and bool(of - names) for of in owners))


def _whole_artists(training: list[Item], count: int, rng: np.random.Generator) -> set[str]:
    """Names of the items of artists drawn one by one until there are at least ``count``; one artist at least stays."""
    by_artist: dict[str, list[str]] = {}
    for item in sorted(training, key=lambda item: item.name):
        by_artist.setdefault(item.artist or item.name, []).append(item.name)
    artists, held = sorted(by_artist), set[str]()
    for index in rng.permutation(len(artists))[:-1]:
        if len(held) >= count:
            break
        held.update(by_artist[artists[index]])
    return held


def require_splits(items: Iterable[Item], what: str, root: Path | None, notes: Iterable[Note] = ()) -> None:
    """Raise ValueError where a split is empty: nothing may be selected or scored on what it was trained on."""
    for split in SPLITS:
        if not any(item.split == split for item in items):
            raise ValueError(
                f"data set {what!r}{f' in {root}' if root else ''}: no {split} item; {', '.join(SPLITS)} "
                f"need one each{skipped(notes)}"
            )


def skipped(notes: Iterable[Note]) -> str:
    """The tail of an error message: what was skipped, the first five of it."""
    names = [name for note in notes if note.kind == "skipped" for name in note.items]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"; skipped: {', '.join(names[:5])}{more}" if names else ""
