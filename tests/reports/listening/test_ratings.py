"""Ratings come back as a table with the right test, and what is no whole download of the page is refused by name."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats

from mss_core.__main__ import main
from reports.inputs.directory import Tables
from reports.listening import page, plan, ratings, result
from reports.listening.plan import Condition, Trial

ADA = {"song 0": 10, "song 1": 20, "song 2": 30}
BOB = {"song 0": 30, "song 1": 40, "song 2": 20}
"""What louder is rated above plain by each of two listeners."""


def said(gains: dict[str, int]) -> Callable[[Trial, Condition], int]:
    """A listener who knows the hidden reference, and rates plain 40, noisy 35 and louder by so much above plain."""
    of = {"hidden reference": 98, "low anchor": 15, "mid anchor": 30, "plain": 40, "noisy": 35}
    return lambda trial, each: of.get(each.variant or each.role, 40 + gains[trial.track])


def download(made: plan.Plan, listener: str, rate: Callable[[Trial, Condition], float]) -> dict[str, Any]:
    """What a page would write."""
    marks = {each.id: rate(trial, each) for trial in made.trials for each in trial.conditions}
    head = {"format": ratings.FORMAT, "study": made.study, "test": made.test, "page": made.page}
    return {**head, "listener": listener, "seed": 1, "ratings": marks}


def files(folder: Path, *downloads: Any) -> list[Path]:
    paths = [folder / f"{k}.json" for k in range(len(downloads))]
    for path, content in zip(paths, downloads, strict=True):
        path.write_text(json.dumps(content))
    return paths


def heard(tables: Tables, made: plan.Plan, folder: Path, **said_by: Callable) -> result.Heard:
    paths = files(folder, *(download(made, name, rate) for name, rate in said_by.items()))
    _, sheets = ratings.read(paths, made.study, {made.page: made})
    return result.test(tables, made, ratings.table(made, sheets))


def test_two_listeners_by_hand(tables: Tables, tmp_path: Path) -> None:
    """Listeners' mean differences are 20 and 30: mean 25, standard error 5, t = 5 with one degree of freedom, of which
    p = 1 - 2 atan(5) / pi. The songs' means 20, 30 and 25 vary less."""
    found = heard(tables, plan.make(tables).plan, tmp_path, ada=said(ADA), bob=said(BOB))
    louder, noisy = found.contrasts
    assert (louder.variant, louder.reference, noisy.variant) == ("louder", "plain", "noisy")
    p = 1 - 2 * np.arctan(5) / np.pi
    assert (louder.result.difference, louder.result.se, louder.result.df) == (25.0, pytest.approx(5.0), 1.0)
    assert louder.p == pytest.approx(p) and louder.corrected == pytest.approx(2 * p)
    half = 5 * np.tan(np.pi * (0.5 - 0.0125))  # quantile of Cauchy's distribution, half of .05 over a family of two
    assert (louder.result.low, louder.result.high) == (pytest.approx(25 - half), pytest.approx(25 + half))
    assert louder.naive == pytest.approx(scipy_stats.ttest_1samp([10, 20, 30, 30, 40, 20], 0).pvalue)
    assert noisy.result.difference == -5 and np.isnan(noisy.p) and "no standard error" in noisy.result.note
    told = " ".join(result.reach(found))
    assert told.startswith("2 listeners, 3 songs, 1 run of each variant. One run of each variant was heard (seed 0): ")
    assert "the claim is about these runs only" in told and "only large differences can be found" in told
    table = result.rated(found)
    assert [row[0] for row in table.texts] == ["hidden reference", "plain", "louder", "noisy", "low anchor"]
    assert table.texts[2][:3] == ["louder", "65.0 ± 5.0", "+25.0"] and table.texts[0][1] == "98.0 ± 0.0"


