"""A whole study under a real Slurm on two nodes with fake GPUs: the shipped script, Ray and the trainings are real."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mss_core.graph import WORK
from tests.chaos.test_chaos import STAGES, STUDY, environment, scores
from tests.cluster.lab import Lab
from tests.cluster.slurm import GPUS, Slurm, why_not
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800), pytest.mark.skipif(bool(why_not()), reason=why_not())]


@pytest.fixture(scope="module")
def running() -> Iterator[Slurm]:
    folder = Path(tempfile.mkdtemp(prefix="lab"))
    with Lab(folder, 2) as machines:
        yield Slurm(machines)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def slurm(running: Slurm) -> Iterator[Slurm]:
    """Without a job."""
    yield running
    running.clear()


def submitted(slurm: Slurm, store: Path, pause: str = "0.025") -> str:
    """A job that trains; its number. Ray gives a node 30 s to start, which a busy machine may need longer for."""
    told = {"PYTHONPATH": str(REPOSITORY), "MSS_CHECKPOINT_SECONDS": "2", "CHAOS_PAUSE": pause}
    for _ in range(3):
        job = slurm.submit(str(STUDY), "--store", str(store), **told)

        def trains() -> bool:
            return bool(list(store.glob(f"pretrain_small/*.partial/{WORK}/checkpoint.pt")))

        def failed(job: str = job) -> bool:
            return "Ray ended on node" in slurm.log(job)

        slurm.until(lambda failed=failed: trains() or failed(), job=job)
        if trains():
            return job
        assert "timed out during startup" in slurm.log(job), slurm.log(job)
        slurm.clear()
    raise AssertionError("Ray did not start")


def ray_is_over(slurm: Slurm) -> None:
    slurm.until(lambda: not any("raylet" in slurm.processes(n) or "gcs_server" in slurm.processes(n) for n in (1, 2)))


def test_the_time_limit_checkpoints_and_requeues_and_the_job_ends_with_the_scores_of_one_machine(slurm: Slurm) -> None:
    store, alone = slurm.folder / "limit", slurm.folder / "alone"
    job = submitted(slurm, store)
    minutes = 5 + int((time.time() - started(slurm, job)) / 60)
    slurm("scontrol", "update", f"JobId={job}", f"TimeLimit={minutes}")  # the script asks for its signal 300 s before
    slurm.until(lambda: slurm.fact(job, "Restarts") == "1", job=job)
    log = slurm.log(job)
    assert f"{2 * GPUS} GPUs" in log, log
    assert "running stages write their checkpoints" in log and f"putting job {job} back into the queue" in log, log
    assert not list(store.glob("*/*.claim"))
    ray_is_over(slurm)
    begun = {path.parents[1].name for path in store.glob(f"*/*.partial/{WORK}/checkpoint.pt")}
    assert begun, log
    slurm("scontrol", "update", f"JobId={job}", "TimeLimit=60", "StartTime=now")  # Slurm would wait two minutes
    slurm.until(lambda: slurm.fact(job, "JobState") not in ("PENDING", "RUNNING", "COMPLETING"), 900, job)
    log = slurm.log(job)
    assert slurm.fact(job, "JobState") == "COMPLETED" and slurm.fact(job, "ExitCode") == "0:0" and "goes on" in log, log
    manifests = [json.loads(path.read_text()) for path in store.glob("*/*/manifest.json")]
    assert len(manifests) == STAGES and {manifest["host"] for manifest in manifests} == {"node1", "node2"}
    command = [sys.executable, str(STUDY), "--in-process", "--store", str(alone)]
    subprocess.run(command, env=environment(), check=True, capture_output=True)
    assert scores(store) == scores(alone)
    assert not list(slurm.home.glob(".mss-slurm-*"))
    ray_is_over(slurm)


def started(slurm: Slurm, job: str) -> float:
    return time.mktime(time.strptime(slurm.fact(job, "StartTime"), "%Y-%m-%dT%H:%M:%S"))


def test_scancel_cancels(slurm: Slurm) -> None:
    """The checkpoints are written, Ray ends on all nodes, and the job does not come back.

    Slurm signals the steps with the script: trainings learn of it from a SIGTERM of theirs, as Ray may be gone.
    """
    store = slurm.folder / "cancelled"
    job = submitted(slurm, store, pause="0.1")
    slurm("scancel", job)
    slurm.until(lambda: slurm.fact(job, "JobState") == "CANCELLED", job=job)
    ray_is_over(slurm)
    log = slurm.log(job)
    assert "the job is cancelled" in log and "putting job" not in log and "would wait for that node" not in log, log
    assert slurm.fact(job, "Restarts") == "0"
    assert list(store.glob(f"pretrain_small/*.partial/{WORK}/checkpoint.pt"))
    assert not list(store.glob("*/*.claim"))
    assert not list(slurm.home.glob(".mss-slurm-*"))


@pytest.mark.parametrize(("token", "seconds"), [("none", 30), ("another", 120)])
def test_a_node_without_the_token_is_named(slurm: Slurm, token: str, seconds: float) -> None:
    """Within 30 s; where it has another token Ray asks for more than a minute, with a line per second that says so.
    Counted from when Ray runs on the first node, if it does before the second is refused."""
    slurm.lab.on(2, f"mount -t tmpfs tmpfs {slurm.home}/.ray")
    if token == "another":
        slurm.lab.on(2, f"printf 0123456789abcdef0123456789abcdef > {slurm.home}/.ray/auth_token")
    try:
        job = slurm.submit(str(STUDY), "--store", str(slurm.folder / "refused"), PYTHONPATH=str(REPOSITORY))
        refused = "Ray ended on node node2"
        slurm.until(lambda: "Ray runtime started" in slurm.log(job) or refused in slurm.log(job), job=job)
        slurm.until(lambda: refused in slurm.log(job), seconds, job)
        slurm.until(lambda: slurm.fact(job, "JobState") == "FAILED", 90, job)
        assert slurm.fact(job, "ExitCode") == "1:0" and "token" in slurm.log(job), slurm.log(job)
    finally:
        slurm.lab.on(2, f"umount {slurm.home}/.ray")
