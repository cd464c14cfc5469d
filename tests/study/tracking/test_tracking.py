"""MLflow as a view: found again by tags, no duplicates, no orphans, curves thinned."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import replace

import pytest
from mlflow.tracking import MlflowClient

from mss_core.graph import plain, walk
from mss_core.recipe import flatten
from mss_core.store import Store
from mss_core.store.drivers import Driver, living
from mss_core.study import Factor
from mss_core.study.plan import make_plan
from mss_core.study.results import collect
from mss_core.study.tracking import tracker as tracking
from mss_core.study.tracking.__main__ import main, ui
from mss_core.study.tracking.mirror import database
from mss_core.study.tracking.moved import settle
from mss_core.study.tracking.points import POINTS, allowed, curve_points
from mss_core.study.tracking.tracker import Tracker
from mss_core.study.view import of_folder, of_plan
from tests.study.test_designs import STUDY, bind

ENVIRONMENT = {"commit": "c0ffee"}


@pytest.fixture(scope="module")
def empty_database(tmp_path_factory):
    """MLflow's tables, made once: that takes seconds."""
    folder = tmp_path_factory.mktemp("empty")
    MlflowClient(database(folder)).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture(autouse=True)
def tables(tmp_path, empty_database):
    for name in ("mlflow.db", "other.db", "server.db", "store/mlflow.db"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(empty_database, tmp_path / name)


@pytest.fixture
def plan(tmp_path):
    return make_plan(STUDY.trials([0], True, {}, bind), Store(tmp_path))


def view(plan):
    return of_plan(STUDY, "title", plan, ENVIRONMENT)


def track(plan, store: Store, driver: str = "me", uri: str | None = None, said: list[str] | None = None) -> Tracker:
    tracker = Tracker(uri, store, "title", driver, (said if said is not None else []).append)
    tracker.begin(view(plan))
    return tracker


def statuses(client: MlflowClient) -> dict[str, str]:
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments)
    assert len({run.info.run_name for run in runs}) == len(runs)
    return {run.info.run_name: run.info.status for run in runs}


def points(client: MlflowClient) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """run -> metric -> (step, value) of every run of every experiment."""
    runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return {
        run.info.run_name: {
            name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        }
        for run in runs
    }


def row(step: int) -> str:
    return json.dumps({"step": step, "total": 9, "train_loss": 1 / step}) + "\n"


def commit(store: Store, stage, rows: int = 3) -> None:
    """An artefact as a stage leaves it."""
    out = store.begin(stage)
    (out / "history.jsonl").write_text("".join(row(step) for step in range(1, rows + 1)))
    (out / "scores.csv").write_text("track,target,metric,aggregation,score\n,macro,roc_auc,,0.75\n")
    store.commit(stage, {"seconds": 1.0, "device": "cpu", "device_name": "cpu"})


def study_folder(plan, store: Store):
    for stage in plan.stages.values():
        commit(store, stage)
    return collect(STUDY, "title", plan, store, STUDY.declaration([0], True, {}), True, {}, "again", ENVIRONMENT)


def test_studies_started_at_once_in_a_new_store_share_its_database(tmp_path) -> None:
    """MLflow makes the tables of a new database without a lock that other processes take."""
    script = """
import pathlib, sys, time
from mss_core.store import Store
from mss_core.study.tracking.tracker import Tracker
folder, title = pathlib.Path(sys.argv[1]), sys.argv[2]
(folder / title).touch()
while len(list(folder.glob("?"))) < 2:
    time.sleep(0.001)
print(Tracker(None, Store(folder / "new"), title).mirror.experiment.name)
"""
    command = [sys.executable, "-c", script, str(tmp_path)]
    both = [subprocess.Popen([*command, title], stdout=subprocess.PIPE, text=True) for title in "ab"]
    assert [process.communicate()[0].split() for process in both] == [["a"], ["b"]]


