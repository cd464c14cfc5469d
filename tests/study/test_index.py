"""The page of a store after studies that ended well, failed, or were interrupted."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from mss_core.graph import Context, Stage
from mss_core.study import Factor, Study, run
from tests.reports.store import Read


def hum(*, pitch: int, seed: int, ends: str, out: Path, ctx: Context) -> None:
    if ends == "fails" and pitch:
        raise ValueError("no such pitch")
    if ends == "interrupted" and pitch:
        raise KeyboardInterrupt
    luck = np.random.default_rng([seed, pitch])
    rows = [f"song {track},vocals,sdr,,{5 + pitch + luck.normal(0, 0.1) + 0.3 * track}" for track in range(4)]
    (out / "scores.csv").write_text("\n".join(["track,target,metric,aggregation,score", *rows, ""]))


@dataclass(frozen=True)
class Hum:
    pitch: int = 0
    seed: int = 0
    ends: str = ""

    def pipeline(self) -> Stage:
        return Stage(hum, pitch=self.pitch, seed=self.seed, ends=self.ends)


STUDY = Study(
    name="hums",
    question="Which hum?",
    baseline=Hum(),
    factors=[Factor("pitch", {"0": {}, "1": {"pitch": 1}})],
    reference={"pitch": "0"},
    metric="sdr",
    target="vocals",
    smoke=lambda recipe: recipe,
    seeded=("seed",),
    seeds=range(3),
)


def test_every_run_leaves_the_page(monkeypatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr(sys.modules["mss_core.study.run"], "_tracker", lambda *given: None)
    words = ["--in-process", "--store", str(tmp_path)]

    def shown() -> Read:
        found = Read((tmp_path / "index.html").read_text())
        assert all(path.is_file() for path in found.files(tmp_path))
        return found

    run(STUDY, words)
    assert f"studies  {tmp_path / 'index.html'}" in capsys.readouterr().err
    assert shown().card("hums")["badges"] == ["significant"]
    with pytest.raises(SystemExit) as ended:
        run(replace(STUDY, name="worse", baseline=Hum(ends="fails")), words)
    assert ended.value.code == 1 and shown().card("worse")["badges"] == ["untested", "failed"]
    with pytest.raises(SystemExit) as ended:
        run(replace(STUDY, name="stopped", baseline=Hum(ends="interrupted")), words)
    assert ended.value.code == 130 and shown().card("stopped")["badges"] == ["interrupted"]
    assert {card["text"].split()[0] for card in shown().cards} == {"hums", "worse", "stopped"}
    run(STUDY, [*words, "--dry-run"])
    (tmp_path / "index.html").write_text("mine")
    run(STUDY, words)
    assert "the page of the store was not written" in capsys.readouterr().err
    assert (tmp_path / "index.html").read_text() == "mine"
