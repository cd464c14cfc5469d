"""Tables that nobody here has seen, through the command line: the right answer, computed apart, or a refusal that says
what to do.
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats as oracle

from reports.__main__ import main as command

Run = Callable[..., tuple[dict[str, dict], str]]


@pytest.fixture
def run(tmp_path: Path, capsys) -> Run:
    """Report a table; returns the contrasts by variant, and what is said."""

    def reported(frame: pd.DataFrame, *flags: str, code: int = 0, reference: str = "A") -> tuple[dict[str, dict], str]:
        frame.to_csv(tmp_path / "t.csv", index=False)
        words = [str(tmp_path / "t.csv"), "--factor", "model", "--reference", reference, *flags]
        assert command([*words, "--json", str(tmp_path / "t.json"), "--out", str(tmp_path), "--format", "md"]) == code
        said = capsys.readouterr()
        if code:
            return {}, said.err
        page = " ".join((tmp_path / "report.md").read_text().split())
        return {each["variant"]: each for each in json.loads((tmp_path / "t.json").read_text())}, page + said.out

    return reported


def table(arms: dict[str, np.ndarray], **columns: str) -> pd.DataFrame:
    """Rows of arms (run) or (run, track)."""
    rows = [
        (name, seed, f"{track:03d}" if scores.ndim > 1 else "", score)
        for name, scores in arms.items()
        for seed, each in enumerate(scores)
        for track, score in enumerate(np.atleast_1d(each))
    ]
    return pd.DataFrame(rows, columns=["model", "seed", "track", "score"]).assign(**columns)


def draw(seed: int, gains: dict[str, float], shape: tuple[int, ...] = (5, 12)) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    track = rng.normal(0, 1, shape[-1]) if len(shape) > 1 else 0.0
    return {name: track + gain + rng.normal(0, 0.3, shape) for name, gain in gains.items()}


def test_a_system_without_two_of_four_targets_is_compared_on_the_others(run: Run) -> None:
    """Averaged over its two easy targets it came out 1 dB better, and is worse on both."""
    level = {"vocals": 8.0, "drums": 7.0, "bass": 4.0, "other": 3.0}
    frame = pd.concat(
        [table(draw(k, {"A": high, "B": high - 1.2}), target=name) for k, (name, high) in enumerate(level.items())]
    )
    frame = frame[(frame["model"] == "A") | frame["target"].isin(["vocals", "drums"])]
    found, said = run(frame.assign(metric="sdr"))
    both = frame[frame["target"].isin(["vocals", "drums"])].groupby("model")["score"].mean()
    assert found["B"]["difference"] == pytest.approx(both["B"] - both["A"]) and found["B"]["difference"] < -1
    assert "Not every run of B is scored on 2 targets (bass and other)" in said


def test_disjoint_tracks_are_refused_and_the_others_go_on(run: Run) -> None:
    """Arms scored on other tracks were compared by their means, or ended in a division by zero."""
    frame = table(draw(0, {"A": 0, "B": 1, "C": 1}), metric="sdr")
    frame.loc[frame["model"] == "B", "track"] += " remastered"
    found, said = run(frame)
    assert "no track has a score in every run of both B and A" in found["B"]["note"]
    assert found["B"]["p"] is None and found["C"]["family"] == 2 and found["C"]["p_corrected"] < 0.05
    assert "Contrast refused: no track has a score in every run of both B and A" in said


def test_only_disjoint_tracks_are_no_result(run: Run) -> None:
    frame = table(draw(0, {"A": 0, "B": 1}), metric="sdr")
    frame.loc[frame["model"] == "B", "track"] += " remastered"
    found, said = run(frame)
    assert found["B"]["p"] is None and "No variant could be tested against A on SDR" in said


def test_word_error_rates_fall(run: Run) -> None:
    """Metrics of which less is better, and whose names do not say so."""
    arms = {"A": np.full((4, 20), 0.3), "B": np.full((4, 20), 0.2)}
    rng = np.random.default_rng(0)
    arms = {name: scores + rng.normal(0, 0.02, scores.shape) for name, scores in arms.items()}
    _, said = run(table(arms, metric="wer"), code=2)
    assert "say --higher-is-better or --lower-is-better" in said
    found, said = run(table(arms, metric="wer"), "--lower-is-better")
    assert "is significantly better than A" in said and "lower is better" in said
    assert found["B"]["difference"] == pytest.approx(arms["B"].mean() - arms["A"].mean())


def test_perplexities_of_few_runs_are_tested_as_scipy_does(run: Run) -> None:
    arms = {"A": np.array([31.2, 33.9, 30.1]), "B": np.array([24.0, 24.3, 24.2, 23.8, 24.9])}
    found, said = run(table(arms, metric="perplexity"), "--lower-is-better")
    theirs = oracle.ttest_ind(arms["B"], arms["A"], equal_var=False)
    assert (found["B"]["p"], found["B"]["df"]) == pytest.approx((theirs.pvalue, theirs.df))
    assert found["B"]["ci"] == pytest.approx(list(theirs.confidence_interval(0.95)))
    assert "level of 5 % holds where the arms' runs vary alike" in said
    assert "The variants have unequal numbers of runs (A 3, B 5)." in said


def test_mean_absolute_errors_need_no_direction(run: Run) -> None:
    arms = draw(1, {"A": 3.0, "B": 2.0}, (5,))
    found, said = run(table(arms, metric="mae"))
    assert found["B"]["p"] == pytest.approx(oracle.ttest_ind(arms["B"], arms["A"], equal_var=False).pvalue)
    assert "B (−" in said and "is significantly better than A" in said


def test_accuracies_in_percent_stay_what_they_are(run: Run) -> None:
    arms = {"A": np.array([71.0, 72.0, 71.5]), "B": np.array([75.0, 74.5, 76.0])}
    found, said = run(table(arms, metric="accuracy"))
    assert found["B"]["difference"] == pytest.approx(75.1667 - 71.5, abs=1e-4) and "+3.67 points" in said


def test_31_systems_with_one_run_each(run: Run) -> None:
    rng = np.random.default_rng(0)
    track = rng.normal(0, 2, 50)
    arms = {f"s{k:02d}": (track + 0.05 * k + rng.normal(0, 0.5, 50))[None] for k in range(31)}
    found, said = run(table(arms, metric="sdr"), reference="s00")
    theirs = oracle.ttest_rel(arms["s30"][0], arms["s00"][0])
    assert found["s30"]["p"] == pytest.approx(theirs.pvalue)
    assert found["s30"]["p_corrected"] == pytest.approx(30 * theirs.pvalue)
    friedman = oracle.friedmanchisquare(*(scores[0] for scores in arms.values()))
    assert f"χ²(30) = {friedman.statistic:.1f}" in said and "465 pairs" in said
    assert "It would not stand if trainings of s30 and of s00 with other seeds differed by an SD of" in said


def test_one_score_per_system_cannot_be_tested(run: Run) -> None:
    found, said = run(table({"A": np.array([5.0]), "B": np.array([6.0])}, metric="sdr"))
    assert (found["B"]["difference"], found["B"]["p"]) == (1.0, None)
    assert "how much runs differ is unknown, and no difference can be tested" in said
    assert "Nothing could be tested" in said


def test_a_system_whose_scores_are_all_missing_keeps_its_place(run: Run) -> None:
    frame = table({**draw(2, {"A": 0, "C": 1}), "B": np.full((5, 12), np.nan)}, metric="sdr")
    found, said = run(frame)
    assert "B has no defined score (60 scores empty or not finite)" in found["B"]["note"]
    assert found["C"]["family"] == 2 and "All sdr scores of B/seed0" in said


def test_infinite_scores_are_named_and_left_out(run: Run) -> None:
    arms = draw(3, {"A": 0, "B": 1})
    arms["B"][0, 0] = -np.inf
    found, said = run(table(arms, metric="si_sdr"))
    assert found["B"]["items"] == 11 and "1 si_sdr score of B/seed0 undefined (empty or not finite)" in said


def test_no_cause_is_made_up_for_scores_that_nobody_has(run: Run) -> None:
    """ "a source that is silent in the reference has no score" was said of anybody's table."""
    arms = draw(3, {"A": 0, "B": 1})
    for scores in arms.values():
        scores[:, 0] = np.nan
    _, said = run(table(arms, metric="si_sdr"))
    assert "10 si_sdr scores on 000 undefined and left out: no run has one." in said and "silent" not in said