def test_runs_are_found_again_and_orphans_closed(tmp_path, plan) -> None:
    first = track(plan, plan_store := Store(tmp_path), "dead")
    assert first.flush()
    client = MlflowClient(database(plan_store.root))
    assert len(statuses(client)) == 1 + len(plan.trials) and set(statuses(client).values()) == {"RUNNING"}
    first._stop.set()
    # The driver dies here. The next one asks for fewer trials: what is left over will never finish.
    fewer = make_plan([t for t in plan.trials if t.variant.levels["clip score"] == "mean"], plan_store)
    second = track(fewer, plan_store)
    assert second.flush() and second.mirror.runs.items() <= first.mirror.runs.items()
    found = statuses(client)
    assert {name for name, status in found.items() if status == "KILLED"} == {
        t.name for t in plan.trials if t.variant.levels["clip score"] == "max"
    }
    second.close(interrupted=True)
    assert set(statuses(client).values()) == {"KILLED"}


def test_two_drivers_on_one_store_leave_each_other_s_runs_alone(tmp_path, plan) -> None:
    store, other = Store(tmp_path), Driver(tmp_path)
    other.start()
    theirs = track(plan, store, other.name)
    assert theirs.flush()
    more = make_plan(STUDY.trials([1], True, {}, bind), store)
    ours = track(more, store)
    assert ours.flush()
    client = MlflowClient(database(tmp_path))
    assert len(statuses(client)) == 1 + 2 * len(plan.trials) and set(statuses(client).values()) == {"RUNNING"}
    ours.close(interrupted=True)  # ours are KILLED, theirs and the parent they opened are not
    found = statuses(client)
    assert {name for name, status in found.items() if status == "KILLED"} == {t.name for t in more.trials}
    theirs.close(interrupted=False)
    other.stop()
    assert living(tmp_path) == set()


def test_curves_show_while_a_stage_trains_and_are_not_repeated(tmp_path, plan) -> None:
    store = Store(tmp_path)
    stage = next(stage for stage in plan.stages.values() if stage.name == "train_tail")
    tracker = track(plan, store)
    (tmp_path / stage.name).mkdir()
    with store.claim(stage) as claim, open(store.begin(stage, claim) / "history.jsonl", "w") as file:
        file.write(row(1))
        file.flush()
        assert tracker.flush()
        client = MlflowClient(database(tmp_path))
        shown = {run: metrics for run, metrics in points(client).items() if metrics}
        assert shown and all(metrics == {"train_tail/train_loss": [(1, 1.0)]} for metrics in shown.values())
        file.write(row(2) + row(3))
    assert tracker.flush()
    tracker.close(interrupted=False)
    commit(store, stage)
    again = track(plan, store)  # another driver knows nothing of what the first one sent
    assert again.flush()
    again.close(interrupted=False)
    after = {run: metrics["train_tail/train_loss"] for run, metrics in points(client).items() if metrics}
    assert len(after) > 1 and all(curve == [(1, 1.0), (2, 0.5), (3, 1 / 3)] for curve in after.values())


def test_rebuilt_from_the_store_it_is_what_the_study_showed(tmp_path, plan) -> None:
    store = Store(tmp_path)
    tracker = track(plan, store)
    folder = study_folder(plan, store)
    tracker.finish(folder, {})
    tracker.close(interrupted=False)
    client = MlflowClient(database(tmp_path))
    told, status = points(client), statuses(client)
    assert set(status.values()) == {"FINISHED"} and all(told[t.name]["roc_auc"] == [(0, 0.75)] for t in plan.trials)
    assert main(["rebuild", "--store", str(tmp_path)]) == 0  # nothing is written twice
    assert points(client) == told and statuses(client) == status
    uri = f"sqlite:///{tmp_path / 'other.db'}"
    assert main(["rebuild", "--store", str(tmp_path), "--tracking-uri", uri]) == 0
    assert points(MlflowClient(uri)) == told and statuses(MlflowClient(uri)) == status

    def facts(client: MlflowClient) -> dict:
        runs = client.search_runs([e.experiment_id for e in client.search_experiments()])
        names = {run.info.run_id: run.info.run_name for run in runs}
        return {
            run.info.run_name: (
                run.data.params,
                {tag: names.get(value, value) for tag, value in run.data.tags.items() if tag != "mss.driver"},
            )
            for run in runs
        }

    assert facts(MlflowClient(uri)) == facts(client)


