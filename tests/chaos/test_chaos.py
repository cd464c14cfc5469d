"""Kill a study's processes at random times, give the same command again: nothing lost, nothing done twice.

``make chaos`` runs it; CHAOS_ROUNDS (of each kind of kill) and CHAOS_SEED say how much and
which, CHAOS_TABLE names a file for the table of what was tried.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import pytest

from mss_core.store import MANIFEST
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(3000)]

STUDY = REPOSITORY / "tests" / "chaos" / "study.py"
KINDS = ("worker", "raylet", "driver", "mlflow", "head")
STAGES = 1 + 2 + 6 + 6
PAUSE = "0.025"
SECONDS = 20.0
"""800 steps of PAUSE each: no training is shorter."""


def environment(**more: str) -> dict[str, str]:
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    return {**os.environ, **threads, "PYTHONPATH": str(REPOSITORY), "MLFLOW_DISABLE_TELEMETRY": "true", **more}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    """The store of a run in one process that nobody disturbs, without pauses."""
    store = tmp_path_factory.mktemp("undisturbed")
    subprocess.run(
        [sys.executable, str(STUDY), "--in-process", "--store", str(store)],
        env=environment(),
        check=True,
        capture_output=True,
    )
    return store


class Cluster:
    """Three nodes, and what to kill of them."""

    def __init__(self, **more: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="chaos")  # short: the names of Ray's sockets may have 107 characters
        self.environment = environment(RAY_TMPDIR=self.folder, MSS_CHECKPOINT_SECONDS="2", CHAOS_PAUSE=PAUSE, **more)
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.chaos.cluster"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=self.environment,
            cwd=REPOSITORY,
            start_new_session=True,
        )
        self._read()

    def _read(self) -> None:
        line = self.process.stdout.readline()
        assert line, "the cluster did not start"
        self.facts = json.loads(line)

    def workers(self) -> list[int]:
        """Processes of stages that run now."""
        raylets = {*self.facts["raylets"], self.facts["head"][1]}
        found = []
        for pid, parent, command in processes():
            if parent in raylets and command.startswith("ray::") and "train" in command:
                found.append(pid)
        return found

    def kill_raylet(self) -> None:
        alive = [pid for pid in self.facts["raylets"] if is_alive(pid)]
        os.kill(random.choice(alive), signal.SIGKILL)
        self.process.stdin.write("add\n")  # another machine takes its place
        self.process.stdin.flush()
        self._read()

    def kill_head(self) -> None:
        for pid in self.facts["head"]:
            os.kill(pid, signal.SIGKILL)

    def end(self) -> None:
        """End what was started, by number: the session that its processes are in, and the orphans of killed nodes."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for pid, _, _ in processes():
            with contextlib.suppress(OSError):
                if f"RAY_TMPDIR={self.environment['RAY_TMPDIR']}".encode() in Path(
                    f"/proc/{pid}/environ"
                ).read_bytes().split(b"\0"):
                    os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)


class Server:
    """An MLflow server on a database of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self.uri = folder, f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "mlflow",
                "server",
                "--backend-store-uri",
                f"sqlite:///{self.folder / 'm.db'}",
                "--artifacts-destination",
                str(self.folder / "artifacts"),
                "--host",
                "127.0.0.1",
                "--port",
                str(self.port),
                "--workers",
                "1",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=environment(),
        )
        deadline = time.monotonic() + 240
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{self.uri}/health", timeout=5)
                return
            assert time.monotonic() < deadline and self.process.poll() is None, "MLflow did not start"
            time.sleep(0.5)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def processes() -> list[tuple[int, int, str]]:
    """Number, parent and command line of every process."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            found.append((int(folder.name), parent, (folder / "cmdline").read_text().replace("\0", " ")))
    return found


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Commits:
    """Every commit that ever happened in a store: a manifest is one file for as long as its artefact is one."""

    def __init__(self, store: Path) -> None:
        self.store, self.seen = store, defaultdict(set)
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self) -> None:
        while not self.stop.wait(0.3):
            self.look()

    def look(self) -> None:
        for path in self.store.glob(f"*/*/{MANIFEST}"):
            if not path.parent.name.endswith("partial"):
                with contextlib.suppress(OSError):
                    status = path.stat()
                    self.seen[path.parent.name].add((status.st_ino, status.st_mtime_ns))


def scores(store: Path) -> bytes:
    (found,) = store.glob("studies/*/scores.csv")
    return found.read_bytes()


def started(store: Path) -> bool:
    return bool(list(store.glob("*_small/*.partial/.work/checkpoint.pt")))


def overlaps(trace: Path) -> list[tuple[str, float]]:
    """For every stage that several processes worked on: how long two of them took steps at one time."""
    spans = defaultdict(list)
    for path in trace.iterdir():
        times = [float(line.split()[0]) for line in path.read_text().splitlines() if line]
        spans[path.name.split(".")[0]].append((times[0], times[-1]))
    return [
        (key, max(0.0, min(a[1], b[1]) - max(a[0], b[0])))
        for key, found in spans.items()
        for i, a in enumerate(found)
        for b in found[:i]
    ]


def check(store: Path, undisturbed: Path, commits: Commits, trace: Path) -> None:
    commits.look()
    commits.stop.set()
    assert scores(store) == scores(undisturbed)
    assert len(commits.seen) == STAGES and {len(found) for found in commits.seen.values()} == {1}
    left = [
        path.name
        for path in store.glob("*_*/*")
        if "partial" in path.name or "damaged" in path.name or path.name.endswith((".claim", ".log"))
    ]
    assert not left
    assert all(seconds <= 60 for _, seconds in overlaps(trace))
    for manifest in [*store.glob("pretrain_small/*/manifest.json"), *store.glob("finetune_small/*/manifest.json")]:
        assert json.loads(manifest.read_text())["seconds"] >= SECONDS / 2  # a part that was lost is not counted


