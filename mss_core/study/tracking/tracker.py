"""MLflow as a view of the store; nothing else imports mlflow.

One writer: a thread of the process that runs the study. Workers write only to the store, whose histories are the
journal: this thread mirrors them into one parent run per study and one child run per trial, a little later than they
are written. So a tracking server that is away stops no training and loses no point: the thread tries again until the
server is back, then writes what is missing; what is still missing when the study ends, ``rebuild`` writes.

Writing is idempotent. Runs are found again by tags (study, trial, content key), a point has the same step, value and
time stamp however often it is sent, and an experiment's runs are created under a claim in the store. A run that is
RUNNING although its driver is gone is closed as KILLED; one whose driver lives is left alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
# This module tries again by itself, looking first at what arrived: MLflow's own retries would repeat a request whose
# answer was lost, and so create a run twice.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

from mlflow.entities import Experiment, Metric, Param, Run, RunTag  # noqa: E402
from mlflow.exceptions import MlflowException, RestException  # noqa: E402
from mlflow.tracking import MlflowClient  # noqa: E402

from mss_core.claim import Claim  # noqa: E402
from mss_core.graph import digest, read_history  # noqa: E402
from mss_core.store import Store, partial_folder, read_manifest  # noqa: E402
from mss_core.store.drivers import living  # noqa: E402
from mss_core.study.tracking import columns, verdict  # noqa: E402
from mss_core.study.tracking.moved import FOLDER, settle  # noqa: E402
from mss_core.study.tracking.points import POINTS, allowed, curve_points  # noqa: E402
from mss_core.study.tracking.runs import WHOLE, checksum_of, existing_runs, means  # noqa: E402
from mss_core.study.variables import seconds  # noqa: E402
from mss_core.study.view import StudyView, TrialView  # noqa: E402

# It logs the whole traceback of an error of the database, each time; this module says it in a line, once.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

LIVE = 8
"""A stage that many trials share shows its curve while it trains in this many of them; in all when it has ended."""

PATIENCE = seconds("MSS_TRACKING_SECONDS")
"""Seconds that the end of a study waits for a tracking server that does not answer."""

SERVERS = (MlflowException, OSError)
"""What a server that is away, or a disk, makes a call raise; anything else is a fault of a program."""

ROOM = 800
"""Points in a call that carries parameters and tags as well: MLflow takes 1,000 things in all."""

FACTS: Mapping[str, Any] = {"seconds": 0.0, "device": None, "device_name": None}
"""What is told of a stage's manifest, and what stands for it where it is absent."""

FILES = (
    *("report.html", "report.md", "report.csv", "report.tex", "report.json", "report-cost.csv", "report-cost.tex"),
    *("scores.csv", "study.json"),
)
"""Files of a study's folder that its parent run shows."""


