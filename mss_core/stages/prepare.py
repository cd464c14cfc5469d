"""Stages ``prepare_tracks`` and ``prepare_clips``: a data set, checked and packed."""

from __future__ import annotations

from pathlib import Path

from mss_core.data.packing import pack
from mss_core.data.sets import ClipSet, TrackSet, survey
from mss_core.graph import Context


def prepare_tracks(*, data: TrackSet, segment: int, version: int = 6, out: Path, ctx: Context) -> None:
    """Pack the mixture and the sources of every track; tracks shorter than ``segment`` samples are counted."""
    pack(survey(data, ctx.data), ("mixture", *data.sources), data.samplerate, segment, out, ctx)


def prepare_clips(*, data: ClipSet, segment: int, version: int = 5, out: Path, ctx: Context) -> None:
    """Pack every clip with its labels; clips shorter than ``segment`` samples are counted."""
    pack(survey(data, ctx.data), ("mixture",), data.samplerate, segment, out, ctx)
