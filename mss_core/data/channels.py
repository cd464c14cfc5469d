"""Packed sets of one or two channels: of two, each channel of a source is a row of its own, ``<source>.left`` and
``<source>.right``, and nothing that reads them mixes the two."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np

from mss_core.bad_file import BadFile
from mss_core.data.batches import Places
from mss_core.data.items import Item, Sound, Survey
from mss_core.data.packed import Packed, PackedItem, refuse

SIDES = {1: ("",), 2: (".left", ".right")}
"""What stands behind a source's name in the rows of a set packed with this many channels."""


def sided(sources: Sequence[str], channels: int) -> tuple[str, ...]:
    """Row names, source by source.

    >>> sided(["bass"], 2)
    ('bass.left', 'bass.right')
    """
    return tuple(f"{source}{side}" for source in sources for side in SIDES[channels])


# ---- packing


def apart(found: Survey) -> Survey:
    """A survey whose items have the rows ``<row>.left`` and ``<row>.right``, of one channel each."""
    return replace(found, items=tuple(replace(item, read=_Apart(item)) for item in found.items))


@dataclass(frozen=True)
class _Apart:
    item: Item

    def __call__(self) -> Sound:
        sound = self.item.read()
        return replace(sound, rows=_Sides(sound.rows, self.item.name))


class _Sides(Mapping[str, np.ndarray]):
    """Rows of one channel of rows that may have two; a mono row has the same twice. The row that was read last is kept,
    so that its other side need not be decoded again."""

    def __init__(self, rows: Mapping[str, np.ndarray], item: str) -> None:
        self.rows, self.item = rows, item
        self._last: tuple[str, np.ndarray] | None = None

    def __getitem__(self, name: str) -> np.ndarray:
        row, _, side = name.rpartition(".")
        if self._last is None or self._last[0] != row:
            self._last = row, self.rows[row]
        waveform = self._last[1]
        if len(waveform) > 2:
            raise BadFile(f"{self.item}: {row} has {len(waveform)} channels; stereo is made of one or two")
        return waveform[[SIDES[2].index(f".{side}") % len(waveform)]]

    def __iter__(self) -> Iterator[str]:
        return iter(sided(list(self.rows), 2))

    def __len__(self) -> int:
        return 2 * len(self.rows)


# ---- reading


class Sided:
    """A packed set with its rows by source, of one or two channels: what mixers and validation read of it.

    Attributes:
        packed: the set as it is stored.
        channels: 1 or 2.
        rows, items, samplerate: as of a packed set; a row is silent where all of its channels are.
    """

    def __init__(self, packed: Packed) -> None:
        self.packed, self.samplerate = packed, packed.samplerate
        self.channels = 2 if packed.rows[0].endswith(SIDES[2][0]) else 1
        ends = SIDES[self.channels]
        self.rows = tuple(row.removesuffix(ends[0]) for row in packed.rows[:: self.channels])
        self.items = [
            replace(item, silent=tuple(row for row in self.rows if {f"{row}{end}" for end in ends} <= {*item.silent}))
            for item in packed.items
        ]

    def split(self, name: str) -> list[PackedItem]:
        """The items of a split; PermissionError where it is sealed."""
        refuse(name)
        return [item for item in self.items if item.split == name]

    def read(self, item: PackedItem, row: str = "mixture", start: int = 0, length: int | None = None) -> np.ndarray:
        """float32 (channel, time) of one row; zeros beyond the item's end."""
        return np.stack([self.packed.read(item, f"{row}{end}", start, length) for end in SIDES[self.channels]])


def open_sided(directory: Path) -> Packed:
    """A packed set as stages read it that hear one channel or two: its rows are by source, and ``read`` gives (time,),
    of two channels (channel, time)."""
    packed = Packed(directory)
    return cast(Packed, Sided(packed)) if packed.rows[0].endswith(SIDES[2][0]) else packed


def beside(where: Places, channels: int) -> Places:
    """Places (*places) in rows by source -> places (*places, channel) in the rows that :func:`sided` names."""
    row = where.row[..., None] * channels + np.arange(channels)
    return Places(row, *(np.broadcast_to(part[..., None], row.shape) for part in (where.start, where.available)))