def test_a_study_that_is_whole_there_is_not_searched_through_again(tmp_path, plan, monkeypatch) -> None:
    """500 finished trials took seconds to read back; a run that somebody deleted is written again by `rebuild`."""
    store = Store(tmp_path)
    first, folder = track(plan, store), study_folder(plan, store)
    first.finish(folder, {})
    first.close(interrupted=False)
    client = MlflowClient(database(tmp_path))
    told = points(client)
    seen: list[str] = []
    search = MlflowClient.search_runs

    def noted(*args, **options):
        page = search(*args, **options)
        seen.extend(run.info.run_name for run in page)
        return page

    monkeypatch.setattr(MlflowClient, "search_runs", noted)
    second = track(plan, store)
    second.finish(folder, {})
    second.close(interrupted=False)
    assert seen == ["title"]
    monkeypatch.undo()
    assert points(client) == told and set(statuses(client).values()) == {"FINISHED"}
    client.delete_run(first.mirror.runs[plan.trials[0].name])
    assert main(["rebuild", "--store", str(tmp_path)]) == 0
    assert points(client) == told
    more = make_plan(STUDY.trials([0, 1], True, {}, bind), store)  # other trials: all are looked at
    third = track(more, store)
    assert third.flush() and len(statuses(client)) == 1 + len(more.trials)
    third.close(interrupted=True)


def test_the_parent_run_tells_the_result(tmp_path, plan) -> None:
    """The question alone stood there: whoever opened MLflow had to look for the report."""
    store = Store(tmp_path)
    first, folder = track(plan, store), study_folder(plan, store)
    (folder / "report.md").write_text(
        f"# title\n\n{STUDY.question}\n\nMax differs from mean by 2 points.\n\n- a caution\n\n## Result\n\n"
        "In points.\n\n| variant | p |\n|---|---|\n| max | .01 |\n\nmore\n"
    )

    def tell(p: float) -> None:
        contrast = {"metric": "roc_auc", "target": "", "variant": "max", "difference": 0.02, "ci": [0.01, None]}
        other = contrast | {"metric": "pr_auc", "difference": 9.0, "p_corrected": 0.5}
        (folder / "report.json").write_text(json.dumps({"contrasts": [contrast | {"p_corrected": p}, other]}))

    def told() -> tuple[dict, dict]:
        (run,) = (
            run for run in client.search_runs([first.mirror.experiment.experiment_id]) if run.info.run_name == "title"
        )
        return run.data.metrics, run.data.tags

    client = MlflowClient(database(tmp_path))
    tell(0.04)
    first.finish(folder, {})
    first.close(interrupted=False)
    metrics, tags = told()
    wanted = {"difference/max": 0.02, "low/max": 0.01, "p corrected/max": 0.04}
    assert metrics.items() >= wanted.items() and metrics.keys() - wanted.keys() == {"compute_seconds"}
    assert tags["mlflow.note.content"] == (
        f"{STUDY.question}\n\nMax differs from mean by 2 points.\n\nIn points.\n\n"
        "| variant | p |\n|---|---|\n| max | .01 |"
    )
    assert tags["declared metric"] == STUDY.metric
    for p, points_there in ((0.04, 1), (0.01, 2)):  # what has not changed is not written again, what has is the latest
        tell(p)
        again = track(plan, store)
        again.finish(folder, {})
        again.close(interrupted=False)
        assert told()[0]["p corrected/max"] == p
        assert len(client.get_metric_history(first.mirror.parent, "p corrected/max")) == points_there


def test_rebuild_says_what_is_missing(tmp_path, capsys) -> None:
    assert main(["rebuild", "--store", str(tmp_path)]) == 2
    assert "studies holds no study: run one first" in capsys.readouterr().err


@pytest.fixture(scope="module")
def postgresql():
    """The URI of a PostgreSQL of this test's own; skipped where there is none, or no driver for it."""
    pytest.importorskip("pg8000")
    found = shutil.which("pg_ctl") or next(iter(sorted(glob.glob("/usr/lib/postgresql/*/bin/pg_ctl"))), None)
    if found is None or (os.getuid() == 0 and not shutil.which("runuser")):
        pytest.skip("no PostgreSQL here")
    port, bin_folder = free_port(), os.path.dirname(os.path.realpath(found))
    as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []
    # Not in pytest's folder: that one is closed to the user that PostgreSQL insists on.
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        if as_user:
            shutil.chown(folder, "postgres")

        def do(name: str, *words: str) -> None:
            subprocess.run(
                [*as_user, f"{bin_folder}/{name}", *words], check=True, cwd=folder, stdout=subprocess.DEVNULL
            )

        do("initdb", "-A", "trust", "-U", "mss", "-D", f"{folder}/data")
        do(
            "pg_ctl",
            "-D",
            f"{folder}/data",
            "-w",
            "-t",
            "120",
            "-l",
            f"{folder}/log",
            "-o",
            f"-p {port} -h 127.0.0.1 -k {folder}",
            "start",
        )
        yield f"postgresql+pg8000://mss@127.0.0.1:{port}/postgres"
        do("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")


