"""The price of a plan: against hand computation, bounds of any schedule, and what a run then takes."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats
from sklearn.metrics import roc_auc_score

from mss_core.graph import Stage
from mss_core.store import Store
from mss_core.study import run
from mss_core.study.dry_run.cost import OWN, START, WARM, makespan, price
from mss_core.study.dry_run.power import reach
from mss_core.study.dry_run.show import _reach, brief, spans
from mss_core.study.dry_run.timings import estimates, timings
from mss_core.study.plan import Plan, make_plan
from mss_core.training import Phase
from reports import design
from reports.contract import least_p
from tests.conftest import REPOSITORY, tiny_flags
from tests.reports.fixture import delong
from tests.study.test_designs import STUDY, bind


def step(*, number: int, inputs: tuple, out, ctx) -> None: ...


def graph(edges: list[list[int]]) -> Plan:
    """Stage i reads the stages ``edges[i]``, all of which come before it."""
    stages: list[Stage] = []
    for number, upstream in enumerate(edges):
        stages.append(Stage(step, number=number, inputs=tuple(stages[i] for i in upstream)))
    keys = [stage.key for stage in stages]
    return Plan([], dict(zip(keys, stages, strict=True)), set(), keys, {})


def taken(plan: Plan, seconds: list[float], cpus: int) -> float:
    """Makespan on so many CPUs, without the seconds that starting takes."""
    durations = {key: value - OWN for key, value in zip(plan.needed, seconds, strict=True)}
    return makespan(plan, durations, dict.fromkeys(plan.needed, {"CPU": 1.0}), {"CPU": float(cpus)}) - START


@pytest.mark.parametrize(
    ("edges", "seconds", "cpus", "expected"),
    [
        ([[], [0], [1]], [3, 4, 5], 2, 12),  # a chain gains nothing
        ([[], [], []], [3, 4, 5], 3, 5),
        ([[], [], []], [3, 4, 5], 1, 12),
        ([[], [], [0], [1]], [2, 9, 3, 1], 2, 10),  # no barrier: stage 2 starts while stage 1 runs
        ([[], [0], [0], [1, 2]], [1, 2, 5, 1], 2, 7),
    ],
)
def test_wall_clock_by_hand(edges, seconds, cpus, expected) -> None:
    assert taken(graph(edges), seconds, cpus) == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_wall_clock_lies_within_the_bounds_of_every_list_schedule(data) -> None:
    count = data.draw(st.integers(1, 12))
    edges = [sorted(data.draw(st.sets(st.integers(0, i - 1), max_size=2))) if i else [] for i in range(count)]
    seconds = [data.draw(st.floats(OWN, 50)) for _ in range(count)]
    cpus = data.draw(st.integers(1, 4))
    ends: list[float] = []
    for number, upstream in enumerate(edges):
        ends.append(seconds[number] + max((ends[i] for i in upstream), default=0.0))
    critical, work = max(ends), sum(seconds) / cpus
    found = taken(graph(edges), seconds, cpus)
    assert max(critical, work) - 1e-6 <= found <= work + critical * (1 - 1 / cpus) + 1e-6  # [Graham 1969]


def test_a_stage_that_never_fits_is_named() -> None:
    plan = graph([[]])
    with pytest.raises(ValueError, match="stage 'step' asks for"):
        makespan(
            plan, dict.fromkeys(plan.needed, 1.0), dict.fromkeys(plan.needed, {"GPU": 1.0}), {"CPU": 1.0, "GPU": 0.0}
        )


SECONDS = {
    "prepare_tracks": 2.0,
    "prepare_clips": 2.0,
    "pretrain": 100.0,
    "score_separator": 10.0,
    "train_tail": 40.0,
    "finetune": 60.0,
    "infer": 5.0,
    "evaluate": 1.0,
}


def allowed(stage: Stage) -> int | None:
    """How many steps a training may take; None for what is none."""
    train = stage.arguments.get("train")
    return None if train is None else train.epochs() * (train.epoch_steps or 10)


@pytest.fixture
def finished(tmp_path) -> tuple[Store, Plan]:
    """One seed of the example study, finished: half the steps its trainings were allowed, at known seconds."""
    store = Store(tmp_path)
    plan = make_plan(STUDY.trials([0], True, {}, bind), store)
    for stage in plan.stages.values():
        out = store.begin(stage)
        (out / "weights.pt").write_bytes(bytes(1000))
        total = allowed(stage)
        if total is not None:
            (out / "history.jsonl").write_text(json.dumps({"step": total // 2, "total": total}) + "\n")
        store.commit(stage, {"seconds": SECONDS[stage.name], "device": "cpu", "device_name": "cpu"})
    return store, plan


def priced(store: Store, trials, cpus: int = 2, gpus: int = 0):
    plan = make_plan(trials, store)
    names = {stage.name for stage in plan.stages.values()}
    return plan, price(plan, estimates(plan, timings(store, names), lambda name: "cpu"), cpus, gpus)


def test_another_seed_costs_what_the_first_one_took(finished) -> None:
    store, first = finished
    plan, cost = priced(store, STUDY.trials([0, 1], True, {}, bind))
    new = [plan.stages[key] for key in plan.needed]
    assert len(new) == first.counts()["infer"]["distinct"] * 2 + 1 + 2  # infer and evaluate, a tail, two joint models
    # The schedule of these trainings has no patience: all the steps are planned of which half were made.
    expected = 0.0
    for stage in new:
        total = allowed(stage)
        expected += SECONDS[stage.name] * (1 if total is None else total / (total // 2))
    assert cost.cpu_hours * 3600 == pytest.approx(expected)
    assert cost.unknown == {} and {tuple(row["basis"]) for row in cost.by_stage.values()} == {("store",)}
    assert cost.bytes >= 1000 * len(new)


def test_a_longer_training_is_priced_by_its_steps_and_a_wider_model_is_only_like_it(finished) -> None:
    store, _ = finished
    _, once = priced(store, STUDY.trials([1], True, {"train_tail.phases.0.epochs": 10}, bind))
    _, thrice = priced(store, STUDY.trials([1], True, {"train_tail.phases.0.epochs": 30}, bind))
    assert thrice.by_stage["train_tail"]["seconds"] == pytest.approx(3 * once.by_stage["train_tail"]["seconds"])
    _, wider = priced(store, STUDY.trials([1], True, {"tail.dense": 128}, bind))
    assert wider.by_stage["train_tail"]["basis"] == ["near"]


def test_the_naive_study_trains_every_stage_of_every_trial(finished) -> None:
    store, _ = finished
    trials = STUDY.trials([0, 1], True, {}, bind)
    plan, cost = priced(store, trials)
    assert cost.naive["stages"] == sum(row["calls"] for row in plan.counts().values())
    assert cost.naive["cpu_hours"] > 2 * cost.cpu_hours
    on_gpu = priced(store, trials, gpus=2)[1]
    assert 0 < on_gpu.gpu_hours < on_gpu.naive["gpu_hours"] and on_gpu.wall_seconds >= 3600 * on_gpu.gpu_hours / 2


def test_a_store_without_timings_says_so(tmp_path) -> None:
    plan, cost = priced(Store(tmp_path), STUDY.trials([0], True, {}, bind))
    assert sum(cost.unknown.values()) == len(plan.needed) and cost.cpu_hours == 0


def test_what_a_study_can_find_is_the_power_of_its_test(tmp_path) -> None:
    found = reach(STUDY, Store(tmp_path), 5, design)
    assert (found.family, found.level) == (5, pytest.approx(0.01)) and found.basis.startswith("assumed")
    rates = found.plan.calibration
    assert rates is not None and rates.family == 5 and rates.false_positives < 0.065
    assert rates.power == pytest.approx(0.8, abs=0.04)  # simulated where 80 % were promised
    assert found.warning("welch") == ""


def folder_of(store: Path, title: str) -> Path:
    """The folder of an earlier run of the example."""
    folder = store / "studies" / title
    folder.mkdir(parents=True)
    told = {"name": "example", "smoke": title.endswith("-smoke"), "rehearsal": False}
    (folder / "study.json").write_text(json.dumps(told), encoding="utf-8")
    return folder


def test_the_spread_of_earlier_runs_is_used(tmp_path) -> None:
    for title, factor in (("example-smoke", 30), ("example", 1)):  # a smoke run's spread says nothing
        folder = folder_of(tmp_path, title)
        (folder / "scores.csv").write_text(
            "variant,seed,target,metric,score\n"
            + "".join(
                f"{variant},{seed},macro,roc_auc,{factor * score}\n"
                for variant, scores in (("a", (0.1, 0.3)), ("b", (0.5, 0.9)))
                for seed, score in enumerate(scores)
            )
        )
    found = reach(STUDY, Store(tmp_path), 3, design)
    assert found.sd == pytest.approx(((0.02 + 0.08) / 2) ** 0.5)
    assert found.basis == "example, 2 degrees of freedom"


def test_power_counts_tracks(tmp_path) -> None:
    """Seeds alone promise what variants that differ by track do not keep."""
    rng = np.random.default_rng(0)
    folder = folder_of(tmp_path, "example")
    rows = [
        f"{variant},{seed},t{track},macro,roc_auc,{cells[track] + rng.normal(0, 0.05)}"
        for variant in "abc"
        for cells in [rng.normal(0, 1, 10)]
        for seed in range(3)
        for track in range(10)
    ]
    (folder / "scores.csv").write_text("\n".join(["variant,seed,track,target,metric,score", *rows]))
    found = reach(replace(STUDY, metric="roc_auc"), Store(tmp_path), 5, design)
    assert found.tracks == 10 and found.sd < 0.1
    assert found.detectable > 1.0  # the SD of a difference over 10 tracks alone is sqrt(2 / 10)
    (line, *_) = _reach(found, replace(STUDY, metric="roc_auc"))
    assert "no difference of roc_auc is found with 80 % power" in line


def test_power_counts_clips(tmp_path) -> None:
    """An AUC of 30 clips: however many seeds, the clips' sampling error is left, as DeLong has it."""
    rng = np.random.default_rng(1)
    folder, truth = folder_of(tmp_path, "example"), np.arange(30) % 2
    rows = [
        (name, seed, f"c{clip}", "tag", truth[clip], tastes[clip] + rng.normal(truth[clip], 0.05))
        for name in "ab"
        for tastes in [rng.normal(0, 1, 30)]
        for seed in range(3)
        for clip in range(30)
    ]
    table = pd.DataFrame(rows, columns=["variant", "seed", "item", "target", "truth", "score"])
    table.to_parquet(folder / "predictions.parquet", index=False)
    runs = table.groupby(["variant", "seed"])
    lines = [f"{name},{seed},macro,roc_auc,{roc_auc_score(run.truth, run.score)}" for (name, seed), run in runs]
    (folder / "scores.csv").write_text("\n".join(["variant,seed,target,metric,score", *lines]))
    few, many = (reach(replace(STUDY, metric="roc_auc"), Store(tmp_path), seeds, design) for seeds in (5, 500))
    a, b = (table[(table["variant"] == name) & (table["seed"] == 0)]["score"].to_numpy() for name in "ab")
    assert few.tracks == 30 and few.sd < 0.05
    # One contrast's standard error with seeds without number is DeLong's of two models, and z(.975) + z(.8) is 2.8.
    level = scipy_stats.norm.isf(few.level / 2) + scipy_stats.norm.isf(0.2)
    assert many.detectable == pytest.approx(level * delong(truth, a, b)[1], rel=0.15)


