"""A study's stages on a cluster whose nodes with GPUs come when they are asked for; Ray's fake autoscaler starts them.

    python -m tests.cluster.autoscaled FOLDER v1|v2|none

Run inside PID, mount and network namespaces: it ends every Ray process that it sees. Prints one line of JSON.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from mss_core.graph import Context, Stage, walk
from mss_core.store import Store
from mss_core.study.plan import Plan
from mss_core.study.progress import Board
from tests.chaos.work import process_number_training
from tests.cluster.lab import _private

HEAD = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
"""The number that Ray's fake autoscaler gives the head."""

CONFIG: dict[str, Any] = {
    "cluster_name": "fake",
    "max_workers": 2,
    "upscaling_speed": 10.0,
    "idle_timeout_minutes": 5,
    "provider": {
        "type": "external",
        "module": "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    },
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 2}, "node_config": {}, "max_workers": 0},
        "gpu": {"resources": {"CPU": 2, "GPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 2},
    },
    "head_node_type": "ray.head.default",
    "auth": {},
    **{f"{whose}setup_commands": [] for whose in ("", "head_", "worker_")},
    **{f"{whose}_start_ray_commands": [] for whose in ("head", "worker")},
    **{name: {} for name in ("file_mounts", "docker")},
    **{name: [] for name in ("initialization_commands", "cluster_synced_files", "rsync_exclude", "rsync_filter")},
}


def main(folder: Path, version: str) -> None:
    import ray

    from mss_core.study.execution import stages_on_ray

    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    _private(folder / "here")
    words = [str(Path(sys.executable).with_name("ray")), "start", "--head", "--num-cpus=2", "--num-gpus=0"]
    environment = {"AUTOSCALER_UPDATE_INTERVAL_S": "1", "RAY_FAKE_CLUSTER": "1"}
    told = dict(CONFIG)
    if version == "v2":
        told["provider"] = {**CONFIG["provider"], "launch_multiple": True, "head_node_id": HEAD}
        environment |= {"RAY_enable_autoscaler_v2": "1", "RAY_CLOUD_INSTANCE_ID": HEAD}
        environment |= {"RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD}
    if version != "none":
        (folder / "autoscaler.json").write_text(json.dumps(told))
        words.append(f"--autoscaling-config={folder / 'autoscaler.json'}")
    subprocess.run(words, check=True, env={**os.environ, **environment}, stdout=sys.stderr)
    ray.init("auto", log_to_driver=False)
    before = ray.cluster_resources().get("GPU", 0)
    ray.shutdown()
    stages = walk([Stage(process_number_training, number=number) for number in range(4)])
    store = Store(folder / "store")
    board = Board(stages, store, io.StringIO())
    stages_on_ray.execute(Plan([], stages, set(), list(stages), {}), store, Context(), board)
    ray.init("auto", log_to_driver=False, ignore_reinit_error=True)
    nodes = [node for node in ray.nodes() if node["Resources"].get("GPU")]
    left = [(store.directory(stage) / "process.txt").read_text() for stage in stages.values()]
    print(board.out.getvalue(), file=sys.stderr)
    print(json.dumps({"before": before, "states": sorted(board.state.values()), "nodes": len(nodes), "left": left}))
    ray.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