@pytest.mark.chaos
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_server_that_is_killed_and_comes_back_loses_nothing(tmp_path, plan, kind, request) -> None:
    """SIGKILL of a real server while stages report and end; nothing waits for it, and afterwards it shows all."""
    store, said = Store(tmp_path / "store"), []
    port = free_port()
    backend = f"sqlite:///{tmp_path / 'server.db'}" if kind == "sqlite" else request.getfixturevalue("postgresql")
    uri = f"http://127.0.0.1:{port}"
    server = serve(backend, port, tmp_path)
    try:
        stages = list(plan.stages.values())
        tracker = track(plan, store, uri=uri, said=said)
        for stage in stages[:4]:
            commit(store, stage)
        assert tracker.flush(120) and not said
        stop(server)
        start = time.monotonic()
        for stage in stages[4:]:
            commit(store, stage)
        assert time.monotonic() - start < 10  # the study does not wait
        wait_until(lambda: any("does not answer" in text for text in said))
        server = serve(backend, port, tmp_path)
        folder = collect(STUDY, "title", plan, store, STUDY.declaration([0], True, {}), True, {}, "x", ENVIRONMENT)
        tracker.finish(folder, {})
        tracker.close(interrupted=False)
        assert ["is back, and" in text for text in said] == [False, True]
        client = MlflowClient(uri)
        assert set(statuses(client).values()) == {"FINISHED"} and len(statuses(client)) == 1 + len(plan.trials)
        told = points(client)
        for trial in plan.trials:
            curves = {f"{stage.name}/train_loss" for stage in walk([trial.root]).values()}
            assert curves <= set(told[trial.name]) and told[trial.name]["roc_auc"] == [(0, 0.75)]
            assert all(told[trial.name][curve] == [(1, 1.0), (2, 0.5), (3, 1 / 3)] for curve in curves)
        parent = next(
            r
            for r in client.search_runs([tracker.mirror.experiment.experiment_id])
            if "mlflow.parentRunId" not in r.data.tags
        )
        assert "study.json" in {a.path for a in client.list_artifacts(parent.info.run_id)}
    finally:
        stop(server)


def test_a_server_that_never_answers_stops_nothing(tmp_path, plan, monkeypatch) -> None:
    monkeypatch.setattr(tracking, "PATIENCE", 1.0)
    store, said = Store(tmp_path), []
    tracker = track(plan, store, uri=f"http://127.0.0.1:{free_port()}", said=said)
    folder = study_folder(plan, store)
    start = time.monotonic()
    tracker.finish(folder, {})
    tracker.close(interrupted=False)
    assert time.monotonic() - start < 30
    assert "does not answer" in said[0] and "tracking rebuild --store" in said[-1] and len(said) == 2


def test_a_fault_of_a_program_is_not_taken_for_the_server_s(tmp_path, plan, monkeypatch) -> None:
    """A missing column was retried as a server that does not answer, for ever."""
    store, said = Store(tmp_path), []

    def broken(root, trial):
        raise KeyError("track")

    monkeypatch.setattr("mss_core.study.tracking.mirror.means", broken)
    tracker = track(plan, store, said=said)
    folder = study_folder(plan, store)
    start = time.monotonic()
    tracker.finish(folder, {})
    tracker.close(interrupted=False)
    assert time.monotonic() - start < 10 < tracking.PATIENCE
    assert "a fault, not the server's (KeyError: 'track'" in said[0] and "tracking rebuild --store" in said[-1]
    assert len(said) == 2 and "does not answer" not in "".join(said)
    assert "in broken" in (tmp_path / "drivers" / "tracking.log").read_text()


