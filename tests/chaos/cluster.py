"""A cluster of three nodes on one machine, with fake GPUs: started as a process of its own, so that it can be killed.

python -m tests.chaos.cluster       prints one JSON line, takes "add" on standard input, ends when that closes
"""

from __future__ import annotations

import json
import sys

from ray.cluster_utils import Cluster

NODE = {"num_cpus": 2, "num_gpus": 1, "object_store_memory": 80 * 2**20}
HEALTH = {
    "health_check_initial_delay_ms": 2000,
    "health_check_period_ms": 2000,
    "health_check_timeout_ms": 5000,
    "health_check_failure_threshold": 4,
}


def main() -> None:
    cluster = Cluster(
        initialize_head=True, head_node_args={**NODE, "include_dashboard": False, "_system_config": HEALTH}
    )
    workers = [cluster.add_node(**NODE) for _ in range(2)]
    cluster.wait_for_nodes()

    def raylet(node) -> int:
        return int(node.all_processes["raylet"][0].process.pid)

    def say() -> None:
        print(
            json.dumps(
                {
                    "address": cluster.address,
                    "raylets": [raylet(node) for node in workers],
                    "head": [
                        int(cluster.head_node.all_processes[name][0].process.pid) for name in ("gcs_server", "raylet")
                    ],
                }
            ),
            flush=True,
        )

    say()
    for line in sys.stdin:
        if line.strip() == "add":
            workers.append(cluster.add_node(wait=False, **NODE))
            say()
    cluster.shutdown()


if __name__ == "__main__":
    main()
