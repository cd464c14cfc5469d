"""A data set at the size of a rehearsal: few items, in which every source and label is there, and some seconds of each.

Of every split as many items are kept as it takes to have each source and label, in the test split twice. Of clips with
one label each, validation has two, since what is asked of them is one loss, and the test each label once and two of
them twice. What is kept of a track are the seconds in which the quietest of its sources is loudest, so that none is
silent by chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from mss_core.data.items import SPLITS, Item, Note, Reader, Sound, Survey

NEEDED = {"train": 1, "valid": 1, "test": 2}
"""Items of each source and label by split: DeLong's test needs two positive clips, a paired test two tracks."""
FEWEST = 2
"""Items of a split."""


def excerpt(found: Survey, sources: Sequence[str], seconds: float) -> Survey:
    """The survey with few items, each cut to at most ``seconds`` when it is read; notes name the items and what the
    set does not have often enough."""
    chosen: set[int] = set()
    rare = []
    for split in SPLITS:
        items = [item for item in found.items if item.split == split]
        things = [set(item.labels) | {source for source in sources if holds(item, source)} for item in items]
        there = Counter(thing for of_item in things for thing in of_item)
        wanted = dict.fromkeys((*sources, *found.labels), NEEDED[split])
        rare += [f"{thing} ({split}: {there[thing]})" for thing, times in wanted.items() if there[thing] < times]
        most = len(items)
        if split != "train" and all(len(item.labels) == 1 for item in items):
            most = FEWEST if split == "valid" else len({item.labels for item in items}) + FEWEST
        chosen |= {id(items[index]) for index in _few(things, {t: min(n, there[t]) for t, n in wanted.items()}, most)}
    items = tuple(
        replace(item, read=Excerpt(item.read, seconds), seconds=min(item.seconds, seconds))
        for item in found.items
        if id(item) in chosen
    )
    notes = [Note("excerpt", f"items of which a rehearsal reads {seconds:g} s", tuple(item.name for item in items))]
    if rare:
        notes.append(
            Note("rare", "sources or labels of which a split has fewer items than a rehearsal needs", tuple(rare))
        )
    return replace(found, items=items, notes=(*found.notes, *notes), extra={**found.extra, "excerpt": seconds})


def holds(item: Item, source: str) -> bool:
    """Whether a track has files for a source, as far as its files tell; one that is read from a single file has all."""
    read = getattr(item.read, "read", item.read)  # what is summed or cut
    rows = read.args[0] if isinstance(read, partial) else None
    return bool(rows.get(source)) if isinstance(rows, dict) else True


def _few(things: Sequence[set[str]], wanted: dict[str, int], most: int) -> list[int]:
    """Which items, at ``most`` so many, have each thing as often as wanted, by greedy choice: first those that add
    most, of equals those with what is lacked most, the earlier of equals. To them comes one that lacks what all of
    them have, where there is one: it takes another path."""
    lacking, rest = dict(wanted), list(range(len(things)))
    kept: list[int] = []
    while rest and (len(kept) < FEWEST or (len(kept) < most and any(lacking.values()))):
        lacks = [[n for thing in found if (n := lacking.get(thing, 0)) > 0] for found in things]
        best = max(rest, key=lambda index: (len(lacks[index]), sum(lacks[index])))
        kept.append(best)
        rest.remove(best)
        for thing in things[best]:
            lacking[thing] = max(0, lacking.get(thing, 0) - 1)
    common = set(wanted).intersection(*(things[index] for index in kept))
    return kept + [index for index in rest if common - things[index]][:1]


@dataclass(frozen=True)
class Excerpt:
    """Reads some seconds of an item."""

    read: Callable[[], Sound]
    seconds: float

    def __call__(self) -> Sound:
        sound = self.read()
        first, last = stretch(sound, self.seconds)
        return replace(sound, rows={row: waveform[:, first:last] for row, waveform in sound.rows.items()})

    def starts_at(self) -> float:
        """Where the excerpt begins in its item, in seconds; the item is decoded for it."""
        sound = self.read()
        return stretch(sound, self.seconds)[0] / sound.samplerate


def stretch(sound: Sound, seconds: float) -> tuple[int, int]:
    """First sample and the one after the last of the excerpt: whole seconds from the start on, those in which the
    logarithms of the sources' powers sum to most. An item without sources (a clip) is read from its start."""
    length = next(iter(sound.rows.values())).shape[-1]
    rate, wanted = sound.samplerate, round(seconds * sound.samplerate)
    sources = [waveform for row, waveform in sound.rows.items() if row != "mixture" and np.any(waveform)]
    hops = (length - wanted) // rate + 1
    if not sources or hops <= 1:
        return 0, min(length, wanted)
    power = np.stack([np.square(waveform, dtype=np.float64).mean(0) for waveform in sources])
    total = np.concatenate([np.zeros((len(power), 1)), power.cumsum(1)], axis=1)
    starts = np.arange(hops) * rate
    of_stretch = (total[:, starts + wanted] - total[:, starts]) / wanted
    first = int(starts[np.log10(np.maximum(of_stretch, 1e-10)).sum(0).argmax()])
    return first, first + wanted


def moved(reader: Reader, read: Excerpt) -> Reader:
    """Published confidences of a whole track, with times counted from where its excerpt begins."""

    def from_start() -> tuple[np.ndarray, dict[str, np.ndarray]]:
        times, values = reader()
        return times - read.starts_at(), values

    return from_start
