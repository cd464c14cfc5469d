"""The head's checkout on every other node of the cluster, as ``tools/cluster.sh`` asks for it on the head.

A machine of the cluster file that is not in the cluster, because it was off or came back, is set up and started too:
Ray's autoscaler gives a given machine up for good where it could not start it once.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mss_core.study.execution import joining, nodes

KEY = "~/ray_bootstrap_key.pem"
"""Where ``ray up`` leaves the key that the head reaches its workers with."""


def target(address: str, cluster: Mapping[str, Any]) -> str:
    """``user@address`` of a node."""
    user = (cluster.get("auth") or {}).get("ssh_user")
    return f"{user}@{address}" if user else address


def shell() -> list[str]:
    """SSH as the head reaches its workers; host keys of machines that come and go are not kept."""
    options = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "ConnectTimeout=15", "BatchMode=yes")
    return ["ssh", "-q", "-i", str(Path(KEY).expanduser()), *(word for each in options for word in ("-o", each))]


def copies(folder: Path, address: str, cluster: Mapping[str, Any]) -> list[list[str]]:
    """The commands that make the checkout and the other file mounts of a node as they are on the head."""
    excluded = [word for each in cluster.get("rsync_exclude") or [] for word in ("--exclude", str(each))]
    mounts = [Path(each).expanduser() for each in cluster.get("file_mounts") or {}]
    commands = []
    for path in dict.fromkeys([folder, *mounts]):
        slash = "/" if path.is_dir() else ""
        there = f"{target(address, cluster)}:{path}{slash}"
        commands.append([*shell(), target(address, cluster), f"mkdir -p {shlex.quote(str(path.parent))}"])
        commands.append(["rsync", "-rlptz", "-e", shlex.join(shell()), *excluded, f"{path}{slash}", there])
    return commands


def starts(address: str, head: str, cluster: Mapping[str, Any]) -> list[list[str]]:
    """The cluster file's commands that set a worker up and start Ray there, as ``ray up`` gives them."""
    setup = [*(cluster.get("setup_commands") or []), *(cluster.get("worker_setup_commands") or [])]
    lines = [*setup, *(f"export RAY_HEAD_IP={head}; {line}" for line in cluster.get("worker_start_ray_commands") or [])]
    there = target(address, cluster)
    return [
        [*shell(), there, f"bash --login -i -c {shlex.quote('source ~/.bashrc; ' + line)} < /dev/null"]
        for line in dict.fromkeys(lines)
    ]


def main() -> int:
    """Copy to all nodes, and start those that are not in the cluster; 1 where one could not be reached or started."""
    cluster = nodes.cluster_file()
    here, living = joining.addresses()
    absent = [address for address in nodes.missing([here, *living], cluster) if address != here]
    folder, failed = Path(__file__).resolve().parents[3], []
    for address in [*living, *absent]:
        commands = copies(folder, address, cluster)
        if address in absent:
            print(f"{address} is not in the cluster: setting it up", file=sys.stderr, flush=True)
            commands += starts(address, here, cluster)
        for command in commands:
            if subprocess.run(command, stdout=subprocess.DEVNULL).returncode:
                failed.append(address)
                break
    done = len(living) + len(absent) - len(failed)
    print(f"{folder} copied to {done} nodes" + (f", not to {', '.join(failed)}" if failed else ""), file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
