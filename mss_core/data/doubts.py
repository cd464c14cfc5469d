"""What can be known of a data set before anything is trained on it: labels that cannot be learned or scored, sources
that never sound in a split, the same audio twice."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from pathlib import Path

from mss_core import audio
from mss_core.bad_file import BadFile
from mss_core.data.items import REMARKS, Item, Note, Survey

EMPTY = ("nan", "none", "null", "na", "n/a", "<na>", "#n/a", "nat")
SILENCE = 1.5 / 32767
"""A row whose peak is below this is silent: digital silence, or dither of one bit."""


def cautions(what: str, found: Survey, digest: Callable[[Path], str]) -> list[str]:
    """What a user must hear of a set before anything is trained on it, a line each; ``digest`` of a file's content."""
    told = [(note.text, note.items) for note in found.notes if note.kind in REMARKS]
    same = twins(
        (item.name, item.split, item.labels, "".join(map(digest, item.files))) for item in found.items if item.files
    )
    told += [("the same audio in more than one split, or under other labels", tuple(same))] if same else []
    return [
        f"data set {what}: {text}: {', '.join(items[:5])}{f' and {len(items) - 5} more' if len(items) > 5 else ''}"
        for text, items in told
    ]


def spelling(labels: Iterable[str]) -> list[Note]:
    """A note that names labels which look like several joined in one, or like two spellings of one."""
    spellings: dict[str, list[str]] = {}
    for label in sorted(labels):
        seen = "".join(letter for letter in label.casefold() if unicodedata.category(letter) != "Cf")
        spellings.setdefault("".join(seen.replace("_", " ").replace("-", " ").split()), []).append(label)
    same = [" and ".join(map(repr, group)) for group in spellings.values() if len(group) > 1]
    every = {label for group in spellings.values() for label in group}
    joined = [
        repr(label) for label in sorted(every) if re.search(r"[,|\[\]{}\t]", label) or every.issuperset(_parts(label))
    ]
    gone = [repr(label) for label in sorted(every) if label.casefold() in EMPTY]
    notes = []
    if gone:
        notes.append(Note("labels", "looks like an empty cell as a program wrote it", tuple(gone)))
    if joined:
        notes.append(Note("labels", "looks like several labels; separate them with ;", tuple(joined)))
    if same:
        notes.append(Note("labels", "labels that differ by case, blanks or hyphens only", tuple(same)))
    return notes


def _parts(label: str) -> list[str]:
    """The labels that one may be joined of; no label where it is not divided.

    >>> _parts("rock/pop"), _parts("hip hop"), _parts("rock")
    (['rock', 'pop'], ['hip', 'hop'], [''])
    """
    parts = [part for part in re.split(r"[/+&:]+|\s+", label) if part]
    return parts if len(parts) > 1 else [""]


def coverage(items: Sequence[Item], labels: Sequence[str]) -> list[Note]:
    """Notes that name the labels which a split has in none or all of its items."""
    notes = []
    for split, none_effect, all_effect in (
        ("train", "never learned", "nothing to tell apart"),
        ("valid", "no part in what is kept", "no part in what is kept"),
        ("test", "no score", "no score"),
    ):
        none, everywhere, _ = _covered(items, labels, split)
        for names, which, effect in ((none, "no", none_effect), (everywhere, "every", all_effect)):
            if names:
                notes.append(Note("coverage", f"labels of {which} {split} item: {effect}", names))
    return notes


def require_labels(what: str, items: Sequence[Item], labels: Sequence[str], fewest: int = 1) -> None:
    """Raise ValueError where no label at all can be learned (train) or scored (test) in a split of ``fewest`` items or
    more: nothing is trained for that."""
    for split, done in (("train", "learned"), ("test", "scored")):
        none, everywhere, counts = _covered(items, labels, split)
        count = sum(item.split == split for item in items)
        if labels and count >= fewest and len(none) + len(everywhere) == len(labels):
            told = ", ".join(f"{label} in {counts[label]}" for label in (*everywhere, *none)[:4])
            raise ValueError(
                f"data set {what!r}: none of its {len(labels)} labels can be {done}, as the {count} {split} items all "
                f"have the same ({told}); put items of other labels into {split}"
            )


def _covered(
    items: Sequence[Item], labels: Sequence[str], split: str
) -> tuple[tuple[str, ...], tuple[str, ...], Counter[str]]:
    """Which labels none and all of a split's items have, and how many have each."""
    told = any(item.labels for item in items)  # else only rendering tells them
    here = [item for item in items if told and item.split == split]
    counts = Counter(label for item in here for label in item.labels)
    none = tuple(label for label in labels if here and not counts[label])
    return none, tuple(label for label in labels if counts[label] == len(here) > 0), counts


def silent_splits(items: Sequence[Item], sources: Sequence[str]) -> list[Note]:
    """Notes that name the sources which sound in no item of valid or of test, as far as files can be looked into."""
    notes = []
    for split, effect in (("valid", "no loss of theirs selects what is kept"), ("test", "no score")):
        here = [item for item in items if item.split == split]
        never = tuple(source for source in sources if not any(sounds(item, source) for item in here))
        if here and never:
            notes.append(Note("coverage", f"sources silent in every {split} item: {effect}", never))
    return notes


def sounds(item: Item, source: str) -> bool:
    """Whether a source of a track sounds in any of its files; one that is read from a single file for all of its rows
    counts as sounding."""
    read: Callable[..., object] = item.read
    while not isinstance(read, partial) and hasattr(read, "read"):  # what is summed or cut
        read = read.read
    rows = read.args[0] if isinstance(read, partial) and read.args else None
    if not isinstance(rows, dict) or source not in rows:
        return True
    return any(_sounds(path, path.stat().st_mtime_ns) for path in rows[source])


@lru_cache(maxsize=4096)
def _sounds(path: Path, _written: int) -> bool:
    try:
        return audio.reaches(path, SILENCE)
    except BadFile:
        return True  # said when it is decoded


def twins(items: Iterable[tuple[str, str, Sequence[str], str]]) -> list[str]:
    """The items that hold the same audio in more than one split, or under other labels, of (name, split, labels, digest
    of the audio)."""
    where: dict[str, list[tuple[str, str, tuple[str, ...]]]] = {}
    for name, split, labels, content in items:
        where.setdefault(content, []).append((name, split, tuple(sorted(labels))))
    told = []
    for group in where.values():
        apart = len({labels for _, _, labels in group}) > 1
        if apart or len({split for _, split, _ in group}) > 1:
            places = (
                (name, ": ".join([split, *([", ".join(labels)] if apart else [])])) for name, split, labels in group
            )
            told.append(" and ".join(f"{name} ({place})" for name, place in places))
    return told
