"""Training mixtures made of segments of songs: of different songs [Garoufis et al.; Kong et al. 2021], of one target
and random accompaniment [Hung and Lerch 2020], or of one song as it is.

A mixer says which *parts* of the packed rows a batch is made of, turns them into *voices* (what is added up, and what
augmentations act on), and the voices into mixtures and references. The first is done with plain arrays, so that parts
can be read ahead or gathered on a device; the others are sums of tensors on any device.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from mss_core.data.batches import Mapped, Places, places, waveforms
from mss_core.data.packed import Joined, Packed, PackedItem
from mss_core.errors import choose

Segment = tuple[PackedItem, int]
SINGLE = "single tracks"
"""The row of a pool that holds tracks of their own."""


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

    For one source, ``summed`` segments' stems make the target and as many other segments' ``mixture - stem`` the
    rest. For several, ``copies`` segments of each source are summed and the mixture is the sum of the sources. All
    segments of one mixture are cropped at one common offset.

    Args:
        sources: what is to be separated.
        copies: segments summed for each source (2 where it is not named).
        length: samples of a segment; ``crop`` samples are cut from it.
    """

    def __init__(
        self,
        packed: Packed,
        sources: Sequence[str],
        copies: Mapping[str, int],
        length: int,
        hop: int,
        crop: int,
        seed: int,
        summed: int = 2,
    ) -> None:
        self.packed, self.sources, self.summed = packed, tuple(sources), summed
        self.segments = segments(packed, "train", length, hop)
        self.length, self.crop, self.seed, self.items = length, crop, seed, len(self.segments)
        counts = [copies.get(source, 2) for source in self.sources]
        if len(self.sources) == 1:
            self.rows: tuple[str, ...] = (*self.sources, "mixture")
            self.groups: tuple[int, ...] = (summed, summed)
            self._row = np.array([0] * summed + [1, 0] * summed)
            self._segment = np.array([*range(summed), *np.repeat(np.arange(summed, 2 * summed), 2)])
        else:
            self.rows, self.groups = self.sources, tuple(counts)
            self._row = np.repeat(np.arange(len(counts)), counts)
            self._segment = np.arange(sum(counts))
        needed = sum(self.groups)
        if len(self.segments) < needed:
            raise ValueError(
                f"a training mixture needs {needed} segments of {length / packed.samplerate:g} s; the "
                f"training tracks hold {len(self.segments)}"
            )

    def draw(self, step: int, size: int) -> tuple[Places, np.ndarray]:
        """Places (batch, part) in the mixer's rows, and a factor for each voice (batch, voice), of batch ``step``."""
        rng = np.random.default_rng([self.seed, step])
        drawn = []
        for _ in range(size):
            offset = int(rng.integers(0, self.length - self.crop + 1))
            chosen = rng.choice(len(self.segments), sum(self.groups), replace=False)[self._segment]
            drawn.append(_places([(*self.segments[index], offset) for index in chosen], self._row, self.crop))
        return _stack(drawn), np.ones((size, sum(self.groups)), np.float32)

    def voices(self, parts: Tensor) -> Tensor:
        """(batch, part, time) -> (batch, voice, time)."""
        if len(self.sources) > 1:
            return parts
        targets, rest = parts[:, : self.summed], parts[:, self.summed :]
        return torch.cat([targets, rest[:, ::2] - rest[:, 1::2]], 1)

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Mixtures (batch, time) and sources (batch, source, time), float32; a function of seed and step only."""
        return _batch(self, step, size)


class AccompanimentMixer:
    """Mixtures of one target instrument with random tracks of other instruments [Hung and Lerch 2020].

    Each mixture is a random chunk of a song's target, times a gain, plus chunks of ``fewest`` to ``most`` tracks drawn
    from the pool of all songs' other instruments, each with a gain of its own. Silent rows are never drawn.

    Args:
        single: the tracks that make up the row ``"other"``, one an item, which take its place in the pool; those in
            which the target plays (their labels) stay out.
        length: samples of a chunk; what lies beyond the end of a song is zero.
        gains: lowest and highest factor.
    """

    def __init__(
        self,
        packed: Packed,
        target: str,
        length: int,
        seed: int,
        fewest: int = 1,
        most: int = 5,
        gains: tuple[float, float] = (0.25, 1.25),
        single: Packed | None = None,
    ) -> None:
        choose("row of the packed set", target, packed.rows)
        if not 1 <= fewest <= most:
            raise ValueError(f"accompaniment takes 1 <= fewest <= most tracks, not {fewest} to {most}")
        self.packed: Packed | Joined = packed if single is None else Joined(packed, single, SINGLE)
        self.target, self.crop, self.seed = target, length, seed
        self.fewest, self.most, self.gains = fewest, most, gains
        self.sources = (target,)
        left_out = ("mixture", target, *(["other"] if single is not None else []))
        self.rows = (target, *(row for row in self.packed.rows if row not in left_out))
        self.groups = (1, most)
        items = packed.split("train")
        self.songs = [item for item in items if target not in item.silent]
        instruments = [row for row in self.rows[1:] if row != SINGLE]
        self.pool = [(item, row) for item in items for row in instruments if row not in item.silent]
        if single is not None:
            others = [item for item in single.items if not item.silent and target not in item.labels]
            self.pool += [(item, SINGLE) for item in others]
        self.items = len(self.songs)
        if not self.songs:
            raise ValueError(f"no training track holds {target!r}")
        if len(self.pool) < most:
            raise ValueError(
                f"the training tracks hold {len(self.pool)} accompaniment(s); a mixture takes up to {most}"
            )

    def draw(self, step: int, size: int) -> tuple[Places, np.ndarray]:
        """Places (batch, part) and gains (batch, voice); an accompaniment that is not drawn has length and gain 0."""
        rng = np.random.default_rng([self.seed, step])
        drawn, gains = [], np.zeros((size, 1 + self.most), np.float32)
        for line in range(size):
            song = self.songs[rng.integers(len(self.songs))]
            count = int(rng.integers(self.fewest, self.most + 1))
            others = rng.choice(len(self.pool), count, replace=False)
            chosen = [(song, self.target), *(self.pool[index] for index in others)]
            starts = [int(rng.integers(0, max(0, item.length - self.crop) + 1)) for item, _ in chosen]
            gains[line, : len(chosen)] = rng.uniform(*self.gains, len(chosen))
            unused = self.most - count
            where = _places(
                [(item, start, 0) for (item, _), start in zip(chosen, starts, strict=True)],
                np.array([self.rows.index(row) for _, row in chosen]),
                self.crop,
            )
            drawn.append(Places(*(np.pad(values, (0, unused)) for values in (where.row, where.start, where.available))))
        return _stack(drawn), gains

    def voices(self, parts: Tensor) -> Tensor:
        """(batch, part, time) -> (batch, voice, time): each part is a voice."""
        return parts

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Mixtures (batch, time) and the target (batch, 1, time), float32; a function of seed and step only."""
        return _batch(self, step, size)


