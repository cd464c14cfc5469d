"""Searches: what is suggested, what is trained, what is chosen; crashes, kills, budgets, the sealed test split."""

from __future__ import annotations

import csv
import json
import math
import multiprocessing
import os
import runpy
import signal
import socket
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from scipy import stats

from mss_core import disk
from mss_core.claim import Claim, this_process
from mss_core.graph import Context
from mss_core.store import Store
from mss_core.store.drivers import living
from mss_core.study import Asha, Factor, Search, run
from mss_core.study.search import journal, optuna_storage, phase
from mss_core.study.search.declare import SAMPLERS, Arm
from tests.conftest import REPOSITORY
from tests.study import toy

FAST = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Journals sync every line; where only suggestions are tested they may as well be in memory."""


@pytest.fixture
def fast(tmp_path: Path):
    with tempfile.TemporaryDirectory(dir=FAST) as folder:
        yield Path(folder)


@pytest.fixture(autouse=True)
def untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow has tests of its own; a database for every little study would take most of the time here."""
    monkeypatch.setitem(sys.modules, "mss_core.study.tracking.tracker", None)


def arms_of(study, store: Store) -> dict[str, Arm]:
    return phase.plan_arms(study, False, {}, lambda recipe: recipe, store)


def carry_out(study, store: Store) -> dict[str, Arm]:
    arms = arms_of(study, store)
    phase.carry_out(arms, store, True, Context(), lambda text: None)
    return arms


def rows_of(arm: Arm, store: Store) -> list[dict[str, str]]:
    with open(store.directory(arm.stage) / "history.csv", newline="") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def winner_of(arm: Arm, store: Store) -> dict[str, Any]:
    found = json.loads((store.directory(arm.stage) / "winner.json").read_text())
    return {name: value for name, value in found.items() if name != "seconds"}


# ---- halving


def test_halving_decides_as_optunas_own_does() -> None:
    rng = np.random.default_rng(0)
    for factor, first in ((2, 1), (3, 1), (4, 2)):
        ours = Asha(first, factor)
        theirs = optuna.pruners.SuccessiveHalvingPruner(min_resource=first, reduction_factor=factor)
        study = optuna.create_study(pruner=theirs)
        arrived: dict[int, list[float]] = {}
        stopped = 0
        for number in range(40):
            trial = study.ask()
            for epoch in range(1, 28):
                value = float(rng.normal())
                trial.report(value, epoch)
                keeps = True
                if ours.is_rung(epoch, number):
                    arrived.setdefault(epoch, []).append(value)
                    keeps = ours.keeps(value, arrived[epoch], maximise=False)
                assert trial.should_prune() == (not keeps), (number, epoch)
                if not keeps:
                    stopped += 1
                    break
            study.tell(trial, state=TrialState.PRUNED)
        assert stopped > 20


def test_halving_follows_the_direction_and_stops_what_is_not_finite() -> None:
    pruner = Asha(1, 2)
    assert pruner.keeps(3.0, [1.0, 2.0, 3.0, 4.0], maximise=True)
    assert not pruner.keeps(3.0, [1.0, 2.0, 3.0, 4.0], maximise=False)
    assert not pruner.keeps(math.nan, [math.nan], maximise=False)


def test_brackets_share_out_trials_as_hyperband_does() -> None:
    pruner = Asha(first=1, factor=3, brackets=3)
    counts = np.bincount([pruner.bracket(number) for number in range(1700)])
    assert counts / 1700 == pytest.approx(np.array([9, 5, 3]) / 17, abs=0.003)
    assert [epoch for epoch in range(1, 30) if pruner.is_rung(epoch, 0)] == [1, 3, 9, 27]
    late = next(number for number in range(50) if pruner.bracket(number) == 2)
    assert [epoch for epoch in range(1, 30) if pruner.is_rung(epoch, late)] == [9, 27]


