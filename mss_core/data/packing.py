"""Packing a data set, as :mod:`~mss_core.data.packed` reads it.

Packing decodes in threads (the decoders release the interpreter's lock) but writes in the order of the survey, so the
number of workers changes nothing. What it holds is one item, or as many as fit a budget. An interrupted build goes on
from its files in the stage's scratch folder (:mod:`~mss_core.data.pieces`).
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, BinaryIO

import numpy as np

from mss_core import audio, disk
from mss_core.artefact import note, write_groups, write_notes
from mss_core.bad_file import BadFile
from mss_core.data import pieces
from mss_core.data.doubts import SILENCE, twins
from mss_core.data.files import cores, progress, reason
from mss_core.data.items import Item, Note, Sound, Survey
from mss_core.data.packed import PackedItem
from mss_core.graph import Context, digest

SCALE = 32767.0
BUDGET = 1 << 29
"""Bytes that decoding may take at a time, beside a single item."""
PART = 1 << 20
"""Samples that are quantised at a time."""
TICK = 2.0
"""Seconds between two notes of how many rows of an item are decoded."""
WHOLE = 0.9
"""An item with less than this share of its published duration stops before its end."""


def pack(
    found: Survey,
    rows: tuple[str, ...],
    samplerate: int,
    shortest: int,
    out: Path,
    ctx: Context,
    workers: int | None = None,
) -> None:
    """Decode every item of a survey into ``out``; an item whose file cannot be read (BadFile) is skipped by name.

    ``shortest`` is the segment length (samples) below which an item is counted as padded; ``workers`` are threads,
    one per core where it is not given. Raises ValueError where a split has nothing left, OSError where the finished
    files do not hold the samples that were decoded.
    """
    attempt = disk.token()[:12]
    records = _decode_all(found, rows, samplerate, attempt, ctx, workers or cores())
    pieces.join(records, rows, attempt, ctx.work, out)
    items = [
        PackedItem(r["name"], r["split"], r["start"], r["length"], r["units"], tuple(r["silent"]), tuple(r["labels"]))
        for r in records
        if not r["skipped"]
    ]
    _require_items(items, found.items, [r["skipped"] for r in records if r["skipped"]])
    notes = [*found.notes, *_notes(items, records, shortest, samplerate)]
    index: dict[str, Any] = {
        "rows": list(rows),
        "samplerate": samplerate,
        "labels": list(found.labels),
        "single_label": found.single_label,
        "items": [asdict(item) for item in items],
    }
    disk.write(out / "index.json", json.dumps(index).encode())
    write_notes(out, [note(told.kind, told.text, told.items) for told in notes])
    write_groups(out, {item.name: item.artist for item in found.items})


def in_order(
    function: Callable[[Any], Any],
    values: Iterable[Any],
    workers: int,
    cost: Callable[[Any], int] = lambda value: 0,
    budget: int = BUDGET,
) -> Iterator[Any]:
    """``function`` of each value, computed by ``workers`` threads a few values ahead, given in order. What is begun and
    not yet given costs no more than the ``budget``, unless it is a single value."""
    if workers == 1:
        yield from map(function, values)
        return
    waiting: deque[tuple[Any, int]] = deque()
    pool = ThreadPoolExecutor(workers)
    try:
        for value in values:
            price = cost(value)
            while waiting and (len(waiting) > workers or price + sum(paid for _, paid in waiting) > budget):
                yield waiting.popleft()[0].result()
            waiting.append((pool.submit(function, value), price))
        while waiting:
            yield waiting.popleft()[0].result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def memory(item: Item, rows: int = 0, samplerate: int = 0) -> int:
    """About how many bytes decoding an item takes: its longest file four times over as float32 (decoded, added up,
    resampled), and 16-bit samples of so many ``rows`` at ``samplerate``, which stay until they are written; of a file
    whose header is not read here, 25 times its size. 0 for an item without files."""
    sizes = [0]
    for path in item.files:
        try:
            frames, rate, channels = audio.info(path, exact=False)
            sizes.append(16 * frames * channels + 2 * rows * frames * samplerate // rate)
        except (BadFile, OSError):
            sizes.append(25 * path.stat().st_size if path.exists() else 0)
    return max(sizes)


def _decode_all(
    found: Survey, rows: tuple[str, ...], samplerate: int, attempt: str, ctx: Context, workers: int
) -> list[dict[str, Any]]:
    """The records of all items, in the survey's order, with the samples of those that no earlier attempt decoded
    written to this attempt's pieces."""
    work = ctx.work
    task = digest([list(rows), samplerate, [[item.name, item.split] for item in found.items]])
    records = pieces.recover(task, work, rows)
    total, offset = len(found.items), 0
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(disk.opened(pieces.journal(work, attempt), "xb"))
        files = {row: stack.enter_context(disk.opened(pieces.piece(work, row, attempt), "xb")) for row in rows}
        show = stack.enter_context(progress("packing", total))
        log.writelines(json.dumps(line).encode() + b"\n" for line in ({"task": task}, *records))
        log.flush()
        pieces.drop_unused(work, rows, {attempt, *(record["attempt"] for record in records)}, attempt)
        each = 10 if total > 100 else 1
        reported = sorted({*range(each, total + 1, each), total})
        for number in reported:
            if 0 < number <= len(records):  # of an earlier attempt, whose history is gone
                ctx.report(step=number, total=total)
        tick = _ticks(len(records), total, len(rows), show, ctx)
        decode = partial(_decode, rows=rows, samplerate=samplerate, tick=tick)
        price = partial(memory, rows=len(rows), samplerate=samplerate)
        todo = found.items[len(records) :]
        for number, (record, samples) in enumerate(in_order(decode, todo, workers, price), len(records) + 1):
            ctx.guard()
            _empty_into(files, samples)  # before the next item is begun, which may need the room
            records.append({**record, "attempt": attempt, "offset": offset})
            offset += record["length"]
            log.write(json.dumps(records[-1]).encode() + b"\n")
            log.flush()
            if number in reported:
                ctx.report(step=number, total=total)
    return records