def test_by_the_command(home: Path, tables: Tables, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["listen", str(home), "--out", str(tmp_path), "--mid-anchor"]) == 0
    where, _, told = capsys.readouterr().out.splitlines()
    assert told == "3 items of 6 sounds; the plan is not for listeners" and Path(where).is_file()
    (made,) = page.plans(tmp_path).values()
    paths = files(tmp_path, *(download(made, name, said(gains)) for name, gains in (("ada", ADA), ("bob", BOB))))
    assert main(["listen", str(home), "--out", str(tmp_path), "--ratings", *map(str, paths)]) == 0
    out = capsys.readouterr().out
    said_all = " ".join(out.split())
    assert "listeners x songs t, Bonferroni, family of 2" in said_all and "these runs only" in said_all
    table = pd.read_csv(tmp_path / f"{made.page}.ratings.csv")
    assert list(table) == ratings.COLUMNS and len(table) == 2 * 3 * 6
    row = table[(table.listener == "bob") & (table.track == "song 1") & (table.variant == "louder")]
    assert row[["target", "seed", "rating"]].values.tolist() == [["vocals", 0, 80]]
    assert table[table.variant == "mid anchor"]["seed"].isna().all()
    for suffix in ("html", "md"):
        text = (tmp_path / f"{made.page}.result.{suffix}").read_text()
        assert "+25.0" in text and "Bonferroni, family of 2" in text


def test_runs_are_a_sample_where_several_are_heard(tables: Tables, tmp_path: Path) -> None:
    """Differences that depend on the run alone: of two runs, 10 and 30, t = 20 / 10 with one degree of freedom."""

    def rate(trial: Trial, each: Condition) -> int:
        return {"louder": 50 + 10 + 20 * trial.run}.get(each.variant, 100 if "reference" in each.role else 50)

    made = plan.make(tables, runs=2).plan
    found = heard(tables, made, tmp_path, ada=rate, bob=rate, eve=rate, dan=rate)
    louder = found.contrasts[0]
    assert louder.differences.shape == (4, 3, 2) and louder.result.label == "listeners x songs x runs t"
    assert (louder.result.difference, louder.result.se, louder.result.df) == (20.0, pytest.approx(10.0), 1.0)
    assert louder.p == pytest.approx(1 - 2 * np.arctan(2) / np.pi)
    assert "the claim is about other runs, too" in " ".join(result.reach(found))


def test_a_listener_who_does_not_know_the_reference_is_left_out(tables: Tables, tmp_path: Path) -> None:
    """Below 90 in one of three items is more than 15 %."""

    def deaf(trial: Trial, each: Condition) -> float:
        return 89 if each.role == "hidden reference" and trial.track == "song 1" else said(ADA)(trial, each)

    made = plan.make(tables).plan
    found = heard(tables, made, tmp_path, ada=said(ADA), bob=said(BOB), deaf=deaf)
    assert found.left_out == {"deaf": "hidden reference below 90 in 1 of 3 items"}
    assert set(found.ratings["listener"]) == {"ada", "bob"} and found.contrasts[0].result.difference == 25.0
    assert "deaf is left out by post-screening (ITU-R BS.1534-3)" in " ".join(result.reach(found))
    with pytest.raises(ValueError, match=r"post-screening leaves no listener: deaf \(hidden reference below 90"):
        heard(tables, made, tmp_path, deaf=deaf)


def test_one_listener_tests_nothing(tables: Tables, tmp_path: Path) -> None:
    found = heard(tables, plan.make(tables).plan, tmp_path, ada=said(ADA))
    assert np.isnan(found.contrasts[0].p) and found.contrasts[0].result.difference == 20.0
    assert "nothing is tested" in " ".join(result.reach(found)) and "no difference could be" in result.headline(found)


def test_songs_of_one_group_are_one(tables: Tables, tmp_path: Path) -> None:
    grouped = Tables(tables.directory, tables.store)
    frame = tables.scores.frame.assign(
        group=tables.scores.frame["track"].replace({"song 1": "album", "song 2": "album"})
    )
    grouped.__dict__["scores"] = replace(tables.scores, frame=frame)
    found = heard(grouped, plan.make(tables).plan, tmp_path, ada=said(ADA), bob=said(BOB))
    assert found.songs == (2, 2) and found.contrasts[0].differences[..., 0].tolist() == [[25, 10], [30, 30]]