def simulated(search: Search, points: list[dict[str, Any]]) -> tuple[int, int, list[bool]]:
    """Epochs run, epochs without halving and who was stopped, for suggestions trained one after another."""
    arrived: dict[int, list[float]] = {}
    epochs, stopped = 0, []
    for departures in points:
        train = toy.Training(departures["train.lr"], departures["train.momentum"], seed=search.seed)
        for epoch in range(1, train.epochs + 1):
            epochs += 1
            value = toy.loss(train, epoch)
            if epoch in (1, 3, 9):
                arrived.setdefault(epoch, []).append(value)
                better = sum(other < value for other in arrived[epoch])
                if better >= max(1, len(arrived[epoch]) // 3):
                    stopped.append(True)
                    break
        else:
            stopped.append(False)
    return epochs, 9 * len(points), stopped


def test_halving_saves_epochs_and_counts_them(tmp_path: Path) -> None:
    store = Store(tmp_path)
    search = toy.asha(trials=20, reruns=0)
    (arm,) = carry_out(toy.study(search), store).values()
    rows, found = rows_of(arm, store), winner_of(arm, store)
    epochs, most, stopped = simulated(search, [json.loads(row["departures"]) for row in rows])
    assert [row["state"] == "pruned" for row in rows] == stopped
    assert (found["epochs"], found["most"]) == (epochs, most)
    assert epochs < 0.6 * most and found["pruned"] == sum(stopped) > 8
    values = [float(row["valid_loss"]) for row in rows if row["state"] == "complete"]
    assert found["value"] == min(values)
    assert not list(tmp_path.glob("toy_train/*.log"))
    assert len(list(tmp_path.glob("toy_train/*.partial"))) == sum(stopped)  # what they had is kept


# ---- samplers


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_restart_suggests_what_an_undisturbed_search_does(name: str, fast: Path) -> None:
    if name == "cma_es":
        pytest.importorskip("cmaes")

    def draw(where: Path, every: int) -> list[dict[str, Any]]:
        directions = ["minimize", "minimize"] if name == "nsga2" else ["minimize"]
        drawn = []
        for number in range(26 if name != "gp" else 14):
            if number % every == 0:
                optuna_storage._shared.cache_clear()
                suggestions = optuna_storage.Suggestions(str(where), "s", toy.space, directions, name, 5, False, [])
            trial = suggestions.draw()
            x = trial.user_attrs["departures"]
            value = (math.log10(x["train.lr"]) + 2) ** 2 + (x["train.momentum"] - 0.7) ** 2
            ended = math.inf if number == 7 else value  # one diverged
            suggestions.tell(number, TrialState.COMPLETE, [ended, x["train.lr"]][: len(directions)])
            drawn.append(x)
        return drawn

    undisturbed = draw(fast / "a.log", 100)
    assert undisturbed == draw(fast / "b.log", 1 if name != "gp" else 5)
    assert len({tuple(x.values()) for x in undisturbed}) == len(undisturbed)
    assert undisturbed[:1] != draw_other_seed(name, fast)


def draw_other_seed(name: str, fast: Path) -> list[dict[str, Any]]:
    directions = ["minimize", "minimize"] if name == "nsga2" else ["minimize"]
    suggestions = optuna_storage.Suggestions(str(fast / "c.log"), "s", toy.space, directions, name, 6, False, [])
    return [suggestions.draw().user_attrs["departures"]]


def test_tpe_beats_random_search(fast: Path) -> None:
    """Equal budgets on 20 seeds; distance to the known optimum, signed-rank test."""

    def best(name: str, seed: int) -> float:
        suggestions = optuna_storage.Suggestions(
            str(fast / f"{name}{seed}.log"), "s", toy.space, ["minimize"], name, seed, False, []
        )
        values = []
        for number in range(40):
            x = suggestions.draw().user_attrs["departures"]
            values.append((math.log10(x["train.lr"]) + 2) ** 2 + (x["train.momentum"] - 0.7) ** 2)
            suggestions.tell(number, TrialState.COMPLETE, [values[-1]])
        return min(values)

    tpe, random = ([best(name, seed) for seed in range(20)] for name in ("tpe", "random"))
    test = stats.wilcoxon(np.log(tpe), np.log(random), alternative="less")
    print(
        f"TPE {np.median(tpe):.2g}, random {np.median(random):.2g}, better on "
        f"{sum(a < b for a, b in zip(tpe, random, strict=True))} of 20 seeds, p = {test.pvalue:.2g}"
    )
    assert test.pvalue < 0.01


# ---- two studies, one search


def test_a_search_that_another_study_carries_out_is_waited_for_and_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    arms = arms_of(toy.study(Search({"toy_train": toy.space}, trials=3, top=1, reruns=1)), store)
    (arm,) = arms.values()
    said: list[str] = []
    waiting = threading.Thread(target=phase.carry_out, args=(arms, store, True, Context(), said.append))
    (tmp_path / "search").mkdir()
    with store.claim(arm.stage):
        waiting.start()
        deadline = time.monotonic() + 30
        while not said and time.monotonic() < deadline:
            time.sleep(0.05)
        assert [f"process {os.getpid()} on " in text and "waiting for its result" in text for text in said] == [True]
        assert waiting.is_alive() and store.get(arm.stage) is None
    waiting.join(timeout=60)
    assert store.get(arm.stage) is not None


# ---- kills


def _child(root: str) -> None:
    os.setsid()
    store = Store(root)
    carry_out(toy.study(toy.asha()), store)
    os._exit(0)


@pytest.mark.slow
def test_killed_at_random_times_it_ends_as_if_undisturbed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten searches killed again and again: no suggestion lost, none repeated, all rungs as they were."""
    monkeypatch.setenv("TOY_SECONDS", "0.01")
    store = Store(tmp_path / "undisturbed")
    (arm,) = carry_out(toy.study(toy.asha()), store).values()
    rows, winner, rungs = rows_of(arm, store), winner_of(arm, store), rungs_of(arm, store)
    assert winner["pruned"] >= 5 and len(rungs) >= 12
    rng = np.random.default_rng(0)
    kills = 0
    for run_number in range(10):
        store = Store(tmp_path / str(run_number))
        for attempt in range(100):
            child = multiprocessing.get_context("fork").Process(target=_child, args=(str(store.root),))
            child.start()
            child.join(timeout=float(rng.uniform(0.02, 1.2)) if attempt < 4 else 120)
            if child.exitcode is None:
                os.kill(child.pid, signal.SIGKILL)
                kills += 1
            child.join()
            if child.exitcode == 0:
                break
        assert store.get(arm.stage) is not None, f"run {run_number} did not end"
        assert rows_of(arm, store) == rows
        assert winner_of(arm, store) == winner
        assert rungs_of(arm, store) == rungs
    print(f"{kills} kills")
    assert kills >= 15


def rungs_of(arm: Arm, store: Store) -> list[tuple[int, str, Any]]:
    study = opened(arm, store)
    return [
        (trial.number, name, value)
        for trial in study.trials
        for name, value in sorted(trial.system_attrs.items())
        if name.startswith("rung ")
    ]


def opened(arm: Arm, store: Store) -> optuna.Study:
    """The search as anybody opens it with Optuna alone, e.g. its dashboard."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(store.directory(arm.stage) / "journal.log")))
    return optuna.load_study(study_name=None, storage=storage)


def test_half_a_line_and_a_dead_owners_lock_do_not_stop_a_restart(tmp_path: Path) -> None:
    store = Store(tmp_path)
    study = toy.study(toy.asha(trials=3, reruns=0, pruner=None))
    (arm,) = arms_of(study, store).values()
    first = optuna_storage.Suggestions(str(tmp_path / "j.log"), "s", arm.space, ["minimize"], "tpe", 0, False, [])
    drawn = first.draw().user_attrs["departures"]
    whole = (tmp_path / "j.log").read_bytes()
    (tmp_path / "j.log").write_bytes(whole + b'{"op_code": 4, "wor')
    (tmp_path / "j.log.lock").write_text(json.dumps({"owner": "it", **this_process(), "started": "before this one"}))
    optuna_storage._shared.cache_clear()
    start = time.monotonic()
    second = optuna_storage.Suggestions(str(tmp_path / "j.log"), "s", arm.space, ["minimize"], "tpe", 0, False, [])
    second.tell(0, TrialState.COMPLETE, [1.0])
    assert time.monotonic() - start < 5
    assert [trial.user_attrs["departures"] for trial in second.trials()] == [drawn]
    assert not (tmp_path / "j.log.lock").exists()


def test_a_lock_is_judged_by_ones_own_clock_and_released_by_its_owner(tmp_path: Path) -> None:
    """A torn lock is taken in time; one of a machine whose clock is behind is not, while it is renewed; what another
    has taken over is not released by the first."""
    path = tmp_path / "j.log.lock"
    path.write_text("")
    os.utime(path, (1, 1))
    start = time.monotonic()
    first = journal.Lock(tmp_path / "j.log", seconds=0.4)
    assert first.acquire() and 0.3 < time.monotonic() - start < 5
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"machine": "elsewhere"}))
    other = Claim(path, seconds=0.4)
    for year in range(8):
        os.utime(path, (year, year))  # renewed, by a clock that is years behind
        assert not other.acquire()
        time.sleep(0.1)
    path.unlink()
    assert other.acquire()
    first.release()
    assert Claim(path).holder()["owner"] == other.owner
    other.release()
    assert not path.exists()


