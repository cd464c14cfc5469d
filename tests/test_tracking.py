"""MLflow as a view: found again by tags, no duplicates, no orphans, curves thinned."""

from __future__ import annotations

import pytest
from mlflow.tracking import MlflowClient

from mss_core.store import Store
from mss_core.study.plan import make_plan
from mss_core.study.tracking import POINTS, Tracker, allowed, curve_points, database, ui
from tests.test_designs import STUDY, bind

ENVIRONMENT = {"commit": "c0ffee"}


@pytest.fixture
def plan(tmp_path):
    return make_plan(STUDY.trials([0], True, {}, bind), Store(tmp_path))


def statuses(client: MlflowClient) -> dict[str, str]:
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments)
    assert len({run.info.run_name for run in runs}) == len(runs)
    return {run.info.run_name: run.info.status for run in runs}


def test_runs_are_found_again_and_orphans_closed(tmp_path, plan) -> None:
    first = Tracker(None, plan_store := Store(tmp_path), "title")
    first.begin(STUDY, plan, ENVIRONMENT)
    client = MlflowClient(database(plan_store.root))
    assert len(statuses(client)) == 1 + len(plan.trials) and set(statuses(client).values()) == {"RUNNING"}
    # The driver dies here. The next one asks for fewer trials: what is left over will never finish.
    fewer = make_plan([t for t in plan.trials if t.variant.levels["clip score"] == "mean"], plan_store)
    second = Tracker(None, plan_store, "title")
    second.begin(STUDY, fewer, ENVIRONMENT)
    assert second.runs.items() <= first.runs.items()
    found = statuses(client)
    assert {name for name, status in found.items() if status == "KILLED"} == {
        t.name for t in plan.trials if t.variant.levels["clip score"] == "max"}
    second.close(interrupted=True)
    assert set(statuses(client).values()) == {"KILLED"}


def test_a_changed_recipe_is_another_run(tmp_path, plan) -> None:
    store = Store(tmp_path)
    first, second = Tracker(None, store, "title"), Tracker(None, store, "title")
    first.begin(STUDY, plan, ENVIRONMENT)
    changed = make_plan(STUDY.trials([0], True, {"train_tail.batch": 8}, bind), store)
    second.begin(STUDY, changed, ENVIRONMENT)
    assert second.parent == first.parent
    assert not set(first.runs.values()) & set(second.runs.values())


def test_the_page_opens_with_the_study_s_columns(tmp_path, plan) -> None:
    tracker = Tracker(None, Store(tmp_path), "title")
    tracker.begin(STUDY, plan, ENVIRONMENT)
    tags = tracker.client.get_experiment(tracker.experiment.experiment_id).tags
    assert "params.`source`" in tags["mlflow.sharedViewState.study"]
    assert "metrics.`roc_auc`" in tags["mlflow.sharedViewState.study"]


def test_names_that_mlflow_refuses_are_spelled_otherwise(tmp_path) -> None:
    assert allowed("pr_auc/R&B (drum's), x+y") == "pr_auc/R_B _drum_s__ x_y"
    client = MlflowClient(database(tmp_path))
    run = client.create_run(client.create_experiment("x"))
    client.log_metric(run.info.run_id, allowed("R&B, (drum's)"), 1.0)
    assert client.get_run(run.info.run_id).data.metrics == {"R_B_ _drum_s_": 1.0}


@pytest.mark.parametrize("rows", [0, 1, 7, POINTS, POINTS + 1, 12_345])
def test_curves_are_thinned_evenly_and_keep_both_ends(rows: int) -> None:
    history = [{"step": 10 * i, "total": 1, "loss": float(i)} for i in range(rows)]
    points = curve_points("pretrain", history)
    assert len(points) == min(rows, POINTS)
    assert {point.key for point in points} <= {"pretrain/loss"}
    steps = [point.step for point in points]
    assert steps == sorted(set(steps))
    if rows:
        assert steps[0] == 0 and steps[-1] == 10 * (rows - 1)
        gaps = {b - a for a, b in zip(steps, steps[1:], strict=False)}
        assert max(gaps, default=0) - min(gaps, default=0) <= 10


def test_ui_says_what_is_missing(tmp_path) -> None:
    with pytest.raises(ValueError, match="holds no mlflow.db: run a study first"):
        ui(tmp_path, 1)