def check_runs(uri: str) -> None:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    runs = client.search_runs([e.experiment_id for e in client.search_experiments() if e.name == "chaos"])
    names = sorted(run.info.run_name for run in runs)
    assert names == sorted(["chaos", *(f"{width}/seed{seed}" for width in ("narrow", "wide") for seed in range(3))])
    assert {run.info.status for run in runs} == {"FINISHED"}


def record(line: str) -> None:
    """A line of the table of faults tried."""
    print(line, flush=True)
    if os.environ.get("CHAOS_TABLE"):
        with open(os.environ["CHAOS_TABLE"], "a", encoding="utf-8") as file:
            file.write(line + "\n")


def test_random_kills(undisturbed: Path, tmp_path_factory) -> None:
    """Each kind of kill CHAOS_ROUNDS times, in random order at random times, in as many studies as that takes."""
    random.seed(int(os.environ.get("CHAOS_SEED", "0")))
    kinds = [kind for _ in range(int(os.environ.get("CHAOS_ROUNDS", "4"))) for kind in random.sample(KINDS, len(KINDS))]
    for number in itertools.count():
        _one_study(undisturbed, tmp_path_factory.mktemp("c"), number, kinds)
        if not kinds:
            break


def _one_study(undisturbed: Path, folder: Path, number: int, kinds: list[str]) -> None:
    """One study, killed in the ways of ``kinds``, last one first, until it is through; what it met is taken out."""
    store, trace = folder / "store", folder / "trace"
    trace.mkdir()
    server = Server(folder)
    cluster = Cluster(CHAOS_TRACE=str(trace))
    commits = Commits(store)
    log = open(folder / "driver.log", "w", encoding="utf-8")
    commands = 0
    driver: subprocess.Popen | None = None

    def drive() -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, str(STUDY), "--store", str(store), "--tracking-uri", server.uri],
            env={**cluster.environment, "RAY_ADDRESS": cluster.facts["address"]},
            stdout=log,
            stderr=log,
        )

    begun = time.monotonic()
    try:
        while True:
            if driver is None:
                driver, commands = drive(), commands + 1
            if kinds:
                over = functools.partial(_is_over, driver)
                _wait(lambda over=over: over() or cluster.workers() and started(store), 300)
                _wait(over, random.uniform(0.0, 12.0), must=False)
                if driver.poll() is not None:
                    if driver.returncode == 0:
                        break
                    driver = None
                    continue
                kind = kinds.pop()
                done = len(list(store.glob(f"*/*/{MANIFEST}")))
                at = time.monotonic() - begun
                if kind == "worker":
                    _wait(cluster.workers, 120)
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(random.choice(cluster.workers()), signal.SIGKILL)
                elif kind == "raylet":
                    cluster.kill_raylet()
                elif kind == "driver":
                    driver.kill()
                    driver.wait()
                    driver = None
                elif kind == "mlflow":
                    server.kill()
                    time.sleep(random.uniform(0, 5))
                    server.start()
                else:
                    cluster.kill_head()
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        driver.wait(timeout=random.uniform(5, 60))  # it notices by itself, or is ended
                    driver.kill()
                    driver.wait()
                    driver = None
                    old = cluster.process
                    cluster.start()
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(old.pid, signal.SIGKILL)
                record(f"| {number} | {kind} | {at:.0f} s | {done} of {STAGES} |")
                continue
            assert driver.wait(timeout=900) in (0, 1, 2)
            if driver.returncode == 0:
                break
            driver = None
            assert commands < 20
        check(store, undisturbed, commits, trace)
        check_runs(server.uri)
        worst = max([seconds for _, seconds in overlaps(trace)], default=0.0)
        record(
            f"| {number} | finished | {time.monotonic() - begun:.0f} s | {commands} commands, byte-identical, "
            f"overlap {worst:.1f} s |"
        )
    finally:
        if driver is not None:
            driver.kill()
            driver.wait()
        server.kill()
        cluster.end()
        log.close()


@pytest.mark.parametrize("place", ["checkpoint", "commit"])
def test_killed_while_writing(undisturbed: Path, tmp_path: Path, place: str) -> None:
    """SIGKILL in the middle of a checkpoint's bytes, and when the manifest is written but the artefact not moved."""
    store, trace = tmp_path / "store", tmp_path / "trace"
    trace.mkdir()
    cluster = Cluster(CHAOS_TRACE=str(trace), CHAOS_KILL=place, CHAOS_MARKER=str(tmp_path / "killed"))
    commits = Commits(store)
    try:
        done = subprocess.run(
            [sys.executable, str(STUDY), "--store", str(store)],
            capture_output=True,
            text=True,
            env={**cluster.environment, "RAY_ADDRESS": cluster.facts["address"]},
            timeout=1200,
        )
        assert done.returncode == 0, done.stderr[-3000:]
    finally:
        cluster.end()
    assert (tmp_path / "killed").exists()
    check(store, undisturbed, commits, trace)
    record(f"| - | worker, during {place} | once | byte-identical, one command |")


def _is_over(process: subprocess.Popen) -> bool:
    return process.poll() is not None


def _wait(condition, seconds: float, must: bool = True) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            assert not must, "nothing happened"
            return
        time.sleep(0.1)
