"""MLflow as a view of the store; the only module that imports mlflow.

One writer: the process that runs the study. It creates the database before any worker starts, then mirrors what the
store holds: a parent run a study, a child run a trial. Runs are found again by tags (study, trial, content key), so
running the same command again updates them instead of adding more; a run that nobody will finish is closed as
KILLED. Workers write only to the store, so a tracking server that is away stops no training.

    python -m mss_core.study.tracking ui --store STORE [--port 5000]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

import mlflow  # noqa: E402
import pandas as pd  # noqa: E402
from mlflow.entities import Experiment, Metric, Param, Run, RunTag  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

from mss_core.graph import Stage, Store, digest, plain, read_history, walk  # noqa: E402
from mss_core.study.board import Board  # noqa: E402
from mss_core.study.plan import Plan  # noqa: E402
from mss_core.study.results import CURVES  # noqa: E402
from mss_core.study.study import Study, Trial  # noqa: E402

POINTS = 1000
"""At most this many points of a learning curve are shown."""


class Tracker:
    """Mirrors one study into MLflow.

    Args:
        uri: tracking URI; None for an SQLite file in the store.
        store: where artefacts are read from.
        title: of the study; names the experiment.
    """

    def __init__(self, uri: str | None, store: Store, title: str) -> None:
        self.uri = uri or database(store.root)
        self.store, self.title = store, title
        store.root.mkdir(parents=True, exist_ok=True)
        self.client = MlflowClient(self.uri)
        self.experiment = self._experiment(artifacts=None if uri else store.root / "mlartifacts")
        self.runs: dict[str, str] = {}
        self.parent = ""
        self.open: set[str] = set()
        self.trials: dict[str, Trial] = {}
        self._logged: dict[str, set[str]] = {}
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    # ---- the life of a study

    def begin(self, study: Study, plan: Plan, environment: Mapping[str, Any]) -> None:
        """Find or create the parent run and a child for each trial; close runs that nobody will finish."""
        existing = self._existing()
        tags = {"mlflow.note.content": study.question, "mss.study": self.title, "git commit": environment["commit"]}
        self.parent = self._adopt(existing, digest(["study", self.title]), self.title, tags)
        for trial in plan.trials:
            key = trial.root.key
            stages = walk([trial.root])
            tags = {"mlflow.parentRunId": self.parent, "mss.study": self.title, "mss.trial": trial.name,
                    "seed": str(trial.seed), "git commit": environment["commit"],
                    **{f"key {stage.name}": upstream for upstream, stage in stages.items()}}
            run_id = self._adopt(existing, digest([trial.name, key]), trial.name, tags)
            self.runs[trial.name], self.trials[trial.name] = run_id, trial
            params = {factor: label for factor, label in trial.variant.levels.items()}
            params |= {path: json.dumps(plain(value)) for path, value in trial.variant.departures.items()}
            self.client.log_batch(run_id, params=[Param(name, value[:6000]) for name, value in params.items()])
        ours = {self.parent, *self.runs.values()}
        for run in existing.values():
            if run.info.run_id not in ours and run.info.status == "RUNNING":
                self.client.set_terminated(run.info.run_id, "KILLED")
        self._show_columns(study)
        self.sync()

    def follow(self, board: Board) -> None:
        """Mirror finished stages while the study runs, from a thread of this process."""
        def loop() -> None:
            while not self._stop.is_set():
                board.changed.wait(1.0)
                board.changed.clear()
                self.sync()

        self._thread = threading.Thread(target=loop, name="tracking", daemon=True)
        self._thread.start()

    def sync(self) -> None:
        """Log every finished stage that a run does not show yet, and end the runs of finished trials."""
        for name, trial in self.trials.items():
            run_id = self.runs[name]
            if run_id not in self.open:
                continue
            for key, stage in walk([trial.root]).items():
                if key not in self._logged.setdefault(run_id, set()) and self.store.manifest(stage) is not None:
                    self._log_stage(run_id, stage)
                    self._logged[run_id].add(key)
            if trial.root.key in self._logged[run_id]:
                self._log_scores(run_id, trial)
                self._end(run_id, "FINISHED")

    def finish(self, folder: Path, written: Mapping[str, Path], errors: Mapping[str, str]) -> None:
        """Attach the report and its tables to the parent run and end everything."""
        self._halt()
        self.sync()
        for name, run_id in self.runs.items():
            if run_id in self.open:
                failed = [errors[key] for key in walk([self.trials[name].root]) if key in errors]
                if failed:
                    self.client.set_tag(run_id, "error", failed[0])
                self._end(run_id, "FAILED")
        for path in [*written.values(), folder / "scores.csv", folder / "study.json"]:
            self.client.log_artifact(self.parent, str(path))
        self._end(self.parent, "FAILED" if errors else "FINISHED")

    def close(self, interrupted: bool) -> None:
        """Leave no run RUNNING that this process started."""
        self._halt()
        if interrupted:
            for run_id in list(self.open):
                with contextlib.suppress(Exception):  # the database may be what failed
                    self._end(run_id, "KILLED")

    def how_to_open(self) -> str:
        """A shell line that shows this study."""
        return f"python -m mss_core.study.tracking ui --store {self.store.root}"

    # ---- pieces

    def _experiment(self, artifacts: Path | None) -> Experiment:
        found = self.client.get_experiment_by_name(self.title)
        if found is None:
            location = artifacts.as_uri() if artifacts else None
            self.client.create_experiment(self.title, artifact_location=location)
            found = self.client.get_experiment_by_name(self.title)
        elif found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        return found

    def _existing(self) -> dict[str, Run]:
        found: dict[str, Run] = {}
        token = None
        while True:
            page = self.client.search_runs([self.experiment.experiment_id], max_results=1000, page_token=token,
                                           order_by=["attributes.start_time DESC"])
            for run in page:
                found[run.data.tags.get("mss.key", run.info.run_id)] = run
            token = page.token
            if not token:
                return found

    def _adopt(self, existing: Mapping[str, Run], key: str, name: str, tags: Mapping[str, str]) -> str:
        run = existing.get(key)
        if run is None:
            run = self.client.create_run(self.experiment.experiment_id, run_name=name,
                                         tags={"mss.key": key, "mlflow.source.name": f"studies/{self.title}", **tags})
            self.open.add(run.info.run_id)
        else:
            self._logged[run.info.run_id] = {value for tag, value in run.data.tags.items() if tag.startswith("logged ")}
            if run.info.status != "FINISHED" or name == self.title:
                self.client.update_run(run.info.run_id, status="RUNNING")
                self.open.add(run.info.run_id)
        return str(run.info.run_id)

    def _log_stage(self, run_id: str, stage: Stage) -> None:
        manifest = self.store.manifest(stage) or {}
        directory = self.store.directory(stage)
        if stage.name in CURVES:
            points = curve_points(stage.name, read_history(directory))
            for first in range(0, len(points), 1000):
                self.client.log_batch(run_id, metrics=points[first:first + 1000])
        for file in sorted((directory / "examples" / "1").rglob("*.*")):
            source = file.stem if file.suffix == ".png" else file.parent.name
            self.client.log_artifact(run_id, str(file), f"audio/{source}")
        tags = {f"logged {stage.name}": stage.key, f"{stage.name} seconds": f"{manifest.get('seconds', 0):.1f}",
                f"{stage.name} device": f"{manifest.get('device')} ({manifest.get('device_name')})"}
        self.client.log_batch(run_id, tags=[RunTag(name, value) for name, value in tags.items()])

    def _log_scores(self, run_id: str, trial: Trial) -> None:
        table = pd.read_csv(self.store.directory(trial.root) / "scores.csv", keep_default_na=False,
                            na_values={"score": [""]}).dropna(subset=["score"])
        means = table.groupby(["metric", "target"], sort=True)["score"].mean()
        metrics = [Metric(metric if target in ("", "macro") else f"{metric}/{target}", float(value), 0, 0)
                   for (metric, target), value in means.items()]
        self.client.log_batch(run_id, metrics=metrics)

    def _end(self, run_id: str, status: str) -> None:
        self.client.set_terminated(run_id, status)
        self.open.discard(run_id)

    def _halt(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _show_columns(self, study: Study) -> None:
        """Save the table's view (columns, order) with the experiment; the page opens with it."""


def curve_points(stage: str, history: list[dict[str, Any]]) -> list[Metric]:
    """A stage's history as MLflow metrics ``<stage>/<name>``, each thinned evenly to at most 1,000 points."""
    names = dict.fromkeys(name for row in history for name in row if name not in ("step", "total"))
    points = []
    for name in names:
        rows = [(row["step"], row[name]) for row in history if name in row]
        keep = range(len(rows)) if len(rows) <= POINTS else {
            round(index * (len(rows) - 1) / (POINTS - 1)) for index in range(POINTS)}
        points += [Metric(f"{stage}/{name}", float(rows[index][1]), 0, rows[index][0]) for index in sorted(keep)]
    return points


def database(root: Path) -> str:
    """The tracking URI of a store's own SQLite file."""
    return f"sqlite:///{root.absolute() / 'mlflow.db'}"
