"""The Slurm script with stand-ins for Slurm, Ray and the study: what it starts, stops and puts back into the queue."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

STAND_INS = {
    "scontrol": 'if [ "$1" = show ]; then printf "n1\\nn2\\nn3\\n"; else echo "scontrol $*" >> "$CALLS"; fi',
    "srun": 'echo "srun $*" >> "$CALLS"; while [ "${1#-}" != "$1" ]; do [ "$1" = -w ] && shift; shift; done; exec "$@"',
    "ray": 'case "$1" in start) exec sleep 600;; health-check) exit 0;; esac; echo "ray $*" >> "$CALLS"',
    "python": 'until [ "$(grep -c ^srun "$CALLS")" = "$MSS_NODES" ]; do sleep 0.05; done\n'  # as a study waits
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

    def start(*words: str) -> tuple[subprocess.Popen, Path]:
        script = REPOSITORY / "cluster" / "slurm.sbatch"
        started.append(
            subprocess.Popen(
                ["bash", str(script), *words],
                env=environment,
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
    assert f"python {what} --store /shared/store RAY_ADDRESS=n1:30007 MSS_NODES=3" in lines
    starts = [line for line in lines if line.startswith("srun")]
    assert len(starts) == 3 and sum("--head --port=30007" in line for line in starts) == 1
    assert all("--num-gpus=4" in line and "--num-cpus=16" in line and "--block" in line for line in starts)
    assert not any(line.startswith("scontrol requeue") for line in lines)
    assert ended(process)


def test_before_the_time_limit_it_checkpoints_and_goes_back_into_the_queue(job) -> None:
    process, calls = job("long")
    deadline = time.monotonic() + 60
    while not Path(f"{calls}.running").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)  # Slurm signals the script alone: --signal=B:TERM@300
    said = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "putting job 70007 back into the queue" in said
    lines = calls.read_text().splitlines()
    assert lines.index("checkpoint") < lines.index("scontrol requeue 70007")
    assert ended(process)


def test_the_signal_comes_to_the_script_in_time() -> None:
    text = (REPOSITORY / "cluster" / "slurm.sbatch").read_text()
    assert "#SBATCH --signal=B:TERM@300" in text and "MSS_STOP_SECONDS:-120" in text and "#SBATCH --requeue" in text
