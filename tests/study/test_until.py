"""Studies that stop when they know: stages whose scores are drawn, the real planner, the real report."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import reports
from mss_core.graph import Context, Stage
from mss_core.study import Factor, Study, Until, looks, run
from mss_core.study.study import FRESH
from reports.contract import Control
from tests.conftest import REPOSITORY

EFFECTS = {"true": 1.0, "none": 0.0, "small": 0.25}
SD = 0.15
STAGE_RESOURCES = {"drawn": {"warm": 1}}


def drawn(*, kind: str, seed: int, effect: float, out: Path, ctx: Context) -> None:
    """A score that is a function of the recipe alone; kills its process where the environment says so."""
    if os.environ.get("UNTIL_DIES") == f"{kind}/{seed}":
        os.kill(os.getpid(), signal.SIGKILL)
    if f"{kind}/{seed}" in os.environ.get("UNTIL_FAILS", "").split(","):
        raise RuntimeError("no power")
    score = drawn_score(kind, seed, effect)
    (out / "scores.csv").write_text(f"track,target,metric,aggregation,score\n,macro,sdr,,{score}\n")


def drawn_score(kind: str, seed: int, effect: float | None = None) -> float:
    effect = EFFECTS.get(kind, 0.0) if effect is None else effect
    return effect + SD * float(np.random.default_rng([seed, sum(map(ord, kind))]).normal())


@dataclass(frozen=True)
class Draw:
    kind: str = "base"
    effect: float = 0.0
    seed: int = 0

    def pipeline(self) -> Stage:
        return Stage(drawn, kind=self.kind, seed=self.seed, effect=self.effect)


STUDY = Study(
    name="draws",
    question="Which part helps?",
    baseline=Draw(),
    factors=[Factor("part", {"base": {}, **{name: {"kind": name, "effect": size} for name, size in EFFECTS.items()}})],
    reference={"part": "base"},
    metric="sdr",
    smoke=lambda recipe: recipe,
    seeded=("seed",),
    seeds=Until(looks=(3, 4, 6, 8, 12)),
    margin=0.3,
)


@pytest.fixture
def go(monkeypatch, tmp_path):
    """Run a study in this process, without MLflow, whose database takes ten seconds to set up; returns its folder."""
    monkeypatch.setattr(sys.modules["mss_core.study.run"], "_tracker", lambda *given: None)

    def run_it(study: Study, *flags: str) -> Path:
        run(study, ["--in-process", "--store", str(tmp_path), *flags])
        return tmp_path / "studies" / "draws"

    return run_it


def test_a_true_effect_stops_first_and_only_what_is_undecided_goes_on(go) -> None:
    folder = go(STUDY)
    findings = reports.read(folder)
    course = findings.course
    assert course is not None and course.over
    ended = {path.variant: (path.decision, path.looks[-1].seeds) for path in course.paths}
    assert ended["true"] == ("significant", 3)
    assert ended["none"][0] in ("equivalent", "out of reach") and ended["small"][1] > 3
    most = max(seeds for _, seeds in ended.values())
    runs = {row.variant: len(row.runs) for row in findings.main.rows}
    assert runs == {"base": most, **{name: seeds for name, (_, seeds) in ended.items()}}
    assert len(list((folder.parent.parent / "drawn").glob("*"))) == sum(runs.values()) == course.trainings
    path, contrast = course.path("true"), findings.main.contrast("true")
    assert contrast.p_corrected == path.p < 0.05 and contrast.simultaneous == (path.looks[-1].low, path.looks[-1].high)
    assert path.estimate == pytest.approx(contrast.primary.difference)  # a first look is not biased
    text = reports.render(folder)["md"].read_text()
    assert "What was decided, and when" in text and "naive p" in text and "repeated CI" in text
    assert f"{course.trainings} trials in place of 48" in text


def test_a_killed_study_ends_with_the_same_report(go, tmp_path, monkeypatch) -> None:
    """Killed by SIGKILL in the first look, in a later one and at the next chance, it ends byte for byte the same."""
    folder = go(STUDY)
    again = tmp_path / "again"
    for dies in ("none/2", "small/3", "base/4", ""):
        monkeypatch.setenv("UNTIL_DIES", dies)
        words = ["--in-process", "--store", str(again)]
        child = multiprocessing.get_context("fork").Process(target=run, args=(STUDY, words))
        child.start()
        child.join()
        assert child.exitcode == (-signal.SIGKILL if dies else 0)
    other = again / "studies" / "draws"
    measured = re.compile(r"(?<=time spent: )\d+ s")  # the seconds of stages, which were run twice
    for name in ("scores.csv", "looks.json", "report.csv", "report.md"):
        told = (other / name).read_text().replace(str(again), str(tmp_path))
        assert measured.sub("", told) == measured.sub("", (folder / name).read_text()), name


@pytest.mark.ray
@pytest.mark.slow
def test_ray_takes_the_same_looks_and_ends_with_the_same_scores(go, tmp_path) -> None:
    """On a cluster of this machine's own, by a process of its own."""
    folder, store = go(STUDY, "--at-most", "6"), tmp_path / "ray"
    script = f"from tests.study import test_until as t; t.run(t.STUDY, ['--at-most', '6', '--store', {str(store)!r}])"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "starting Ray" in done.stderr and "next look: " in done.stderr
    for name in ("scores.csv", "looks.json", "report.csv"):
        assert (store / "studies" / "draws" / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.parametrize("fails", [("none/2",), ("none/3", "small/4", "base/0", "base/5")])
def test_a_failed_trial_is_replaced_by_the_next_seed_in_reserve(
    go, monkeypatch, capsys, fails: tuple[str, ...]
) -> None:
    """The look is made of as many runs; a trial that was replaced stays so, also where it would not fail again."""
    monkeypatch.setenv("UNTIL_FAILS", ",".join(fails))
    go(STUDY)
    assert f"{fails[0].replace('/', '/seed')} failed; the next seed stands for it: " in capsys.readouterr().err
    monkeypatch.delenv("UNTIL_FAILS")
    folder = go(STUDY)
    record = (folder / "looks.json").read_bytes()
    assert (go(STUDY) / "looks.json").read_bytes() == record
    findings = reports.read(folder)
    course = findings.course
    assert course is not None and course.over
    gone = {trial.name for trial in findings.study.trials if trial.status == "replaced"}
    assert gone and gone <= {name.replace("/", "/seed") for name in fails}
    for path in course.paths:
        row = next(row for row in findings.main.rows if row.variant == path.variant)
        assert len(row.runs) == path.looks[-1].seeds
        assert not gone & {f"{path.variant}/seed{seed}" for seed in row.runs}
        expected = [drawn_score(path.variant, seed) for seed in row.runs]
        assert row.runs == pytest.approx(dict(zip(row.runs, expected, strict=True)))
    told = " ".join(findings.deviations)
    assert all(name in told for name in gone) and "a further seed stands for each (" in told and "no power" in told
    assert "not declared" not in told


def test_a_variant_whose_runs_all_fail_holds_its_look_up(go, monkeypatch, tmp_path) -> None:
    """Whatever is wrong with all of them is wrong with the next seed, too: the same command tries them again."""
    monkeypatch.setenv("UNTIL_FAILS", "none/0,none/1,none/2")
    with pytest.raises(SystemExit):
        go(STUDY)
    findings = reports.read(tmp_path / "studies" / "draws")
    assert findings.course is not None and not findings.course.over
    assert [len(path.looks) for path in findings.course.paths] == [0] * 3
    text = reports.render(tmp_path / "studies" / "draws")["md"].read_text()
    assert "The study is not over" in text and "Trial none/seed2 failed" in text
    monkeypatch.delenv("UNTIL_FAILS")
    again = reports.read(go(STUDY))
    assert again.course is not None and again.course.over and again.deviations == ()


def test_where_no_seed_is_left_the_look_is_held_up(go, monkeypatch, tmp_path) -> None:
    """One after another fails; the last one is tried again, and ends the look once it succeeds."""
    monkeypatch.setenv("UNTIL_FAILS", ",".join(f"none/{seed}" for seed in range(2, 15)))
    for _ in range(2):
        with pytest.raises(SystemExit):
            go(STUDY)
        findings = reports.read(tmp_path / "studies" / "draws")
        assert [t.name for t in findings.study.trials if t.status == "replaced"] == [f"none/seed{n}" for n in (2, 3, 4)]
        assert findings.course is not None and not findings.course.over
    monkeypatch.setenv("UNTIL_FAILS", "none/2")
    again = reports.read(go(STUDY))
    assert again.course is not None and again.course.over
    assert {*range(2)} <= {*next(row for row in again.main.rows if row.variant == "none").runs} <= {0, 1, *range(5, 15)}


def test_a_control_with_more_runs_than_the_reference_has_those_of_the_first_look(go) -> None:
    folder = go(replace(STUDY, controls=[Control("placebo", "equivalent", fresh=True, times=2, margin=1.0)]))
    trials = [trial.seed for trial in reports.read(folder).study.trials if trial.variant == "placebo"]
    assert trials == [0, 1, 2, FRESH, FRESH + 1, FRESH + 2]


def test_seeds_by_hand_and_then_until_counts_the_look(go) -> None:
    fixed = replace(STUDY, seeds=range(5))
    go(fixed, "--seeds", "5")
    folder = go(fixed, "--until", "decided", "--at-most", "12")
    findings = reports.read(folder)
    assert findings.course is not None
    assert findings.course.looks == (3, 4, 5, 6, 8, 12) and findings.course.counted == (5,)
    told = reports.render(folder)["md"].read_text()
    assert "could be seen with 5 seeds before" in told and "count as looks of it" in told


def test_more_seeds_by_hand_than_the_last_look_has_are_refused(go, capsys) -> None:
    """Also after a run of fewer seeds, which leaves the others out of its results."""
    fixed = replace(STUDY, seeds=range(6))
    go(fixed)
    for _ in range(2):
        with pytest.raises(SystemExit) as stop:
            go(fixed, "--until", "decided", "--at-most", "5")
        assert stop.value.code == 2 and "results of 6 seeds per variant were there before" in capsys.readouterr().err
        go(fixed, "--seeds", "3")
    course = reports.read(go(fixed, "--until", "decided", "--at-most", "6")).course
    assert course is not None and course.looks[-1] == 6 and {3, 6} <= {*course.counted}


def test_seeds_of_which_one_failed_count_as_the_look_that_could_be_taken(go, monkeypatch) -> None:
    fixed = replace(STUDY, seeds=range(5))
    monkeypatch.setenv("UNTIL_FAILS", "base/4,true/4,none/4,small/4")
    with pytest.raises(SystemExit):
        go(fixed)
    monkeypatch.delenv("UNTIL_FAILS")
    course = reports.read(go(fixed, "--until", "decided", "--at-most", "12")).course
    assert course is not None and course.counted == (4,)


def test_a_look_that_its_scores_no_longer_bear_out_is_refused(go) -> None:
    folder = go(STUDY)
    record = json.loads((folder / "looks.json").read_text())
    next(iter(record.values()))["3"]["true"]["decision"] = ""
    (folder / "looks.json").write_text(json.dumps(record))
    with pytest.raises(SystemExit):
        go(STUDY)


def test_a_dry_run_says_what_it_is_expected_to_take(go, capsys) -> None:
    go(STUDY, "--dry-run")
    told = capsys.readouterr().out
    assert "after 3, 4, 6, 8, 12 seeds (pocock); the plan above is the worst case, 48 trials" in told
    trials = [float(line.split("variant, ")[1].split()[0]) for line in told.splitlines() if "seeds per variant" in line]
    assert len(trials) == 4 and trials[1] > trials[2] > trials[3] >= 12 and "cannot be decided reliably" in told


@pytest.mark.parametrize(
    "changes, flags, told",
    [
        ({"seeds": Until((3, 3, 6))}, (), "the looks of declaration.until are [3, 3, 6]"),
        ({"seeds": Until(spending="pocok")}, (), "did you mean 'pocock'?"),
        ({"test": "wilcoxon"}, (), "cannot decide after every few seeds"),
        ({"correction": "holm"}, (), "contrasts end at different looks"),
        ({"seeds": range(5)}, ("--until", "decided"), "--at-most 12"),
        ({"seeds": range(5)}, ("--at-most", "9"), "belongs to --until decided"),
        ({}, ("--until", "decided", "--seeds", "5"), "give one of them"),
        ({}, ("--until", "never"), "'decided'"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(go, capsys, tmp_path, changes, flags, told) -> None:
    with pytest.raises(SystemExit) as stop:
        go(replace(STUDY, **changes), *flags)
    assert stop.value.code == 2 and told in capsys.readouterr().err
    assert not (tmp_path / "drawn").exists()


def test_a_damaged_record_of_replaced_runs_is_named(tmp_path) -> None:
    (tmp_path / looks.REPLACED).write_text('{"a')
    with pytest.raises(ValueError, match="replaced.json is damaged; move it away"):
        looks.replaced(tmp_path)
