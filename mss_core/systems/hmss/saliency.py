"""Chunks in which there is something to separate: the leaf sounds, and so does something beside it.

The level of a submix is its RMS over the chunk, in dB re full scale [Zhang, Sec. 4.4.1].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from mss_core.artefact import read_json
from mss_core.data.activity import salient
from mss_core.data.batches import Mapped, Places, waveforms
from mss_core.data.packed import Packed, PackedItem
from mss_core.errors import choose

SIBLINGS = "siblings"
BESIDE = ("root", "sibling", "anything", "nothing")


@dataclass(frozen=True)
class Sampling:
    """Which chunks of a track are used.

    Attributes:
        seconds: length of a chunk.
        hop_ratio: start of the next chunk, in chunks.
        threshold_db: a submix is salient from this RMS level on; the thesis has -30, the released code's effective
            value is -60.
        beside: what must be salient too: ``"root"`` (another leaf below the highest node of the path, as MERL's code
            has it: ``flatten`` in hierarchy_utils.py and ``_determine_target_chunk`` in multi_level.py; the thesis,
            which builds on it, says nothing of it), ``"sibling"`` (the leaf's parent without the leaf),
            ``"anything"`` (the mixture without the leaf) or ``"nothing"``.
        valid_items, test_items: at most this many chunks, spread evenly.
    """

    seconds: float = 10.0
    hop_ratio: float = 0.25
    threshold_db: float = -30.0
    beside: str = "root"
    valid_items: int = 3000
    test_items: int = 3000

    def __post_init__(self) -> None:
        choose("'beside' of the sampling", self.beside, BESIDE)
        if self.seconds <= 0 or not 0 < self.hop_ratio <= 1:
            raise ValueError(
                f"'seconds' must be positive and 'hop_ratio' in (0, 1]; got {self.seconds} and {self.hop_ratio}"
            )
        if self.valid_items < 1 or self.test_items < 1:
            raise ValueError("'valid_items' and 'test_items' must be at least 1")

    def hop(self, samplerate: int) -> int:
        """Samples from the start of a chunk to that of the next."""
        return max(1, round(round(self.seconds * samplerate) * self.hop_ratio))


@dataclass(frozen=True)
class Chunk:
    """A stretch of a track with its path, by number: ``start`` in samples."""

    item: PackedItem
    start: int
    path: int = 0


def chunks(packed: Packed, split: str, paths: Sequence[Sequence[str]], sampling: Sampling) -> list[Chunk]:
    """Salient chunks of a split, path by path. Raises ValueError where there is none at all."""
    length = round(sampling.seconds * packed.samplerate)
    hop = sampling.hop(packed.samplerate)
    beside = Siblings(packed, length, hop) if sampling.beside == "root" else None
    found = [
        Chunk(item, start, number)
        for number, path in enumerate(paths)
        for item in packed.split(split)
        if path[0] not in item.silent
        for start in _starts(packed, item, path, length, hop, sampling, beside)
    ]
    if not found:
        raise ValueError(
            f"no {split} chunk of {sampling.seconds:g} s has a salient leaf "
            f"({', '.join(path[0] for path in paths)}) with {sampling.beside} salient beside it, at "
            f"{sampling.threshold_db:g} dB; lower 'sampling.threshold_db' or change 'sampling.beside'"
        )
    return found


def _starts(
    packed: Packed,
    item: PackedItem,
    path: Sequence[str],
    length: int,
    hop: int,
    sampling: Sampling,
    siblings: Siblings | None,
) -> list[int]:
    leaf = packed.read(item, path[0])
    starts = set(salient(leaf, length, hop, sampling.threshold_db).tolist())
    if siblings is not None and starts:
        return sorted(starts & siblings.starts(item, path[0], sampling.threshold_db))
    if sampling.beside != "nothing" and starts:
        over = path[1] if sampling.beside == "sibling" and len(path) > 1 else "mixture"
        rest = packed.read(item, over) - leaf
        starts &= set(salient(rest, length, hop, sampling.threshold_db).tolist())
    return sorted(starts)


class Siblings:
    """Chunks in which another leaf below the root sounds, by the powers that ``prepare_levels`` kept."""

    def __init__(self, packed: Packed, length: int, hop: int) -> None:
        facts = read_json(packed.directory, f"{SIBLINGS}.json")
        if (facts["segment"], facts["hop"]) != (length, hop):
            raise ValueError(
                f"chunks of {length} samples every {hop} are asked for; the powers of their neighbours are of "
                f"{facts['segment']} every {facts['hop']}"
            )
        self.beside, self.hop = facts["beside"], hop
        self.rows = {leaf: row for row, leaf in enumerate(facts["leaves"])}
        self.powers = np.load(packed.directory / f"{SIBLINGS}.npy")
        counts = [len(range(0, max(1, item.length - length + 1), hop)) for item in packed.items]
        ends = np.cumsum(counts)
        self.places = {item.name: (end - n, end) for item, n, end in zip(packed.items, counts, ends, strict=True)}

    def starts(self, item: PackedItem, leaf: str, threshold_db: float) -> set[int]:
        """Starts of the chunks of an item in which any of the leaf's siblings reaches the threshold."""
        first, end = self.places[item.name]
        others = [self.rows[name] for name in self.beside[leaf]]
        loud = (self.powers[others, first:end] >= 10 ** (threshold_db / 10)).any(0)
        return set((np.flatnonzero(loud) * self.hop).tolist())


class ChunkReader:
    """Batches of chunks drawn at random; what a batch holds is a function of seed and step alone.

    A batch is places in ``rows``, for :class:`mss_core.data.batches.Feed`: (batch, part), where the parts are the
    mixture, the nodes of the chunk's path, and the query where there is one.

    Args:
        paths: rows to read for each chunk, by its path; all of one length.
        leaves: the leaf of each path, which an example shows; None: no queries.
    """

    def __init__(
        self,
        packed: Packed,
        found: Sequence[Chunk],
        paths: Sequence[Sequence[str]],
        length: int,
        seed: int,
        leaves: Sequence[str] | None = None,
    ) -> None:
        self.packed, self.found, self.paths, self.length, self.seed = packed, list(found), paths, length, seed
        self.leaves = leaves
        self.rows = tuple(dict.fromkeys(("mixture", *(row for path in paths for row in path), *(leaves or ()))))
        self._by_path: dict[int, list[Chunk]] = {}
        for chunk in self.found:
            self._by_path.setdefault(chunk.path, []).append(chunk)

    def draw(self, step: int, size: int) -> tuple[Places, np.ndarray]:
        """Places of batch ``step``, and the path of each item."""
        rng = np.random.default_rng([self.seed, step])
        drawn = [self.found[int(rng.integers(len(self.found)))] for _ in range(size)]
        return self.places(drawn, rng), np.array([chunk.path for chunk in drawn])

    def places(self, drawn: Sequence[Chunk], rng: np.random.Generator) -> Places:
        """Places of given chunks; ``rng`` draws their queries."""
        lines = []
        for chunk in drawn:
            parts = [(chunk, row) for row in ("mixture", *self.paths[chunk.path])]
            if self.leaves is not None:
                parts.append((self.example(chunk, rng), self.leaves[chunk.path]))
            lines.append(
                [
                    (
                        self.rows.index(row),
                        part.item.start + part.start,
                        max(0, min(self.length, part.item.length - part.start)),
                    )
                    for part, row in parts
                ]
            )
        row, start, available = np.array(lines).transpose(2, 0, 1)
        return Places(row, start, available)

    def split(self, parts: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Mixtures (batch, time), references (batch, level, time) and queries of what was read."""
        if self.leaves is None:
            return parts[:, 0], parts[:, 1:], None
        return parts[:, 0], parts[:, 1:-1], parts[:, -1]

    def batches(self, size: int, device: str) -> Iterator[tuple[Tensor, Tensor, Tensor | None]]:
        """All chunks in their order, float32 on a device; queries are drawn by the reader's seed."""
        rng, mapped = np.random.default_rng([self.seed, 11]), Mapped(self.packed, self.rows, self.length)
        for first in range(0, len(self.found), size):
            parts = mapped.read(self.places(self.found[first : first + size], rng))
            yield self.split(waveforms(parts.to(device)))

    def example(self, chunk: Chunk, rng: np.random.Generator) -> Chunk:
        """A chunk with the same leaf of another track; of the same track where no other has one."""
        same = self._by_path[chunk.path]
        elsewhere = [other for other in same if other.item.name != chunk.item.name] or same
        return elsewhere[int(rng.integers(len(elsewhere)))]