def test_who_sleeps_past_a_journals_lock_loses_no_suggestion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wakes before it opens the journal, which another has the lock of and writes to: it waits for its turn."""
    late, other = journal.opened(tmp_path / "j.log"), journal.opened(tmp_path / "j.log")
    other.append_logs([{"number": 0}])
    real, opened = disk.opened, list[str]()

    def slow(path: Path, mode: str = "rb") -> Any:
        if mode == "ab" and not opened:
            opened.append(mode)
            late.lock.path.unlink()
            other.append_logs([{"number": 1}])
            assert other.lock.acquire()
            threading.Timer(0.5, other.lock.release).start()
        return real(path, mode)

    monkeypatch.setattr(disk, "opened", slow)
    late.append_logs([{"number": 2}])
    assert [entry["number"] for entry in late.read_logs(0)] == [0, 1, 2]


def test_a_journal_is_mended_under_its_lock_and_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "j.log"
    path.write_bytes(b'{"op_code": 1}\n{"op_')  # by a worker that was killed
    worker = journal.Lock(path)
    worker.acquire()
    assert path.read_bytes() == b'{"op_code": 1}\n'
    with open(path, "ab") as file:
        file.write(b'{"op_')
    mending = threading.Thread(target=journal.mend, args=(path,))
    mending.start()
    time.sleep(0.1)
    with open(path, "ab") as file:  # a worker in the middle of its line
        file.write(b'code": 2}\n')
    worker.release()
    mending.join()
    assert path.read_bytes() == b'{"op_code": 1}\n{"op_code": 2}\n'
    path.write_bytes(b'{"op_code": 1}\n{"op_\ncode": 2}\n{"half')
    with pytest.raises(ValueError, match=r"j\.log, line 2: not an entry"):
        journal.mend(path)


# ---- budgets


def test_arms_get_equal_budgets_also_where_one_crashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "left").write_text("2")
    monkeypatch.setenv("TOY_CRASHES", f"b:{tmp_path / 'left'}")
    factors = (Factor("kind", {"a": {}, "b": {"kind": "b"}}),)
    search = Search({"toy_train": toy.space}, trials=5, concurrency=2, top=2, reruns=2)
    run(toy.study(search, factors), ["--in-process", "--store", str(tmp_path / "store"), "--search", "each_variant"])
    folder = tmp_path / "store" / "studies" / "toy-each_variant"
    searches = {found["variant"]: found for found in json.loads((folder / "search.json").read_text())["searches"]}
    finished = {
        name: sum(found[state] for state in ("complete", "pruned", "diverged")) for name, found in searches.items()
    }
    assert finished == {"a": 5, "b": 5}
    assert (searches["a"]["failed"], searches["b"]["failed"]) == (0, 2)
    assert searches["a"]["reruns"] == searches["b"]["reruns"] == 4
    report = (folder / "report.md").read_text()
    assert "All 2 arms have 5 finished suggestions." in report
    study = json.loads((folder / "study.json").read_text())
    assert study["declaration"]["search"]["trials"] == 5
    chosen = {found["variant"]: found["departures"] for found in searches.values()}
    for variant in study["variants"]:
        assert {path: variant["recipe"][path] for path in chosen[variant["variant"]]} == chosen[variant["variant"]]


def test_a_search_whose_trainings_all_crash_gives_up_and_says_why(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "left").write_text("1000")
    monkeypatch.setenv("TOY_CRASHES", f"a:{tmp_path / 'left'}")
    with pytest.raises(SystemExit):
        run(toy.study(toy.asha(trials=4)), ["--in-process", "--store", str(tmp_path / "store")])
    said = capsys.readouterr().err
    assert "the search of baseline gave up: 5 trainings crashed, more than the 4 that are replaced" in said
    assert "the toy broke" in said


def test_divergence_is_an_answer_and_never_wins(tmp_path: Path) -> None:
    store = Store(tmp_path)
    search = Search({"toy_train": toy.wild}, trials=10, concurrency=1, top=2, reruns=1, scope="baseline")
    (arm,) = carry_out(toy.study(search), store).values()
    found = winner_of(arm, store)
    assert found["diverged"] >= 2 and found["failed"] == 0 and found["complete"] + found["diverged"] == 10
    assert found["departures"]["train.lr"] <= 0.5


def test_everything_diverged_is_said(tmp_path: Path) -> None:
    def wild(trial: Any) -> dict[str, Any]:
        return {"train.lr": trial.suggest_float("train.lr", 1.0, 2.0)}

    store = Store(tmp_path)
    search = Search({"toy_train": wild}, trials=3, scope="baseline")
    with pytest.raises(RuntimeError, match="no suggestion trained to its end: every one diverged or failed"):
        carry_out(toy.study(search), store)


# ---- choosing


def test_the_winner_is_the_best_mean_over_seeds_it_was_not_selected_by() -> None:
    def row(trial: int, value: float, rerun: int | None = None, state: str = "complete") -> dict[str, Any]:
        return {
            "trial": trial,
            "rerun": rerun,
            "state": state,
            "values": [value],
            "departures": {"x": trial},
            "epochs": 1,
            "most": 2,
            "seconds": 0.5,
        }

    rows = [
        row(0, 0.5),
        row(1, 0.1),
        row(2, 0.2),
        row(3, 0.3),
        row(4, 0.0, state="pruned"),
        row(1, 0.9, 11),
        row(1, 0.7, 12),
        row(2, 0.4, 11),
        row(2, 0.6, 12),
        row(3, 0.1, 11),
        row(3, math.nan, 12, "diverged"),
    ]
    found = optuna_storage.winner(rows, ["minimize"], 3, [11, 12])
    assert (found["trial"], found["value"], found["candidates"]) == (2, 0.5, [1, 2, 3])
    assert optuna_storage.winner(rows, ["minimize"], 3, [])["trial"] == 1
    assert optuna_storage.winner(rows, ["maximize"], 1, [])["trial"] == 0
    assert (found["epochs"], found["most"], found["pruned"], found["reruns"]) == (11, 22, 1, 6)


def test_with_two_metrics_candidates_come_from_the_front() -> None:
    values = {0: [1.0, 9.0], 1: [2.0, 5.0], 2: [2.5, 6.0], 3: [3.0, 1.0], 4: [1.5, 9.5]}
    rows = [{"trial": n, "rerun": None, "state": "complete", "values": v} for n, v in values.items()]
    assert optuna_storage.candidates(rows, ["minimize", "minimize"], 4) == [0, 1, 3, 4]


def test_two_metrics(tmp_path: Path) -> None:
    store = Store(tmp_path)
    search = Search(
        {"toy_train": toy.sizes},
        trials=14,
        metric=("valid_loss", "parameters"),
        sampler="nsga2",
        reruns=0,
        scope="baseline",
    )
    (arm,) = carry_out(toy.study(search), store).values()
    rows = rows_of(arm, store)
    assert all(float(row["parameters"]) == 3 * json.loads(row["departures"])["train.width"] for row in rows)
    assert float(rows[winner_of(arm, store)["trial"]]["valid_loss"]) == min(float(row["valid_loss"]) for row in rows)


def test_the_recipes_own_values_come_first_then_earlier_winners(tmp_path: Path) -> None:
    store = Store(tmp_path)
    search = toy.asha(trials=6, pruner=None, reruns=0)
    (first,) = carry_out(toy.study(search), store).values()
    assert json.loads(rows_of(first, store)[0]["departures"]) == {"train.lr": 1e-3, "train.momentum": 0.5}
    warm = replace(search, warm_start=(first.stage.key[:10],), seed=2000, sampler="random")
    (second,) = carry_out(toy.study(warm), store).values()
    assert json.loads(rows_of(second, store)[1]["departures"]) == winner_of(first, store)["departures"]
    assert winner_of(second, store)["value"] <= winner_of(first, store)["value"] + 0.02
    with pytest.raises(ValueError, match="'warm_start' names the search 'ffffffff', of which the store has 0"):
        arms_of(toy.study(replace(search, warm_start=("ffffffff",))), store)


def test_numbers_outside_a_range_move_to_its_end() -> None:
    ((_, ranges), *_) = optuna_storage.probe(toy.sizes, 1)
    point = {"train.lr": 0.0, "train.momentum": 0.5, "train.width": 100}
    assert optuna_storage.fitted(point, ranges) == {"train.lr": 1e-4, "train.momentum": 0.5, "train.width": 64}
    assert (
        optuna_storage.fitted({"unknown": 1}, ranges) is None
        and optuna_storage.fitted({"train.lr": None}, ranges) is None
    )


# ---- keys


def test_a_search_is_keyed_by_what_decides_its_outcome(tmp_path: Path) -> None:
    store = Store(tmp_path)

    def key(search: Search, **changes: Any) -> str:
        (arm,) = arms_of(toy.study(search, **changes), store).values()
        return arm.stage.key

    base = key(toy.asha())
    assert key(toy.asha()) == base
    assert key(toy.asha(), baseline=toy.Toy(aggregate="max")) == base  # what only scores is no part of it
    assert key(toy.asha(), baseline=toy.Toy(train=toy.Training(epochs=8))) != base
    for change in (
        {"trials": 13},
        {"sampler": "random"},
        {"pruner": None},
        {"seed": 7},
        {"top": 1},
        {"reruns": 0},
        {"concurrency": 2},
        {"space": {"toy_train": toy.wild}},
    ):
        assert key(toy.asha(**change)) != base, change


def test_inference_factors_share_one_search(tmp_path: Path) -> None:
    factors = (Factor("aggregate", {"mean": {}, "max": {"aggregate": "max"}}),)
    study = toy.study(replace(toy.asha(), scope="each_variant"), factors)
    assert len({arm.stage.key for arm in arms_of(study, Store(tmp_path)).values()}) == 1


# ---- what is refused


def test_a_second_driver_is_told_so_before_it_searches(tmp_path: Path, capsys) -> None:
    study = toy.study(toy.asha(trials=2, reruns=0, pruner=None), (Factor("kind", {"a": {}, "b": {"kind": "b"}}),))
    other = Claim(tmp_path / ".toy-each_variant.claim")
    assert other.acquire()
    with pytest.raises(SystemExit) as stopped:
        run(study, ["--store", str(tmp_path), "--in-process", "--search", "each_variant"])
    assert stopped.value.code == 2
    assert f"process {os.getpid()} on {socket.gethostname()} is running study" in capsys.readouterr().err
    assert not list((tmp_path / "search").glob("*"))
    other.release()


def test_a_search_is_a_drivers_work_and_leaves_no_driver_behind(tmp_path: Path, monkeypatch) -> None:
    seen = []
    carry_out = phase.carry_out
    monkeypatch.setattr(phase, "carry_out", lambda *given: (seen.append(living(tmp_path)), carry_out(*given)))
    run(toy.study(toy.asha(trials=2, reruns=0, pruner=None)), ["--store", str(tmp_path), "--in-process"])
    assert [len(drivers) for drivers in seen] == [1] and not living(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scope": "each_varient"}, "no scope of the search 'each_varient'; did you mean 'each_variant'"),
        ({"sampler": "tpee"}, "no sampler 'tpee'; did you mean 'tpe'"),
        ({"metric": "roc_auc"}, "the search's metric 'roc_auc' is not of the validation split"),
        (
            {"metric": ("valid_loss", "parameters"), "sampler": "cma_es", "pruner": None},
            "'cma_es' knows one metric only",
        ),
        ({"metric": ("valid_loss", "parameters")}, "a search with two metrics cannot prune"),
        ({"maximise": ("valid_los",)}, "no metric in 'maximise' 'valid_los'; did you mean 'valid_loss'"),
        ({"trials": 0}, "a search needs trials, concurrency, top and smoke_trials of at least 1"),
        ({"seed": 0}, "seed 0 is a replicate's and the search's"),
        ({"space": {}}, "the search has no space"),
        ({"space": {"toy_tran": toy.space}}, "variant 'baseline' trains nothing that the search has a space for"),
        (
            {"space": {"toy_train": toy.other_space}},
            "the space of 'toy_train' does not fit variant 'baseline': no "
            "'other.momentum' in the recipe: 'other' is None",
        ),
        (
            {"space": {"toy_train": lambda trial: {"train.seed": trial.suggest_int("s", 0, 9)}}},
            "the search of 'toy_train' suggests 'train.seed', which is set by --seeds",
        ),
    ],
)
def test_a_wrong_search_is_one_clear_line(changes: dict[str, Any], message: str, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        run(toy.study(replace(toy.asha(), **changes)), ["--in-process", "--store", str(tmp_path)])
    said = capsys.readouterr().err
    assert stopped.value.code == 2 and message in said and len(said.splitlines()) == 1
    assert not list(tmp_path.glob("toy_train/*"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--search", "each_variant", "--set", "train.lr=0.1"], "suggests 'train.lr', which is set by --set"),
        (["--search", "all"], "no scope of the search 'all'"),
        (["--set", "search.trials=3"], "nothing is searched without --search SCOPE"),
        (["--search", "baseline", "--set", "search.trails=3"], "no 'trails' in recipe path 'trails'; did you mean"),
    ],
)
def test_wrong_flags_are_one_clear_line(flags: list[str], message: str, tmp_path: Path, capsys) -> None:
    factors = (Factor("kind", {"a": {}, "b": {"kind": "b"}}),)
    with pytest.raises(SystemExit):
        run(toy.study(toy.asha(), factors), ["--in-process", "--store", str(tmp_path), *flags])
    assert message in capsys.readouterr().err


def test_what_a_factor_varies_is_not_searched(tmp_path: Path, capsys) -> None:
    factors = (Factor("rate", {"low": {}, "high": {"train.lr": 0.1}}),)
    with pytest.raises(SystemExit):
        run(toy.study(toy.asha(), factors), ["--in-process", "--store", str(tmp_path), "--search", "each_variant"])
    assert "suggests 'train.lr', which is set by factor 'rate'" in capsys.readouterr().err


def test_a_part_of_what_a_level_sets_is_tuned_with_its_own_start(tmp_path: Path, monkeypatch) -> None:
    """Each variant from its own value; what was found for the baseline leaves the other's own value alone."""
    factors = (Factor("kind", {"a": {}, "b": {"train.lr": 0.05, "train.width": 7}}),)
    study, store = toy.study(toy.asha(scope="each_variant"), factors), Store(tmp_path)
    assert [arm.points[0]["train.lr"] for arm in arms_of(study, store).values()] == [1e-3, 0.05]
    chosen = {"train.lr": 0.03, "train.momentum": 0.25}
    monkeypatch.setattr(phase, "winners", lambda arms, store: {"baseline": {"departures": chosen}})
    study = replace(study, search=toy.asha(scope="baseline"))
    found = phase.tuned(study, arms_of(study, store), store).chosen
    assert list(found.values()) == [chosen, {"train.momentum": 0.25}]


