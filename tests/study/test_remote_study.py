"""Whole studies on an object store: their tables are those of a folder, whoever races, is killed or comes later."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("obstore", reason="the extra object-store is not installed")

from mss_core.store.remote.objects import Objects
from mss_core.study import run
from tests.store.s3 import Server
from tests.store.test_remote import until
from tests.study import remote_study, toy

ROOT = Path(__file__).resolve().parents[2]
URL = "s3://bucket/studies of ours"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with Server() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


def begun(
    tmp_path: Path, store: str, name: str = "remote", machine: str = "", how: str = "--in-process", **more: str
) -> subprocess.Popen:
    """A driver of the study of this name, with copies of its own."""
    environment = {"REMOTE_STUDY": name, "REMOTE_NAME": machine, "REMOTE_LOG": str(tmp_path / "log"), **more}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.study.remote_study", how, "--lines", "--store", store],
        cwd=ROOT,
        env={**os.environ, "MSS_COPIES": str(tmp_path / machine), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(driver: subprocess.Popen, status: int = 0) -> str:
    out, _ = driver.communicate(timeout=450)
    assert driver.returncode == status, out
    return str(out)


def log(tmp_path: Path) -> list[str]:
    path = tmp_path / "log"
    return path.read_text().splitlines() if path.exists() else []


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The scores of a study, by its name, on a store that is a folder, by a run in this process."""
    root, names = tmp_path_factory.mktemp("folder"), ("one", "two", "remote")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "mss_core.study.tracking.tracker", None)
        patch.setenv("REMOTE_LOG", str(root / "log"))
        for name in names:
            run(replace(remote_study.study, name=name), ["--in-process", "--lines", "--store", str(root)])
    return {name: (root / "studies" / name / "scores.csv").read_bytes() for name in names}


def scores(server: Server, name: str) -> bytes:
    return server.bucket.objects[f"bucket/studies of ours/studies/{name}/scores.csv"]


@pytest.mark.slow
def test_two_drivers_race_and_their_scores_are_those_of_a_folder(
    server: Server, tmp_path: Path, folders: dict[str, bytes]
) -> None:
    slow = {"REMOTE_SECONDS": "0.05"}
    drivers = [begun(tmp_path, URL, name, name, **slow) for name in ("one", "two")]
    told = [ended(driver) for driver in drivers]
    assert all(re.search(r"object store s3://bucket/studies of ours; this machine's copy is ", text) for text in told)
    made = Counter(line.partition(" ")[2] for line in log(tmp_path))
    assert made.pop("prepare") == 1 and made.pop("score") == 6  # a stage of each of six trials
    assert made == Counter(f"train seed {seed} from 0" for seed in range(3) for _ in range(2))
    assert set(server.bucket.created("/manifests/").values()) == {1}
    for name in ("one", "two"):
        assert scores(server, name) == folders[name]
        assert f"bucket/studies of ours/studies/{name}/report.html" in server.bucket.objects
    again = ended(begun(tmp_path, URL, "one", "three"))  # a machine that has nothing yet
    assert "0 stages executed, 13 found in the store" in again
    assert scores(server, "one") == folders["one"]
    large = [path for path in (tmp_path / "three").rglob("data.bin")]
    assert not large  # what no report reads is not fetched
    ledger = [json.loads(line) for line in _study_file(server, "one", "declarations.jsonl").splitlines()]
    assert len(ledger) >= 2  # the runs of both machines


def _study_file(server: Server, name: str, file: str) -> str:
    return server.bucket.objects[f"bucket/studies of ours/studies/{name}/{file}"].decode()


