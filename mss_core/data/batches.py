"""Batches of segments of a packed set, from mapped memory or from a copy that lives on the device.

What a batch holds is a function of the seed and the step alone, so neither the number of workers nor a resume in the
middle of an epoch changes it, and both ways of reading give equal samples. Where the samples are read from is chosen
by :func:`feed` from the device and the size of the set, and is no part of a result.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from mss_core import runtime
from mss_core.data.packed import Joined, Packed, PackedItem, refuse, starts
from mss_core.errors import choose
from mss_core.graph import Context

T = TypeVar("T")
Segment = tuple[PackedItem, int]
"""An item, and the segment's first sample in it."""

AHEAD = 2
"""Threads that read ahead of a device other than the CPU, where the context does not say how many."""


@dataclass(frozen=True, eq=False)
class Parts:
    """Segments as they are stored: ``samples`` int16 (*places, time), in steps of ``unit`` float32 (*places)."""

    samples: Tensor
    unit: Tensor

    def to(self, device: str, non_blocking: bool = False) -> Parts:
        return Parts(*(values.to(device, non_blocking=non_blocking) for values in (self.samples, self.unit)))

    def pin_memory(self) -> Parts:
        return Parts(self.samples.pin_memory(), self.unit.pin_memory())


Pair = tuple[Parts, Tensor]


@dataclass(frozen=True)
class Places:
    """Segments by place, arrays of one shape: index of the row, first sample in it, samples before the item ends."""

    row: np.ndarray
    start: np.ndarray
    available: np.ndarray


def places(segments: Sequence[Segment], rows: int, length: int) -> Places:
    """Where the first ``rows`` rows of segments lie: arrays (segment, row)."""
    for item, _ in segments:
        refuse(item.split)
    start = np.array([item.start + first for item, first in segments])
    available = np.array([max(0, min(length, item.length - first)) for item, first in segments])
    shape = (len(segments), rows)
    return Places(
        np.broadcast_to(np.arange(rows), shape),
        np.broadcast_to(start[:, None], shape),
        np.broadcast_to(available[:, None], shape),
    )


def spread(found: Sequence[T], most: int) -> list[T]:
    """At most ``most`` of them, evenly over the list."""
    step = max(1.0, len(found) / most)
    return [found[int(number * step)] for number in range(min(most, len(found)))]


def validation_segments(packed: Packed, length: int, most: int, sources: Sequence[str] = ()) -> list[list[Segment]]:
    """At most ``most`` segments, evenly over the validation tracks, in batches of 8.

    With ``sources``, only of tracks in which one of them sounds, and the same of them in all of a batch: a source that
    is silent in a track has no part in the loss, as it has no score.
    """
    items = [item for item in packed.split("valid") if not sources or sounding(item, sources)]
    chosen = spread([(item, start) for item in items for start in starts(item, length)], most)
    groups: dict[tuple[int, ...], list[Segment]] = {}
    for item, start in chosen:
        groups.setdefault(sounding(item, sources), []).append((item, start))
    return [group[first : first + 8] for group in groups.values() for first in range(0, len(group), 8)]


def sounding(item: PackedItem, sources: Sequence[str]) -> tuple[int, ...]:
    """The places of the sources that sound in an item."""
    return tuple(place for place, source in enumerate(sources) if source not in item.silent)


def stacked(packed: Packed, segments: Sequence[Segment], row: str, length: int) -> Tensor:
    """One row of each segment, read from mapped memory. Shape: float32 (segment, time)."""
    return torch.stack([torch.from_numpy(packed.read(item, row, start, length)) for item, start in segments])


class Mapped:
    """Rows of a packed set in mapped memory."""

    def __init__(self, packed: Packed | Joined, rows: Sequence[str], length: int) -> None:
        for row in rows:
            choose("row of the packed set", row, packed.rows)
        self.samples, self.length = [packed.samples(row) for row in rows], length
        self._placed = [packed.placed(row) for row in rows]

    def units(self, where: Places) -> Tensor:
        """What one step of the samples at these places is worth, float32 (*places)."""
        found = np.empty(where.row.shape, np.float32)
        for index, (begins, units) in enumerate(self._placed):
            here = where.row == index
            if here.any():
                found[here] = units[np.maximum(np.searchsorted(begins, where.start[here], side="right") - 1, 0)]
        return torch.from_numpy(found)

    def read(self, where: Places) -> Parts:
        """The stored segments; what lies beyond the end of an item is zero."""
        found = np.zeros((*where.row.shape, self.length), np.int16)
        for line, row, start, available in zip(
            found.reshape(-1, self.length), where.row.flat, where.start.flat, where.available.flat, strict=True
        ):
            line[:available] = self.samples[row][start : start + available]
        return Parts(torch.from_numpy(found), self.units(where))


