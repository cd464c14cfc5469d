"""GPU nodes that come after a study has started are asked for and used."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.lab import UNSHARE, why_not
from tests.conftest import REPOSITORY

WHY_NOT = why_not(("unshare", "ip", "mount"))
pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.chaos,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT),
]


@pytest.mark.parametrize(
    ("autoscaler", "promised", "nodes"),
    [("v2", {}, 2), ("v1", {"MSS_GPUS": "1"}, 2), ("none", {}, 0)],
    ids=["one that is asked", "one that tells nothing", "none"],
)
def test_gpus_that_come_later_are_asked_for(tmp_path: Path, autoscaler: str, promised: dict[str, str], nodes: int):
    """Four trainings of half a GPU, and two machines of one GPU that the autoscaler may start; no GPU is up before."""
    ended = subprocess.run(
        [*UNSHARE, sys.executable, "-m", "tests.cluster.autoscaled", str(tmp_path), autoscaler],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **promised},
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    found = json.loads(ended.stdout.splitlines()[-1])
    assert found["before"] == 0 and set(found["states"]) == {"done"}
    assert found["nodes"] in range(min(nodes, 1), nodes + 1)
    assert {line.split()[1:] == ["0"] for line in found["left"]} == {nodes > 0}
