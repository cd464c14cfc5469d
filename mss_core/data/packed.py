"""The packed copy of a data set: mono 16-bit samples, decoded and resampled once, read through a memory map.

``<row>.i16`` holds one row (the mixture or a source) of all items, end to end; ``index.json`` says where each item
lies. Reading a segment is a slice of mapped memory: no decoding, nothing held in the process.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mss_core import audio
from mss_core.data.sets import Item, Note, Survey
from mss_core.graph import Context

SCALE = 32767.0
SILENCE = 1.5 / SCALE
"""A row whose peak is below this is silent: it rounds to zero, or to dither of one bit."""


@dataclass(frozen=True)
class PackedItem:
    """Where an item lies: ``start`` and ``length`` in samples; ``silent`` names its all-zero rows."""

    name: str
    split: str
    start: int
    length: int
    silent: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


class Packed:
    """A packed data set, opened for reading.

    Attributes:
        rows: ``"mixture"`` and, for tracks, the sources.
        samplerate: Hz.
        items: every item, in a fixed order.
        labels: label names (clips only).
        single_label: whether every clip has exactly one label.
    """

    def __init__(self, directory: Path) -> None:
        index = json.loads((directory / "index.json").read_text(encoding="utf-8"))
        self.rows: tuple[str, ...] = tuple(index["rows"])
        self.samplerate: int = index["samplerate"]
        self.labels: tuple[str, ...] = tuple(index["labels"])
        self.single_label: bool = index["single_label"]
        self.items = [PackedItem(**{**item, "silent": tuple(item["silent"]), "labels": tuple(item["labels"])})
                      for item in index["items"]]
        self._samples = {row: np.memmap(directory / f"{row}.i16", dtype=np.int16, mode="r") for row in self.rows}

    def split(self, name: str) -> list[PackedItem]:
        return [item for item in self.items if item.split == name]

    def read(self, item: PackedItem, row: str = "mixture", start: int = 0, length: int | None = None) -> np.ndarray:
        """float32 (time,) of one row; zeros beyond the item's end."""
        length = item.length - start if length is None else length
        available = max(0, min(length, item.length - start))
        first = item.start + start
        samples = self._samples[row][first:first + available].astype(np.float32) / SCALE
        return np.pad(samples, (0, length - available)) if available < length else samples

    def truth(self, items: Iterable[PackedItem]) -> np.ndarray:
        """Labels as float32 (item, label) in {0, 1}."""
        column = {label: index for index, label in enumerate(self.labels)}
        items = list(items)
        truth = np.zeros((len(items), len(self.labels)), np.float32)
        for row, item in enumerate(items):
            for label in item.labels:
                truth[row, column[label]] = 1.0
        return truth


def pack(found: Survey, rows: tuple[str, ...], samplerate: int, shortest: int, out: Path, ctx: Context) -> None:
    """Decode every item of a survey into ``out``; a file that cannot be decoded is skipped by name.

    ``shortest`` is the segment length (samples) below which an item is counted as padded.
    Raises ValueError where a split has nothing left.
    """
    items: list[PackedItem] = []
    skipped: list[str] = []
    clipped: list[str] = []
    start = 0
    files = {row: open(out / f"{row}.i16", "wb") for row in rows}  # noqa: SIM115
    try:
        for number, item in enumerate(found.items, start=1):
            try:
                sound = item.read()
                waveforms = {row: _mono(sound.rows[row], sound.samplerate, samplerate, item) for row in rows}
            except ValueError as error:
                skipped.append(f"{item.name} ({str(error).split(': ', 1)[-1]})")
                continue
            if any(np.abs(waveform).max(initial=0.0) > 1.0 for waveform in waveforms.values()):
                clipped.append(item.name)
            for row, waveform in waveforms.items():
                _quantise(waveform).tofile(files[row])
            length = len(waveforms[rows[0]])
            silent = tuple(row for row in rows if np.abs(waveforms[row]).max(initial=0.0) < SILENCE)
            items.append(PackedItem(item.name, item.split, start, length, silent, sound.labels or item.labels))
            start += length
            if number % 10 == 0 or number == len(found.items):
                ctx.report(step=number, total=len(found.items))
    finally:
        for file in files.values():
            file.close()
    _require_items(items, found.items, skipped)
    notes = [*found.notes, *_notes(items, skipped, clipped, shortest, samplerate)]
    index: dict[str, Any] = {
        "rows": list(rows), "samplerate": samplerate, "labels": list(found.labels), "single_label": found.single_label,
        "items": [asdict(item) for item in items], "notes": [asdict(note) for note in notes]}
    (out / "index.json").write_text(json.dumps(index), encoding="utf-8")


def notes_of(directory: Path) -> list[dict[str, Any]]:
    """The notes of a packed set, as report notes (kind, text, count, items)."""
    index = json.loads((directory / "index.json").read_text(encoding="utf-8"))
    return [{"kind": n["kind"], "text": n["text"], "count": len(n["items"]), "items": n["items"]}
            for n in index["notes"]]


def _mono(waveform: np.ndarray, rate: int, samplerate: int, item: Item) -> np.ndarray:
    if not np.isfinite(waveform).all():
        raise ValueError(f"{item.name}: samples that are not finite")
    return audio.resample(waveform, rate, samplerate).mean(0)


def _quantise(waveform: np.ndarray) -> np.ndarray:
    return np.round(np.clip(waveform, -1.0, 1.0) * SCALE).astype(np.int16)


def _require_items(items: list[PackedItem], wanted: tuple[Item, ...], skipped: list[str]) -> None:
    for split in dict.fromkeys(item.split for item in wanted):
        if not any(item.split == split for item in items):
            raise ValueError(f"no readable {split} item is left; skipped: {', '.join(skipped[:5])}")


def _notes(items: list[PackedItem], skipped: list[str], clipped: list[str], shortest: int,
           samplerate: int) -> list[Note]:
    notes = []
    if skipped:
        notes.append(Note("skipped", "items that could not be decoded", tuple(skipped)))
    short = tuple(item.name for item in items if item.length < shortest)
    if short:
        notes.append(Note("padded", f"items shorter than a segment of {shortest / samplerate:.2f} s, padded with "
                                    "silence", short))
    silent = tuple(f"{item.name}: {row}" for item in items for row in item.silent)
    if silent:
        notes.append(Note("silent", "sources silent in a track, left out of that track's score", silent))
    if clipped:
        notes.append(Note("clipped", "items whose mono mix exceeds full scale, clipped", tuple(clipped)))
    return notes
