"""Training mixtures of stems from different tracks, channel by channel [Uhlich et al. 2017; Sawata et al. 2021]."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mss_core.data.batches import Places, spread
from mss_core.data.channels import sided
from mss_core.data.packed import Packed, starts


class StemPlaces:
    """Where the stems of each mixture come from: every stem from a track and a place of its own, where it sounds."""

    def __init__(self, packed: Packed, stems: tuple[str, ...], channels: int, length: int, seed: int) -> None:
        self.rows = sided(stems, channels)
        self.shape, self.length, self.seed = (len(stems), channels), length, seed
        self.valid = packed.split("valid")
        self.tracks = [
            [item for item in packed.split("train") if not set(rows) <= set(item.silent)]
            for rows in np.array(self.rows).reshape(self.shape).tolist()
        ]
        self.items = sum(item.length // length for item in packed.split("train")) or 1
        for stem, tracks in zip(stems, self.tracks, strict=True):
            if not tracks:
                raise ValueError(f"no training track holds {stem!r}")

    def draw(self, step: int, size: int) -> Places:
        """Places (batch, stem, channel) of batch ``step``; a function of seed and step."""
        rng = np.random.default_rng([self.seed, step])
        start = np.zeros((size, *self.shape), np.int64)
        available = np.zeros_like(start)
        for line in range(size):
            for stem, tracks in enumerate(self.tracks):
                item = tracks[rng.integers(len(tracks))]
                first = int(rng.integers(0, max(0, item.length - self.length) + 1))
                start[line, stem] = item.start + first
                available[line, stem] = min(self.length, item.length - first)
        return Places(np.broadcast_to(np.arange(len(self.rows)).reshape(self.shape), start.shape), start, available)

    def held(self, most: int) -> Iterator[tuple[Places, list[int]]]:
        """Segments of validation tracks in which a stem sounds, one at a time: all stems from one place, and which of
        them sound in the track."""
        stems = np.array(self.rows).reshape(self.shape).tolist()
        heard = {
            item.name: [place for place, rows in enumerate(stems) if not set(rows) <= set(item.silent)]
            for item in self.valid
        }
        found = [(item, first) for item in self.valid if heard[item.name] for first in starts(item, self.length)]
        rows = np.arange(len(self.rows)).reshape(1, *self.shape)
        for item, first in spread(found, most):
            start = np.full(rows.shape, item.start + first)
            yield Places(rows, start, np.full(rows.shape, min(self.length, item.length - first))), heard[item.name]
