"""In how many conventions of one kind of score a difference keeps its sign: a small specification curve."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reports
from reports import conventions
from reports.ablation import analyse
from reports.contract import ALIKE, METRICS, Declaration, Study, Variant
from reports.inputs.tables import Scores
from reports.sections import result
from reports.writers.terminal import to_text

NAMES = ("base", "good", "mixed")


def scores(
    rng: np.random.Generator, tracks: int = 7, metrics: tuple[str, ...] = ("sdr", "usdr", "si_sdr", "sir")
) -> Scores:
    """`good` is better by every convention; `mixed` only on one track, by far, and never by SI-SDR."""
    rows = []
    for name, seed, track, metric in itertools.product(NAMES, range(3), range(tracks), metrics):
        score = 5 + track + rng.normal(0, 0.01) + (name == "good")
        if name == "mixed":
            score += 9 * (track == tracks - 1) - 0.5 if metric != "si_sdr" else -1
        rows.append((name, seed, f"t{track}", "vocals", metric, "", score))
    frame = pd.DataFrame(rows, columns=["variant", "seed", "track", "target", "metric", "aggregation", "score"])
    return Scores(frame, frame[:0])


def study(metric: str = "sdr") -> Study:
    return Study(
        title="study",
        name="study",
        declaration=Declaration(reference="base", metric=metric, target="vocals", seeds=(0, 1, 2)),
        variants=tuple(Variant(name, {"which": name}) for name in NAMES),
    )


def test_the_differences_are_those_of_means_and_medians_over_tracks() -> None:
    given = scores(np.random.default_rng(0))
    found = analyse(given, study()).conventions
    assert [each.name for each in found[:2]] == ["SDR (mean over tracks)", "SDR (median over tracks)"]
    assert {each.style.name for each in found} == {"sdr", "usdr", "si_sdr"} and len(found) == 6
    for each in found:
        rows = given.frame[given.frame["metric"] == each.style.name]
        per_run = rows.groupby(["variant", "seed"])["score"].agg(each.over).groupby("variant").mean()
        for name in ("good", "mixed"):
            assert each.differences[name] == pytest.approx(per_run[name] - per_run["base"])


def test_the_sentence_counts_the_conventions_in_which_the_sign_holds() -> None:
    findings = analyse(scores(np.random.default_rng(0)), study())
    assert conventions.holding(findings.conventions, "good") == (6, [])
    kept, other = conventions.holding(findings.conventions, "mixed")
    assert kept == 2 and len(other) == 4
    told = conventions.sentence(findings)
    assert "good 6 of 6; mixed 2 of 6 (by SDR (mean over tracks) and uSDR (mean over tracks) alone)." in told
    assert told in " ".join(to_text(result.summary(findings)).split())
    table = conventions.table(findings)
    assert [row[-1] for row in table.texts] == ["6 of 6", "2 of 6"] and len(table.head) == 8


def test_one_convention_alone_says_nothing() -> None:
    rng = np.random.default_rng(1)
    assert analyse(scores(rng, metrics=("sdr", "sir")), study()).conventions == ()
    assert analyse(scores(rng), study("sir")).conventions == ()
    assert conventions.sentence(analyse(scores(rng), study("sir"))) == ""


def test_of_two_tracks_a_median_is_a_mean() -> None:
    found = analyse(scores(np.random.default_rng(2), tracks=2), study()).conventions
    assert [each.over for each in found] == ["mean"] * 3


def test_metrics_of_one_kind_are_known() -> None:
    assert {name for kind in ALIKE for name in kind} <= METRICS.keys()


def test_a_report_shows_them(tmp_path: Path) -> None:
    from reports.inputs.directory import Tables

    findings = analyse(scores(np.random.default_rng(0)), study())
    written = reports.write(findings, Tables(None, tmp_path), tmp_path)
    assert "By every convention of one kind" in written["html"].read_text() and "2 of 6" in written["md"].read_text()
