"""Slurm with several nodes, each with fake GPUs, on machines made of namespaces.

The machines are those of ``tests.cluster.lab``. Slurm, munge, the queue and the steps are real; a GPU is a file, which
is all that Slurm looks at. The home folder of a job is shared by the nodes, as it is on a cluster.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster import lab
from tests.cluster.lab import Lab, address
from tests.conftest import REPOSITORY

NEEDED = ("slurmctld", "slurmd", "sbatch", "scontrol", "munged")
GPUS = 2
"""Per node."""

CONFIGURATION = """
ClusterName=lab
SlurmctldHost=node1({head})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=/tmp/munge/socket
StateSaveLocation={folder}/state
SlurmdSpoolDir=/tmp/slurmd
SlurmctldPidFile=/tmp/slurmctld.pid
SlurmdPidFile=/tmp/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobCompType=jobcomp/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
GresTypes=gpu
ReturnToService=2
KillWait=30
SlurmdParameters=config_overrides
{nodes}
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
START = """
set -e
mkdir -p /tmp/munge /tmp/slurmd
chmod 755 /tmp/munge
mount --bind {folder}/hosts /etc/hosts
munged --key-file {folder}/munge.key --socket /tmp/munge/socket --log-file /tmp/munge/log --pid-file /tmp/munge/pid \\
    --seed-file /tmp/munge/seed
[ "$(hostname)" != node1 ] || slurmctld -f {folder}/slurm.conf
slurmd -f {folder}/slurm.conf
"""


def why_not() -> str:
    """Why there can be no such Slurm here; empty where there can."""
    if problem := lab.why_not((*lab.NEEDED, *NEEDED)):
        return problem.replace("util-linux)", "util-linux slurmctld slurmd slurm-client munge)")
    return ""


class Slurm:
    """Slurm on all machines of a lab; ``home`` is the folder that jobs start in, and the home of their user."""

    def __init__(self, machines: Lab) -> None:
        self.lab, self.folder = machines, machines.folder
        self.home = self.folder / "home"
        self.home.mkdir()
        (self.home / ".venv").symlink_to(REPOSITORY / ".venv")
        for gpu in range(GPUS):
            (self.folder / f"gpu{gpu}").touch()
        numbers = range(1, machines.nodes + 1)
        hosts = ["127.0.0.1 localhost", *(f"{address(number)} node{number}" for number in numbers)]
        (self.folder / "hosts").write_text("\n".join(hosts) + "\n")
        nodes = "\n".join(
            f"NodeName=node{number} NodeAddr={address(number)} CPUs=4 RealMemory=2000 Gres=gpu:{GPUS} State=UNKNOWN"
            for number in numbers
        )
        text = CONFIGURATION.format(folder=self.folder, head=address(1), nodes=nodes)
        (self.folder / "slurm.conf").write_text(text)
        (self.folder / "gres.conf").write_text(f"Name=gpu File={self.folder}/gpu[0-{GPUS - 1}]\n")
        (self.folder / "munge.key").write_bytes(os.urandom(1024))
        (self.folder / "munge.key").chmod(0o600)
        (self.folder / "start").write_text(START.format(folder=self.folder))
        for number in numbers:
            done = machines.on(number, f"bash {self.folder}/start")
            assert done.returncode == 0, done.stdout + done.stderr
        self.until(lambda: self("sinfo", "-h", "-o", "%T %D").split() == ["idle", str(machines.nodes)], 60)

    def __call__(self, *words: str) -> str:
        """What a command says that a user types on the first node."""
        script = self.folder / "typed"
        script.write_text(f"cd {self.home} && export HOME={self.home} && {shlex.join(words)}\n")
        done: subprocess.CompletedProcess[str] = self.lab.on(1, f"SLURM_CONF={self.folder}/slurm.conf bash {script}")
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def until(self, reached: Callable[[], object], seconds: float = 600, job: str = "") -> None:
        deadline = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < deadline, self.story(job)
            time.sleep(0.2)

    def log(self, job: str) -> str:
        """What the job has written so far."""
        path = self.home / f"mss-{job}.log"
        return path.read_text() if path.exists() else ""

    def fact(self, job: str, name: str) -> str:
        """A field of ``scontrol show job``."""
        found = re.search(rf"\b{name}=(\S+)", self("scontrol", "show", "job", job))
        return found[1] if found else ""

    def story(self, job: str) -> str:
        shown = [self("sinfo"), self("squeue"), (self.folder / "slurmctld.log").read_text()[-2000:]]
        return "\n".join([*shown, self("scontrol", "show", "job", job), self.log(job)] if job else shown)

    def submit(self, *words: str, **variables: str) -> str:
        """The number of a job of the shipped script on all nodes, with all their GPUs and half of their cores."""
        size = (f"--nodes={self.lab.nodes}", "--cpus-per-task=2", f"--gpus-per-node={GPUS}")
        given = [f"{name}={value}" for name, value in variables.items()]
        script = REPOSITORY / "cluster" / "slurm.sbatch"
        return self("env", *given, "sbatch", "--parsable", *size, str(Path(script)), *words).strip()

    def clear(self) -> None:
        """Cancel what is left of a test that failed, so that the next one finds the nodes free."""
        self("scancel", "--user=root")
        self.until(lambda: not self("squeue", "-h").strip(), 120)

    def processes(self, number: int) -> str:
        """The command lines that run on a node."""
        return str(self.lab.on(number, "ps -eo args").stdout)
