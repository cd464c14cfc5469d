"""The song or artist of a track, from the loader that knows it to the report that samples by it."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

import reports
from mss_core.artefact import read_groups, write_groups, write_scores
from mss_core.data.items import Item, Sound, Survey
from mss_core.data.packing import pack
from mss_core.graph import Context, Stage
from mss_core.study import Factor, Study, run


def test_packing_leaves_the_artist_of_each_item(tmp_path: Path) -> None:
    def read() -> Sound:
        return Sound({"mixture": np.ones((1, 800), np.float32)}, 8000)

    items = (Item("a1", "test", read, artist="A"), Item("a2", "test", read, artist="A"), Item("b", "train", read))
    pack(Survey(items), ("mixture",), 8000, 100, tmp_path, Context(out=tmp_path), 1)
    assert read_groups(tmp_path) == {"a1": "A", "a2": "A"}


def hear(*, level: float, seed: int, out: Path, ctx: Context) -> None:
    rng = np.random.default_rng(seed)
    tracks = [f"song {k}" for k in range(12)]
    write_scores(out, [(track, "", "sdr", "", float(5 + level + rng.normal(0, 0.1))) for track in tracks])
    write_groups(out, {track: f"artist {k // 3}" for k, track in enumerate(tracks)})


@dataclass(frozen=True)
class Tape:
    level: float = 0.0
    seed: int = 0

    def pipeline(self) -> Stage:
        return Stage(hear, level=self.level, seed=self.seed)


def test_a_study_samples_the_artists(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys.modules["mss_core.study.run"], "_tracker", lambda *given: None)
    factor = Factor("level", {"0": {}, "1": {"level": 1.0}})
    study = Study(
        name="tapes",
        question="?",
        baseline=Tape(),
        factors=[factor],
        reference={"level": "0"},
        metric="sdr",
        smoke=lambda recipe: recipe,
        seeded=("seed",),
        seeds=range(4),
    )
    run(study, ["--in-process", "--store", str(tmp_path)])
    folder = tmp_path / "studies" / "tapes"
    table = pd.read_csv(folder / "scores.csv")
    assert list(table.columns).index("group") == list(table.columns).index("track") + 1
    assert dict(zip(table["track"], table["group"], strict=True))["song 11"] == "artist 3"
    found = reports.read(folder)
    assert found.main.groups == 4 and found.main.contrasts[0].primary.items == 4
    assert "The 12 tracks are of 4 groups" in (folder / "report.md").read_text().replace("\n", " ")
