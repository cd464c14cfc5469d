"""Stages ``prepare_activity`` and ``prepare_statistics``: what all trainings of separators of one instrument share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from mss_core import audio
from mss_core.data.activity import track_confidences
from mss_core.data.channels import open_sided
from mss_core.data.packing import pack
from mss_core.data.sets import TrackSet, published_confidences, single_tracks
from mss_core.graph import Context
from mss_core.systems.iass.masking import Transform


def prepare_activity(*, data: Path, tracks: TrackSet, version: int = 2, out: Path, ctx: Context) -> None:
    """Leaves the activation confidence of every source of every track: the published one where ``tracks``, the set
    that was packed, comes with it, else by MedleyDB's energy tracking. For a set that may, notes.json says which tracks
    have which."""
    track_confidences(open_sided(data), out, ctx, published_confidences(tracks, ctx.data))


def prepare_accompaniment(*, data: TrackSet, segment: int, version: int = 2, out: Path, ctx: Context) -> None:
    """Pack the tracks that make up ``"other"`` in the training songs one by one: the pool that an accompaniment
    is drawn from holds single tracks [Hung and Lerch 2020, sec. 4.1]."""
    pack(single_tracks(data, ctx.data), ("mixture",), data.samplerate, segment, out, ctx)


def prepare_statistics(*, data: Path, transform: Transform, version: int = 1, out: Path, ctx: Context) -> None:
    """Leaves statistics.npy, float64 (2, bin): mean and standard deviation of the training mixtures' magnitudes over
    all their frames, which networks start their input scaling from. Of two channels their mean is taken, as Open-Unmix
    does."""
    packed = open_sided(data)
    tracks = packed.split("train")

    def magnitudes() -> Iterator[torch.Tensor]:
        for number, track in enumerate(tracks, start=1):
            magnitude = transform.track(packed.read(track), ctx.device).abs()
            yield magnitude if magnitude.ndim == 2 else magnitude.mean(0)
            if number % 20 == 0 or number == len(tracks):
                ctx.report(step=number, total=len(tracks))

    np.save(out / "statistics.npy", np.stack(audio.moments(magnitudes())))
