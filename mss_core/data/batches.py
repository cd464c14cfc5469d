"""Batches of random segments of a packed set, from mapped memory or from a copy that lives on the device.

What a batch holds is a function of the seed and the step alone, so neither the number of workers nor a resume in the
middle of an epoch changes it, and both ways of reading give equal samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from mss_core.data.packed import SCALE, Packed
from mss_core.naming import choose


@dataclass(frozen=True)
class Draw:
    """Segments: index of each item in its split, first sample in the packed rows, samples before the item ends."""

    index: np.ndarray
    start: np.ndarray
    available: np.ndarray


class Segments(Dataset):
    """Batch ``step`` of random segments, int16 (batch, row, time); item ``step`` of a torch data set.

    Items are drawn without replacement within an epoch (``len(items) // size`` steps; fewer items than ``size`` are
    repeated), start positions uniformly on a grid. What lies beyond the end of an item is zero.

    Args:
        rows: what to read; all of the packed rows where it is empty.
        length: samples of a segment.
        size: segments in a batch.
        grid: start positions are multiples of this many samples.
    """

    def __init__(self, packed: Packed, split: str, length: int, size: int, seed: int, rows: Sequence[str] = (),
                 grid: int = 1) -> None:
        items = packed.split(split)
        if not items:
            raise ValueError(f"the packed set has no {split} item")
        for row in rows:
            choose("row of the packed set", row, packed.rows)
        self.packed, self.rows, self.length, self.size = packed, tuple(rows) or packed.rows, length, size
        self.seed, self.grid = seed, grid
        self._starts = np.array([item.start for item in items])
        self._lengths = np.array([item.length for item in items])
        self.steps = max(1, len(items) // size)

    def draw(self, step: int) -> Draw:
        """Which segments batch ``step`` holds."""
        epoch, within = divmod(step, self.steps)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self._starts))
        index = np.take(order, np.arange(within * self.size, (within + 1) * self.size), mode="wrap")
        spare = np.maximum(0, self._lengths[index] - self.length) // self.grid
        offset = np.random.default_rng([self.seed, epoch, within]).integers(0, spare + 1) * self.grid
        return Draw(index, self._starts[index] + offset, np.minimum(self.length, self._lengths[index] - offset))

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """int16 (batch, row, time) and the index of each item within its split."""
        drawn = self.draw(step)
        batch = np.zeros((self.size, len(self.rows), self.length), np.int16)
        for column, row in enumerate(self.rows):
            samples = self.packed.samples(row)
            for line, (start, available) in enumerate(zip(drawn.start, drawn.available, strict=True)):
                batch[line, column, :available] = samples[start:start + available]
        return torch.from_numpy(batch), torch.from_numpy(drawn.index)


def stream(segments: Segments, first: int, stop: int, workers: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches ``first`` to ``stop - 1`` in order, read by ``workers`` processes (0: by this one)."""
    return iter(DataLoader(segments, batch_size=None, sampler=range(first, stop), num_workers=workers))


def waveforms(batch: Tensor) -> Tensor:
    """float32 in [-1, 1] of int16 samples, as ``Packed.read`` gives them."""
    return batch.float().div_(SCALE)


class Resident:
    """Rows of a packed set as one int16 tensor on a device, (row, time): a batch is one gather."""

    def __init__(self, segments: Segments, device: str) -> None:
        packed = segments.packed
        self.segments = segments
        self.samples = torch.empty(len(segments.rows), len(packed.samples(segments.rows[0])), dtype=torch.int16,
                                   device=device)
        step = 1 << 24
        for line, row in enumerate(segments.rows):
            samples = packed.samples(row)
            for first in range(0, len(samples), step):
                block = torch.from_numpy(np.array(samples[first:first + step]))
                self.samples[line, first:first + len(block)] = block.to(device)
        self._time = torch.arange(segments.length, device=device)

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """What ``segments[step]`` gives, on the device."""
        drawn = self.segments.draw(step)
        device = self.samples.device
        start = torch.from_numpy(drawn.start).to(device)[:, None]
        inside = self._time < torch.from_numpy(drawn.available).to(device)[:, None]
        where = torch.where(inside, start + self._time, 0)
        batch = self.samples[:, where].movedim(0, 1) * inside[:, None]
        return batch, torch.from_numpy(drawn.index).to(device)
