"""Scores of any size are printed so that they can be read, and arms whose rows are of another kind are named so."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.__main__ import main as command
from reports.document import shown_number
from reports.text import scientific, style


def table(path: Path, arms: dict[str, list[float]], metric: str = "x") -> Path:
    rows = [f"{name},{seed},{metric},{score!r}" for name, scores in arms.items() for seed, score in enumerate(scores)]
    path.write_text("\n".join(["model,seed,metric,score", *rows]))
    return path


def said(path: Path, capsys: pytest.CaptureFixture, *flags: str) -> str:
    words = [str(path), "--factor", "model", "--reference", "A", "--lower-is-better", *flags]
    assert command(words) == 0
    return " ".join(capsys.readouterr().out.split())


def test_errors_of_a_trillionth_are_no_zeros(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A difference of 1e-12 was printed as 0.00000000 ± 0.00000000 and called better by 0.00000000."""
    arms = {"A": [2.0e-12, 2.1e-12, 1.9e-12], "B": [1.0e-12, 1.1e-12, 0.9e-12]}
    text = said(table(tmp_path / "t.csv", arms), capsys)
    assert "2.00e-12 ± 5.77e-14" in text and "1.00e-12 ± 5.77e-14" in text
    assert "B (−1.00e-12, corrected p" in text and "0.00000000" not in text


def test_operations_in_trillions_are_short(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """3001581265732.25 was printed to the second decimal."""
    text = said(table(tmp_path / "t.csv", {"A": [3.00e12, 3.01e12, 2.99e12], "B": [2.0e12, 2.1e12, 1.9e12]}), capsys)
    assert "3.00e12 ± 5.77e9" in text and "−1.00e12" in text and "00000" not in text


def test_a_difference_that_decimals_would_hide(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    arms = {"A": [0.5, 0.5 + 1e-11, 0.5 - 1e-11], "B": [0.5 + 1e-10, 0.5 + 1.1e-10, 0.5 + 0.9e-10]}
    assert "+1.00e-10" in said(table(tmp_path / "t.csv", arms), capsys)


def test_scores_that_cannot_be_squared_are_refused_with_their_line(tmp_path: Path, capsys) -> None:
    path = table(tmp_path / "t.csv", {"A": [1.0, 2.0], "B": [1e200, 2.0]})
    assert command([str(path), "--factor", "model", "--reference", "A"]) == 2
    told = capsys.readouterr().err
    assert "line 4: score is 1e+200; scores of 1e+100 and more cannot be squared" in told and told.count("\n") == 1


def test_every_day_scores_are_printed_as_before() -> None:
    for scores in ([0.31, 0.25], [12.5, 14.0], [999_999.0, 1.0], [1e-4, 2e-4]):
        assert not style("x", scores=scores).scientific
    assert not style("sdr", scores=[1e7]).scientific and not style("mae", scores=[1e-7]).scientific


@given(st.floats(-1e99, 1e99, allow_nan=False).filter(bool), st.integers(1, 6))
def test_what_is_printed_is_the_number_to_its_digits(value: float, digits: int) -> None:
    """Property: what a table sorts by is what it shows, and that is the score."""
    read = shown_number(scientific(value, digits, signed=True))
    assert read == pytest.approx(value, rel=10.0**-digits, abs=5e-324)


@given(st.floats(1e-90, 1e90), st.floats(1e-6, 0.1))
def test_means_and_differences_can_be_told_apart(size: float, spread: float) -> None:
    """Property: of scores without a unit, what differs by a tenth of their spread never looks alike."""
    scores = np.array([1.0, 1.0 + spread]) * size
    how = style("x", scores=list(scores))
    if how.scientific:
        assert how.value(float(scores[0])) != how.value(float(scores[0] + 0.1 * spread * size))
    assert math.isclose(shown_number(how.difference(float(scores[1] - scores[0]))) or 0.0, spread * size, rel_tol=0.01)


ROWS = "".join(f"B,{seed},t{track},{1.5 + 0.1 * seed + track}\n" for seed in range(3) for track in range(4))


def test_scores_of_a_split_beside_scores_of_tracks_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """One arm came with a score per run, the other with one per track: "A has no score"."""
    path = tmp_path / "t.csv"
    path.write_text("model,seed,track,score\nA,0,,1.0\nA,1,,1.1\nA,2,,1.2\n" + ROWS)
    text = said(path, capsys, "--json", str(tmp_path / "t.json"))
    told = "the rows of A name no track, where those of others do: give every arm a score per track, or none of them"
    assert told in text and "A has no score of the kind that others have" in text
    (contrast,) = json.loads((tmp_path / "t.json").read_text())
    assert contrast["p"] is None and told in contrast["note"]


def test_scores_of_targets_beside_their_mean_are_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "t.csv"
    rows = [f"A,{seed},macro,{1 + 0.1 * seed}" for seed in range(3)]
    rows += [f"B,{seed},{target},{2 + 0.1 * seed}" for seed in range(3) for target in ("bass", "drums")]
    path.write_text("\n".join(["model,seed,target,score", *rows]))
    text = said(path, capsys)
    assert "the rows of B are of bass and drums alone, where others have a mean over targets" in text
