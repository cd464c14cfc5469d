"""What the store holds of one study, written to MLflow: one parent run per study and one child run per trial.

Writing is idempotent. Runs are found again by tags (study, trial, content key), a point has the same step, value and
time stamp however often it is sent, and an experiment's runs are created under a claim in the store. A run that is
RUNNING although its driver is gone is closed as KILLED; one whose driver lives is left alone.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mlflow.entities import Experiment, Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from mss_core.claim import Claim
from mss_core.graph import digest, read_history
from mss_core.store import Store, partial_folder, read_manifest
from mss_core.store.drivers import living
from mss_core.study.tracking import columns, verdict
from mss_core.study.tracking.moved import FOLDER, settle
from mss_core.study.tracking.points import POINTS, allowed, curve_points
from mss_core.study.tracking.runs import WHOLE, checksum_of, existing_runs, means
from mss_core.study.view import StudyView, TrialView

LIVE = 8
"""A stage that many trials share shows its curve while it trains in this many of them; in all when it has ended."""

ROOM = 800
"""Points in a call that carries parameters and tags as well: MLflow takes 1,000 things in all."""

FACTS: Mapping[str, Any] = {"seconds": 0.0, "device": None, "device_name": None}
"""What is told of a stage's manifest, and what stands for it where it is absent."""

FILES = (
    *("report.html", "report.md", "report.csv", "report.tex", "report.json", "report-cost.csv", "report-cost.tex"),
    *("scores.csv", "study.json"),
)
"""Files of a study's folder that its parent run shows."""


