"""Looking at a data set: which module reads which, and what all of them have in common.

Surveying a folder reads headers only; decoding happens once, in the ``prepare`` stages, which leave a packed copy.
A data set is one module with ``survey(config, root) -> Survey``, a line in TRACK_SETS or CLIP_SETS, and its name and
choices in ``config.py``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mss_core import audio
from mss_core.data import doubts, weights
from mss_core.data.config import ClipSet, TrackSet, WeightSet, split_policy
from mss_core.data.excerpts import Excerpt, excerpt, moved
from mss_core.data.items import Item, Reader, Sound, Survey, leaks
from mss_core.data.loaders import clips, fma, irmas, medleydb, moisesdb, ms21, mtat, mtg_jamendo, musdb18, slakh, stems
from mss_core.data.loudness import ms21_gain, sounding_rms
from mss_core.data.synthetic import loader as synthetic
from mss_core.names import imported, named, outside

__all__ = [
    "CLIP_SETS",
    "TRACK_SETS",
    "ClipSet",
    "Item",
    "Sound",
    "Survey",
    "TrackSet",
    "WeightSet",
    "find_root",
    "needs_folder",
    "published_confidences",
    "single_tracks",
    "survey",
]

TRACK_SETS: dict[str, Callable[..., Survey]] = {
    "synthetic": synthetic.survey,
    "stems": stems.survey,
    "musdb18": musdb18.survey,
    "musdb18hq": musdb18.survey,
    "mm": medleydb.survey,
    "moisesdb": moisesdb.survey,
    "ms21": ms21.survey,
    "slakh2100": slakh.survey,
}
CLIP_SETS: dict[str, Callable[..., Survey]] = {
    "synthetic": synthetic.survey,
    "clips": clips.survey,
    "mtat": mtat.survey,
    "fma_medium": fma.survey,
    "fma_medium_minus_small": fma.survey,
    "irmas": irmas.survey,
    "mtg_jamendo": mtg_jamendo.survey,
}
CONFIDENCES: dict[str, Callable[..., Mapping[str, Reader]]] = {"mm": medleydb.confidences}
"""Sets that publish when a stem sounds."""


SINGLE_TRACKS: dict[str, Callable[..., Mapping[str, Mapping[str, Any]]]] = {"mm": medleydb.single_tracks}
"""Sets whose row ``"other"`` is the sum of tracks of many instruments."""


def single_tracks(config: TrackSet, data: Mapping[str, Path]) -> Survey:
    """The tracks that make up ``"other"`` in the training songs, each an item ``<song>/<number>`` at the level of
    ``config.rms_db``; its labels are the sources that play in it among other instruments."""
    root = find_root(config.name, data)
    found = SINGLE_TRACKS[config.name](config, root)
    read: Callable[..., Any] = partial(Excerpt, seconds=config.excerpt) if config.excerpt else (lambda whole: whole)
    items = [
        Item(f"{song.name}/{key}", "train", read(_Alone(path, config.rms_db)), labels, (path,))
        for song in survey(config, data).items
        if song.split == "train"
        for key, (path, labels) in found.get(song.name, {}).items()
    ]
    return Survey(tuple(items), labels=config.sources)


@dataclass(frozen=True)
class _Alone:
    """Reads one track of a song as a clip."""

    path: Path
    rms_db: float | None

    def __call__(self) -> Sound:
        waveform, rate = audio.load(self.path)
        return Sound({"mixture": _level(waveform, rate, self.rms_db)}, rate)


def published_confidences(config: TrackSet, data: Mapping[str, Path]) -> Mapping[str, Reader] | None:
    """By track, what reads its published activation confidences; None for a set that publishes none."""
    if config.name not in CONFIDENCES:
        return None
    found = CONFIDENCES[config.name](config, find_root(config.name, data))
    if config.excerpt is None:
        return found
    items = survey(replace(config, mixture="published", rms_db=None), data).items
    return {item.name: moved(found[item.name], item.read) for item in items if item.name in found}  # type: ignore[arg-type]


def survey(config: TrackSet | ClipSet | WeightSet, data: Mapping[str, Path]) -> Survey:
    """Look at a data set (or a file of weights) without decoding it.

    Raises ValueError for whatever is wrong with it as a whole, and names the way to say where it is when its root
    is unknown.
    """
    if isinstance(config, WeightSet):
        return weights.survey(config, find_root(config.name, data))
    table: Mapping[str, Callable[..., Survey]] = TRACK_SETS if isinstance(config, TrackSet) else CLIP_SETS
    read = named("data set", config.name, table)
    found = read(config, find_root(config.name, data) if needs_folder(config.name) or config.name in data else None)
    if not isinstance(found, Survey):
        raise ValueError(f"data set {config.name!r}: its reader must return a Survey, not a {type(found).__name__}")
    known = (
        doubts.silent_splits(found.items, config.sources)
        if isinstance(config, TrackSet)
        else doubts.coverage(found.items, found.labels)
    )
    found = replace(found, notes=(*found.notes, *leaks(found.items), *known))
    chosen = {"split": split_policy(config), "subset": getattr(config, "subset", "")}
    if config.excerpt is not None:
        found = excerpt(found, getattr(config, "sources", ()), config.excerpt)
    extra = {**found.extra, **{name: value for name, value in chosen.items() if value}}
    if not isinstance(config, TrackSet) or config.mixture == "published":
        return replace(found, extra=extra)
    made: list[Item] = []
    for item in found.items:
        summed = _Summed(item.read, config.sources, config.rms_db)
        made.append(replace(item, read=_Levelled(item.read, config.sources) if config.mixture == "ms21" else summed))
    return replace(found, items=tuple(made), extra=extra)


@dataclass(frozen=True)
class _Summed:
    """Reads a track whose mixture is the sum of its sources, each brought to one level first if asked."""

    read: Callable[[], Sound]
    sources: tuple[str, ...]
    rms_db: float | None

    def __call__(self) -> Sound:
        sound = self.read()
        stems = {source: _level(sound.rows[source], sound.samplerate, self.rms_db) for source in self.sources}
        return replace(sound, rows={"mixture": audio.added(stems.values()), **stems})


@dataclass(frozen=True)
class _Levelled:
    """Reads a track as MS21 is built: every source at its level, the mixture their sum."""

    read: Callable[[], Sound]
    sources: tuple[str, ...]

    def __call__(self) -> Sound:
        sound = self.read()
        stems = {}
        for source in self.sources:
            gain = ms21_gain(source, sound.rows[source], sound.samplerate)
            stems[source] = sound.rows[source] if gain is None else np.float32(gain) * sound.rows[source]
        return replace(sound, rows={"mixture": audio.added(stems.values()), **stems})


def _level(waveform: np.ndarray, samplerate: int, rms_db: float | None) -> np.ndarray:
    """A waveform whose down-mix has this level where it sounds. Shape: (channel, time)."""
    rms = 0.0 if rms_db is None else sounding_rms(waveform, samplerate)
    if rms_db is None or rms < 1e-5:
        return waveform
    return waveform * np.float32(10 ** (rms_db / 20) / rms)


def needs_folder(name: str) -> bool:
    """Whether a set is read from a folder; the reader of another package says so by a ``root`` without default."""
    if not outside(name):
        return name != "synthetic"
    return inspect.signature(imported("data set", name)).parameters["root"].default is inspect.Parameter.empty


def find_root(name: str, data: Mapping[str, Path]) -> Path:
    """The folder of a data set; ValueError where it is not known or not there."""
    if name not in data:
        known = ", ".join(f"{n}={p}" for n, p in data.items()) or "none"
        raise ValueError(
            f"no folder for data set {name!r}: pass --data {name}=PATH or set MSS_DATA to a folder "
            f"that holds {name}/ (known: {known})"
        )
    root = Path(data[name])
    if not root.is_dir():
        raise ValueError(f"data set {name!r}: {root} is not a folder; name the one that holds the set")
    return root
