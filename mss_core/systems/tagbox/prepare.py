"""Stages ``prepare_test_tracks`` and ``prepare_songs``: what frozen models need of a data set, the tracks to be
separated and no others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mss_core.data.excerpts import Excerpt
from mss_core.data.packing import pack
from mss_core.data.sets import TrackSet, survey
from mss_core.graph import Context


def prepare_test_tracks(
    *, data: TrackSet, tracks: int | None, segment: int, version: int = 2, out: Path, ctx: Context
) -> None:
    """Pack the mixture and the sources of the first ``tracks`` test tracks; None: of all."""
    found = survey(data, ctx.data)
    items = tuple(item for item in found.items if item.split == "test")[:tracks]
    pack(replace(found, items=items), ("mixture", *data.sources), data.samplerate, segment, out, ctx)


def prepare_songs(
    *,
    data: TrackSet,
    tracks: int | None,
    seconds: float | None,
    segment: int,
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Pack the first ``tracks`` tracks of all splits (None: all) as test tracks, for models that were trained on none.

    Args:
        seconds: of each track, those in which the quietest of its sources is loudest; None: the whole track.
    """
    found = survey(data, ctx.data)
    items = tuple(
        replace(item, split="test", read=item.read if seconds is None else Excerpt(item.read, seconds))
        for item in found.items[:tracks]
    )
    pack(replace(found, items=items), ("mixture", *data.sources), data.samplerate, segment, out, ctx)