@pytest.mark.parametrize(
    ("test", "seeds", "least"),
    [("wilcoxon", 5, 0.0625), ("wilcoxon", 3, 0.25), ("permutation", 3, 0.1), ("welch", 2, 0.0), ("", 2, 0.0)],
)
def test_the_least_p_is_scipy_s(test: str, seeds: int, least: float) -> None:
    from scipy import stats

    assert least_p(test, seeds) == pytest.approx(least)
    low, high = [i / 100 for i in range(seeds)], [9 + i / 70 for i in range(seeds)]
    if test == "wilcoxon":
        assert stats.wilcoxon(low, high, method="exact").pvalue == pytest.approx(least)
    if test == "permutation":
        exact = stats.permutation_test((low, high), lambda a, b: sum(a) - sum(b), n_resamples=10_000)
        assert exact.pvalue == pytest.approx(least)


def test_a_dry_run_warns_where_nothing_can_become_significant(tmp_path, capsys) -> None:
    hopeless = replace(STUDY, test="wilcoxon", seeds=range(5), name="hopeless")
    run(hopeless, ["--dry-run", "--store", str(tmp_path), "--cpus", "8", "--gpus", "2"])
    said = capsys.readouterr().out
    assert "WARNING: the declared test (wilcoxon) with 5 seeds gives p >= 0.0625, never below 0.01" in said
    assert "data set 'musdb18' is not on this machine" in said and "cost      not known" in said
    run(hopeless, ["--dry-run", "--json", "--store", str(tmp_path), "--cpus", "8", "--gpus", "2"])
    told = json.loads(capsys.readouterr().out)
    assert told["power"]["smallest_p"] == 0.0625 and told["power"]["warning"].startswith("WARNING")
    assert told["price"]["gpus"] == 2 and told["price"]["unknown"]["pretrain"] == 2 and set(told["absent_data"])


