"""What a data set is to a recipe, and what a look at its folder finds.

Two interfaces: tracks with stems (:class:`TrackSet`) and clips with labels (:class:`ClipSet`). A set enters a key
by name and fingerprint (a hash of its files' content), never by path: the root is told at run time. Surveying a
folder reads headers only; decoding happens once, in the ``prepare`` stages, which leave a packed copy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mss_core.graph import checksum, write_atomically
from mss_core.naming import choose

SPLITS = ("train", "valid", "test")
AUDIO = (".wav", ".flac", ".ogg", ".mp3")


@dataclass(frozen=True)
class TrackSet:
    """Music with separate stems.

    Attributes:
        name: data set: ``"synthetic"``, or ``"stems"`` for ``<root>/{train,valid,test}/<track>/<source>.wav``.
        sources: the stems to read, beside the mixture.
        samplerate: of the packed copy, Hz; mono.
        size: tracks to render (synthetic only; the other sets are read whole).
        valid_share, split_seed: where a set has no validation split, this share of its training tracks, drawn by
            this seed, becomes one.
        fingerprint: filled in from the files when a study is built.
    """

    name: str = "synthetic"
    sources: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    samplerate: int = 16_000
    size: int | None = None
    valid_share: float = 0.14
    split_seed: int = 0
    fingerprint: str = ""

    def __post_init__(self) -> None:
        choose("track data set", self.name, ("synthetic", "stems"))
        _check_size(self)
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise ValueError(f"'sources' must name at least one stem, each once; got {self.sources}")


@dataclass(frozen=True)
class ClipSet:
    """Music with labels.

    Attributes:
        name: ``"synthetic"``, or ``"clips"`` for a folder with clips.csv (path, label, split).
        labels: what to predict: for the synthetic set ``"tags"`` or ``"genre"``; for clips ``"label"``.
        samplerate, size, valid_share, split_seed, fingerprint: as in :class:`TrackSet`.
    """

    name: str = "synthetic"
    labels: str = "tags"
    samplerate: int = 16_000
    size: int | None = None
    valid_share: float = 0.14
    split_seed: int = 0
    fingerprint: str = ""

    def __post_init__(self) -> None:
        choose("clip data set", self.name, ("synthetic", "clips"))
        _check_size(self)


def _check_size(config: TrackSet | ClipSet) -> None:
    if config.size is not None and config.size < 10:
        raise ValueError(f"'size' must be at least 10 tracks, not {config.size}")
    if not 0 < config.valid_share < 1:
        raise ValueError(f"'valid_share' lies between 0 and 1, not {config.valid_share}")


@dataclass(frozen=True)
class Note:
    """Something about the data that a report must say: ``kind`` groups equal cases, ``items`` names them."""

    kind: str
    text: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sound:
    """A decoded item: ``{row: float32 (channel, time)}``, where rows are ``"mixture"`` and, for a track, its
    sources; the sample rate in Hz; and the labels of an item that only rendering it tells."""

    rows: dict[str, np.ndarray]
    samplerate: int
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Item:
    """One track or clip. ``read()`` decodes it, and raises ValueError for a file that cannot be decoded."""

    name: str
    split: str
    read: Callable[[], Sound]
    labels: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Survey:
    """What a data set holds: items in a fixed order, notes, the label names and whether an item has just one."""

    items: tuple[Item, ...]
    notes: tuple[Note, ...] = ()
    labels: tuple[str, ...] = ()
    single_label: bool = False
    extra: Mapping[str, object] = field(default_factory=dict)


def survey(config: TrackSet | ClipSet, data: Mapping[str, Path]) -> Survey:
    """Look at a data set without decoding it.

    Raises ValueError for whatever is wrong with it as a whole, and names the way to say where it is when its root
    is unknown.
    """
    if config.name == "synthetic":
        from mss_core.data import synthetic_sets as module
        root = None
    else:
        root = find_root(config.name, data)
        if isinstance(config, TrackSet):
            from mss_core.data import stems as module
        else:
            from mss_core.data import clips as module
    return module.survey(config, root)


def find_root(name: str, data: Mapping[str, Path]) -> Path:
    """The folder of a data set; ValueError where it is not known or not there."""
    if name not in data:
        known = ", ".join(f"{n}={p}" for n, p in data.items()) or "none"
        raise ValueError(f"no folder for data set {name!r}: pass --data {name}=PATH or set MSS_DATA to a folder "
                         f"that holds {name}/ (known: {known})")
    root = Path(data[name])
    if not root.is_dir():
        raise ValueError(f"data set {name!r}: {root} is not a folder")
    return root


def hold_out(items: Iterable[Item], share: float, seed: int, what: str) -> tuple[tuple[Item, ...], tuple[Note, ...]]:
    """Give a set without a validation split one, by name and seed; anything else passes unchanged."""
    items = tuple(items)
    if any(item.split == "valid" for item in items):
        return items, ()
    training = sorted(item.name for item in items if item.split == "train")
    if len(training) < 2:
        raise ValueError(f"data set {what!r}: no validation split, and {len(training)} training item(s) are too few "
                         "to hold one out")
    count = min(max(1, round(share * len(training))), len(training) - 1)
    drawn = np.random.default_rng([seed, 7]).permutation(len(training))[:count]
    held = {training[index] for index in drawn}
    moved = tuple(replace(item, split="valid") if item.name in held else item for item in items)
    note = Note("split", f"{what} has no validation split: {count} of {len(training)} training items held out "
                         f"(seed {seed})", tuple(sorted(held)))
    return moved, (note,)


def require_splits(items: Iterable[Item], what: str, root: Path | None) -> None:
    """Raise ValueError where a split is empty: nothing may be selected or scored on what it was trained on."""
    for split in SPLITS:
        if not any(item.split == split for item in items):
            raise ValueError(f"data set {what!r}{f' in {root}' if root else ''}: no {split} item")


# ---- fingerprints

class Fingerprints:
    """sha256 of files, remembered by path, size and time of change, so that a large set is hashed once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.known = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            self.known = {}
        self.changed = False

    def of(self, path: Path) -> str:
        status = path.stat()
        entry = self.known.get(str(path))
        if entry is None or entry[:2] != [status.st_size, status.st_mtime_ns]:
            entry = [status.st_size, status.st_mtime_ns, checksum(path)]
            self.known[str(path)] = entry
            self.changed = True
        return entry[2]

    def save(self) -> None:
        if self.changed:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(self.known).encode())
            self.changed = False


def fingerprint(found: Survey, root: Path | None, hashes: Fingerprints) -> str:
    """One hash of a set's content: every file's path below the root and checksum, splits and labels."""
    total = hashlib.sha256()
    for item in found.items:
        total.update(json.dumps([item.name, item.split, list(item.labels)]).encode())
        for file in item.files:
            name = file.relative_to(root).as_posix() if root else file.name
            total.update(json.dumps([name, hashes.of(file.absolute())]).encode())
    total.update(json.dumps([list(found.labels), dict(found.extra)], sort_keys=True).encode())
    return total.hexdigest()
