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
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")

from mlflow.entities import Experiment, Metric, Param, Run, RunTag  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

from mss_core.graph import Stage, digest, plain, read_history, walk  # noqa: E402
from mss_core.store import Store  # noqa: E402
from mss_core.study.board import Board  # noqa: E402
from mss_core.study.plan import Plan  # noqa: E402
from mss_core.study.results import read_scores  # noqa: E402
from mss_core.study.study import Study, Trial  # noqa: E402

VIEW = "study"
"""Key of the saved table view that links to a study name."""

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
            params = dict(trial.variant.levels)
            params |= {path: json.dumps(plain(value)) for path, value in trial.variant.departures.items()}
            self.client.log_batch(run_id, params=[Param(allowed(name), value[:6000]) for name, value in params.items()])
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
                try:
                    self.sync()
                except Exception as error:  # the view may fail; the study goes on, and the next sync tries again
                    print(f"tracking: {error}", file=sys.stderr)

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
            return self.client.get_experiment(self.client.create_experiment(self.title, artifact_location=location))
        if found.lifecycle_stage == "deleted":
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
        table = read_scores(self.store.directory(trial.root)).dropna(subset=["score"])
        means = table.groupby(["metric", "target"], sort=True)["score"].mean()
        metrics = [Metric(allowed(metric if target in ("", "macro") else f"{metric}/{target}"), float(value), 0, 0)
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
        """Save with the experiment which columns its page opens with, and that it trains models."""
        columns = [*(f"params.`{allowed(factor.name)}`" for factor in study.factors), "tags.`seed`",
                   *(f"metrics.`{metric}`" for metric in dict.fromkeys((study.metric, "pr_auc")))]
        view = {"orderByKey": f"metrics.`{study.metric}`", "orderByAsc": not study.higher_is_better,
                "selectedColumns": columns, "runListHidden": False}
        tags = {f"mlflow.sharedViewState.{VIEW}": json.dumps(view), "mlflow.experimentKind": "custom_model_development",
                "mlflow.note.content": study.question}
        for name, value in tags.items():
            self.client.set_experiment_tag(self.experiment.experiment_id, name, value)


def allowed(name: str) -> str:
    """A name as MLflow takes it: letters, digits and ``_ - . : /`` and space; anything else becomes ``_``."""
    return re.sub(r"[^\w.\-: /]", "_", name)


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


# ---- the page

def ui(store: Path, port: int) -> int:
    """Serve a store's MLflow database and say where each study's page is; runs until interrupted."""
    import time
    import urllib.request
    import webbrowser

    if not (store / "mlflow.db").exists():
        raise ValueError(f"{store} holds no mlflow.db: run a study first, or name its store with --store")
    experiments = [e for e in MlflowClient(database(store)).search_experiments() if e.name != "Default"]
    address = f"http://127.0.0.1:{port}"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends the server's processes too
    server = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", database(store), "--artifacts-destination",
         str(store.absolute() / "mlartifacts"), "--host", "127.0.0.1", "--port", str(port), "--workers", "1"],
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(120):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{address}/health", timeout=1)
                break
            if server.poll() is not None:
                raise ValueError(f"MLflow did not start: is port {port} in use? Try another with --port")
            time.sleep(0.5)
        pages = {e.name: f"{address}/#/experiments/{e.experiment_id}/runs?viewStateShareKey={VIEW}"
                         "&workflowType=machine_learning&compareRunsMode=TABLE" for e in experiments}
        for name, page in pages.items():
            print(f"{name:<40} {page}", flush=True)
        print("Ctrl-C stops it", flush=True)
        if pages and (os.environ.get("DISPLAY") or sys.platform == "darwin"):
            webbrowser.open(next(iter(pages.values())))
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        # The server starts helpers of its own: end the whole group.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=20)


def main(arguments: list[str] | None = None) -> int:
    """``python -m mss_core.study.tracking ui``."""
    parser = argparse.ArgumentParser(description="MLflow over a store")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("ui", help="open the tracking page of a store")
    show.add_argument("--store", type=Path, default=Path(os.environ.get("MSS_STORE", "store")))
    show.add_argument("--port", type=int, default=5000)
    options = parser.parse_args(arguments)
    try:
        return ui(options.store, options.port)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
