"""Copying the head's checkout to every other node of the cluster, as ``tools/cluster.sh`` asks for it on the head."""

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


def copy(folder: Path, address: str, cluster: Mapping[str, Any]) -> list[str]:
    """The rsync that makes ``folder`` of another node as it is here, with the cluster file's user and exclusions."""
    shell = f"ssh -i {shlex.quote(str(Path(KEY).expanduser()))} -o StrictHostKeyChecking=no -o ConnectTimeout=15"
    user = (cluster.get("auth") or {}).get("ssh_user")
    excluded = [word for each in cluster.get("rsync_exclude") or [] for word in ("--exclude", str(each))]
    target = f"{user}@{address}" if user else address
    return [
        "rsync",
        "-rlptz",
        "-e",
        f"{shell} -o UserKnownHostsFile=/dev/null -q",
        *excluded,
        str(folder) + "/",
        f"{target}:{folder}/",
    ]


def main() -> int:
    """Copy to all living nodes; 1 where one could not be reached."""
    cluster = nodes.cluster_file()
    here, others = joining.addresses()
    folder, failed = Path(__file__).resolve().parents[3], []
    for address in others:
        if subprocess.run(copy(folder, address, cluster)).returncode:
            failed.append(address)
    print(
        f"{folder} copied from {here} to {len(others) - len(failed)} of {len(others)} nodes", *failed, file=sys.stderr
    )
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