def test_a_driver_that_is_killed_is_gone_on_from_on_another_machine(
    server: Server, tmp_path: Path, folders: dict[str, bytes]
) -> None:
    killed = begun(tmp_path, URL, machine="first", REMOTE_SECONDS="0.2", MSS_CHECKPOINT_SECONDS="1")
    until(lambda: sum(line.startswith("first train") for line in log(tmp_path)) == 3, 240)
    time.sleep(1.5)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    ended(begun(tmp_path, URL, machine="second"))
    begins = [line.partition(" train ")[2] for line in log(tmp_path) if line.startswith("second train")]
    assert 3 <= len(begins) <= 4
    assert set(server.bucket.created("/manifests/").values()) == {1}
    assert scores(server, "remote") == folders["remote"]


def test_one_driver_per_study(server: Server, tmp_path: Path) -> None:
    first = begun(tmp_path, URL, machine="first", REMOTE_SECONDS="0.2")
    until(lambda: log(tmp_path), 240)
    first.send_signal(signal.SIGSTOP)  # it lives, and is there when the second comes
    told = ended(begun(tmp_path, URL, machine="second"), 2)
    first.send_signal(signal.SIGCONT)
    assert re.search(r"error: process \d+ on \S+ is running study 'remote'", told)
    ended(first)


def test_a_search_is_found_by_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "mss_core.study.tracking.tracker", None)
    tables = []
    for machine in ("first", "second"):
        monkeypatch.setenv("MSS_COPIES", str(tmp_path / machine))
        run(toy.study(toy.asha(trials=4)), ["--in-process", "--lines", "--store", "memory://search"])
        told = capsys.readouterr().err
        tables.append([path.read_bytes() for path in sorted(tmp_path.glob(f"{machine}/*/*/studies/*/search.csv"))])
    assert "1 in the store" in told and re.search(r"^0 stages executed", told, re.MULTILINE), told
    assert tables[0] == tables[1] and len(tables[0]) == 1
    left = Objects("memory://search").list("search/")
    assert not [name for name in left if ".suggestions" in name]


@contextlib.contextmanager
def nodes(tmp_path: Path, *names: str) -> Iterator[str]:
    """A cluster of a node per name, each of one core and with copies of its own; its address."""
    script = """
import sys
from ray.cluster_utils import Cluster
cluster = None
for name in sys.argv[2:]:
    given = dict(num_cpus=1, object_store_memory=80 * 2**20, env_vars={})
    given["env_vars"] |= {"MSS_COPIES": sys.argv[1] + name, "REMOTE_NAME": name}
    if cluster is None:
        cluster = Cluster(initialize_head=True, head_node_args=dict(include_dashboard=False, **given))
    else:
        cluster.add_node(**given)
print(cluster.address, flush=True)
sys.stdin.read()
cluster.shutdown()
"""
    environment = {"RAY_TMPDIR": tempfile.mkdtemp(prefix="ray"), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", script, f"{tmp_path}/", *names],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=open(tmp_path / "cluster.log", "w"),
        text=True,
        env={**os.environ, **environment, "REMOTE_LOG": str(tmp_path / "log"), "REMOTE_SECONDS": "0.3"},
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address, (tmp_path / "cluster.log").read_text()
    try:
        yield address
    finally:
        process.communicate("", timeout=120)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.chaos
def test_a_cluster_runs_a_study_on_an_object_store(server: Server, tmp_path: Path, folders: dict[str, bytes]) -> None:
    with nodes(tmp_path, "head", "other") as address:  # of one machine: which of the two runs a stage is Ray's choice
        told = ended(begun(tmp_path, URL, machine="head", how="--nodes=2", RAY_ADDRESS=address))
        assert "FAILED" not in told
        server.bucket.down = True  # and a store that is not there is told of
        assert "does not answer" in ended(begun(tmp_path, URL, machine="head", how="--nodes=2", RAY_ADDRESS=address), 2)
        server.bucket.down = False
    assert len(log(tmp_path)) == 13 and set(server.bucket.created("/manifests/").values()) == {1}
    assert scores(server, "remote") == folders["remote"]
    assert not server.bucket.under("bucket/studies of ours/nodes/") and not server.bucket.under(
        "bucket/studies of ours/runs/"
    )