class RemixMixer:
    """Mixtures of one random chunk of every source, each of a song and with a gain of its own [Hung and Lerch 2020, on
    MUSDB18]. A source that is silent in its song stays so.

    Args: as for :class:`AccompanimentMixer`.
    """

    def __init__(
        self, packed: Packed, target: str, length: int, seed: int, gains: tuple[float, float] = (0.25, 1.25)
    ) -> None:
        choose("row of the packed set", target, packed.rows)
        self.packed, self.crop, self.seed, self.gains = packed, length, seed, gains
        self.sources = (target,)
        self.rows = (target, *(row for row in packed.rows if row not in ("mixture", target)))
        self.groups = (1, len(self.rows) - 1)
        self.songs = packed.split("train")
        self.items = len(self.songs)
        if all(target in item.silent for item in self.songs):
            raise ValueError(f"no training track holds {target!r}")
        if len(self.rows) == 1:
            raise ValueError(f"the packed set holds no source beside {target!r} to mix it with")

    def draw(self, step: int, size: int) -> tuple[Places, np.ndarray]:
        """Places (batch, part) and gains (batch, voice), the target first."""
        rng = np.random.default_rng([self.seed, step])
        drawn, gains = [], np.empty((size, len(self.rows)), np.float32)
        for line in range(size):
            songs = [self.songs[index] for index in rng.integers(len(self.songs), size=len(self.rows))]
            starts = [int(rng.integers(0, max(0, song.length - self.crop) + 1)) for song in songs]
            gains[line] = rng.uniform(*self.gains, len(self.rows))
            drawn.append(
                _places(
                    [(song, start, 0) for song, start in zip(songs, starts, strict=True)],
                    np.arange(len(self.rows)),
                    self.crop,
                )
            )
        return _stack(drawn), gains

    def voices(self, parts: Tensor) -> Tensor:
        """(batch, part, time) -> (batch, voice, time): each part is a voice."""
        return parts

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Mixtures (batch, time) and the target (batch, 1, time), float32; a function of seed and step only."""
        return _batch(self, step, size)


class CoherentMixer:
    """Segments of songs as they are: the sources and, where they do not make the mixture alone, the rest of it.

    Args:
        sources: what is to be separated.
        length: samples of a segment; each item is cut into segments every ``hop``, and ``crop`` samples at a random
            offset are taken.
    """

    def __init__(self, packed: Packed, sources: Sequence[str], length: int, hop: int, crop: int, seed: int) -> None:
        self.packed, self.sources, self.rows = packed, tuple(sources), (*sources, "mixture")
        self.segments = segments(packed, "train", length, hop)
        self.length, self.crop, self.seed, self.items = length, crop, seed, len(self.segments)
        self.groups = (1,) * len(self.rows)

    def draw(self, step: int, size: int) -> tuple[Places, np.ndarray]:
        """Places (batch, part) and gains (batch, voice); segments are drawn with replacement."""
        rng = np.random.default_rng([self.seed, step])
        chosen = rng.integers(0, len(self.segments), size)
        offsets = rng.integers(0, self.length - self.crop + 1, size)
        found = [
            (item, start + int(offset))
            for (item, start), offset in zip((self.segments[index] for index in chosen), offsets, strict=True)
        ]
        return places(found, len(self.rows), self.crop), np.ones((size, len(self.rows)), np.float32)

    def voices(self, parts: Tensor) -> Tensor:
        """(batch, part, time) -> (batch, voice, time): the last voice is what the sources leave of the mixture."""
        rest = parts[:, -1]
        for source in range(len(self.sources)):
            rest = rest - parts[:, source]
        return torch.cat([parts[:, :-1], rest[:, None]], 1)

    def batch(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Mixtures (batch, time) and sources (batch, source, time), float32; a function of seed and step only."""
        return _batch(self, step, size)


