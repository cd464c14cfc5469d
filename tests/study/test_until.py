"""Studies that stop when they know: stages whose scores are drawn, the real planner, the real report."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import types
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

import reports
from mss_core.graph import Context, Stage
from mss_core.store import StageFailed, Store, run_stage
from mss_core.study import Factor, Study, Until, looks, run
from mss_core.study.plan import Plan
from mss_core.study.progress import Board
from mss_core.study.study import FRESH
from reports.contract import Control
from tests.conftest import REPOSITORY

EFFECTS = {"true": 1.0, "none": 0.0, "small": 0.25}
SD = 0.15
MEASURED = re.compile(
    r"(?<=time spent: )\d+ s|--speculate|--in-process|(?<=## Cost beside effect\n).*?(?=\n## )", re.DOTALL
)
LEFT = re.compile(r" (\d+) trials? ran ahead of a look and (?:was|were) left \(\d+ s of stages\): no score counts\.")
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
    other = [int(os.environ["UNTIL_OTHER"])] if seed > 2 and "UNTIL_OTHER" in os.environ else []
    return effect + SD * float(np.random.default_rng([seed, sum(map(ord, kind)), *other]).normal())


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
    for name in ("scores.csv", "looks.json", "report.csv", "report.md"):
        told = (other / name).read_text().replace(str(again), str(tmp_path))
        assert MEASURED.sub("", told) == MEASURED.sub("", (folder / name).read_text()), name


@pytest.fixture
def idle(monkeypatch, tmp_path):
    """Run a study on a cluster of which so much is idle that all that may run ahead of a look does, in this process."""
    from mss_core.study.execution import in_process

    monkeypatch.setattr(sys.modules["mss_core.study.run"], "_tracker", lambda *given: None)

    def execute(plan: Plan, store: Store, ctx: Context, board: Board, ahead: Plan | None = None) -> None:
        first = [key for key in ahead.needed if key not in board.state] if ahead else []
        for key in first:
            with contextlib.suppress(StageFailed):
                run_stage(ahead.stages[key], store, ctx)
        in_process.execute(plan, store, ctx, board)

    for name, stub in (("stages_on_ray", {"execute": execute}), ("joining", {"connected": contextlib.nullcontext})):
        monkeypatch.setitem(sys.modules, f"mss_core.study.execution.{name}", types.SimpleNamespace(**stub))

    def run_it(study: Study, *flags: str, store: str = "idle") -> Path:
        run(study, ["--speculate", "--store", str(tmp_path / store), *flags])
        return tmp_path / store / "studies" / "draws"

    return run_it


def same(one: Path, other: Path) -> None:
    """The same results and report, but for what was left, the measured seconds of stages, and the command."""
    for name in ("scores.csv", "looks.json", "report.csv", "report.tex", "report.md"):
        a, b = (
            LEFT.sub("", MEASURED.sub("", (path / name).read_text().replace(str(path.parent.parent), "")))
            for path in (one, other)
        )
        assert a == b, name


def test_what_runs_ahead_of_a_look_changes_no_report_and_is_counted(go, idle) -> None:
    folder, ahead = go(STUDY), idle(STUDY)
    same(folder, ahead)
    findings = reports.read(ahead)
    assert findings.course is not None and findings.study.ahead is not None
    made = len(list((ahead.parent.parent / "drawn").glob("*")))
    assert made - findings.course.trainings == findings.study.ahead.trials > 0
    assert made <= 12 * 4  # no seed beyond the last look, and none of a variant that was decided
    (told,) = LEFT.findall((ahead / "report.md").read_text())
    assert int(told) == findings.study.ahead.trials and not LEFT.search((folder / "report.md").read_text())
    assert (
        findings.study.ahead.trials
        == sum(  # of each decided variant, the seeds of the look after its last
            {3: 1, 4: 2, 6: 2, 8: 4, 12: 0}[path.looks[-1].seeds] for path in findings.course.paths
        )
        + {3: 1, 4: 2, 6: 2, 8: 4, 12: 0}[max(path.looks[-1].seeds for path in findings.course.paths)]
    )


@pytest.mark.parametrize("other", [1, 2, 3])
def test_no_score_of_what_runs_ahead_has_a_part_in_a_look(idle, monkeypatch, other: int) -> None:
    """Other draws for every seed that no first look has: the first look is the same, and so is what may run."""
    once = idle(STUDY)
    monkeypatch.setenv("UNTIL_OTHER", str(other))
    again = idle(STUDY, store="again")
    first, second = (next(iter(json.loads((path / "looks.json").read_text()).values())) for path in (once, again))
    assert first["3"] == second["3"] and first["4"] != second["4"]
    begun = [json.loads((path / "ahead.json").read_text()) for path in (once, again)]
    assert (
        {name for name in begun[0].values() if name.endswith("seed3")}
        == {name for name in begun[1].values() if name.endswith("seed3")}
        == {f"{kind}/seed3" for kind in ("base", *EFFECTS)}
    )


def test_a_study_killed_while_seeds_run_ahead_ends_with_the_same_report(go, idle, tmp_path, monkeypatch) -> None:
    """By a seed of the next look, twice, and by one of the look itself."""
    folder = go(STUDY)
    for dies in ("none/3", "base/4", "small/5", ""):
        monkeypatch.setenv("UNTIL_DIES", dies)
        child = multiprocessing.get_context("fork").Process(target=idle, args=(STUDY,))
        child.start()
        child.join()
        assert child.exitcode == (-signal.SIGKILL if dies else 0)
    same(folder, tmp_path / "idle" / "studies" / "draws")


@pytest.mark.parametrize("fails", ["none/3", "none/0,none/1,none/2"])
def test_what_fails_or_succeeds_ahead_replaces_nothing(go, idle, monkeypatch, tmp_path, fails: str) -> None:
    """A seed that fails ahead fails again in its look, and is replaced there; a variant whose own runs all fail holds
    its look up, though a seed that ran ahead has scores."""
    monkeypatch.setenv("UNTIL_FAILS", fails)
    ended = []
    for command in (go, idle):
        with contextlib.nullcontext() if fails == "none/3" else pytest.raises(SystemExit):
            command(STUDY)
        ended.append((tmp_path if command is go else tmp_path / "idle") / "studies" / "draws")
    same(*ended)
    names = [[(t.name, t.status) for t in reports.read(folder).study.trials] for folder in ended]
    assert names[0] == names[1]


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--speculate"]])
def test_ray_takes_the_same_looks_and_ends_with_the_same_scores(go, tmp_path, flags: list[str]) -> None:
    """On a cluster of this machine's own, by a process of its own; also where what is idle runs ahead."""
    folder, store = go(STUDY, "--at-most", "6"), tmp_path / "ray"
    words = ["--at-most", "6", "--store", str(store), *flags]
    untracked = "sys.modules['mss_core.study.run']._tracker = lambda *given: None"
    script = f"import sys; from tests.study import test_until as t; {untracked}; t.run(t.STUDY, {words!r})"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("starting Ray") == 1 and "next look: " in done.stderr
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
        ({}, ("--speculate",), "in one process nothing is idle"),
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