def test_a_dry_run_says_each_level_once_and_in_lines_that_can_be_read(tmp_path, capsys) -> None:
    study = runpy.run_path(str(REPOSITORY / "studies" / "source_ablation.py"))["study"]
    run(study, ["--dry-run", "--store", str(tmp_path)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines].count(["random", "init", "pretrain=None"]) == 1
    assert ["backend", "CNN", "baseline"] in [line.split() for line in lines]
    assert "  1 variant, seeds 0-4, 100000-100004: placebo" in lines
    (start,) = (number for number, line in enumerate(lines) if line.startswith("  29 variants, seeds 0-4: "))
    listed = " ".join(line.strip() for line in lines[start : start + 6])
    assert all(
        f"{backend}, {task}, {source}" in listed
        for backend in ("CNN", "AST")
        for task in ("tags", "genre")
        for source in study.factors[2].levels
    )
    assert max(len(line) for line in lines[start - 18 :]) <= 120


def test_values_of_a_recipe_in_few_words() -> None:
    assert brief((Phase("sgd", epochs=2, plateau=3), None)) == "(Phase(optimizer=sgd, epochs=2, plateau=3), None)"
    assert brief({"name": "unet", "sources": ("vocals",)}) == "unet(sources=(vocals,))" and brief({"a": 1}) == "{a=1}"
    assert [spans(seeds) for seeds in ([0, 1, 2], [3], [1, 5, 7])] == ["seeds 0-2", "seed 3", "seeds 1, 5, 7"]
    assert spans([0, 1, 2, 5, 6, 8, 9, 10]) == "seeds 0-2, 5, 6, 8-10"


@pytest.mark.parametrize(("asked", "each"), [({}, OWN), ({"warm": 1}, WARM)])
def test_a_process_of_its_own_costs_its_start(monkeypatch, asked: dict[str, float], each: float) -> None:
    monkeypatch.setattr(sys.modules[__name__], "STAGE_RESOURCES", {"step": asked}, raising=False)
    plan = graph([[], [0]])
    wall = makespan(plan, dict.fromkeys(plan.needed, 10.0), dict.fromkeys(plan.needed, {"CPU": 1.0}), {"CPU": 1.0})
    assert wall == pytest.approx(START + 2 * (10 + each))


@pytest.mark.slow
@pytest.mark.parametrize("seconds", ["0.01", "30"])
def test_a_probe_prices_every_kind_and_leaves_only_data(tmp_path, capsys, seconds: str) -> None:
    """Stopped at once, and run to the end: each stage gets a price, and nothing trained stays in the store."""
    study = runpy.run_path(str(REPOSITORY / "studies" / "source_ablation.py"))["study"]
    flags = tiny_flags(tmp_path, "--dry-run", "--json", "--cpus", "2", "--gpus", "0")
    run(study, [*flags, "--probe", seconds])
    told = json.loads(capsys.readouterr().out)
    assert told["price"]["unknown"] == {} and told["price"]["wall_seconds"] > START
    assert all(row["seconds"] > 0 and row["disk_bytes"] > 0 for row in told["price"]["stages"].values())
    assert {path.parts[-3] for path in tmp_path.glob("*/*/manifest.json")} == {"prepare_tracks", "prepare_clips"}
    assert told["totals"]["done"] == 2 and not list(tmp_path.glob("probe-*"))
