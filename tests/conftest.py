"""Fixtures: small trees of audio in the published layouts, and a recipe so small that every stage takes a second."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

REPOSITORY = Path(__file__).resolve().parents[1]
# As in a stage: two test processes on two cores, each with two threads, wait for one another most of the time.
torch.set_num_threads(1)
# No test of this process loses its power, and a disk takes 5 ms to write something through; MLflow makes a database in
# hundreds of commits. What the store has to write through, and when, is tests/simulation's to show; a study that a test
# starts as its user does writes it.
os.fsync = os.fstat


def unsynced(*given: Any, connect: Callable[..., sqlite3.Connection] = sqlite3.connect, **named: Any) -> Any:
    """A database whose commits do not wait for the disk."""
    connection = connect(*given, **named)
    with contextlib.suppress(sqlite3.Error):  # its first reader says what is wrong with it
        connection.execute("PRAGMA synchronous = OFF")
    return connection


sqlite3.connect = sqlite3.dbapi2.connect = unsynced


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with most slow tests come first: of two processes that take file after file, none is left alone with a
    long one at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real music beside the checkout, where there is any."""
    folder = Path(os.environ.get("MSS_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real music in {folder} (set MSS_SHARED_DATA)")
    return folder


def tone(frequency: float, seconds: float, rate: int, seed: int) -> np.ndarray:
    """A sine that starts and stops, float32 (time,)."""
    time = np.arange(round(seconds * rate)) / rate
    gate = np.repeat(np.random.default_rng(seed).random(int(seconds * 4) + 1) > 0.3, rate // 4 + 1)[: len(time)]
    return (0.2 * np.sin(2 * np.pi * frequency * time) * gate).astype(np.float32)


FREQUENCIES = {"vocals": 1000.0, "drums": 3000.0, "bass": 120.0, "other": 500.0}


def write_track(
    folder: Path,
    seconds: float = 7.0,
    rate: int = 16_000,
    seed: int = 0,
    suffix: str = ".wav",
    sources: tuple[str, ...] = tuple(FREQUENCIES),
) -> None:
    """One track of sines with an exact mixture, stereo."""
    import soundfile

    folder.mkdir(parents=True, exist_ok=True)
    stems = {
        source: tone(FREQUENCIES[source] * (1 + 0.03 * seed), seconds, rate, seed * 10 + i)
        for i, source in enumerate(sources)
    }
    for name, mono in {"mixture": sum(stems.values()), **stems}.items():
        soundfile.write(folder / f"{name}{suffix}", np.stack([mono, 0.5 * mono], 1), rate, subtype="PCM_16")


@pytest.fixture(scope="session")
def shared_stems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MUSDB18-HQ's layout: 4 training, 1 validation and 2 test tracks. Made once: to be read, never changed."""
    root = tmp_path_factory.mktemp("shared") / "stems"
    for seed, place in enumerate(("train/a", "train/b", "train/c", "train/d", "valid/e", "test/f", "test/g")):
        write_track(root / place, seed=seed)
    return root


@pytest.fixture
def stems_tree(shared_stems: Path, tmp_path: Path) -> Path:
    """A copy of the shared tree, to be changed."""
    return Path(shutil.copytree(shared_stems, tmp_path / "stems"))


def write_clips(root: Path, rows: list[tuple[str, str, str, float]], rate: int = 16_000) -> Path:
    """A clips.csv of (path, label, split, seconds), with a file for each row."""
    import soundfile

    root.mkdir(parents=True, exist_ok=True)
    for seed, (path, _, _, seconds) in enumerate(rows):
        soundfile.write(root / path, tone(300.0 + 40 * seed, seconds, rate, seed), rate, subtype="PCM_16")
    with open(root / "clips.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        writer.writerows(row[:3] for row in rows)
    return root


@pytest.fixture
def clips_tree(tmp_path: Path) -> Path:
    """Nine clips of two classes; one is shorter than a segment."""
    rows = [
        (f"{split}{i}.wav", ("flute", "violin")[i % 2], split, 2.0 if (split, i) == ("train", 0) else 4.5)
        for split, count in (("train", 4), ("valid", 2), ("test", 3))
        for i in range(count)
    ]
    return write_clips(tmp_path / "clips", rows)


TINY = [
    "separator.widths=[2,2,2,2,2,2]",
    "separator.post=2",
    "tail.widths=[2,2,2,2,2,2,2]",
    "tail.dense=4",
    "separation.size=12",
    "tagging.size=14",
    "mixing.valid_segments=2",
    "pretrain.phases.0.epochs=2",
    "pretrain.epoch_steps=3",
    "pretrain.batch=2",
    "train_tail.phases.0.epochs=2",
    "train_tail.batch=4",
    "train_tail.epoch_steps=null",
    "finetune.phases.0.epochs=1",
    "finetune.batch=4",
    "finetune.epoch_steps=null",
]


def tiny_settings() -> dict[str, object]:
    """TINY as departures."""
    pairs = [setting.split("=", 1) for setting in TINY]
    return {path: tuple(v) if isinstance(v := json.loads(value), list) else v for path, value in pairs}


def tiny_flags(store: Path, *more: str) -> list[str]:
    """Flags that make any MSSPT study a matter of seconds."""
    return [
        "--smoke",
        "--seeds",
        "1",
        "--store",
        str(store),
        *(word for setting in TINY for word in ("--set", setting)),
        *more,
    ]
