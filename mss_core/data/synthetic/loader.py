"""The embedded synthetic music as a track set and as a clip set, on disjoint tracks."""

from __future__ import annotations

from functools import partial

import numpy as np

from mss_core.data.config import ClipSet, TrackSet
from mss_core.data.items import Item, Sound, Survey
from mss_core.data.synthetic import synthesis
from mss_core.errors import choose

SECONDS = 8.0
CLIPS_FROM = 1_000_000
"""Index of the first clip: tracks and clips never share a rendering."""
SHARES = (("train", 0.6), ("valid", 0.15), ("test", 0.25))


def survey(config: TrackSet | ClipSet, root: None) -> Survey:
    """``size`` tracks, 60 / 15 / 25 % training, validation and test."""
    extra = {"renderer": synthesis.VERSION, "seconds": SECONDS}
    size = config.size or 200
    if isinstance(config, TrackSet):
        for source in config.sources:
            choose("source of the synthetic set", source, synthesis.SOURCES)
        items = [Item(_name(i), split, partial(_track, i, config.samplerate)) for i, split in enumerate(_splits(size))]
        return Survey(tuple(items), extra=extra)
    choose("labels of the synthetic set", config.labels, ("tags", "genre"))
    names = synthesis.TAGS if config.labels == "tags" else synthesis.GENRES
    items = [
        Item(_name(CLIPS_FROM + i), split, partial(_clip, CLIPS_FROM + i, config.samplerate, config.labels))
        for i, split in enumerate(_splits(size))
    ]
    return Survey(tuple(items), labels=names, single_label=config.labels == "genre", extra=extra)


def _name(index: int) -> str:
    return f"synthetic-{index:07d}"


def _splits(size: int) -> list[str]:
    bounds = np.round(np.cumsum([share for _, share in SHARES]) * size).astype(int)
    return [SHARES[int(np.searchsorted(bounds, i, side="right"))][0] for i in range(size)]


def _track(index: int, samplerate: int) -> Sound:
    track = synthesis.render(index, SECONDS, samplerate)
    rows = {"mixture": track.mixture, **track.stems}
    return Sound({row: waveform[None] for row, waveform in rows.items()}, samplerate)


def _clip(index: int, samplerate: int, labels: str) -> Sound:
    track = synthesis.render(index, SECONDS, samplerate)
    return Sound({"mixture": track.mixture[None]}, samplerate, track.tags if labels == "tags" else (track.genre,))
