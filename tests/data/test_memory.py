"""What packing holds at once, measured in a process of its own: anonymous memory, since the system takes pages of
libraries away and gives them back as it likes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mss_core.data.files import Track, track_items
from mss_core.data.packing import BUDGET, memory

RATE = 44_100
PACK = """
import json, sys, threading
from pathlib import Path

import numpy as np
import torchaudio.functional

from mss_core import audio
from mss_core.data.files import Track, track_items
from mss_core.data.items import Survey
from mss_core.data.packing import pack
from mss_core.graph import Context

ROWS = ("mixture", "vocals", "drums", "bass", "other")
file, out, songs, rate = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])


def held(kind):
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(kind))


def watch():
    while not ended.wait(0.003):
        seen.append(held("RssAnon"))


def build(path, out, count):
    out.mkdir()
    found, _ = track_items([Track(f"song {i}", "train", {row: (path,) for row in ROWS}) for i in range(count)])
    pack(Survey(tuple(found)), ROWS, rate, 1000, out, Context(out=out), 16)


short = out / "short.wav"
audio.save(short, np.zeros((2, 44_100), np.float32) + 0.1, 44_100)
build(short, out / "warm", 1)  # what is imported and built once is no part of a song
ended, before, seen = threading.Event(), held("RssAnon"), []
watcher = threading.Thread(target=watch)
watcher.start()
build(file, out / "packed", songs)
ended.set()
watcher.join()
print(json.dumps({"before": before, "peak": max(seen), "mapped": held("RssFile")}))
"""


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """16-bit stereo noise at 44.1 kHz, of 150 and 20 s."""
    import numpy as np

    from mss_core import audio

    folder = tmp_path_factory.mktemp("songs")
    noise = 0.2 * np.random.default_rng(0).standard_normal((2, 150 * RATE), dtype=np.float32)
    files = {seconds: folder / f"{seconds}.wav" for seconds in (150, 20)}
    for seconds, file in files.items():
        audio.save(file, noise[:, : seconds * RATE], RATE)
    return files


def packed(file: Path, out: Path, count: int, rate: int) -> dict[str, int]:
    run = subprocess.run(
        [sys.executable, "-c", PACK, str(file), str(out), str(count), str(rate)], capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("seconds", "count", "rate"),
    [(150, 2, RATE), *(pytest.param(*case, marks=pytest.mark.slow) for case in ((150, 2, 16_000), (20, 24, RATE)))],
)
def test_sixteen_threads_pack_within_the_budget(
    songs: dict[int, Path], tmp_path: Path, seconds: int, count: int, rate: int
) -> None:
    """Five rows of a long song take no more than what is counted for one; many short ones no more than the budget; and
    by what a long song takes, one of ten minutes stays under 1.5 GB. Of ten minutes one is held at once; of the songs
    here, as many as fit the budget."""
    ((item,), _) = track_items([Track("song", "train", {"mixture": (songs[seconds],)})])
    price = memory(item, 5, rate)
    told = packed(songs[seconds], tmp_path, count, rate)
    taken = told["peak"] - told["before"]
    together = 2 * price < BUDGET and count > 1
    assert taken < (BUDGET if together else price), (taken, price)
    if seconds > 20:
        one = taken / (count if together else 1)
        assert told["before"] + told["mapped"] + one * 600 / seconds < 1.5e9, told
