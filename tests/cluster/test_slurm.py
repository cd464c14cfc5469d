"""The Slurm script with stand-ins for Slurm, Ray and the study: what it starts, stops and puts back into the queue."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

STAND_INS = {
    "scontrol": 'if [ "$1" = show ]; then printf "n1\\nn2\\nn3\\n"; else echo "scontrol $*" >> "$CALLS"; fi',
    "srun": 'echo "srun $*" >> "$CALLS"; while [ "${1#-}" != "$1" ]; do [ "$1" = -w ] && shift; shift; done; exec "$@"',
    "ray": 'echo "ray $*" >> "$CALLS"; case "$1" in health-check) [ ! -e "$CALLS.silent" ]; exit;; '
    'start) case "$*" in *--head*) ;; *) [ -e "$CALLS.broken" ] && exit 1;; esac; exec sleep 600;; esac',
    "getent": 'echo "127.0.1.1 STREAM $2"; echo "10.9.8.7 STREAM $2"',
    # As a study waits for its nodes.
    "python": 'until [ -e "$CALLS.broken" ] || [ "$(grep -c "^ray start" "$CALLS")" = "$MSS_NODES" ]\n'
    "do sleep 0.05; done\n"
    'echo "python $* RAY_ADDRESS=$RAY_ADDRESS MSS_NODES=$MSS_NODES" >> "$CALLS"\n'
    'trap "echo checkpoint >> $CALLS; exit 130" TERM\n'
    '[ "$1" = fail ] && exit 1\n[ "$1" = quick ] && exit 0\n'
    'touch "$CALLS.running"; for i in $(seq 600); do sleep 0.1; done',
}


@pytest.fixture
def job(tmp_path: Path):
    """Start the script as Slurm would; returns the process and the file of calls."""
    stand_ins = tmp_path / "bin"
    stand_ins.mkdir()
    for name, body in STAND_INS.items():
        (stand_ins / name).write_text(f"#!/bin/bash\n{body}\n")
        (stand_ins / name).chmod(0o755)
    calls = tmp_path / "calls"
    environment = {
        "PATH": f"{stand_ins}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "CALLS": str(calls),
        "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_ID": "70007",
        "SLURM_JOB_NUM_NODES": "3",
        "SLURM_JOB_NODELIST": "n[1-3]",
        "SLURM_GPUS_ON_NODE": "4",
        "SLURM_CPUS_PER_TASK": "16",
    }
    started: list[subprocess.Popen] = []

    def start(*words: str, **more: str) -> tuple[subprocess.Popen, Path]:
        script = REPOSITORY / "cluster" / "slurm.sbatch"
        started.append(
            subprocess.Popen(
                ["bash", str(script), *words],
                env={**environment, **more},
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        )
        return started[-1], calls

    yield start
    for process in started:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def group(process: subprocess.Popen) -> list[int]:
    """Living processes of a job's session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == process.pid and fields[0] != "Z":
            found.append(int(folder.name))
    return found


def ended(process: subprocess.Popen) -> bool:
    deadline = time.monotonic() + 20
    while group(process) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not group(process)


@pytest.mark.parametrize(("what", "status"), [("quick", 0), ("fail", 1)])
def test_a_study_that_ends_ends_the_job(job, what: str, status: int) -> None:
    process, calls = job(what, "--store", "/shared/store")
    said = process.communicate(timeout=60)[0]
    assert process.returncode == status, said
    lines = calls.read_text().splitlines()
    assert f"python {what} --store /shared/store RAY_ADDRESS=10.9.8.7:28056 MSS_NODES=3" in lines
    steps = [line for line in lines if line.startswith("srun")]
    assert len(steps) == 3 and all("--cpus-per-task=16" in line for line in steps)
    starts = [line for line in lines if line.startswith("ray start")]
    assert len(starts) == 3 and sum("--head --node-ip-address=10.9.8.7 --port=28056" in line for line in starts) == 1
    assert all("--num-gpus=4" in line and "--num-cpus=16" in line and "--block" in line for line in starts)
    used = [int(number) for line in starts for number in re.findall(r"-port=(\d+)", line) if number != "0"]
    assert set(used) <= set(range(28056, 28064))
    assert not any(line.startswith("scontrol requeue") for line in lines)
    assert ended(process)


def running(process: subprocess.Popen, calls: Path) -> None:
    deadline = time.monotonic() + 60
    while not Path(f"{calls}.running").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)


def test_before_the_time_limit_it_checkpoints_and_goes_back_into_the_queue(job) -> None:
    process, calls = job("long")
    running(process, calls)
    process.send_signal(signal.SIGUSR1)  # Slurm signals the script alone: --signal=B:USR1@300
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "putting job 70007 back into the queue" in said
    lines = calls.read_text().splitlines()
    assert lines.index("checkpoint") < lines.index("scontrol requeue 70007")
    assert ended(process)


def test_scancel_ends_the_job(job) -> None:
    """It was put back into the queue, and had to be cancelled again there."""
    process, calls = job("long")
    running(process, calls)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    lines = calls.read_text().splitlines()
    assert process.returncode == 130 and "checkpoint" in lines and "scontrol requeue 70007" not in lines
    assert ended(process)


@pytest.mark.parametrize(("number", "back"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_a_signal_while_ray_starts_is_heard(job, tmp_path: Path, number: int, back: bool) -> None:
    """It ended with 143 and was not put back."""
    Path(tmp_path / "calls.silent").touch()
    process, calls = job("long")
    deadline = time.monotonic() + 60
    while not calls.exists() or "ray health-check" not in calls.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=60)
    lines = calls.read_text().splitlines()
    assert process.returncode == 130 and ("scontrol requeue 70007" in lines) is back
    assert not any(line.startswith("python") for line in lines)


def test_a_node_where_ray_does_not_start_ends_the_job_and_is_named(job, tmp_path: Path) -> None:
    Path(tmp_path / "calls.broken").touch()
    process, calls = job("long")
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and re.search("Ray ended on node n[23]", said), said
    assert not any(line.startswith("scontrol requeue") for line in calls.read_text().splitlines())
    assert ended(process)


def test_a_head_that_gives_no_answer_ends_the_job(job, tmp_path: Path) -> None:
    Path(tmp_path / "calls.silent").touch()
    process, _ = job("long", MSS_START_SECONDS="3")
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 1 and "Ray on n1 (10.9.8.7:28056) gave no answer in 3 s" in said
    assert ended(process)


def test_a_job_without_progress_is_put_back_twice_and_one_with_progress_always(job, tmp_path: Path) -> None:
    def once(progress: bool) -> bool:
        (tmp_path / "calls").unlink(missing_ok=True)
        (tmp_path / "calls.running").unlink(missing_ok=True)
        process, calls = job("long", "--store", str(tmp_path / "store"))
        running(process, calls)
        if progress:
            artefact = tmp_path / "store" / "stage" / f"key{time.time_ns()}"
            artefact.mkdir(parents=True)
            (artefact / "manifest.json").touch()
        process.send_signal(signal.SIGUSR1)
        process.communicate(timeout=60)
        return "scontrol requeue 70007" in calls.read_text().splitlines()

    assert [once(progress) for progress in (True, False, False, True, False, False, False)] == [True] * 6 + [False]


def test_what_slurm_is_asked_for() -> None:
    text = (REPOSITORY / "cluster" / "slurm.sbatch").read_text()
    assert "#SBATCH --signal=B:USR1@300" in text and "MSS_STOP_SECONDS:-120" in text and "#SBATCH --requeue" in text
    assert "umask 077" in text
