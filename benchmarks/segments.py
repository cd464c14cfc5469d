"""Random 3.86-s segments per second of one core: mp3 seek, wav seek, packed cache; and what an epoch holds in memory.

    python benchmarks/segments.py [--clips N] [--seconds S] [--cache-gb G] [--json]

The same segments are read in three ways, mono at 16 kHz in float32: (a) seek in an mp3 and resample, (b) seek in a
44.1 kHz stereo wav and resample, (c) a batch of 16 from the packed cache. (c) is compared with decoding and resampling
the whole file. Then as many samples as a cache of ``--cache-gb`` (a sparse file) holds are read in batches, and the
growth of anonymous memory, which mapped pages are no part of, is told. CPU seconds are counted, so that other work on
the machine changes little.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import torch

from mss_core import audio
from mss_core.data.batches import Segments, waveforms
from mss_core.data.files import read_clip
from mss_core.data.packed import Packed
from mss_core.data.packing import pack
from mss_core.data.sets import Item, Survey
from mss_core.data.synthetic import synthesis
from mss_core.graph import Context

RATE, NEW_RATE, LENGTH, BATCH = 44_100, 16_000, 61_792, 16
MARGIN = 400
"""Samples at 16 kHz near the ends of a segment that its own resampling spoils."""


def make_clips(folder: Path, count: int, seconds: float) -> None:
    """Stereo clips of the synthetic set, each as mp3 and as wav."""
    for index in range(count):
        mono = synthesis.render(index, seconds, RATE).mixture
        samples = np.stack([mono, np.roll(mono, 30)], 1) * np.float32(0.9)
        soundfile.write(folder / f"{index}.wav", samples, RATE, subtype="PCM_16")
        soundfile.write(folder / f"{index}.mp3", samples, RATE, format="MP3")


def packed(folder: Path, out: Path, count: int, suffix: str) -> Packed:
    out.mkdir()
    items = tuple(Item(f"{index}", "train", partial(read_clip, folder / f"{index}{suffix}")) for index in range(count))
    pack(Survey(items), ("mixture",), NEW_RATE, LENGTH, out, Context(out=out))
    return Packed(out)


def seek(path: Path, start: int) -> np.ndarray:
    """One segment from ``start`` (samples at 16 kHz) by seeking and resampling, mono."""
    with soundfile.SoundFile(str(path)) as file:
        file.seek(round(start * RATE / NEW_RATE))
        samples = file.read(-(-LENGTH * RATE // NEW_RATE), dtype="float32", always_2d=True)
    return audio.resample(samples.T, RATE, NEW_RATE).mean(0)[:LENGTH]


def per_second(read: Callable[[int], object], seconds: float, each: int = 1) -> float:
    """Segments per CPU second over at least ``seconds`` of it, after one call to warm up."""
    read(0)
    start, step = time.process_time(), 0
    while time.process_time() - start < seconds:
        read(step)
        step += 1
    return step * each / (time.process_time() - start)


def worst(cache: Packed, folder: Path, suffix: str, by_seek: bool) -> float:
    """Largest difference, in steps of the row, of cached segments from the whole file (or from seeking in it)."""
    difference = 0.0
    rng = np.random.default_rng(0)
    for item in cache.items:
        path = folder / f"{item.name}{suffix}"
        # On a grid where both rates have a sample, so that seeking and packing mean the same instant.
        start = int(rng.integers(0, (item.length - LENGTH) // 160)) * 160
        if by_seek:
            expected = seek(path, start)
        else:
            samples, rate = audio.load(path)
            expected = audio.resample(samples, rate, NEW_RATE).mean(0)[start : start + LENGTH]
        found = cache.read(item, "mixture", start, LENGTH)
        inner = slice(MARGIN, -MARGIN) if by_seek else slice(None)
        difference = max(difference, float(np.abs(found - expected)[inner].max()) / float(cache.unit(item, "mixture")))
    return difference


def anonymous_mb() -> float:
    """Private memory of this process without mapped files, in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float("nan")


def epoch_memory(folder: Path, gigabytes: float) -> tuple[float, int]:
    """Growth of anonymous memory (MB) over one epoch of a cache of this size, and the segments read."""
    item = 29 * NEW_RATE
    count = int(gigabytes * 1e9 / (2 * item))
    with open(folder / "mixture.i16", "wb") as file:
        file.truncate(count * item * 2)
    items = [
        {
            "name": str(i),
            "split": "train",
            "start": i * item,
            "length": item,
            "units": [1.0],
            "silent": [],
            "labels": [],
        }
        for i in range(count)
    ]
    (folder / "index.json").write_text(
        json.dumps(
            {
                "rows": ["mixture"],
                "samplerate": NEW_RATE,
                "labels": [],
                "single_label": False,
                "items": items,
                "notes": [],
            }
        )
    )
    segments = Segments(Packed(folder), "train", LENGTH, BATCH, seed=0)
    waveforms(segments[0][0])
    before = highest = anonymous_mb()
    steps = segments.steps * (item // LENGTH)  # as many samples as the cache holds
    for step in range(steps):
        waveforms(segments[step][0])
        if step % 50 == 0:
            highest = max(highest, anonymous_mb())
    return highest - before, steps * BATCH


def measure(clips: int, seconds: float, gigabytes: float) -> dict[str, float | int]:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_clips(folder, clips, 29.0)
        from_mp3, from_wav = (packed(folder, folder / suffix[1:], clips, suffix) for suffix in (".mp3", ".wav"))
        segments = Segments(from_mp3, "train", LENGTH, BATCH, seed=0)
        drawn = [
            (int(i), int(s - from_mp3.items[i].start))
            for where, index in map(segments.draw, range(8))
            for i, s in zip(index, where.start[:, 0], strict=True)
        ]

        def by(suffix: str) -> Callable[[int], object]:
            return lambda step: seek(folder / f"{drawn[step % len(drawn)][0]}{suffix}", drawn[step % len(drawn)][1])

        found: dict[str, float | int] = {
            "mp3_seek": per_second(by(".mp3"), seconds),
            "wav_seek": per_second(by(".wav"), seconds),
            "packed": per_second(lambda step: waveforms(segments[step % 8][0]), seconds, BATCH),
            "packed_int16": per_second(lambda step: segments[step % 8], seconds, BATCH),
            "steps_from_whole_mp3": worst(from_mp3, folder, ".mp3", by_seek=False),
            "steps_from_whole_wav": worst(from_wav, folder, ".wav", by_seek=False),
            "steps_from_seek_in_wav": worst(from_wav, folder, ".wav", by_seek=True),
        }
        found["packed_over_mp3"] = found["packed"] / found["mp3_seek"]
        found["packed_over_wav"] = found["packed"] / found["wav_seek"]
        (folder / "large").mkdir()
        growth, count = epoch_memory(folder / "large", gigabytes)
        return {**found, "cache_gb": gigabytes, "epoch_segments": count, "epoch_growth_mb": growth}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0, help="CPU seconds for each way of reading")
    parser.add_argument("--cache-gb", type=float, default=8.0)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    found = measure(chosen.clips, chosen.seconds, chosen.cache_gb)
    if chosen.json:
        print(json.dumps(found, indent=1))
        return
    for name, value in found.items():
        print(f"{name:26} {value:12.2f}")


if __name__ == "__main__":
    main()
