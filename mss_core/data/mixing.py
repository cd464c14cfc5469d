"""Training mixtures made of segments of different songs [Garoufis et al.; Kong et al. 2021]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mss_core.data.packed import Packed, PackedItem
from mss_core.naming import choose

Segment = tuple[PackedItem, int]


def segments(packed: Packed, split: str, length: int, hop: int) -> list[Segment]:
    """Starts of ``length``-sample segments every ``hop``, as the reference code cuts them (``range(0, n - length,
    hop)``); an item too short for one gives a single segment, to be padded."""
    found = []
    for item in packed.split(split):
        starts = range(0, item.length - length, hop) or range(1)
        found += [(item, start) for start in starts]
    return found


class IncoherentMixer:
    """Mixtures of segments drawn from different places, with the sources that were summed.

    For one source, two segments' stems make the target and two other segments' ``mixture - stem`` the rest. For
    several, ``copies`` segments of each source are summed and the mixture is the sum of the sources. All segments
    of one mixture are cropped at one common offset.

    Args:
        sources: what is to be separated.
        copies: segments summed for each source (2 where it is not named).
        length: samples of a segment; ``crop`` samples are cut from it.
    """

    def __init__(self, packed: Packed, sources: Sequence[str], copies: Mapping[str, int], length: int, hop: int,
                 crop: int, seed: int) -> None:
        self.packed, self.sources, self.copies = packed, tuple(sources), copies
        self.segments = segments(packed, "train", length, hop)
        self.length, self.crop, self.seed = length, crop, seed
        needed = 4 if len(self.sources) == 1 else sum(copies.get(source, 2) for source in self.sources)
        if len(self.segments) < needed:
            raise ValueError(f"a training mixture needs {needed} segments of {length / packed.samplerate:g} s; the "
                             f"training tracks hold {len(self.segments)}")

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Mixtures (batch, time) and sources (batch, source, time), float32; a function of seed and step only."""
        rng = np.random.default_rng([self.seed, step])
        items = [self._mix(rng) for _ in range(size)]
        return np.stack([mixture for mixture, _ in items]), np.stack([sources for _, sources in items])

    def _mix(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        offset = int(rng.integers(0, self.length - self.crop + 1))

        def stem(index: int, row: str) -> np.ndarray:
            item, start = self.segments[index]
            return self.packed.read(item, row, start + offset, self.crop)

        if len(self.sources) == 1:
            (source,) = self.sources
            a, b, c, d = rng.choice(len(self.segments), 4, replace=False)
            target = stem(a, source) + stem(b, source)
            rest = stem(c, "mixture") - stem(c, source) + stem(d, "mixture") - stem(d, source)
            return target + rest, target[None]
        counts = [self.copies.get(source, 2) for source in self.sources]
        drawn = iter(rng.choice(len(self.segments), sum(counts), replace=False))
        stems = np.stack([sum(stem(next(drawn), source) for _ in range(count))
                          for source, count in zip(self.sources, counts, strict=True)])
        return stems.sum(0), stems


class AccompanimentMixer:
    """Mixtures of one target instrument with random tracks of other instruments [Hung and Lerch 2020].

    Each mixture is a random chunk of a song's target, times a gain, plus chunks of ``fewest`` to ``most`` tracks drawn
    from the pool of all songs' other instruments, each with a gain of its own. Silent rows are never drawn.

    Args:
        length: samples of a chunk; what lies beyond the end of a song is zero.
        gains: lowest and highest factor.
    """

    def __init__(self, packed: Packed, target: str, length: int, seed: int, fewest: int = 1, most: int = 5,
                 gains: tuple[float, float] = (0.25, 1.25)) -> None:
        choose("row of the packed set", target, packed.rows)
        if not 1 <= fewest <= most:
            raise ValueError(f"accompaniment takes 1 <= fewest <= most tracks, not {fewest} to {most}")
        self.packed, self.target, self.length, self.seed = packed, target, length, seed
        self.fewest, self.most, self.gains = fewest, most, gains
        items = packed.split("train")
        self.songs = [item for item in items if target not in item.silent]
        self.pool = [(item, row) for item in items for row in packed.rows
                     if row not in ("mixture", target) and row not in item.silent]
        if not self.songs:
            raise ValueError(f"no training track holds {target!r}")
        if len(self.pool) < most:
            raise ValueError(f"the training tracks hold {len(self.pool)} accompaniment(s); a mixture takes up to "
                             f"{most}")

    def batch(self, step: int, size: int) -> Mixed:
        """A function of seed and step only."""
        rng = np.random.default_rng([self.seed, step])
        return _mixed([self._mix(rng) for _ in range(size)])

    def _mix(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Segment]:
        target, place = _chunk(self, rng, self.songs[rng.integers(len(self.songs))], self.target)
        count = int(rng.integers(self.fewest, self.most + 1))
        drawn = rng.choice(len(self.pool), count, replace=False)
        others = [_chunk(self, rng, *self.pool[index])[0] for index in drawn]
        return target + np.sum(others, axis=0), target, place


class RemixMixer:
    """Mixtures of one random chunk of every source, each of a song and with a gain of its own [Hung and Lerch 2020, on
    MUSDB18]. A source that is silent in its song stays so.

    Args: as for :class:`AccompanimentMixer`.
    """

    def __init__(self, packed: Packed, target: str, length: int, seed: int,
                 gains: tuple[float, float] = (0.25, 1.25)) -> None:
        choose("row of the packed set", target, packed.rows)
        self.packed, self.target, self.length, self.seed, self.gains = packed, target, length, seed, gains
        self.songs = packed.split("train")
        if all(target in item.silent for item in self.songs):
            raise ValueError(f"no training track holds {target!r}")

    def batch(self, step: int, size: int) -> Mixed:
        """A function of seed and step only."""
        rng = np.random.default_rng([self.seed, step])
        return _mixed([self._mix(rng) for _ in range(size)])

    def _mix(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, Segment]:
        rows = [row for row in self.packed.rows if row != "mixture"]
        chunks = {row: _chunk(self, rng, self.songs[rng.integers(len(self.songs))], row) for row in rows}
        target, place = chunks[self.target]
        return np.sum([chunk for chunk, _ in chunks.values()], axis=0), target, place


@dataclass(frozen=True)
class Mixed:
    """Training mixtures (batch, time), the target in them (batch, 1, time), and where in which song each target was
    taken from."""

    mixtures: np.ndarray
    targets: np.ndarray
    places: tuple[Segment, ...]


def _mixed(items: Sequence[tuple[np.ndarray, np.ndarray, Segment]]) -> Mixed:
    return Mixed(np.stack([mixture for mixture, _, _ in items]), np.stack([target for _, target, _ in items])[:, None],
                 tuple(place for _, _, place in items))


def _chunk(mixer: AccompanimentMixer | RemixMixer, rng: np.random.Generator, item: PackedItem,
           row: str) -> tuple[np.ndarray, Segment]:
    """A random chunk of a row times a random gain, and where it begins."""
    start = int(rng.integers(0, max(0, item.length - mixer.length) + 1))
    gain = np.float32(rng.uniform(*mixer.gains))
    return mixer.packed.read(item, row, start, mixer.length) * gain, (item, start)
