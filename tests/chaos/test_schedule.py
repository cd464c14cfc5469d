"""No barrier: a graph of sleeping stages takes hardly longer than a greedy list schedule of the same durations."""

from __future__ import annotations

import heapq
import io
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from mss_core.graph import Context, Stage, walk
from mss_core.store import Store
from mss_core.study.plan import Plan, descendants
from mss_core.study.progress import DONE, Board
from tests.chaos.work import sleep_last, sleep_middle, sleep_root
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1500)]

GPUS = 8


def graph() -> list[Stage]:
    """24 stages, 24 that read one or two of those, 12 that read two of the second kind; 5 to 40 s each."""
    rng = random.Random(0)
    roots = [Stage(sleep_root, seconds=rng.uniform(5, 40), number=n) for n in range(24)]
    middle = [
        Stage(sleep_middle, parts=tuple(rng.sample(roots, rng.choice((1, 2)))), seconds=rng.uniform(5, 40), number=n)
        for n in range(24)
    ]
    last = [
        Stage(sleep_last, parts=tuple(rng.sample(middle, 2)), seconds=rng.uniform(5, 40), number=n) for n in range(12)
    ]
    return [*roots, *middle, *last]


def list_schedule(stages: dict[str, Stage], machines: int) -> float:
    """The makespan of always starting the ready stage that most others wait for."""
    below = descendants(stages, list(stages))
    waiting, done, running, now = set(stages), set(), [], 0.0
    while waiting or running:
        ready = sorted(
            (key for key in stages if key in waiting and all(up.key in done for up in stages[key].inputs.values())),
            key=lambda key: -below[key],
        )
        for key in ready[: machines - len(running)]:
            waiting.remove(key)
            heapq.heappush(running, (now + stages[key].arguments["seconds"], key))
        now, key = heapq.heappop(running)
        done.add(key)
    return now


def test_the_list_schedule_of_two_machines_by_hand() -> None:
    a, b = Stage(sleep_root, seconds=3.0, number=0), Stage(sleep_root, seconds=5.0, number=1)
    c = Stage(sleep_middle, parts=(a,), seconds=4.0, number=2)
    d = Stage(sleep_middle, parts=(a,), seconds=1.0, number=3)
    assert list_schedule(walk([a, b, c, d]), 2) == 7.0  # a, b at 0; c at 3 beside b; d at 5
    assert list_schedule(walk([a, b, c, d]), 1) == 13.0


def test_no_barrier(tmp_path: Path, monkeypatch) -> None:
    """From the first stage's start to the last one's end, with a fresh process for each of 48 stages."""
    trace = tmp_path / "trace"
    trace.mkdir()
    folder = tempfile.mkdtemp(prefix="gpus")
    script = (
        "import sys; from ray.cluster_utils import Cluster; c = Cluster(initialize_head=True, head_node_args="
        f"dict(num_cpus={GPUS}, num_gpus={GPUS}, include_dashboard=False, object_store_memory=80 * 2**20)); "
        "print(c.address, flush=True); sys.stdin.read(); c.shutdown()"
    )
    cluster = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "RAY_TMPDIR": folder, "PYTHONPATH": str(REPOSITORY), "CHAOS_TRACE": str(trace)},
    )
    monkeypatch.setenv("RAY_ADDRESS", cluster.stdout.readline().strip())
    import ray

    from mss_core.study.execution import stages_on_ray

    stages = walk(graph())
    board, store = Board(stages, Store(tmp_path / "store"), io.StringIO()), Store(tmp_path / "store")
    try:
        stages_on_ray.execute(Plan([], stages, set(), list(stages), {}), store, Context(), board)
    finally:
        ray.shutdown()
        cluster.communicate("", timeout=60)
    assert set(board.state.values()) == {DONE}
    spans = [tuple(map(float, path.read_text().split())) for path in trace.iterdir()]
    assert len(spans) == len(stages) == 60  # each exactly once
    took = max(end for _, end in spans) - min(begun for begun, _ in spans)
    best = list_schedule(stages, GPUS)
    print(f"makespan {took:.0f} s, list schedule {best:.0f} s, ratio {took / best:.2f}")
    assert took <= 1.2 * best
