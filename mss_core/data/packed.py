"""The packed copy of a data set: mono 16-bit samples, decoded and resampled once, read through a memory map.

``<row>.i16`` holds one row (the mixture or a source) of all items, end to end; ``index.json`` says where each item
lies and what one step of its samples is worth in each row: the row's peak is the greatest 16-bit number, so that no
level, sum or down-mix is clipped and a quiet row keeps its detail. Reading a segment is a slice of mapped memory: no
decoding, nothing held in the process.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mss_core.seal import refuse


@dataclass(frozen=True)
class PackedItem:
    """Where an item lies: ``start`` and ``length`` in samples; ``units`` are the values of one step of the samples, one
    per row; ``silent`` names its rows that do not sound."""

    name: str
    split: str
    start: int
    length: int
    units: tuple[float, ...]
    silent: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


class Packed:
    """A packed data set, opened for reading.

    Attributes:
        directory: where it lies.
        rows: ``"mixture"`` and, for tracks, the sources.
        samplerate: Hz.
        items: every item, in a fixed order.
        labels: label names (clips only).
        single_label: whether every clip has exactly one label.
    """

    def __init__(self, directory: Path) -> None:
        index = json.loads((directory / "index.json").read_text(encoding="utf-8"))
        self.directory = directory
        self.rows: tuple[str, ...] = tuple(index["rows"])
        self.samplerate: int = index["samplerate"]
        self.labels: tuple[str, ...] = tuple(index["labels"])
        self.single_label: bool = index["single_label"]
        self.items = [_item(item) for item in index["items"]]
        self._samples = {row: _mapped(directory / f"{row}.i16") for row in self.rows}

    def split(self, name: str) -> list[PackedItem]:
        refuse(name)
        return [item for item in self.items if item.split == name]

    def samples(self, row: str) -> np.ndarray:
        """All items of one row end to end, int16, mapped; each item in units of its own."""
        return self._samples[row]

    def unit(self, item: PackedItem, row: str) -> np.float32:
        """What one step of an item's samples is worth in one row."""
        return np.float32(item.units[self.rows.index(row)])

    def placed(self, row: str) -> tuple[np.ndarray, np.ndarray]:
        """Where each item of a row starts, and what one step of its samples is worth (float32)."""
        starts = np.array([item.start for item in self.items])
        return starts, np.array([self.unit(item, row) for item in self.items], np.float32)

    def read(self, item: PackedItem, row: str = "mixture", start: int = 0, length: int | None = None) -> np.ndarray:
        """float32 (time,) of one row; zeros beyond the item's end."""
        refuse(item.split)
        length = item.length - start if length is None else length
        available = max(0, min(length, item.length - start))
        first = item.start + start
        samples = self._samples[row][first : first + available].astype(np.float32) * self.unit(item, row)
        return np.pad(samples, (0, length - available)) if available < length else samples

    def truth(self, items: Iterable[PackedItem]) -> np.ndarray:
        """Labels as float32 (item, label) in {0, 1}."""
        column = {label: index for index, label in enumerate(self.labels)}
        items = list(items)
        for item in items:
            refuse(item.split)
        truth = np.zeros((len(items), len(self.labels)), np.float32)
        for row, item in enumerate(items):
            for label in item.labels:
                truth[row, column[label]] = 1.0
        return truth


class Joined:
    """The rows of a packed set and, as one more row of its own name, the mixtures of another."""

    def __init__(self, packed: Packed, other: Packed, name: str) -> None:
        self.packed, self.other, self.name = packed, other, name
        self.rows, self.samplerate = (*packed.rows, name), packed.samplerate

    def samples(self, row: str) -> np.ndarray:
        return self.other.samples("mixture") if row == self.name else self.packed.samples(row)

    def placed(self, row: str) -> tuple[np.ndarray, np.ndarray]:
        return self.other.placed("mixture") if row == self.name else self.packed.placed(row)


def _mapped(path: Path) -> np.ndarray:
    """The samples in a file; one without items cannot be mapped."""
    return np.memmap(path, dtype=np.int16, mode="r") if path.stat().st_size else np.zeros(0, np.int16)


def _item(fields: dict[str, Any]) -> PackedItem:
    return PackedItem(**{name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()})


def starts(item: PackedItem, length: int) -> range:
    """First samples of the ``length``-sample segments of an item, side by side; one that is too short gives a single
    segment, to be padded."""
    return range(0, item.length - length + 1, length) or range(1)


def loss_of(packed: Packed) -> str:
    """Cross-entropy where every clip has one label, binary cross-entropy otherwise."""
    return "cross_entropy" if packed.single_label else "binary_cross_entropy"
