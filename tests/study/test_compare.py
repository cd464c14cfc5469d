"""``mss compare A B`` on studies that were run: what differs, both tables, and a test of what stands in both."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reports
from mss_core.graph import Context, Stage
from mss_core.study import Factor, Study, run
from reports import compared
from reports.statistics import hypothesis_tests


def sing(*, pitch: int, loud: float, seed: int, tracks: int, out: Path, ctx: Context) -> None:
    luck = np.random.default_rng([seed, pitch, int(10 * loud)])
    rows = [
        f"song {track},vocals,sdr,,{5 + pitch + loud + luck.normal(0, 0.1) + 0.3 * track}" for track in range(tracks)
    ]
    (out / "scores.csv").write_text("\n".join(["track,target,metric,aggregation,score", *rows, ""]))


@dataclass(frozen=True)
class Song:
    pitch: int = 0
    loud: float = 0.0
    seed: int = 0
    tracks: int = 4

    def pipeline(self) -> Stage:
        return Stage(sing, pitch=self.pitch, loud=self.loud, seed=self.seed, tracks=self.tracks)


STUDY = Study(
    name="songs",
    question="Which song?",
    baseline=Song(),
    factors=[Factor("pitch", {"0": {}, "1": {"pitch": 1}})],
    reference={"pitch": "0"},
    metric="sdr",
    target="vocals",
    smoke=lambda recipe: recipe,
    seeded=("seed",),
    seeds=range(3),
)


@pytest.fixture
def go(monkeypatch, tmp_path):
    monkeypatch.setattr(sys.modules["mss_core.study.run"], "_tracker", lambda *given: None)

    def run_it(study: Study, *flags: str) -> Path:
        known = {path.name for path in tmp_path.glob("studies/*")}
        run(study, ["--in-process", "--store", str(tmp_path), *flags])
        made = [path for path in tmp_path.glob("studies/*") if path.name not in known]
        return made[0] if made else tmp_path / "studies" / study.name

    return run_it


def compare(a: Path, b: Path, **more) -> compared.Compared:
    return compared.compare(reports.study_tables(a), reports.study_tables(b), **more)


def test_two_settings_of_a_study(go, tmp_path, capsys) -> None:
    a, b = go(STUDY), go(STUDY, "--set", "loud=2")
    found = compare(a, b)
    assert found.settings == (("loud", "0", "2"),) and found.untested == ()
    assert found.tested is not None
    main = found.tested.main
    assert [(c.variant, c.reference) for c in main.contrasts] == [("0 (B)", "0 (A)"), ("1 (B)", "1 (A)")]
    assert main.family == 2 and main.test == "crossed"
    for contrast in main.contrasts:
        means = [
            pd.read_csv(folder / "scores.csv").query(f"variant == {contrast.variant[0]}")["score"].mean()
            for folder in (b, a)
        ]
        assert contrast.primary.difference == pytest.approx(means[0] - means[1])
        assert contrast.p_corrected == pytest.approx(min(1.0, 2 * contrast.primary.p)) and contrast.p_corrected < 0.05
    capsys.readouterr()
    assert compared.main([a.name, b.name, "--store", str(tmp_path), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    for words in ("Settings that differ", "loud", "Tracks: 4 in A, 4 in B, 4 in both", "not declared before the runs"):
        assert words in told
    assert "Settings that differ" in (tmp_path / "out" / "compared.md").read_text()
    assert (tmp_path / "out" / "compared.html").stat().st_size > 5000


def test_the_test_is_that_of_a_report_on_the_same_scores(go) -> None:
    """An independent way to the same number: Welch on the means of runs."""
    welch = replace(STUDY, test="welch")
    a, b = go(welch), go(replace(welch, name="louder"), "--set", "loud=0.1")
    contrast = compare(a, b).tested.main.contrast("1 (B)")
    runs = [pd.read_csv(f / "scores.csv").query("variant == 1").groupby("seed")["score"].mean() for f in (b, a)]
    alone = hypothesis_tests.welch(list(runs[0]), list(runs[1]), 0.05)
    assert contrast.primary.p == pytest.approx(alone.p) and contrast.primary.test == "welch"


def test_runs_that_both_hold_are_not_tested(go) -> None:
    more = replace(STUDY, name="more", factors=[Factor("pitch", {"0": {}, "1": {"pitch": 1}, "5": {"pitch": 5}})])
    found = compare(go(STUDY), go(more))
    assert found.tested is None and found.settings == ()
    assert found.untested == tuple(
        f"{name}: all runs of both are the very same, so B is not tested against A." for name in "01"
    )
    assert "No setting differs." in compared.to_text(found) and "5" in compared.to_text(found)
    part = compare(go(replace(STUDY, name="few"), "--seeds", "2"), go(replace(more, name="again")))
    assert part.untested[0] == "0: seeds 0 and 1 are the very same, so B is not tested against A."
    assert ("declared seeds", "0, 1", "0, 1, 2") in part.settings


def test_a_variant_of_one_name_and_two_recipes_is_said(go) -> None:
    other = replace(STUDY, name="other", factors=[Factor("pitch", {"0": {}, "1": {"pitch": 2}})])
    found = compare(go(STUDY), go(other))
    assert ("pitch (1)", "1", "2") in found.settings
    assert [c.variant for c in found.tested.main.contrasts] == ["1 (B)"] and found.untested[0].startswith("0: all runs")


def test_a_test_is_over_the_tracks_that_both_have(go) -> None:
    found = compare(go(STUDY), go(STUDY, "--set", "loud=1", "--set", "tracks=6"))
    assert "Tracks: 4 in A, 6 in B, 4 in both" in compared.to_text(found)
    assert found.tested.main.contrasts[0].primary.difference == pytest.approx(1, abs=0.3)
    assert found.tested.main.items == 4


def test_studies_without_a_variant_in_common(go) -> None:
    other = replace(STUDY, name="other", factors=[Factor("loud", {"soft": {}, "strong": {"loud": 1.0}})], reference={})
    found = compare(go(STUDY), go(other))
    assert found.tested is None and "No variant stands in both" in compared.to_text(found)
    assert compared.whole(found).lead == "Nothing is tested."


def test_mistakes(go, tmp_path, capsys) -> None:
    a, b = go(STUDY), go(STUDY, "--set", "loud=2")

    def said(*words: str) -> str:
        capsys.readouterr()
        assert compared.main([*words, "--store", str(tmp_path)]) == 2
        told = capsys.readouterr().err
        assert told.startswith("error: ") and len(told.splitlines()) == 1
        return told

    assert "no study 'song' in" in said("song", b.name) and "did you mean 'songs'?" in said("song", b.name)
    assert "A and B are the same study" in said(a.name, str(a))
    assert "A, songs: the scores have no metric 'si_sdr'; did you mean 'sdr'?" in said(
        a.name, b.name, "--metric", "si_sdr"
    )
    assert "A, songs: metric 'sdr' has no target 'drums'" in said(a.name, b.name, "--target", "drums")
    shutil.copytree(a, tmp_path / "studies" / "empty")
    (tmp_path / "studies" / "empty" / "scores.csv").unlink()
    assert "has no scores.csv" in said(a.name, "empty")
    with pytest.raises(SystemExit, match="2"):
        compared.main([a.name])
    assert capsys.readouterr().err == "error: B is missing (--help says what it takes)\n"
