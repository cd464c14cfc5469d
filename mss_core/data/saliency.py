"""Chunks in which there is something to separate: the leaf sounds, and so does something beside it.

The level of a submix is its RMS over the chunk, in dB re full scale [Zhang, Sec. 4.4.1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mss_core.data.activity import salient
from mss_core.data.packed import Packed, PackedItem
from mss_core.naming import choose

BESIDE = ("sibling", "anything", "nothing")


@dataclass(frozen=True)
class Sampling:
    """Which chunks of a track are used.

    Attributes:
        seconds: length of a chunk.
        hop_ratio: start of the next chunk, in chunks.
        threshold_db: a submix is salient from this RMS level on; the thesis has -30, the released code's effective
            value is -60.
        beside: what must be salient too: ``"sibling"`` (the leaf's parent without the leaf), ``"anything"`` (the
            mixture without the leaf) or ``"nothing"``.
        valid_items, test_items: at most this many chunks, spread evenly.
    """

    seconds: float = 10.0
    hop_ratio: float = 0.25
    threshold_db: float = -30.0
    beside: str = "sibling"
    valid_items: int = 3000
    test_items: int = 3000

    def __post_init__(self) -> None:
        choose("'beside' of the sampling", self.beside, BESIDE)
        if self.seconds <= 0 or not 0 < self.hop_ratio <= 1:
            raise ValueError(f"'seconds' must be positive and 'hop_ratio' in (0, 1]; got {self.seconds} and "
                             f"{self.hop_ratio}")
        if self.valid_items < 1 or self.test_items < 1:
            raise ValueError("'valid_items' and 'test_items' must be at least 1")


@dataclass(frozen=True)
class Chunk:
    """A stretch of a track with its path, by number: ``start`` in samples."""

    item: PackedItem
    start: int
    path: int = 0


def chunks(packed: Packed, split: str, paths: Sequence[Sequence[str]], sampling: Sampling) -> list[Chunk]:
    """Salient chunks of a split, path by path. Raises ValueError where there is none at all."""
    length = round(sampling.seconds * packed.samplerate)
    hop = max(1, round(length * sampling.hop_ratio))
    found = [Chunk(item, start, number) for number, path in enumerate(paths) for item in packed.split(split)
             if path[0] not in item.silent
             for start in _starts(packed, item, path, length, hop, sampling)]
    if not found:
        raise ValueError(f"no {split} chunk of {sampling.seconds:g} s has a salient leaf "
                         f"({', '.join(path[0] for path in paths)}) with {sampling.beside} salient beside it, at "
                         f"{sampling.threshold_db:g} dB; lower 'sampling.threshold_db' or change 'sampling.beside'")
    return found


def _starts(packed: Packed, item: PackedItem, path: Sequence[str], length: int, hop: int, sampling: Sampling
            ) -> list[int]:
    leaf = packed.read(item, path[0])
    starts = set(salient(leaf, length, hop, sampling.threshold_db).tolist())
    if sampling.beside != "nothing" and starts:
        over = path[1] if sampling.beside == "sibling" and len(path) > 1 else "mixture"
        rest = packed.read(item, over) - leaf
        starts &= set(salient(rest, length, hop, sampling.threshold_db).tolist())
    return sorted(starts)


def spread(found: list[Chunk], most: int) -> list[Chunk]:
    """At most ``most`` of them, evenly over the list."""
    step = max(1.0, len(found) / most)
    return [found[int(number * step)] for number in range(min(most, len(found)))]


class ChunkReader:
    """Batches of chunks drawn at random; what a batch holds is a function of seed and step alone.

    Args:
        paths: rows to read for each chunk, by its path; all of one length.
        query: whether to draw an example of the leaf from another track as well.
    """

    def __init__(self, packed: Packed, found: Sequence[Chunk], paths: Sequence[Sequence[str]], length: int, seed: int,
                 query: bool = False) -> None:
        self.packed, self.found, self.paths, self.length, self.seed = packed, list(found), paths, length, seed
        self.query = query

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Mixtures (batch, time), references (batch, level, time) and queries (batch, time) or None."""
        rng = np.random.default_rng([self.seed, step])
        drawn = [int(rng.integers(len(self.found))) for _ in range(size)]
        return self.read([self.found[number] for number in drawn], rng)

    def read(self, drawn: Sequence[Chunk], rng: np.random.Generator
             ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """The same for given chunks; ``rng`` draws the queries."""
        mixtures = np.stack([self._row(chunk, "mixture") for chunk in drawn])
        references = np.stack([np.stack([self._row(chunk, row) for row in self.paths[chunk.path]])
                               for chunk in drawn])
        if not self.query:
            return mixtures, references, None
        queries = np.stack([self._row(other := self.example(chunk, rng), self.paths[other.path][0])
                            for chunk in drawn])
        return mixtures, references, queries

    def example(self, chunk: Chunk, rng: np.random.Generator) -> Chunk:
        """A chunk with the same leaf of another track; of the same track where no other has one."""
        same = [other for other in self.found if other.path == chunk.path]
        elsewhere = [other for other in same if other.item.name != chunk.item.name] or same
        return elsewhere[int(rng.integers(len(elsewhere)))]

    def _row(self, chunk: Chunk, row: str) -> np.ndarray:
        return self.packed.read(chunk.item, row, chunk.start, self.length)