Mixer = IncoherentMixer | AccompanimentMixer | RemixMixer | CoherentMixer


def mix(mixer: Mixer, voices: Tensor) -> tuple[Tensor, Tensor]:
    """Voices (batch, voice, time) -> mixtures (batch, time) and the references of ``mixer.sources`` (batch, source,
    time). Sums are written out, so that every device adds in one order."""
    sums = [_added(group) for group in voices.split(mixer.groups, dim=1)]
    return _added(torch.stack(sums, 1)), torch.stack(sums[: len(mixer.sources)], 1)


def _added(voices: Tensor) -> Tensor:
    total = voices[:, 0]
    for index in range(1, voices.shape[1]):
        total = total + voices[:, index]
    return total


def _places(found: list[tuple[PackedItem, int, int]], row: np.ndarray, length: int) -> Places:
    """Places (part,) of (item, segment start, offset in the segment)."""
    where = places([(item, start + offset) for item, start, offset in found], 1, length)
    return Places(row, where.start[:, 0], where.available[:, 0])


def _stack(drawn: list[Places]) -> Places:
    return Places(
        np.stack([p.row for p in drawn]), np.stack([p.start for p in drawn]), np.stack([p.available for p in drawn])
    )


def _batch(mixer: Mixer, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    where, gains = mixer.draw(step, size)
    parts = waveforms(Mapped(mixer.packed, mixer.rows, mixer.crop).read(where))
    mixtures, references = mix(mixer, mixer.voices(parts) * torch.from_numpy(gains)[..., None])
    return mixtures.numpy(), references.numpy()
