"""A study that stops when it knows, on real trainings, undisturbed and killed: does it end the same?

    python benchmarks/until_music.py --out benchmarks/until_music.json     some minutes on two cores
    python benchmarks/until_music.py study --dry-run                       the study alone, with every flag of a study

Small networks separate four sources of the embedded music. Against the reference, one variant learns a hundred times
more slowly, which must cost; one lists the sources in another order, which cannot matter; one takes a
quarter fewer steps, which matters a little. The study runs once undisturbed. Then it runs in another store and is
killed by SIGKILL at random moments, each time followed by the same command. What both leave must be the same byte for
byte, but for dates and measured seconds, and there must be as many trainings as the looks asked for.
"""

import argparse
import difflib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mss_core import models
from mss_core.artefact import table, write_scores
from mss_core.audio import centred_istft, centred_stft
from mss_core.data.channels import Sided
from mss_core.data.config import TrackSet
from mss_core.data.packed import Packed
from mss_core.graph import Context, Stage
from mss_core.metrics.separation import sdr
from mss_core.models import model
from mss_core.study import Factor, Study, Until, run
from mss_core.systems.separation import Separation, smoke
from mss_core.systems.separation.train import Mixtures
from mss_core.training import Phase, TrainConfig
from reports import read

SIZE, HOP = 256, 128
SOURCES = ("vocals", "drums", "bass", "other")
KEPT = ("scores.csv", "predictions.parquet", "looks.json", "report.csv", "report.tex", "report.md", "report.html")
"""Files of a study's folder that hold results. Dates, and the seconds that a stage took, are taken out of them."""
MEASURED = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?|(?<=time spent: )[\d.,]+ (s|min|h)|[\d.,]+ (s|min|h)(?= of computing)"
    r"|about [\d.,]+ hours of stages"
)


class Masks(nn.Module):
    """Masks from the logarithm of a spectrum's magnitudes, frame by frame.

    Args:
        hidden: units.
        sources: decided by the data.
    """

    def __init__(self, hidden: int = 48, sources: int = 4) -> None:
        super().__init__()
        bins = SIZE // 2 + 1
        self.sources = sources
        self.layers = nn.Sequential(nn.Linear(bins, hidden), nn.Tanh(), nn.Linear(hidden, bins * sources))

    def forward(self, mixtures: Tensor) -> Tensor:
        """(batch, channel, time) -> (batch, source, channel, time)."""
        spectrum = centred_stft(mixtures, SIZE, HOP)
        masks = self.layers(torch.log1p(spectrum.abs())).unflatten(-1, (self.sources, -1)).movedim(-2, 1).softmax(1)
        return centred_istft(masks * spectrum[:, None], SIZE, HOP, mixtures.shape[-1])


def score_usdr(*, data: Path, model: Path, sources: tuple[str, ...], out: Path, ctx: Context) -> None:
    """Leaves scores.csv: the energy ratio of whole tracks, the mean over the sources that sound and over the tracks."""
    tracks, separator = Sided(Packed(data)), models.load(model)
    found = []
    for track in tracks.split("test"):
        with torch.inference_mode():
            estimates = separator(torch.from_numpy(tracks.read(track))[None])[0].numpy()
        heard = [place for place, source in enumerate(sources) if source not in track.silent]
        found.append(np.mean([sdr(tracks.read(track, sources[n]), estimates[n], axis=(-2, -1)) for n in heard]))
    write_scores(out, table([("", "macro", "usdr", "mean", float(np.mean(found)))]))


@dataclass(frozen=True)
class Small(Separation):
    """A separation that is scored in a moment."""

    def pipeline(self) -> Stage:
        """The stages of a separation, with another last one."""
        inputs = super().pipeline().arguments
        return Stage(score_usdr, **{name: inputs[name] for name in ("data", "model", "sources")})


