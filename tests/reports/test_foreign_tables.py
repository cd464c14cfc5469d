"""Tables of somebody else: direction and unit of a metric, spellings of levels, seeds, empty rows."""

from pathlib import Path

import numpy as np
import pytest

from reports.__main__ import main as command
from reports.inputs.tables import read_scores
from reports.text import directed, style


def table(path: Path, metric: str, scores: dict[str, list[float]], tail: str = "") -> Path:
    lines = [f"{name},{seed},{metric},{score}" for name, runs in scores.items() for seed, score in enumerate(runs)]
    path.write_text("model,seed,metric,score\n" + "\n".join(lines) + "\n" + tail)
    return path


FALLS = {"A": [0.30, 0.31, 0.29, 0.30, 0.30], "B": [0.19, 0.20, 0.18, 0.19, 0.20]}


@pytest.mark.parametrize("metric", ["wer", "perplexity", "L1Freq", "log_wmse", "val1_acc", "error_free_share"])
def test_a_direction_is_asked_for_and_never_guessed(tmp_path: Path, capsys, metric: str) -> None:
    """Finding A7: a word error rate that falls from .30 to .19 was "significantly worse"."""
    words = [str(table(tmp_path / "t.csv", metric, FALLS)), "--factor", "model", "--reference", "A"]
    assert command(words) == 2
    assert f"whether more '{metric}' is better or worse is not known" in capsys.readouterr().err
    assert command([*words, "--lower-is-better"]) == 0
    assert "is significantly better than A" in capsys.readouterr().out
    assert command([*words, "--higher-is-better"]) == 0
    assert "is significantly worse than A" in capsys.readouterr().out


def test_known_metrics_have_their_direction(tmp_path: Path, capsys) -> None:
    assert directed("mae") and not style("mae").higher_is_better and not directed("wer")
    assert command([str(table(tmp_path / "t.csv", "mae", FALLS)), "--factor", "model", "--reference", "A"]) == 0
    assert "is significantly better than A" in capsys.readouterr().out


def test_percent_is_not_multiplied_again(tmp_path: Path, capsys) -> None:
    assert style("accuracy", scores=[0.9, 0.8]).value(0.9) == "90.00"
    assert style("accuracy", scores=[90.0, 80.0]).value(90.0) == "90.00"
    percent = {name: [100 * score for score in runs] for name, runs in FALLS.items()}
    assert command([str(table(tmp_path / "t.csv", "accuracy", percent)), "--factor", "model", "--reference", "A"]) == 0
    assert "−10.80 points" in capsys.readouterr().out


@pytest.mark.parametrize("other", ["a", "A ", " A"])
def test_levels_that_differ_only_by_spelling_are_refused(tmp_path: Path, other: str) -> None:
    path = table(tmp_path / "t.csv", "sdr", {"A": [1.0, 2.0], other: [2.0, 3.0]})
    with pytest.raises(ValueError, match="differ only by blanks, case or the form of a number"):
        read_scores(path, "model")


def test_numbers_that_are_equal_are_one_level(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'1e-1' and '0.10'"):
        read_scores(table(tmp_path / "t.csv", "sdr", {"1e-1": [1.0], "0.10": [2.0]}), "model")


def test_seeds_are_whole_numbers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("model,seed,score\nA,0.2,1\nA,0.7,2\n")
    with pytest.raises(ValueError, match=r"line 2: seed is '0\.2', which is no whole number"):
        read_scores(path, "model")
    path.write_text("model,seed,score\nA,1.0,1\nA,9007199254740993,2\nA,9007199254740992,2\n")
    assert read_scores(path, "model").frame["seed"].tolist() == [1, 9007199254740993, 9007199254740992]


def test_empty_rows_and_empty_levels(tmp_path: Path) -> None:
    assert len(read_scores(table(tmp_path / "t.csv", "sdr", FALLS, tail=",,,\n,,,\n"), "model").frame) == 10
    with pytest.raises(ValueError, match="line 12: 'model' is empty"):
        read_scores(table(tmp_path / "t.csv", "sdr", FALLS, tail=",0,sdr,1\n"), "model")


def test_31_systems_with_one_run_each_are_compared_as_given(tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(0)
    track = rng.normal(0, 2, 50)
    lines = ["model,seed,track,metric,score"]
    for k in range(31):
        lines += [f"s{k:02d},0,t{i},sdr,{track[i] + 0.05 * k + rng.normal(0, 0.5)}" for i in range(50)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert command([str(tmp_path / "t.csv"), "--factor", "model", "--reference", "s00", "--out", str(tmp_path)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "These models as given: on SDR" in said
    page = (tmp_path / "report.md").read_text()
    assert "these models as given: its conclusions reach to other tracks, not to other trainings" in page
    assert "would also have been called significant" not in " ".join((said, page)).replace("\n", " ")
    assert "would have been found with 80 % power" in page and "SD over tracks of the difference" in page
