"""The Slurm script under a real Slurm on one machine in namespaces: what ``scancel`` and the time limit do to a job.

Ray and the study are stand-ins; Slurm, its signals, its queue and its steps are not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

NEEDED = ("slurmctld", "slurmd", "sbatch", "scontrol", "munged", "unshare", "nsenter", "ip")
MISSING = [name for name in NEEDED if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None]
UNSHARE = ["unshare", "-n", "-m", "-p", "-u", "-f", "--mount-proc"]


def why_not() -> str:
    if MISSING:
        return f"needs {', '.join(MISSING)} (apt-get install slurmctld slurmd slurm-client munge iproute2 util-linux)"
    if os.geteuid():
        return "needs root"
    return (
        "this system allows no namespaces" if subprocess.run([*UNSHARE, "true"], capture_output=True).returncode else ""
    )


pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900), pytest.mark.skipif(bool(why_not()), reason=why_not())]

CONFIGURATION = """
ClusterName=lab
SlurmctldHost=node1
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobCompType=jobcomp/none
ReturnToService=2
KillWait=30
SlurmdParameters=config_overrides
NodeName=node1 NodeAddr=10.99.0.1 CPUs=4 RealMemory=512 State=UNKNOWN
PartitionName=all Nodes=node1 Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""
START = """
set -e
export PATH=$PATH:/usr/sbin:/sbin
hostname node1
ip link set lo up
ip link add br0 type bridge
ip address add 10.99.0.1/24 dev br0
ip link set br0 up
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir -p /run/munge {folder}/state {folder}/spool {folder}/etc {folder}/munge
printf '127.0.0.1 localhost\\n10.99.0.1 node1\\n' > {folder}/hosts
mount --bind {folder}/hosts /etc/hosts
mkdir -p /etc/slurm
mount --bind {folder}/etc /etc/slurm
cp {folder}/slurm.conf /etc/slurm/slurm.conf
head -c 1024 /dev/urandom > {folder}/munge/key
chown -R munge /run/munge {folder}/munge
chmod 700 {folder}/munge
chmod 600 {folder}/munge/key
chmod 755 /run/munge {folder}
setpriv --reuid munge --regid munge --clear-groups munged --key-file {folder}/munge/key --log-file {folder}/munge/log \\
    --pid-file {folder}/munge/pid --seed-file {folder}/munge/seed
slurmctld
slurmd
touch {folder}/ready
while :; do sleep 1; done
"""
STAND_INS = {
    "ray": 'case "$1" in start) exec sleep 600;; esac',
    "python": 'trap "echo checkpoint >> study; exit 130" TERM; echo started >> study\n'
    "for i in $(seq 600); do sleep 0.1; done",
}


@pytest.fixture(scope="module")
def slurm() -> Iterator[Callable[..., str]]:
    """Run a command where Slurm is; in a folder with stand-ins for Ray and the study."""
    folder = Path(tempfile.mkdtemp(prefix="slurm"))
    (folder / "slurm.conf").write_text(CONFIGURATION.format(folder=folder))
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name, body in STAND_INS.items():
        (folder / ".venv" / "bin" / name).write_text(f"#!/bin/bash\n{body}\n")
        (folder / ".venv" / "bin" / name).chmod(0o755)
    outer = subprocess.Popen([*UNSHARE, "bash", "-c", START.format(folder=folder)], stderr=(folder / "err").open("w"))
    try:
        deadline = time.monotonic() + 60
        while not (folder / "ready").exists():
            assert outer.poll() is None and time.monotonic() < deadline, (folder / "err").read_text()
            time.sleep(0.1)
        inner = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()[0]

        def run(*words: str) -> str:
            done = subprocess.run(
                ["nsenter", "-t", inner, "-n", "-m", "-p", "-u", f"--wd={folder}", *words],
                capture_output=True,
                text=True,
                timeout=120,
                env={
                    "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin",
                    "HOME": str(folder),
                    "SLURM_CONF": "/etc/slurm/slurm.conf",
                },
            )
            assert done.returncode == 0, done.stderr + done.stdout
            return done.stdout

        yield run
    finally:
        for child in Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split():
            os.kill(int(child), 9)  # the first process there: the kernel ends the others
        outer.wait()
        shutil.rmtree(folder, ignore_errors=True)


def submitted(slurm: Callable[..., str], *options: str) -> str:
    """The number of a job of the script that runs its study."""
    slurm("rm", "-f", "study")
    script = str(REPOSITORY / "cluster" / "slurm.sbatch")
    options = ("--nodes=1", "--cpus-per-task=1", "--gpus-per-node=0", *options)
    job = slurm("sbatch", "--parsable", *options, script, "study", "--store", "store").strip()
    until(slurm, job, lambda: "started" in slurm("bash", "-c", "cat study 2> /dev/null || true"))
    return job


def until(slurm: Callable[..., str], job: str, reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 90
    while not reached():
        log = "bash", "-c", f"cat mss-{job}.log slurmctld.log | tail -n 60; scontrol show job {job}; scontrol show node"
        assert time.monotonic() < deadline, slurm(*log)
        time.sleep(0.5)


def test_scancel_cancels_and_does_not_requeue(slurm) -> None:
    """It was put back into the queue, and had to be cancelled again there."""
    job = submitted(slurm, "--time=10")
    slurm("scancel", job)
    until(slurm, job, lambda: "JobState=CANCELLED" in slurm("scontrol", "show", "job", job))
    told = slurm("scontrol", "show", "job", job)
    assert "Restarts=0" in told
    until(slurm, job, lambda: "checkpoint" in slurm("cat", "study"))
    assert "putting job" not in slurm("cat", f"mss-{job}.log")


def test_the_time_limit_checkpoints_and_requeues(slurm) -> None:
    job = submitted(slurm, "--time=2", "--signal=B:USR1@110")
    until(slurm, job, lambda: "Restarts=1" in slurm("scontrol", "show", "job", job))
    assert "checkpoint" in slurm("cat", "study") and f"putting job {job} back" in slurm("cat", f"mss-{job}.log")
    slurm("scancel", job)