study = Study(
    name="until_music",
    question="Which changes of a training make a separator worse?",
    baseline=Small(
        separator=model("until_music:Masks"),
        data=TrackSet("synthetic", samplerate=8_000, size=32),
        sources=SOURCES,
        channels=1,
        mixing=Mixtures(seconds=1.0, valid_segments=8),
        loss={"name": "l1"},
        train=TrainConfig((Phase("adam", lr=3e-3, epochs=4),), batch=4, epoch_steps=40, select="last"),
    ),
    factors=[
        Factor(
            "change",
            {
                "none": {},
                "hardly trained": {"train.phases.0.lr": 3e-5},
                "sources in another order": {"sources": SOURCES[::-1]},
                "fewer steps": {"train.epoch_steps": 30},
            },
        )
    ],
    reference={"change": "none"},
    metric="usdr",
    target="macro",
    margin=0.25,
    seeds=Until(looks=(3, 4, 6, 8, 12)),
    seeded=("train.seed",),
    smoke=smoke,
)


def started(store: Path) -> subprocess.Popen[bytes]:
    """The study in a process of its own, one stage after another."""
    words = [sys.executable, __file__, "study", "--in-process", "--store", str(store)]
    one = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    with (store.parent / f"{store.name}.log").open("ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, **one}, cwd=store.parent)


def finish(process: subprocess.Popen[bytes], store: Path) -> float:
    """Wait for a study to end; returns the seconds that took."""
    begun = time.monotonic()
    if process.wait():
        raise RuntimeError((store.parent / f"{store.name}.log").read_text(encoding="utf-8")[-3000:])
    return time.monotonic() - begun


def trainings(store: Path) -> int:
    """Trainings that a store holds."""
    return len(list(store.glob("train_separator/*/manifest.json")))


def told(store: Path) -> dict[str, str]:
    """What a study has left, by file, without dates, measured seconds and the store's own path."""
    folder = store / "studies" / study.name
    kept = [folder / name for name in KEPT if (folder / name).exists()]
    return {
        path.name: MEASURED.sub("-", path.read_bytes().decode("utf-8", "replace").replace(str(store), "STORE"))
        for path in kept
    }


def compare(one: Path, other: Path) -> None:
    """Raise AssertionError, with the lines that differ, where two stores hold different results."""
    a, b = told(one), told(other)
    assert a.keys() == b.keys(), (sorted(a), sorted(b))
    for name in a:
        lines = difflib.unified_diff(a[name].splitlines(), b[name].splitlines(), lineterm="", n=0)
        assert a[name] == b[name], f"{name} differs:\n" + "\n".join(line[:300] for line in lines)


def main() -> None:
    """Run, kill, compare, and write or print what came out."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--kills", type=int, default=3)
    flags.add_argument("--seed", type=int, default=0, help="of the moments of the kills (0)")
    flags.add_argument("--folder", type=Path, help="where both stores are left (default: a temporary folder)")
    flags.add_argument("--out", type=Path)
    options = flags.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="until_music"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    whole, killed, rng = folder / "undisturbed", folder / "killed", random.Random(options.seed)
    took = finish(started(whole), whole)
    course = read(whole / "studies" / study.name).course
    assert course is not None and course.over and trainings(whole) == course.trainings
    moments: list[dict[str, Any]] = []
    while len(moments) < options.kills:
        process, pause = started(killed), rng.uniform(0.1, 0.9) * took / options.kills
        time.sleep(pause)
        assert process.poll() is None, f"the study was over after {pause:.0f} s: fewer kills than asked for"
        process.send_signal(signal.SIGKILL)
        process.wait()
        moments.append({"after_seconds": round(pause, 1), "trainings": trainings(killed)})
        print(json.dumps(moments[-1]), flush=True)
    finish(started(killed), killed)
    assert trainings(killed) == course.trainings
    compare(whole, killed)
    found = {
        "looks": list(course.looks),
        "ends": {
            path.variant: {
                "decision": path.decision,
                "seeds": path.looks[-1].seeds,
                "difference": path.looks[-1].result.difference,
                "adjusted": path.estimate,
                "p": path.p,
            }
            for path in course.paths
        },
        "trainings": course.trainings,
        "fixed": course.fixed,
        "seconds": round(took),
        "killed": moments,
    }
    print(json.dumps(found, indent=1))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:2] == ["study"]:
        run(study, sys.argv[2:])
    else:
        main()