def _empty_into(files: Mapping[str, BinaryIO], samples: dict[str, np.ndarray]) -> None:
    """Write each row to its file; nothing of the samples is kept."""
    while samples:
        row = next(iter(samples))
        files[row].write(samples.pop(row).tobytes())
        files[row].flush()


def _ticks(before: int, total: int, rows: int, show: Callable[[float], None], ctx: Context) -> Callable[[int], None]:
    """A function that is told, by any thread, of so many decoded rows. It shows how many items that makes, and notes it
    now and then where the progress display looks; ``before`` were decoded by an earlier attempt."""
    lock, done, noted = Lock(), before * rows, disk.monotonic()

    def tick(count: int) -> None:
        nonlocal done, noted
        with lock:
            done += count
            show(done / rows)
            if disk.monotonic() - noted >= TICK:
                noted = disk.monotonic()
                disk.write(ctx.work / "step", f"{done / rows:.3f} {total}".encode())

    return tick


def _decode(
    item: Item, rows: tuple[str, ...], samplerate: int, tick: Callable[[int], None] = lambda count: None
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """One journal record and the int16 samples of each row (none where the item is skipped). Of what a row is decoded
    from, nothing is kept while the next one is. ``tick`` is told of each row that is done with."""
    record: dict[str, Any] = {
        "name": item.name,
        "split": item.split,
        "length": 0,
        "units": [],
        "silent": [],
        "labels": [],
        "skipped": "",
        "form": [],
        "odd": [],
        "content": "",
    }
    main = "mixture" if "mixture" in rows else rows[0]
    forms: dict[str, tuple[int, bool]] = {}
    samples: dict[str, np.ndarray] = {}
    units: dict[str, float] = {}
    silent: list[str] = []
    try:
        sound = item.read()
        for row in rows:  # the mixture first; a row may be decoded each time it is asked for
            samples[row], units[row], forms[row], sounds = _row(item, sound, row, samplerate, row == main)
            if not sounds:
                silent.append(row)
            tick(1)
    except BadFile as error:
        tick(len(rows) - len(samples))
        return {**record, "skipped": f"{item.name} ({reason(error)})"}, {}
    return {
        **record,
        "length": len(samples[rows[0]]),
        "units": [units[row] for row in rows],
        "labels": list(sound.labels or item.labels),
        "silent": silent,
        "form": [forms[main][0], sound.samplerate],
        "odd": odd_rows(forms, main),
        "content": pieces.digest_of(samples.values()),
    }, samples


def _row(
    item: Item, sound: Sound, row: str, samplerate: int, main: bool
) -> tuple[np.ndarray, float, tuple[int, bool], bool]:
    """A row's int16 samples, the value of a step of them, the channels that it has and whether a sample is not 0, and
    whether it sounds in mono."""
    waveform = sound.rows[row]
    if main:
        whole(item, waveform.shape[-1], sound.samplerate)
    top = peak(waveform)
    if not np.isfinite(top):
        raise BadFile(f"{item.name}: samples that are not finite")
    form = waveform.shape[0], top > 0
    mono = _mono(waveform, sound.samplerate, samplerate)
    del waveform  # a row of a long track is the greatest part of what is held
    unit = np.float32(peak(mono) / SCALE)
    return _quantise(mono, unit), float(unit), form, peak(mono) >= SILENCE


def whole(item: Item, frames: int, samplerate: int) -> None:
    """Raise BadFile for an item that has no samples, or stops well before its published end."""
    seconds = frames / samplerate
    if frames == 0:
        raise BadFile(f"{item.name}: empty")
    if item.seconds and seconds < WHOLE * item.seconds:
        raise BadFile(f"{item.name}: stops after {seconds:.1f} of {item.seconds:g} s (truncated)")


def odd_rows(forms: Mapping[str, tuple[int, bool]], main: str = "mixture") -> list[str]:
    """The rows that have other channels than the mixture (or the row that stands for it), of channels by row and
    whether it sounds; silent ones do not count, which may have no file."""
    channels = forms[main][0]
    return [
        f"{row} has {own} channel(s), the {main} {channels}"
        for row, (own, sounds) in forms.items()
        if own != channels and sounds
    ]


def peak(waveform: np.ndarray) -> float:
    """The greatest magnitude, 0 of nothing; no copy is made."""
    return float(max(waveform.max(initial=0.0), -waveform.min(initial=0.0)))


def _mono(waveform: np.ndarray, rate: int, samplerate: int) -> np.ndarray:
    """The mean over channels at another rate."""
    # channel by channel: the copies that resampling makes are as long as the track
    total = audio.resample(waveform[0], rate, samplerate).copy()
    for channel in waveform[1:]:
        total += audio.resample(channel, rate, samplerate)
    total /= len(waveform)
    return total


def _quantise(waveform: np.ndarray, unit: np.float32) -> np.ndarray:
    """int16 samples in steps of ``unit``, of which the peak has :data:`SCALE`; 0 stands for digital silence."""
    steps = np.zeros(len(waveform), np.int16)
    for first in range(0, len(waveform) if unit else 0, PART):
        part = np.round(waveform[first : first + PART] / unit)
        steps[first : first + PART] = np.clip(part, -SCALE, SCALE)
    return steps


def _require_items(items: list[PackedItem], wanted: tuple[Item, ...], skipped: list[str]) -> None:
    for split in dict.fromkeys(item.split for item in wanted):
        if not any(item.split == split for item in items):
            raise ValueError(f"no readable {split} item is left; skipped: {', '.join(skipped[:5])}")


def _notes(items: list[PackedItem], records: list[dict[str, Any]], shortest: int, samplerate: int) -> list[Note]:
    short = [item.name for item in items if item.length < shortest]
    forms = Counter(tuple(r["form"]) for r in records if r["form"])
    usual = forms.most_common(1)[0][0] if forms else (0, 0)
    odd = [
        f"{r['name']}: {r['form'][0]} channels, {r['form'][1]} Hz"
        for r in records
        if r["form"] and tuple(r["form"]) != usual
    ]
    odd += [f"{r['name']}: {row}" for r in records for row in r["odd"]]
    same = twins((r["name"], r["split"], r["labels"], r["content"]) for r in records if r["content"])
    notes = [
        Note("skipped", "items that could not be decoded", tuple(r["skipped"] for r in records if r["skipped"])),
        Note(
            "padded",
            f"items shorter than a segment of {shortest / samplerate:.2f} s, padded with silence",
            tuple(short),
        ),
        Note(
            "silent",
            "sources silent in a track, left out of that track's score",
            tuple(f"{item.name}: {row}" for item in items for row in item.silent),
        ),
        Note("odd", f"items unlike most, which have {usual[0]} channels at {usual[1]} Hz", tuple(odd)),
        Note("leak", "items with the same audio, in more than one split or under other labels", tuple(same)),
    ]
    return [note for note in notes if note.items]
