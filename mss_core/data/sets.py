"""What a data set is to a recipe, and what a look at its folder finds.

Two interfaces: tracks with stems (:class:`TrackSet`) and clips with labels (:class:`ClipSet`). A set enters a key
by name and fingerprint (a hash of its files' content), never by path: the root is told at run time. Surveying a
folder reads headers only; decoding happens once, in the ``prepare`` stages, which leave a packed copy.

A data set is one module with ``survey(config, root) -> Survey`` and a line in TRACK_SETS or CLIP_SETS.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from mss_core.naming import choose

SPLITS = ("train", "valid", "test")
AUDIO = (".wav", ".flac", ".ogg", ".mp3")
WEIGHTS = (".pt", ".pth", ".th", ".bin", ".ckpt")

TRACK_SETS = {
    "synthetic": "synthetic_sets",
    "stems": "stems",
    "musdb18": "musdb18",
    "musdb18hq": "musdb18",
    "mm": "medleydb",
    "ms21": "ms21",
    "slakh2100": "slakh",
}
CLIP_SETS = {
    "synthetic": "synthetic_sets",
    "clips": "clips",
    "mtat": "mtat",
    "fma_medium": "fma",
    "fma_medium_minus_small": "fma",
    "irmas": "irmas",
    "mtg_jamendo": "mtg_jamendo",
}
SPLIT_POLICIES = {
    "musdb18": ("published", "random"),
    "musdb18hq": ("published", "random"),
    "slakh2100": ("redux", "split2", "orig"),
    "mtat": ("folders", "lists"),
    "irmas": ("thesis", "part1_valid", "official"),
    "mtg_jamendo": ("split-0", "split-1", "split-2", "split-3", "split-4"),
}
"""How a set may be split; the first is what an empty ``split`` means."""
SUBSETS = {"slakh2100": ("all", "onsets100")}
LABELS = {"mtg_jamendo": ("top50", "instrument")}


@dataclass(frozen=True)
class TrackSet:
    """Music with separate stems.

    Attributes:
        name: data set, a key of TRACK_SETS; ``"stems"`` is any folder laid out as
            ``<root>/{train,valid,test}/<track>/<source>.wav``.
        sources: the stems to read, beside the mixture.
        samplerate: of the packed copy, Hz; mono.
        size: tracks to render (synthetic only; the other sets are read whole).
        valid_share, split_seed: where a set has no validation split, this share of its training
            tracks, drawn by this seed, becomes one.
        split, subset: a choice of SPLIT_POLICIES and SUBSETS where the set has one; empty is the first.
        mixture: ``"published"``, or ``"sum"`` for the sum of ``sources``.
        rms_db: level (dB re full scale) that every source is brought to; needs mixture ``"sum"``.
        fingerprint: filled in from the files when a study is built.
    """

    name: str = "synthetic"
    sources: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    samplerate: int = 16_000
    size: int | None = None
    valid_share: float = 0.14
    split_seed: int = 0
    split: str = ""
    subset: str = ""
    mixture: str = "published"
    rms_db: float | None = None
    fingerprint: str = ""

    def __post_init__(self) -> None:
        choose("track data set", self.name, TRACK_SETS)
        _check(self)
        choose("mixture", self.mixture, ("published", "sum"))
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise ValueError(f"'sources' must name at least one stem, each once; got {self.sources}")
        for source in self.sources:
            if not source or "/" in source or source == "mixture":
                raise ValueError(f"'sources' holds {source!r}, which cannot be the name of a stem")
        if self.rms_db is not None and self.mixture != "sum":
            raise ValueError("'rms_db' changes the sources, so that they no longer sum to the published mixture: "
                             "set mixture 'sum'")


@dataclass(frozen=True)
class ClipSet:
    """Music with labels.

    Attributes:
        name: data set, a key of CLIP_SETS; ``"clips"`` is any folder with clips.csv (path, label, split).
        labels: what to predict: for the synthetic set ``"tags"`` or ``"genre"``; for MTG-Jamendo
            ``"top50"`` or ``"instrument"``; the others have one kind of label each.
        samplerate, size, valid_share, split_seed, split, fingerprint: as in :class:`TrackSet`.
    """

    name: str = "synthetic"
    labels: str = "tags"
    samplerate: int = 16_000
    size: int | None = None
    valid_share: float = 0.14
    split_seed: int = 0
    split: str = ""
    fingerprint: str = ""

    def __post_init__(self) -> None:
        choose("clip data set", self.name, CLIP_SETS)
        if self.name in LABELS:
            choose(f"labels of {self.name}", self.labels, LABELS[self.name])
        _check(self)


@dataclass(frozen=True)
class Weights:
    """Released weights: the one file of weights in the folder that ``--data NAME=FOLDER`` points to.

    Attributes:
        name: as in ``--data``; empty: none.
        sha256: of the file; filled in when a study is built, so that other weights are another key.
    """

    name: str = ""
    sha256: str = ""


def weights_file(name: str, data: Mapping[str, Path]) -> Path:
    """The file of released weights; ValueError where there is no folder, or not exactly one such file in it."""
    root = find_root(name, data)
    files = sorted(path for path in root.iterdir() if path.suffix in WEIGHTS)
    if len(files) != 1:
        raise ValueError(f"released weights {name!r}: {root} holds {len(files)} files of weights "
                         f"({', '.join(WEIGHTS)}), not one; they are not downloaded, put the file there")
    return files[0]


def _check(config: TrackSet | ClipSet) -> None:
    if config.size is not None and config.size < 10:
        raise ValueError(f"'size' must be at least 10 tracks, not {config.size}")
    if not 0 < config.valid_share < 1:
        raise ValueError(f"'valid_share' lies between 0 and 1, not {config.valid_share}")
    for what, table in (("split", SPLIT_POLICIES), ("subset", SUBSETS)):
        value = getattr(config, what, "")
        if value and config.name not in table:
            raise ValueError(f"{config.name} has no choice of {what!r}; {value!r} is set")
        if value:
            choose(f"{what} of {config.name}", value, table[config.name])


def split_policy(config: TrackSet | ClipSet) -> str:
    """The split policy in force, with an empty ``split`` resolved; empty where the set has no choice."""
    return config.split or SPLIT_POLICIES.get(config.name, ("",))[0]


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
    """One track or clip. ``read()`` decodes it, and raises ValueError for a file that cannot be decoded.

    ``artist`` and ``seconds`` (the published duration) are empty where nothing tells them.
    """

    name: str
    split: str
    read: Callable[[], Sound]
    labels: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()
    artist: str = ""
    seconds: float = 0.0


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
    table = TRACK_SETS if isinstance(config, TrackSet) else CLIP_SETS
    root = None if config.name == "synthetic" else find_root(config.name, data)
    found = importlib.import_module(f"mss_core.data.{table[config.name]}").survey(config, root)
    found = replace(found, notes=(*found.notes, *leaks(found.items)))
    chosen = {"split": split_policy(config), "subset": getattr(config, "subset", "")}
    extra = {**found.extra, **{name: value for name, value in chosen.items() if value}}
    if isinstance(config, TrackSet) and config.mixture == "sum":
        items = tuple(replace(item, read=_Summed(item.read, config.sources, config.rms_db))
                      for item in found.items)
        return replace(found, items=items, extra=extra)
    return replace(found, extra=extra)


def leaks(items: Iterable[Item]) -> tuple[Note, ...]:
    """A note that names the artists (for IRMAS, recordings) with items in more than one split."""
    where: dict[str, set[str]] = {}
    for item in items:
        where.setdefault(item.artist, set()).add(item.split)
    both = tuple(f"{artist} ({', '.join(s for s in SPLITS if s in splits)})"
                 for artist, splits in sorted(where.items()) if artist and len(splits) > 1)
    return (Note("leak", "artists with items in more than one split", both),) if both else ()


@dataclass(frozen=True)
class _Summed:
    """Reads a track whose mixture is the sum of its sources, each brought to one level first if asked."""

    read: Callable[[], Sound]
    sources: tuple[str, ...]
    rms_db: float | None

    def __call__(self) -> Sound:
        sound = self.read()
        stems = {source: _level(sound.rows[source], self.rms_db) for source in self.sources}
        return replace(sound, rows={"mixture": np.sum(list(stems.values()), axis=0), **stems})


def _level(waveform: np.ndarray, rms_db: float | None) -> np.ndarray:
    rms = float(np.sqrt(np.mean(np.square(waveform), dtype=np.float64))) if waveform.size else 0.0
    if rms_db is None or rms < 1e-5:
        return waveform
    return waveform * np.float32(10 ** (rms_db / 20) / rms)


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
    moved = tuple(replace(item, split="valid") if item.split == "train" and item.name in held else item
                  for item in items)
    note = Note("split", f"{what} has no validation split: {count} of {len(training)} training items held out "
                         f"(seed {seed})", tuple(sorted(held)))
    return moved, (note,)


def require_splits(items: Iterable[Item], what: str, root: Path | None) -> None:
    """Raise ValueError where a split is empty: nothing may be selected or scored on what it was trained on."""
    for split in SPLITS:
        if not any(item.split == split for item in items):
            raise ValueError(f"data set {what!r}{f' in {root}' if root else ''}: no {split} item")