@pytest.mark.parametrize("scope", ["each_variant", "baseline"])
def test_table_one_can_be_searched_as_declared(tmp_path: Path, capsys, scope: str) -> None:
    """At full size, where the AST sets phases and batch sizes that the spaces speak of."""
    study = runpy.run_path(str(REPOSITORY / "studies" / "source_ablation.py"))["study"]
    run(study, ["--dry-run", "--search", scope, "--store", str(tmp_path)])
    arms = "28 arms" if scope == "each_variant" else "1 arm"
    assert f"{arms} of 40 trials each" in capsys.readouterr().err


def test_a_metric_that_is_not_reported_stops_the_search_at_once(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit):
        run(toy.study(toy.asha(metric="valid_accuracy", pruner=None)), ["--in-process", "--store", str(tmp_path)])
    assert "stage 'toy_train' reports no 'valid_accuracy'; it reports valid_loss" in capsys.readouterr().err
    assert len(list(tmp_path.glob("toy_train/*/manifest.json"))) == 1


# ---- as its user runs it


def test_a_study_without_factors_compares_as_given_with_as_tuned(tmp_path: Path, capsys) -> None:
    flags = ["--in-process", "--store", str(tmp_path), "--set", "search.trials=5"]
    run(toy.study(toy.asha()), [*flags, "--dry-run"])
    assert "1 arm of 5 trials each, then the best 2 with 1 more seeds; 0 in the store" in capsys.readouterr().err
    run(toy.study(toy.asha()), flags)
    (folder,) = (tmp_path / "studies").iterdir()
    study = json.loads((folder / "study.json").read_text())
    assert [variant["variant"] for variant in study["variants"]] == ["as given", "tuned"]
    assert study["declaration"]["reference"] == "as given"
    before = (folder / "search.csv").read_bytes()
    manifests = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/*/manifest.json")}
    capsys.readouterr()
    run(toy.study(toy.asha()), flags)
    assert "0 stages executed" in capsys.readouterr().err
    assert (folder / "search.csv").read_bytes() == before
    assert {path: path.stat().st_mtime_ns for path in manifests} == manifests
    assert {trial["seed"] for trial in study["trials"]} == {0, 1}


def test_values_of_one_search_serve_every_variant_that_has_them(tmp_path: Path) -> None:
    baseline = toy.Toy(other=toy.Training())
    factors = (Factor("part", {"both": {}, "other alone": {"train": None}, "kind b": {"kind": "b"}}),)
    run(
        toy.study(toy.asha(trials=4), factors, baseline=baseline),
        ["--in-process", "--store", str(tmp_path), "--search", "baseline"],
    )
    (folder,) = (tmp_path / "studies").iterdir()
    chosen = json.loads((folder / "search.json").read_text())["searches"][0]["departures"]
    recipes = {v["variant"]: v["recipe"] for v in json.loads((folder / "study.json").read_text())["variants"]}
    assert recipes["both"]["train.lr"] == recipes["kind b"]["train.lr"] == chosen["train.lr"]
    assert "train.lr" not in recipes["other alone"]
    report = (folder / "report.md").read_text()
    assert "refused" not in report


def test_a_database_instead_of_journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, other = Store(tmp_path / "a"), Store(tmp_path / "b")
    (arm,) = carry_out(toy.study(toy.asha()), store).values()
    monkeypatch.setenv("MSS_SEARCH_STORAGE", f"sqlite:///{tmp_path / 'optuna.db'}")
    carry_out(toy.study(toy.asha()), other)
    assert rows_of(arm, other) == rows_of(arm, store) and winner_of(arm, other) == winner_of(arm, store)
    assert len(opened(arm, other).trials) == len(opened(arm, store).trials) == 12


@pytest.mark.slow
@pytest.mark.ray
def test_ray_carries_out_the_same_search_also_where_a_worker_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    (arm,) = carry_out(toy.study(toy.asha()), here).values()
    order = tmp_path / "die"
    order.touch()
    monkeypatch.setenv("TOY_DIES", str(order))
    phase.carry_out(arms_of(toy.study(toy.asha()), there), there, False, Context(), lambda text: None)
    assert not order.exists()
    assert rows_of(arm, there) == rows_of(arm, here)
    assert rungs_of(arm, there) == rungs_of(arm, here)


@pytest.mark.slow
@pytest.mark.ray
def test_on_ray_arms_that_crash_get_their_budget_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "local")
    left = tmp_path / "left"
    left.write_text("2")
    monkeypatch.setenv("TOY_CRASHES", f"b:{left}")
    store = Store(tmp_path / "store")
    factors = (toy.Factor("part", {"a": {}, "b": {"kind": "b"}}),)
    arms = arms_of(
        toy.study(toy.asha(trials=4, concurrency=3, reruns=0, scope="each_variant", pruner=None), factors), store
    )
    phase.carry_out(arms, store, False, Context(), lambda text: None)
    states = {variant: sorted(row["state"] for row in rows_of(arm, store)) for variant, arm in arms.items()}
    assert states == {"a": ["complete"] * 4, "b": ["complete"] * 4 + ["failed"] * 2}


# ---- the test split


@pytest.mark.slow
def test_no_test_item_can_be_read_before_the_search_has_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real training stages on a set whose test items raise when listed or read, and hold noise, until winner.json."""
    from mss_core.data.packed import Packed
    from mss_core.recipe import override
    from mss_core.study import Study
    from mss_core.systems.msspt import msspt_cnn, smoke
    from search_spaces.tail import tail
    from tests.conftest import tiny_settings

    store = tmp_path / "store"
    opened = Packed.__init__
    seen: list[tuple[str, bool]] = []

    def chosen() -> bool:
        return bool(list(store.glob("search/*/winner.json")))

    def guard(split: str) -> None:
        seen.append((split, chosen()))
        if split == "test":
            assert chosen(), "the test split was read before the search had chosen"

    def open_poisoned(self: Packed, directory: Path) -> None:
        opened(self, directory)
        if not chosen():
            self._samples = {row: np.array(samples) for row, samples in self._samples.items()}
            for item in (item for item in self.items if item.split == "test"):
                for samples in self._samples.values():
                    samples[item.start : item.start + item.length] = 32767

    split, read, truth = Packed.split, Packed.read, Packed.truth
    monkeypatch.setattr(Packed, "__init__", open_poisoned)
    monkeypatch.setattr(Packed, "split", lambda self, name: (guard(name), split(self, name))[1])
    monkeypatch.setattr(Packed, "read", lambda self, item, *a, **k: (guard(item.split), read(self, item, *a, **k))[1])
    monkeypatch.setattr(
        Packed, "truth", lambda self, items: ([guard(item.split) for item in items], truth(self, items))[1]
    )
    baseline = override(msspt_cnn(), {"pretrain": None, "finetune": None})
    study = Study(
        name="sealed",
        question="Is it?",
        baseline=baseline,
        factors=[],
        reference={},
        metric="roc_auc",
        smoke=lambda recipe: override(
            smoke(recipe),
            {
                path: value
                for path, value in tiny_settings().items()
                if path.startswith(("tail.", "tagging.", "train_tail.phases"))
            },
        ),
        seeded=("train_tail.seed",),
        seeds=range(1),
        search=Search({"train_tail": tail}, pruner=Asha(1, 2), smoke_trials=3),
    )
    run(study, ["--smoke", "--in-process", "--store", str(store)])
    before = {name for name, done in seen if not done}
    assert before == {"train", "valid"}
    assert ("test", True) in seen
    scores = (store / "studies" / "sealed-smoke" / "scores.csv").read_text()
    assert "as given" in scores and "tuned" in scores


def test_a_training_that_reads_test_items_fails_in_a_search(tmp_path: Path) -> None:
    from mss_core.data.batches import places
    from mss_core.data.packed import Packed, PackedItem
    from mss_core.seal import sealed

    item = PackedItem("a", "test", 0, 4, (0.5,))
    packed = Packed.__new__(Packed)
    packed.items, packed.rows, packed.labels = [item], ("mixture",), ()
    packed._samples = {"mixture": np.ones(4, np.int16)}
    with sealed("test"):
        with pytest.raises(PermissionError, match="the test split is sealed until the search has chosen"):
            packed.split("test")
        with pytest.raises(PermissionError, match="the test split is sealed"):
            packed.read(item)
        with pytest.raises(PermissionError, match="the test split is sealed"):
            packed.truth([item])
        with pytest.raises(PermissionError, match="the test split is sealed"):
            places([(item, 0)], 1, 4)
        assert packed.split("valid") == []
    assert packed.split("test") == [item] and packed.read(item).tolist() == [0.5] * 4