class Resident:
    """Rows of a packed set end to end in one int16 tensor on a device, (time,): a batch is one gather."""

    def __init__(self, mapped: Mapped, device: str) -> None:
        ends = np.cumsum([len(samples) for samples in mapped.samples])
        self.samples = torch.empty(int(ends[-1]), dtype=torch.int16, device=device)
        self._first = np.concatenate([[0], ends[:-1]])
        step = 1 << 24
        for begin, samples in zip(self._first, mapped.samples, strict=True):
            for first in range(0, len(samples), step):
                block = torch.from_numpy(np.array(samples[first : first + step]))
                self.samples[begin + first : begin + first + len(block)] = block.to(device)
        self._time, self._units = torch.arange(mapped.length, device=device), mapped.units

    def read(self, where: Places) -> Parts:
        """What :meth:`Mapped.read` gives, on the device."""
        start, available = (
            torch.tensor(values, device=self.samples.device)[..., None]
            for values in (self._first[where.row] + where.start, where.available)
        )
        inside = self._time < available
        samples = self.samples[torch.where(inside, start + self._time, 0)] * inside
        return Parts(samples, self._units(where).to(samples.device))


class Segments:
    """Which random segments batch ``step`` holds.

    Items are drawn without replacement within an epoch of ``steps`` batches (one pass where it is not given; items
    are repeated where a pass is shorter), start positions uniformly on a grid.

    Args:
        rows: what to read; all of the packed rows where it is empty.
        length: samples of a segment.
        size: segments in a batch.
        grid: start positions are multiples of this many samples.
    """

    def __init__(
        self,
        packed: Packed,
        split: str,
        length: int,
        size: int,
        seed: int,
        rows: Sequence[str] = (),
        grid: int = 1,
        steps: int | None = None,
    ) -> None:
        items = packed.split(split)
        if not items:
            raise ValueError(f"the packed set has no {split} item")
        self.rows, self.length, self.size = tuple(rows) or packed.rows, length, size
        self.mapped = Mapped(packed, self.rows, length)
        self.seed, self.grid = seed, grid
        self._starts = np.array([item.start for item in items])
        self._lengths = np.array([item.length for item in items])
        self.steps = steps or max(1, len(items) // size)

    def draw(self, step: int) -> tuple[Places, np.ndarray]:
        """The segments' places (batch, row), and the index of each item within its split (batch,)."""
        epoch, within = divmod(step, self.steps)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self._starts))
        index = np.take(order, np.arange(within * self.size, (within + 1) * self.size), mode="wrap")
        spare = np.maximum(0, self._lengths[index] - self.length) // self.grid
        offset = np.random.default_rng([self.seed, epoch, within]).integers(0, spare + 1) * self.grid
        shape = (self.size, len(self.rows))
        start = np.broadcast_to((self._starts[index] + offset)[:, None], shape)
        available = np.broadcast_to(np.minimum(self.length, self._lengths[index] - offset)[:, None], shape)
        return Places(np.broadcast_to(np.arange(len(self.rows)), shape), start, available), index

    def __getitem__(self, step: int) -> Pair:
        """The stored segments (batch, row, time), from mapped memory, and the index of each item within its split."""
        where, index = self.draw(step)
        return self.mapped.read(where), torch.from_numpy(index)


def stream(read: Callable[[int], Pair], first: int, workers: int = 0) -> Iterator[Pair]:
    """``read(first)``, ``read(first + 1)``, ... without end, read a few steps ahead by ``workers`` threads (none: each
    when it is asked for). Copies of mapped memory leave the interpreter's lock to others."""
    if not workers:
        yield from map(read, itertools.count(first))
        return
    pool = ThreadPoolExecutor(workers)
    try:
        waiting = deque(pool.submit(read, step) for step in range(first, first + workers + 1))
        for step in itertools.count(first + workers + 1):
            yield waiting.popleft().result()
            waiting.append(pool.submit(read, step))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class Feed:
    """``feed(step)`` on the context's device: the stored segments at the places that ``draw(step)`` gives, and the
    array that it gives with them.

    The rows live on the device where they fit into its room (``Context.room``); else they are read from mapped
    memory, ahead of their use by threads (``Context.workers``).
    """

    def __init__(
        self,
        packed: Packed | Joined,
        rows: Sequence[str],
        length: int,
        draw: Callable[[int], tuple[Places, np.ndarray]],
        ctx: Context,
    ) -> None:
        self.draw, self.device = draw, ctx.device
        self.pinned = ctx.device.startswith("cuda")
        mapped = Mapped(packed, rows, length)
        room = runtime.room(ctx.device) if ctx.room is None else ctx.room
        self.resident = sum(samples.nbytes for samples in mapped.samples) <= room
        self.source = Resident(mapped, ctx.device) if self.resident else mapped
        self.workers = (AHEAD if self.pinned else 0) if ctx.workers is None else ctx.workers
        self._stream: Iterator[Pair] = iter(())
        self._next = -1

    def read(self, where: Places) -> Parts:
        """The stored segments on the device."""
        return self.source.read(where).to(self.device)

    def __call__(self, step: int) -> Pair:
        if self.resident:
            found = self._at(step)
        else:
            if step != self._next:
                self._stream = stream(self._at, step, self.workers)
            self._next = step + 1
            found = next(self._stream)
        batch, extra = (values.to(self.device, non_blocking=True) for values in found)
        return batch, extra

    def _at(self, step: int) -> Pair:
        where, extra = self.draw(step)
        batch = self.source.read(where)
        ahead = self.pinned and not self.resident
        return batch.pin_memory() if ahead else batch, torch.from_numpy(extra)


def waveforms(parts: Parts) -> Tensor:
    """float32 (*places, time), as ``Packed.read`` gives them on any device: one product per sample."""
    return parts.samples.float().mul_(parts.unit[..., None])
