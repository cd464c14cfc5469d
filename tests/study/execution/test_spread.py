"""What is done to copy the head's checkout to other nodes, and to start a machine that came back."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from mss_core.study.execution import spread

CLUSTER = {
    "provider": {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2", "10.0.0.3"]},
    "auth": {"ssh_user": "me"},
    "rsync_exclude": ["**/.git"],
    "file_mounts": {"~/mss": "~/mss", "~/.ray/auth_token": "~/.ray/auth_token"},
    "worker_setup_commands": ["cd ~/mss && make setup"],
    "worker_start_ray_commands": ["ray stop", "ray start --address=$RAY_HEAD_IP:6379"],
}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch) -> list[str]:
    """The commands of a call of ``main``, on a head that sees 10.0.0.2 alone; those to 10.0.0.9 fail."""
    seen: list[str] = []

    def run(command, **options):
        seen.append(shlex.join(command))
        return subprocess.CompletedProcess(command, int("10.0.0.9" in seen[-1]))

    monkeypatch.setattr(spread.subprocess, "run", run)
    monkeypatch.setattr(spread.joining, "addresses", lambda: ("10.0.0.1", ["10.0.0.2"]))
    monkeypatch.setattr(spread.nodes, "cluster_file", lambda: CLUSTER)
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("secret")
    return seen


def test_living_nodes_get_the_checkout_and_missing_ones_are_started(calls: list[str], tmp_path: Path) -> None:
    assert spread.main() == 0
    folder = Path(spread.__file__).resolve().parents[3]
    for node in ("me@10.0.0.2", "me@10.0.0.3"):
        assert any(call.startswith("rsync") and call.endswith(f"{folder}/ {node}:{folder}/") for call in calls)
        assert any(f"{node}:{tmp_path}/.ray/auth_token" in call for call in calls)
    assert all("--exclude '**/.git'" in call for call in calls if call.startswith("rsync"))
    started = [call for call in calls if "bash --login" in call]
    assert all("me@10.0.0.3" in call for call in started) and len(started) == 3
    assert "make setup" in started[0] and "ray stop" in started[1]
    assert "export RAY_HEAD_IP=10.0.0.1" in started[2] and "ray start --address=" in started[2]


def test_a_node_that_cannot_be_reached_is_named(calls: list[str], monkeypatch, capsys) -> None:
    monkeypatch.setattr(spread.joining, "addresses", lambda: ("10.0.0.1", ["10.0.0.2", "10.0.0.3", "10.0.0.9"]))
    assert spread.main() == 1
    assert "copied to 2 nodes, not to 10.0.0.9" in capsys.readouterr().err
    assert sum("10.0.0.9" in call for call in calls) == 1