def test_pairs(tables: Tables, tmp_path: Path) -> None:
    """Six listeners: noisy is never preferred, louder by all on two songs of three."""

    def prefer(trial: Trial, each: Condition) -> int:
        names = {one.variant for one in trial.conditions}
        best = "plain" if "noisy" in names or trial.track == "song 2" else "louder"
        return int(each.variant == best)

    found = heard(tables, plan.make(tables, "ab").plan, tmp_path, **dict.fromkeys("abcdef", prefer))
    louder, noisy = found.contrasts
    # 6 of 6 listeners: 2 / 2^6. 2 of 3 songs: 1. The larger one counts.
    assert louder.p == 1.0 and noisy.p == pytest.approx(2 / 2**3) and noisy.corrected == pytest.approx(0.5)
    assert louder.naive == pytest.approx(scipy_stats.binomtest(12, 18).pvalue)
    rows = result.preferred(found).texts
    assert rows[0][:5] == ["louder", "plain", "67 %", "6 of 6", "2 of 3"] and rows[1][2:5] == [
        "0 %",
        "0 of 6",
        "0 of 3",
    ]
    assert "the least p of a sign test is .25, which cannot be" in " ".join(result.reach(found))
    assert result.headline(found) == "By preference, for 2 variants no difference could be heard beyond chance."


def edited(change: Callable[[dict[str, Any], plan.Plan], None]) -> Callable[[dict[str, Any], plan.Plan], Any]:
    def act(content: dict[str, Any], made: plan.Plan) -> Any:
        out = copy.deepcopy(content)
        change(out, made)
        return out

    return act


def first(made: plan.Plan) -> str:
    return made.trials[0].conditions[0].id


BAD = {
    "study": (edited(lambda c, _: c.update(study="other")), "{0} is of the study 'other', not of 'heard'"),
    "page": (edited(lambda c, _: c.update(page="0" * 12)), "{0} is of the page '000000000000', which is none of this"),
    "too high": (edited(lambda c, m: c["ratings"].update({first(m): 130})), "130; a rating is a number from 0 to 100"),
    "negative": (edited(lambda c, m: c["ratings"].update({first(m): -1})), "-1; a rating is a number from 0 to 100"),
    "true": (edited(lambda c, m: c["ratings"].update({first(m): True})), "True; a rating is a number from 0 to 100"),
    "text": (edited(lambda c, m: c["ratings"].update({first(m): "9"})), "'9'; a rating is a number from 0 to 100"),
    "nan": (
        edited(lambda c, m: c["ratings"].update({first(m): float("nan")})),
        "nan; a rating is a number from 0 to 100",
    ),
    "missing": (edited(lambda c, m: c["ratings"].pop(first(m))), "{0} lacks 1 ratings, of 1 items: "),
    "unknown": (edited(lambda c, _: c["ratings"].update(x=1)), "{0} rates 'x', which is no sound of the page"),
    "no format": (
        edited(lambda c, _: c.pop("format")),
        "{0} holds no ratings: it is not what a listening page downloads",
    ),
    "no listener": (
        edited(lambda c, _: c.update(listener="")),
        "{0}: 'listener' is '', which no listening page writes",
    ),
    "list": (lambda content, made: [content], "{0} holds no ratings"),
}


@pytest.mark.parametrize("change, message", BAD.values(), ids=BAD)
def test_what_is_refused(tables: Tables, tmp_path: Path, change: Callable, message: str) -> None:
    made = plan.make(tables).plan
    paths = files(tmp_path, change(download(made, "ada", said(ADA)), made))
    with pytest.raises(ValueError) as error:
        ratings.read(paths, made.study, {made.page: made})
    assert message.format(*paths) in str(error.value)


def test_files_that_do_not_go_together(tables: Tables, tmp_path: Path) -> None:
    made, other = plan.make(tables).plan, plan.make(tables, "ab").plan
    both = {made.page: made, other.page: other}
    paths = files(tmp_path, download(made, "Ada", said(ADA)), download(made, "ada ", said(BOB)))
    with pytest.raises(ValueError, match=r"0\.json and .*1\.json are both of the listener 'ada'"):
        ratings.read(paths, made.study, both)
    paths = files(tmp_path, download(made, "ada", said(ADA)), download(other, "bob", lambda *_: 1))
    with pytest.raises(ValueError, match="is of the page .* and .* of .*: read each page by itself"):
        ratings.read(paths, made.study, both)
    with pytest.raises(ValueError, match=r"1\.json prefers neither or both of"):
        ratings.read(paths[1:], made.study, both)
    (tmp_path / "0.json").write_text("{")
    with pytest.raises(ValueError, match=r"0\.json is no JSON"):
        ratings.read(paths[:1], made.study, both)
    with pytest.raises(ValueError, match="there is no file"):
        ratings.read([tmp_path / "gone.json"], made.study, both)