def test_clips_of_songs_are_tested_by_song(run: Run) -> None:
    frame = table(draw(4, {"A": 0, "B": 1}), metric="sdr")
    frame["group"] = "song " + (frame["track"].astype(int) // 4).astype(str)
    found, said = run(frame)
    assert found["B"]["items"] == 3 and "The 12 tracks are of 3 groups" in said
    frame["group"] = frame["model"]
    _, said = run(frame, code=2)
    assert "'000' is of the groups 'A' and 'B'" in said and "give it another name" in said


def test_equal_seeds_are_paired_on_demand(run: Run) -> None:
    rng = np.random.default_rng(5)
    luck = rng.normal(0, 1, (5, 1))
    arms = {name: scores + luck for name, scores in draw(5, {"A": 0.0, "B": 0.5}).items()}
    alone, _ = run(table(arms, metric="sdr"))
    paired, _ = run(table(arms, metric="sdr"), "--test", "paired_crossed")
    d = arms["B"] - arms["A"]
    left = d - d.mean(axis=1, keepdims=True) - d.mean(axis=0) + d.mean()
    parts = np.var(d.mean(axis=1), ddof=1) / 5, np.var(d.mean(axis=0), ddof=1) / 12, (left**2).sum() / 44 / 60
    se = max(parts[0] + parts[1] - parts[2], parts[2]) ** 0.5
    assert paired["B"]["t"] == pytest.approx(d.mean() / se) and paired["B"]["p"] < 1e-3 < 0.1 < alone["B"]["p"]


def test_identical_systems_differ_by_nothing(run: Run) -> None:
    arms = draw(6, {"A": 0.0, "C": 1.0})
    found, said = run(table({**arms, "B": arms["A"]}, metric="sdr"))
    assert (found["B"]["difference"], found["B"]["p"]) == (0.0, 1.0)
    assert "B and A have identical scores in every run" in said


@pytest.mark.parametrize(
    ("change", "flags", "told"),
    [
        (lambda f: f.drop(columns="seed"), [], "no column 'seed'"),
        (lambda f: pd.concat([f, f.assign(metric="sir")]), [], "several metrics; say which with --metric: sdr, sir"),
        (lambda f: f, ["--metric", "sdrr"], "did you mean 'sdr'?"),
        (lambda f: f, ["--target", "vocals"], "metric 'sdr' has no target 'vocals'"),
        (lambda f: f, ["--margin", "-1"], "it must be a positive number"),
        (lambda f: f, ["--alpha", "5"], "it must lie between"),
        (lambda f: f.replace({"model": {"A": "base"}}), [], "--reference 'A' is no level of 'model'"),
        (lambda f: f.assign(score=f["score"].astype(str) + " dB"), [], "which is no number"),
        (lambda f: f.assign(score=np.nan), [], "holds no defined score"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(run: Run, change, flags: list[str], told: str) -> None:
    frame = table(draw(7, {"A": 0.0, "B": 1.0}, (3,)), metric="sdr")
    _, said = run(change(frame), *flags, code=2)
    assert told in said and said.startswith("error: ") and said.count("\n") == 1


def test_columns_of_other_names_are_read_as_ours(run: Run) -> None:
    frame = table(draw(8, {"A": 0.0, "B": 1.0}), metric="SDR")
    plain, _ = run(frame, "--higher-is-better")
    other = frame.rename(columns={"track": "song", "seed": "run", "score": "SDR", "metric": "what"})
    named, _ = run(other, "--columns", "song=track,run=seed,SDR=score,what=metric", "--higher-is-better")
    assert named == plain


def test_a_column_per_metric_is_a_row_per_metric(run: Run) -> None:
    sdr, sir = (table(draw(seed, {"A": 0.0, "B": 1.0})) for seed in (9, 10))
    wide = sdr.rename(columns={"score": "sdr"}).assign(sir=sir["score"])
    long = pd.concat([sdr.assign(metric="sdr"), sir.assign(metric="sir")])
    for metric in ("sdr", "sir"):
        found, page = run(wide, "--columns", "sdr=score,sir=score", "--metric", metric)
        assert (found, page) == run(long, "--metric", metric)


def test_variants_trained_once_need_no_seed_where_that_is_said(run: Run) -> None:
    frame = table(draw(11, {"A": 0.0, "B": 1.0}, (1, 12)), metric="sdr")
    assert run(frame.drop(columns="seed"), "--one-run")[0] == run(frame)[0]
    _, said = run(frame.drop(columns="seed"), code=2)
    assert "name it by --columns THEIRS=seed, or say --one-run" in said
    several = table(draw(11, {"A": 0.0, "B": 1.0}), metric="sdr").drop(columns="seed")
    assert "a second score for" in run(several, "--one-run", code=2)[1]


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ("song", "write their name=ours, e.g. song=track"),
        ("song=tracks", "with ours of seed, score, track"),
        ("track=seed,seed=seed", "names 'seed' twice"),
        ("song=track", "no column 'song'; choose from"),
        ("model=track", "--columns calls 'model' something else"),
        ("seed=track", "has a column 'track', which --columns calls 'seed' too"),
        ("score=score,track=score", "a column of metrics, and --columns names several of scores"),
    ],
)
def test_a_slip_in_the_names_of_columns_is_refused(run: Run, columns: str, told: str) -> None:
    _, said = run(table(draw(7, {"A": 0.0, "B": 1.0}, (3,)), metric="sdr"), "--columns", columns, code=2)
    assert told in said and said.count("\n") == 1
