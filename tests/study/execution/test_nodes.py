"""What is asked of a cluster before a study starts: how many nodes, one store, room for every stage, GPU shares."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import yaml

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
    said = nodes.too_few(["10.0.0.1", "10.0.0.3"], 3, LOCAL)
    assert "2 of 3 nodes have joined the cluster (10.0.0.1, 10.0.0.3; not 10.0.0.2)" in said and "auth_token" in said


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
    [REPOSITORY / "ray_cluster.yaml", *sorted((REPOSITORY / "cluster").glob("*.yaml"))],
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