class Mirror:
    """The runs of one study in MLflow.

    Args:
        uri: tracking URI; None for an SQLite file in the store.
        store: where artefacts are read from.
        title: of the study; names the experiment.
        driver: name of this process, as in ``drivers.Driver``.
        progressed: called after each step of an attempt to write everything.

    Attributes:
        believed: whether runs that MLflow says are whole are not looked at again.
    """

    def __init__(
        self, uri: str | None, store: Store, title: str, driver: str, progressed: Callable[[], None] = lambda: None
    ) -> None:
        self.uri = uri or database(store.root)
        self.store, self.title, self.driver, self.progressed = store, title, driver, progressed
        store.root.mkdir(parents=True, exist_ok=True)
        self.artifacts = None if uri else (store.root / FOLDER).absolute().as_uri()
        if not uri:
            settle(store.root)
        with contextlib.nullcontext() if uri else self._creating():  # which makes the tables of a new database
            self.client = MlflowClient(self.uri)
        self.experiment: Experiment | None = None
        self.runs: dict[str, str] = {}
        self.parent = ""
        self.open: set[str] = set()
        self.believed = True
        self._ours: set[str] = set()
        self._begun: dict[str, int] = {}
        self._params: dict[str, list[Param]] = {}
        self._logged: dict[str, set[str]] = {}
        self._live: dict[tuple[str, str], int] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._told: dict[str, float] = {}
        self._written = ""

    def sync(self, view: StudyView, folder: Path | None, errors: Mapping[str, str], killed: bool) -> None:
        """Write to MLflow what the store has and MLflow does not show; may raise whatever MLflow raises.

        Args:
            folder: the study's, where it has ended: its report is attached and every run is ended.
            errors: of stages that failed, by key.
            killed: whether the runs that this process began are to be ended as killed.
        """
        checksum = checksum_of(view)
        if checksum != self._written and not (self.runs and all(trial.name in self.runs for trial in view.trials)):
            self._adopt_all(view, checksum)
        trials = view.trials if checksum != self._written else ()
        present = {name: self._listing(name) for name in {n for t in trials for n in t.stages.values()}}
        shown_live: dict[str, int] = {}
        for trial in trials:
            run_id = self.runs[trial.name]
            if run_id in self.open:
                self._mirror(run_id, trial, present, shown_live)
            else:
                self._log(run_id, [], {})
            self.progressed()
        if folder is not None:
            self._end_all(view, folder, trials, errors)
        elif killed:
            for run_id in self.open & self._ours:
                self.client.set_terminated(run_id, "KILLED")
            self.open -= self._ours

    def forget(self) -> None:
        """What was created without an answer is found again, not created twice."""
        self.runs, self.experiment, self._written = {}, None, ""
        self._live.clear()

    def _listing(self, name: str) -> set[str]:
        try:
            return set(os.listdir(self.store.root / name))
        except OSError:
            return set()

    def _mirror(self, run_id: str, trial: TrialView, present: Mapping[str, set[str]], live: dict[str, int]) -> None:
        labels, logged = trial.labels(), self._logged.setdefault(run_id, set())
        points, tags, new = list[Metric](), dict[str, str](), set[str]()
        for key, name in trial.stages.items():
            if key in logged:
                continue
            label, facts = labels[key], self._committed(name, key) if key in present[name] else None
            if facts is not None:
                self._log_examples(run_id, name, key)
                points += curve_points(label, read_history(self.store.root / name / key))
                tags |= {
                    f"logged {label}": key,
                    f"{label} seconds": f"{facts['seconds']:.1f}",
                    f"{label} device": f"{facts['device']} ({facts['device_name']})",
                }
                new.add(key)
            elif f"{key}.claim" in present[name] and live.get(key, 0) < LIVE:
                live[key] = live.get(key, 0) + 1
                self._log_live(run_id, name, key, label)
        if trial.root in logged | new:
            self._end(run_id, "FINISHED", trial.stages, [*points, *means(self.store.root, trial)], tags)
        else:
            self._log(run_id, points, tags)
        logged |= new

    def _log_live(self, run_id: str, name: str, key: str, label: str) -> None:
        rows = read_history(partial_folder(self.store.root, name, key))[:POINTS]
        last = self._live.get((run_id, key), -1)
        new = [row for row in rows if row["step"] > last]
        if new:
            self._log(run_id, curve_points(label, new), {})
            self._live[run_id, key] = new[-1]["step"]

    def _end_all(self, view: StudyView, folder: Path, trials: Sequence[TrialView], errors: Mapping[str, str]) -> None:
        for trial in trials:
            run_id = self.runs[trial.name]
            if run_id in self.open:
                failed = [errors[key] for key in trial.stages if key in errors]
                if failed:
                    self.client.set_tag(run_id, "error", failed[0][:5000])
                if failed or run_id in self._ours:  # what another driver works on, it ends
                    self._end(run_id, "FAILED", trial.stages)
        if self.parent in self.open & self._ours:
            for path in (folder / name for name in FILES):
                if path.exists():
                    self.client.log_artifact(self.parent, str(path))
            every = {key: name for trial in view.trials for key, name in trial.stages.items()}
            found, now = verdict.of_folder(folder, view.question), round(1000 * time.time())
            whole = not errors and self.open == {self.parent}
            tags = found.tags | ({WHOLE: checksum_of(view)} if whole else {})
            new = [
                Metric(name, value, now, len(view.trials))
                for name, value in found.metrics.items()
                if self._told.get(name) != value
            ]
            self._end(self.parent, "FAILED" if errors else "FINISHED", every, new, tags)

    # ---- finding and creating

    def find_experiment(self) -> Experiment:
        found = self.client.get_experiment_by_name(self.title)
        if found is None:
            with self._creating():
                found = self.client.get_experiment_by_name(self.title) or self.client.get_experiment(
                    self.client.create_experiment(self.title, artifact_location=self.artifacts)
                )
        if found.lifecycle_stage == "deleted":
            self.client.restore_experiment(found.experiment_id)
        self.experiment = found
        return found

    def _creating(self) -> Claim:
        """One process at a time looks what is missing on a tracking server and creates it."""
        folder = self.store.root / "drivers"
        folder.mkdir(parents=True, exist_ok=True)
        return Claim(folder / f"tracking-{digest(self.uri)[:16]}.claim")

    def _adopt_all(self, view: StudyView, checksum: str) -> None:
        """Find or create the parent run and a child for each trial; close runs that nobody will finish.

        Where the parent says that all of these trials' runs are finished, they are not looked at again.
        """
        experiment = (self.experiment or self.find_experiment()).experiment_id
        with self._creating():
            self.open.clear()
            key, alive = digest(["study", self.title]), living(self.store.root)
            parent = existing_runs(self.client, experiment, f"tags.`mss.key` = '{key}'")
            self._told = dict(parent[key].data.metrics) if key in parent else {}
            whole = self.believed and key in parent and parent[key].data.tags.get(WHOLE) == checksum
            existing = (
                existing_runs(self.client, experiment, "attributes.status != 'FINISHED'" if whole else "") | parent
            )
            tags = {"mlflow.note.content": view.question, "mss.study": self.title, "git commit": view.commit}
            self.parent = self._adopt(existing, alive, key, self.title, tags, {})
            found = {}
            for trial in () if whole else view.trials:
                tags = {
                    "mlflow.parentRunId": self.parent,
                    "mss.study": self.title,
                    "mss.trial": trial.name,
                    "seed": str(trial.seed),
                    "git commit": view.commit,
                    **{f"key {label}": key for key, label in trial.labels().items()},
                }
                found[trial.name] = self._adopt(existing, alive, trial.key, trial.name, tags, trial.params())
            for run in existing.values():
                theirs = run.data.tags.get("mss.driver", "") in alive - {self.driver}
                known = run.info.run_id == self.parent or run.info.run_id in found.values()
                if not known and not theirs and run.info.status == "RUNNING":
                    self.client.set_terminated(run.info.run_id, "KILLED")
        for name, value in columns.shown(view).items():
            self.client.set_experiment_tag(experiment, name, value)
        self.runs, self._written = found, checksum if whole else ""

    def _adopt(
        self,
        existing: Mapping[str, Run],
        alive: set[str],
        key: str,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, str],
    ) -> str:
        run = existing.get(key)
        if run is None:
            mine = {"mss.key": key, "mss.driver": self.driver, "mlflow.source.name": sys.argv[0], **tags}
            run = self.client.create_run(
                experiment_id=(self.experiment or self.find_experiment()).experiment_id, run_name=name, tags=mine
            )
            self._ours.add(run.info.run_id)
            self.open.add(run.info.run_id)
        else:
            self._logged.setdefault(run.info.run_id, set()).update(
                value for tag, value in run.data.tags.items() if tag.startswith("logged ")
            )
            if run.info.status != "FINISHED" or name == self.title:
                self.open.add(run.info.run_id)
                if run.info.run_id in self._ours or (run.data.tags.get("mss.driver", "") not in alive - {self.driver}):
                    self._ours.add(run.info.run_id)
                    self.client.set_tag(run.info.run_id, "mss.driver", self.driver)
                    self.client.update_run(run.info.run_id, status="RUNNING")
        self.progressed()
        self._begun[run.info.run_id] = run.info.start_time
        self._params[run.info.run_id] = [
            Param(allowed(name), value[:6000]) for name, value in params.items() if allowed(name) not in run.data.params
        ]
        return str(run.info.run_id)

    # ---- writing

    def _committed(self, name: str, key: str) -> dict[str, Any] | None:
        """What is told of a committed stage, read once."""
        if key not in self._facts:
            found = read_manifest(self.store.root / name / key)
            if found is None:
                return None
            self._facts[key] = {fact: found.get(fact, absent) for fact, absent in FACTS.items()}
        return self._facts[key]

    def _log(self, run_id: str, points: Sequence[Metric], tags: Mapping[str, str]) -> None:
        """Write points and tags of a run, and the parameters that it lacks, in as few calls as MLflow takes.

        Tags come with the last points: they say that a stage's are all there.
        """
        if not (points or tags or self._params.get(run_id)):
            return
        while len(points) > ROOM:
            self.client.log_batch(run_id, metrics=points[:ROOM])
            points = points[ROOM:]
        told = [RunTag(tag, value) for tag, value in tags.items()]
        self.client.log_batch(run_id, metrics=points, params=self._params.get(run_id, []), tags=told)
        self._params.pop(run_id, None)

    def _log_examples(self, run_id: str, name: str, key: str) -> None:
        for file in sorted((self.store.root / name / key / "examples" / "1").rglob("*.*")):
            source = file.stem if file.suffix == ".png" else file.parent.name
            self.client.log_artifact(run_id, str(file), f"audio/{source}")

    def _end(
        self,
        run_id: str,
        status: str,
        stages: Mapping[str, str],
        points: Sequence[Metric] = (),
        tags: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Write what is new of a run and end it. Its duration is what its stages took to compute, wherever and whenever
        that was: runs are made when the study begins, and what stands in the store was computed before."""
        facts = (self._committed(name, key) for key, name in stages.items())
        seconds = float(sum(each["seconds"] for each in facts if each))
        self._log(run_id, [*points, Metric("compute_seconds", seconds, 0, 0)], tags)
        self.client.set_terminated(run_id, status, end_time=self._begun[run_id] + round(1000 * seconds))
        self.open.discard(run_id)


def database(root: Path) -> str:
    """The tracking URI of a store's own SQLite file; a % or ? in its path is escaped, as SQLAlchemy reads URLs."""
    path = str(root.absolute() / "mlflow.db").replace("%", "%25").replace("?", "%3F")
    return f"sqlite:///{path}"