class Tracker:
    """Mirrors one study into MLflow.

    Args:
        uri: tracking URI; None for an SQLite file in the store.
        store: where artefacts are read from.
        title: of the study; names the experiment.
        driver: name of this process, as in ``drivers.Driver``.
        say: told once when the server stops answering, and once when it is back.

    Raises MlflowException for a URI that MLflow cannot use, or a server that refuses us; a server that does not
    answer raises nothing.
    """

    def __init__(
        self,
        uri: str | None,
        store: Store,
        title: str,
        driver: str = "",
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.uri = uri or database(store.root)
        self.store, self.title, self.driver, self.say = store, title, driver, say
        store.root.mkdir(parents=True, exist_ok=True)
        self.artifacts = None if uri else (store.root / FOLDER).absolute().as_uri()
        if not uri:
            settle(store.root)
        with contextlib.nullcontext() if uri else self._creating():  # which makes the tables of a new database
            self.client = MlflowClient(self.uri)
        self.experiment: Experiment | None = None
        self.view: StudyView | None = None
        self.runs: dict[str, str] = {}
        self.parent = ""
        self.open: set[str] = set()
        self.away = ""
        self._ours: set[str] = set()
        self._begun: dict[str, int] = {}
        self._params: dict[str, list[Param]] = {}
        self._logged: dict[str, set[str]] = {}
        self._live: dict[tuple[str, str], int] = {}
        self._facts: dict[str, dict[str, Any]] = {}
        self._folder: Path | None = None
        self._errors: dict[str, str] = {}
        self._killed = False
        self._believed = True
        self._told: dict[str, float] = {}
        self._written = ""
        self._asked = self._served = 0
        self._progress = time.monotonic()
        self._reached = self._furthest = 0
        self.broken = ""
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        try:
            self._find_experiment()
        except MlflowException as error:
            if isinstance(error, RestException) or not self.uri.startswith("http"):
                raise
            self._went_away(error)

    # ---- the life of a study; none of these waits for the server longer than it says

    def begin(self, view: StudyView) -> None:
        """Start to mirror a study, from a thread of this process."""
        self.view = view
        self._thread = threading.Thread(target=self._loop, name="tracking", daemon=True)
        self._thread.start()

    def show(self, view: StudyView) -> None:
        """Mirror a study that has got more trials."""
        self.view = view
        self._wake.set()

    def flush(self, seconds: float | None = None) -> bool:
        """Wait until everything now in the store is mirrored.

        Returns False where it has got no further for so many seconds (PATIENCE) than any earlier attempt had.
        """
        seconds = PATIENCE if seconds is None else seconds
        self._progress, self._furthest = time.monotonic(), 0
        with self._changed:
            self._asked += 1
            mine = self._asked
            self._wake.set()
            while self._served < mine:
                if self._thread is None or self.broken or time.monotonic() - self._progress > seconds:
                    return False
                self._changed.wait(0.5)
        return True

    def finish(self, folder: Path, errors: Mapping[str, str]) -> None:
        """Attach the report and its tables to the parent run and end every run."""
        self._folder, self._errors = folder, dict(errors)
        if not self.flush():
            why = f"stopped: {self.broken}" if self.broken else f"{self.uri} does not answer"
            self.say(
                f"tracking: {why}. Nothing is lost; write it later with:\n"
                f"  python -m mss_core.study.tracking rebuild --store {shlex.quote(str(self.store.root))} "
                f"--tracking-uri {shlex.quote(self.uri)}"
            )

    def close(self, interrupted: bool) -> None:
        """Leave no run RUNNING that this process started, as far as the server can be told within seconds."""
        if interrupted and not self.away and not self.broken:
            self._killed = True
            self.flush(20)
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=25)

    def write(self, view: StudyView, folder: Path) -> None:
        """Write a finished study, whatever its runs are said to hold, trying again while the server does not answer.

        Raises RuntimeError where it does not take everything in ten times PATIENCE.
        """
        self.view, self._folder, self._believed, begun = view, folder, False, time.monotonic()
        while True:
            try:
                self.sync()
                return
            except SERVERS as error:
                self._went_away(error)
                if time.monotonic() - begun > 10 * PATIENCE:
                    raise RuntimeError(f"{self.uri} does not answer: {error}") from None
                time.sleep(2)

    def how_to_open(self) -> str:
        """A shell line that shows this study."""
        return f"python -m mss_core.study.tracking ui --store {shlex.quote(str(self.store.root))}"

    # ---- the thread

    def _loop(self) -> None:
        pause = 1.0
        while not self._stop.is_set():
            asked = self._asked
            try:
                self.sync()
            except SERVERS as error:  # the view may fail; the study goes on, and the next time tries again
                self._went_away(error)
                pause = min(2 * pause, 15.0)
            except Exception as error:  # no server did this, so that no waiting mends it
                self._broke(error)
                return
            else:
                if self.away:
                    self.away = ""
                    self.say(f"tracking: {self.uri} is back, and shows what it missed")
                pause = 1.0
                with self._changed:
                    self._served = asked
                    self._changed.notify_all()
            self._wake.wait(1.0 if self._served < self._asked else pause)
            self._wake.clear()

    def _went_away(self, error: Exception) -> None:
        if not self.away:
            first = (str(error).splitlines() or [""])[0][:200]
            self.say(
                f"tracking: {self.uri} does not answer ({first}); the study goes on, and what is missing there is "
                "written when it is back"
            )
        self.away = str(error) or type(error).__name__
        # What was created without an answer is found again, not created twice.
        self.runs, self.experiment, self._written = {}, None, ""
        self._live.clear()

    def _broke(self, error: Exception) -> None:
        log = self.store.root / "drivers" / "tracking.log"
        with contextlib.suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(traceback.format_exc(), encoding="utf-8")
        self.say(
            f"tracking: a fault, not the server's ({type(error).__name__}: {error}; log: {log}); the study goes on "
            "without MLflow"
        )
        with self._changed:
            self.broken = f"{type(error).__name__}: {error}"
            self._changed.notify_all()

    def _got_further(self) -> None:
        """One more step of an attempt to write everything is done."""
        self._reached += 1
        if self._reached > self._furthest:
            self._furthest, self._progress = self._reached, time.monotonic()

    def sync(self) -> None:
        """Write to MLflow what the store has and MLflow does not show; may raise whatever MLflow raises."""
        view = self.view  # another thread may show more trials meanwhile
        assert view is not None
        self._reached = 0
        folder = self._folder  # before looking: what was committed before the end is seen before runs are ended
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
            self._got_further()
        if folder is not None:
            self._end_all(view, folder, trials)
        elif self._killed:
            for run_id in self.open & self._ours:
                self.client.set_terminated(run_id, "KILLED")
            self.open -= self._ours

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

    def _end_all(self, view: StudyView, folder: Path, trials: Sequence[TrialView]) -> None:
        for trial in trials:
            run_id = self.runs[trial.name]
            if run_id in self.open:
                failed = [self._errors[key] for key in trial.stages if key in self._errors]
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
            whole = not self._errors and self.open == {self.parent}
            tags = found.tags | ({WHOLE: checksum_of(view)} if whole else {})
            new = [
                Metric(name, value, now, len(view.trials))
                for name, value in found.metrics.items()
                if self._told.get(name) != value
            ]
            self._end(self.parent, "FAILED" if self._errors else "FINISHED", every, new, tags)

    # ---- finding and creating

    def _find_experiment(self) -> Experiment:
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
        experiment = (self.experiment or self._find_experiment()).experiment_id
        with self._creating():
            self.open.clear()
            key, alive = digest(["study", self.title]), living(self.store.root)
            parent = existing_runs(self.client, experiment, f"tags.`mss.key` = '{key}'")
            self._told = dict(parent[key].data.metrics) if key in parent else {}
            whole = self._believed and key in parent and parent[key].data.tags.get(WHOLE) == checksum
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
                experiment_id=(self.experiment or self._find_experiment()).experiment_id, run_name=name, tags=mine
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
        self._got_further()
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
