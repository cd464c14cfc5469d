"""The set-up commands of the shipped cluster files, as they are: on a bare machine, and on several kinds of ~/.bashrc.

A machine in a namespace has no network. Its user's pip.conf and uv.toml point to the files of this machine instead, as
at a site with a mirror; the commands know nothing of it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from tests.cluster.lab import Lab, why_not
from tests.cluster.test_ray_submit import BIN, FLAGS, LAPTOP, cluster_file
from tests.conftest import REPOSITORY

FILES = ["ray_cluster.yaml", "cluster/aws.yaml", "cluster/gcp.yaml"]
REAL = Path(sys.base_prefix) / "bin"


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize(
    "before", [None, "", "case $- in *i*) ;; *) return;; esac\nexport MINE=1\n", "export PATH=/opt/pyenv/bin:$PATH\n"]
)
def test_every_shell_of_a_node_finds_the_project_s_python(file: str, before: str | None, tmp_path: Path) -> None:
    """Where ~/.bashrc was empty or not there nothing was added; where it puts a Python in front, that was found."""
    commands = yaml.safe_load((REPOSITORY / file).read_text())["setup_commands"]
    install, *others = [command for command in commands if "pip install" not in command]
    assert install == "cd ~/mss && make setup" and others
    if before is not None:
        (tmp_path / ".bashrc").write_text(before)
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}

    def shell(command: str) -> str:
        words = ["bash", "-c", command]
        return subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout

    for command in others * 2:  # `ray up` runs them again
        shell(command)
    told = shell('source ~/.bashrc; echo "$PATH $RAY_AUTH_MODE"')
    assert told.startswith(f"{tmp_path}/mss/.venv/bin:") and told.endswith(":/usr/bin:/bin token\n")
    text = (tmp_path / ".bashrc").read_text()
    assert text.count("mss/.venv") == 2 and (before or "\n") in text


def packages(home: Path) -> str:
    """Gives the user of a machine the packages that this machine has; says why that cannot be."""
    wheels = home / "wheels"
    uv = BIN / "uv"
    if not uv.exists():
        return "needs uv, as make setup installs it"
    fetched = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        + ["-r", str(REPOSITORY / "tools" / "uv.txt"), "-d", str(wheels)],
        capture_output=True,
        text=True,
    )
    if fetched.returncode:
        return f"uv's own file is not to be had: {fetched.stderr.strip().splitlines()[-1]}"
    cache = Path(subprocess.run([uv, "cache", "dir"], check=True, capture_output=True, text=True).stdout.strip())
    subprocess.run(["python3.11", "-m", "venv", "--without-pip", str(home / "trial")], check=True)
    trial = [uv, "pip", "install", "--quiet", "--offline", "--dry-run", "--require-hashes"]
    trial += ["--python", home / "trial" / "bin" / "python", "-r", REPOSITORY / "tools" / "locked.txt"]
    tried = subprocess.run(trial, capture_output=True, text=True)
    shutil.rmtree(home / "trial")
    if tried.returncode:
        return f"uv's cache has not every locked package: {tried.stderr.strip().splitlines()[-1]}"
    (home / ".cache").mkdir(exist_ok=True)
    shutil.copytree(cache, home / ".cache" / "uv", copy_function=_linked, symlinks=True)
    for name, text in {
        "pip/pip.conf": "[global]\nno-index = true\nfind-links = /root/wheels\n",
        "uv/uv.toml": "offline = true\n",
    }.items():
        (home / ".config" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / ".config" / name).write_text(text)
    return ""


def _linked(source: str, target: str) -> None:
    """One file under two names where they are on one disk: the cache has gigabytes."""
    try:
        Path(target).hardlink_to(source)
    except OSError:
        shutil.copy2(source, target)


@pytest.mark.chaos
@pytest.mark.timeout(2400)
@pytest.mark.skipif(bool(why_not()), reason=f"no machines of our own here: {why_not()}")
def test_the_shipped_file_installs_a_bare_machine_and_runs_a_study_there() -> None:
    """What docs/cluster.md says to type, with the lines marked EDIT edited."""
    folder = Path(tempfile.mkdtemp(prefix="lab"))
    home = folder / "node1" / "root"
    home.mkdir(parents=True)
    if problem := packages(home):
        shutil.rmtree(folder)
        pytest.skip(problem)
    (home / ".bashrc").write_text(f"export PATH={REAL}:$PATH\n")  # a machine with a Python 3.11, and nothing else
    try:
        with Lab(folder, 1) as lab:
            assert lab.on(1, "command -v ray uv torchrun").stdout == ""
            file = cluster_file(folder, 1, installed=False)
            shipped = yaml.safe_load((REPOSITORY / "ray_cluster.yaml").read_text())
            assert yaml.safe_load(file.read_text())["setup_commands"] == shipped["setup_commands"]
            tool = ["bash", str(REPOSITORY / "tools" / "cluster.sh")]
            up = lab.run([*tool, "up", str(file)], 1200, **LAPTOP)
            assert up.returncode == 0, up.stdout[-4000:] + up.stderr[-4000:]
            assert lab.on(1, "command -v ray python").stdout.split() == [
                f"/root/mss/.venv/bin/{name}" for name in ("ray", "python")
            ]
            flags = ["--smoke", "--seeds", "1", *FLAGS, "--only", "drums", "--store", str(folder / "store")]
            study = str(REPOSITORY / "studies" / "source_ablation.py")
            done = lab.run([*tool, "submit", str(file), study, *flags], 1200, **LAPTOP)
            assert done.returncode == 0 and "stages executed" in done.stdout + done.stderr, done.stdout[-4000:]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
