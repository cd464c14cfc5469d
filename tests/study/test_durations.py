"""How far the estimate of the time left is off, in replayed runs of the main job: two slots, a clock of their own."""

from __future__ import annotations

import heapq
import io
import random
from collections.abc import Mapping
from pathlib import Path

import pytest

from mss_core.store import Store
from mss_core.study import progress
from mss_core.study.dry_run import reference
from mss_core.study.facts import trains
from mss_core.study.plan import Plan, descendants, make_plan
from mss_core.study.progress import DONE, RUNNING, Board
from studies.source_ablation import study


@pytest.fixture(scope="module")
def plan() -> Plan:
    small = study.at_smoke_size()
    trials = small.trials(small.seeds, True, {}, lambda recipe: recipe)
    return make_plan(trials, Store(Path("none")), settle=False)


def replay(plan: Plan, took: Mapping[str, float], monkeypatch) -> list[tuple[int, float, float]]:
    """Every ten seconds of a first run: stages done, the estimate of what is left, and what was left."""
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    board = Board(plan.stages, Store(Path("none")), io.StringIO(), expected=reference.expected(plan))
    below = descendants(plan.stages, plan.needed)
    waits = {key: {up.key for up in plan.stages[key].inputs.values()} for key in plan.needed}
    waiting, running, lines, line = list(plan.needed), list[tuple[float, str]](), [], 10.0
    while waiting or running:
        ready = sorted((key for key in waiting if not waits[key]), key=lambda key: -below[key])
        for key in ready[: 2 - len(running)]:
            waiting.remove(key)
            board.set(key, RUNNING)
            heapq.heappush(running, (clock[0] + took[key], key))
        end, done = heapq.heappop(running)
        while line < end:
            clock[0] = line
            lines.append((board.counts[DONE], board._seconds_left(), line))
            line += 10.0
        clock[0] = end
        board.set(done, DONE)
        for upstream in waits.values():
            upstream.discard(done)
    return [(count, left, clock[0] - at) for count, left, at in lines if left is not None]


@pytest.mark.parametrize("pace", [0.4, 1.0, 4.0])
@pytest.mark.parametrize("start", [1.0, 3.0])
def test_from_the_tenth_stage_on_the_time_left_is_within_a_third(plan: Plan, pace, start, monkeypatch) -> None:
    """On machines that are slower, faster, and start their processes slower than the one that was measured."""
    rng, known = random.Random(0), reference.expected(plan)
    took = {key: start * rng.uniform(0.7, 1.5) + pace * known[key] * rng.lognormvariate(0, 0.1) for key in plan.needed}
    lines = [each for each in replay(plan, took, monkeypatch) if each[0] >= 10 and each[2] > 60]
    assert len(lines) > 15 and any(trains(plan.stages[key]) for key in plan.needed)
    off = [told / left for _, told, left in lines]
    assert sum(1 / 1.3 <= each <= 1.3 for each in off) >= 0.97 * len(off) and 0.6 < min(off) and max(off) < 1.3
    told = [each[1] for each in lines]
    assert all(0.5 < after / before < 2 for before, after in zip(told, told[1:], strict=False))