def test_patience_ends_although_each_attempt_begins_anew(tmp_path, plan, monkeypatch) -> None:
    """Runs that are found again are no progress: they kept a study waiting that no attempt brought further."""
    monkeypatch.setattr(tracking, "PATIENCE", 3.0)
    store, said = Store(tmp_path), []

    def away(root, trial):
        raise ConnectionError("reset")

    monkeypatch.setattr("mss_core.study.tracking.mirror.means", away)
    tracker = track(plan, store, said=said)
    folder = study_folder(plan, store)
    start = time.monotonic()
    tracker.finish(folder, {})
    assert time.monotonic() - start < 20
    tracker.close(interrupted=False)
    assert "does not answer (reset)" in said[0] and "tracking rebuild --store" in said[-1]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(backend: str, port: int, folder) -> subprocess.Popen:
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--backend-store-uri",
            backend,
            "--artifacts-destination",
            str(folder / "artifacts"),
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
        ],
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: answers(port), 180)
    return server


def answers(port: int) -> bool:
    try:
        return urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).status == 200
    except OSError:
        return False


def stop(server: subprocess.Popen) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def wait_until(condition, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_changed_recipe_is_another_run(tmp_path, plan) -> None:
    store = Store(tmp_path)
    first = track(plan, store)
    assert first.flush()
    changed = make_plan(STUDY.trials([0], True, {"train_tail.batch": 4}, bind), store)
    second = track(changed, store)
    assert second.flush() and second.mirror.parent == first.mirror.parent
    assert not set(first.mirror.runs.values()) & set(second.mirror.runs.values())


def test_the_page_opens_with_the_study_s_columns(tmp_path, plan) -> None:
    tracker = track(plan, Store(tmp_path))
    assert tracker.flush()
    tags = tracker.mirror.client.get_experiment(tracker.mirror.experiment.experiment_id).tags
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
    (tmp_path / "mlflow.db").unlink()
    with pytest.raises(ValueError, match="holds no mlflow.db: run a study first"):
        ui(tmp_path, 1)


def test_parameters_are_the_values_used_and_durations_compute_times(tmp_path) -> None:
    """Smoke size comes after a level, so a level's own learning rate is not the one that trained."""
    study = replace(
        STUDY,
        factors=[Factor("source", {"vocals": {}, "bass": {"sources": ("bass",), "pretrain.phases.0.lr": 1e-4}})],
        reference={"source": "vocals"},
    )
    store = Store(tmp_path)
    plan = make_plan(study.trials([0], True, {}, bind), store)
    for stage in plan.stages.values():
        commit(store, stage)
    folder = collect(study, "title", plan, store, study.declaration([0], True, {}), True, {}, "again", ENVIRONMENT)
    tracker = Tracker(None, store, "title", "me")
    tracker.begin(of_plan(study, "title", plan, ENVIRONMENT))
    tracker.finish(folder, {})
    tracker.close(interrupted=False)
    assert [t.params() for t in of_folder(folder).trials] == [t.params() for t in tracker.view.trials]
    client = MlflowClient(database(tmp_path))
    recipes = {trial.name: flatten(trial.recipe) for trial in plan.trials}
    stages = {trial.name: len(walk([trial.root])) for trial in plan.trials} | {"title": len(plan.stages)}
    (experiment,) = [e for e in client.search_experiments() if e.name == "title"]
    shown = 0
    for run in client.search_runs([experiment.experiment_id]):
        name = run.info.run_name
        assert run.data.metrics["compute_seconds"] == stages[name]  # each took one second
        assert run.info.end_time - run.info.start_time == 1000 * stages[name]
        for path, value in run.data.params.items():
            if path != "source":
                assert json.loads(value) == plain(recipes[name][path])
                shown += 1
    assert shown == 2 and recipes["bass/seed0"]["pretrain.phases.0.lr"] != 1e-4


def test_a_moved_store_shows_its_own_files(tmp_path, plan) -> None:
    root = tmp_path / "store"
    store = Store(root)
    folder = study_folder(plan, store)
    tracker = Tracker(None, store, "title", "me")
    tracker.begin(view(plan))
    tracker.finish(folder, {})
    tracker.close(interrupted=False)
    root.rename(tmp_path / "moved to")
    assert settle(tmp_path / "moved to") == 1 and settle(tmp_path / "moved to") == 0
    client = MlflowClient(database(tmp_path / "moved to"))
    (parent,) = [r for r in client.search_runs([tracker.mirror.experiment.experiment_id]) if r.info.run_name == "title"]
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} >= {"scores.csv", "study.json"}
    assert (tmp_path / "moved to" / "mlartifacts").as_uri() in parent.info.artifact_uri
