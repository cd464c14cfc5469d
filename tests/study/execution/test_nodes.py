"""What is asked of a cluster before a study starts: how many nodes, one store, room for every stage, GPU shares."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import yaml

from mss_core.study import variables
from mss_core.study.execution import nodes
from tests.conftest import REPOSITORY

LOCAL = {
    "provider": {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2", "10.0.0.3"]},
    "max_workers": 2,
    "head_node_type": "local.cluster.node",
    "available_node_types": {"local.cluster.node": {"min_workers": 2, "max_workers": 2}},
}
CLOUD = {
    "provider": {"type": "aws"},
    "max_workers": 8,
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 8}},
        "gpu": {"resources": {"CPU": 8, "GPU": 1}, "min_workers": 2, "max_workers": 8},
        "spot": {"resources": {"CPU": 16, "GPU": 4}, "max_workers": 4},
    },
}


@pytest.mark.parametrize(("cluster", "expected"), [(LOCAL, 3), (LOCAL | {"max_workers": 1}, 2), (CLOUD, 3), ({}, 0)])
def test_a_study_waits_for_the_nodes_that_the_cluster_file_starts_with(monkeypatch, cluster, expected) -> None:
    monkeypatch.delenv("MSS_NODES", raising=False)
    assert nodes.expected_nodes(cluster) == expected
    monkeypatch.setenv("MSS_NODES", "5")
    assert nodes.expected_nodes(cluster) == 5
    monkeypatch.setenv("MSS_NODES", "all")
    with pytest.raises(ValueError, match="MSS_NODES=all is not a number of nodes"):
        nodes.expected_nodes(cluster)


def test_gpus_that_an_autoscaler_may_add_count_as_room() -> None:
    assert nodes.possible_nodes(CLOUD) == [{"CPU": 8, "GPU": 1}, {"CPU": 16, "GPU": 4}]
    assert nodes.possible_nodes(LOCAL) == [] == nodes.possible_nodes({})


def test_missing_nodes_are_named() -> None:
    joined = ["10.0.0.1", "10.0.0.3"]
    absent = nodes.missing(joined, LOCAL)
    assert absent == ["10.0.0.2"] and nodes.missing(joined, CLOUD) == []
    said = nodes.too_few(nodes.awaited(joined, 3, absent, {}))
    assert "2 of 3 nodes have joined the cluster (10.0.0.1, 10.0.0.3; not 10.0.0.2)" in said and "--nodes N" in said
    told = nodes.awaited(joined, 3, absent, {"10.0.0.2": "SSH does not reach it"})
    assert told.endswith("not 10.0.0.2 (SSH does not reach it))")


MISMATCH = """RuntimeError: Version mismatch: The cluster was started with:
    Ray: 2.60.0
    Python: 3.11.7
This process on 10.0.0.3 was started with:
    Ray: 2.59.1
    Python: 3.11.7
"""


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (MISMATCH, "it has other versions: Ray 2.59.1 and Python 3.11.7, here Ray 2.60.0 and Python 3.11.7"),
        ("Local node IP: 10.0.0.3\nInvalidAuthToken: Authentication token is wrong\n", "auth_token is not the head's"),
        ("ssh: connect to host 10.0.0.3 port 22: No route to host\n", "SSH does not reach it"),
        ("ssh -tt root@10.0.0.3 ray stop\nroot@10.0.0.3: Permission denied (publickey).\n", "SSH refuses user or key"),
        ("ssh root@10.0.0.3 ...\nbash: line 1: ray: command not found\n", "`ray` is not on the PATH there"),
        (MISMATCH + "Local node IP: 10.0.0.3\nRay runtime started.\n", None),
        ("", None),
    ],
)
def test_the_likely_cause_of_a_missing_node_is_looked_up(tmp_path: Path, log: str, cause: str | None) -> None:
    (tmp_path / "monitor.out").write_text("ssh root@10.0.0.2 ray start\nRay runtime started.\n" + log)
    for absent in (["10.0.0.3"], ["10.0.0.2", "10.0.0.3"]):
        found = nodes.looked_up(tmp_path, absent)
        assert found.keys() == ({"10.0.0.3"} if cause else set())
        assert cause is None or cause in found["10.0.0.3"]


def test_flags_set_what_variables_would(monkeypatch) -> None:
    monkeypatch.setenv("MSS_NODES", "7")
    monkeypatch.delenv("MSS_NODES_SECONDS", raising=False)
    with variables.given({"MSS_NODES": 2, "MSS_NODES_SECONDS": 15.0}):
        assert nodes.expected_nodes(LOCAL) == 2 and variables.seconds("MSS_NODES_SECONDS") == 15
    with variables.given({"MSS_NODES": None, "MSS_NODES_SECONDS": None}):
        assert nodes.expected_nodes(LOCAL) == 7 and variables.seconds("MSS_NODES_SECONDS") == 600


def test_the_probe_tells_a_shared_folder_from_others(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(nodes, "appears", lambda path: path.exists())
    store, other = tmp_path / "store", tmp_path / "other"
    mark = nodes.leave_mark(store)
    assert nodes.answer_mark(store, mark, "a", {}, {}) == ""
    assert nodes.answer_mark(store, mark, "b", {"stems": tmp_path / "nowhere"}, {}) == (
        f"it does not have data set 'stems' ({tmp_path / 'nowhere'})"
    )
    assert nodes.answer_mark(other, mark, "c", {}, {}) == f"there is no such folder as {other}"
    other.mkdir()
    assert nodes.answer_mark(other, mark, "c", {}, {}) == f"{other} is another folder there"
    nodes.leave_mark(other)
    assert nodes.answer_mark(other, mark, "c", {}, {}) == f"{other} is another folder there"
    assert nodes.read_answers(store, mark, ["a", "b", "c"]) == ["c"]
    assert not list((store / nodes.MARKS).iterdir())
    said = nodes.unshared(store, {"gpu2 (10.0.0.2)": "there is no such folder"})
    assert f"see the store {store} as one folder" in said
    assert "\n  node gpu2 (10.0.0.2): there is no such folder" in said


def test_a_late_listing_is_waited_for(tmp_path: Path) -> None:
    timer = threading.Timer(0.5, (tmp_path / "late").touch)
    timer.start()
    assert nodes.appears(tmp_path / "late", seconds=20)
    assert not nodes.appears(tmp_path / "never", seconds=0.1)


# ---- the cluster files


@pytest.mark.parametrize(
    "path",
    [REPOSITORY / name for name in ("ray_cluster.yaml", "cluster/aws.yaml", "cluster/gcp.yaml")],
    ids=lambda path: path.name,
)
def test_cluster_files_are_what_ray_accepts(path: Path, monkeypatch) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    validate_config(prepare_config(content))
    assert "~/.ray/auth_token" in content["file_mounts"]
    assert {"**/.git", "**/.venv", "/store*"} <= set(content["rsync_exclude"])
    assert any("RAY_AUTH_MODE=token" in line for line in content["setup_commands"])
    if content["provider"]["type"] != "local":
        monkeypatch.delenv("MSS_NODES", raising=False)
        assert nodes.possible_nodes(content) and nodes.expected_nodes(content) >= 1
        assert any("GPU" in node for node in nodes.possible_nodes(content))
