"""Packed sets that are made from packed sets: segments, estimates, processed clips.

What comes out is a :class:`~mss_core.data.packed.Packed` set like any other, so whatever trains or scores on clips
does so on what an inference stage made of them. A spectrogram is stored flat, as if it were a waveform.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from mss_core.artefact import write_notes
from mss_core.data.items import Item, Sound, Survey
from mss_core.data.packed import Packed, PackedItem
from mss_core.data.packing import pack
from mss_core.graph import Context

Rows = Mapping[str, np.ndarray]


def derive(
    source: Packed,
    items: Iterable[tuple[str, PackedItem, Callable[[], Rows]]],
    rows: tuple[str, ...],
    out: Path,
    ctx: Context,
    workers: int | None = 1,
) -> None:
    """Write a packed set of ``(name, the item it comes from, a function that computes its rows)``; splits and labels
    are those of the items. It has no notes: they stand with the set that the items come from.

    Shape: each row (value,).
    """
    found = [
        Item(name, item.split, partial(_sound, compute, source.samplerate), item.labels)
        for name, item, compute in items
    ]
    survey = Survey(tuple(found), labels=source.labels, single_label=source.single_label)
    pack(survey, rows, source.samplerate, 0, out, ctx, workers)
    write_notes(out, [])


def _sound(compute: Callable[[], Rows], samplerate: int) -> Sound:
    return Sound({row: values[None] for row, values in compute().items()}, samplerate)
