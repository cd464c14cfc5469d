"""The order in which stages start, and what a decision costs."""

from __future__ import annotations

import random
import time
from pathlib import Path

from mss_core.graph import Stage
from mss_core.study.execution.ready import Ready


def make(*, number: int, out: Path, ctx) -> None: ...


def read(*, a: Path, b: Path, number: int, out: Path, ctx) -> None: ...


def test_a_stage_starts_when_all_its_inputs_are_there_and_what_holds_up_most_first() -> None:
    """Against a plain scan of everything that is pending."""
    draw = random.Random(3)
    made = [Stage(make, number=n) for n in range(6)]
    for n in range(60):
        made.append(Stage(read, a=draw.choice(made), b=draw.choice(made), number=n))
    stages = {stage.key: stage for stage in made}
    needed = list(stages)[2:]  # the first two are in the store
    below = {key: draw.randrange(5) for key in needed}
    ready, missing, started = Ready(stages, needed, below), set(needed), []
    while missing:
        pending = [key for key in needed if key in missing]
        able = [k for k in pending if not any(up.key in missing for up in stages[k].inputs.values())]
        expected = max(able, key=lambda key: (below[key], -needed.index(key)))
        key = ready.take(lambda key: True)
        assert key == expected
        started.append(key)
        if draw.random() < 0.2:
            ready.again(key)
            assert ready.take(lambda key: True) == key
        ready.finish(key)
        missing.discard(key)
    assert ready.take(lambda key: True) is None and len(started) == len(needed)


def test_a_decision_with_many_pending_is_short() -> None:
    root = Stage(make, number=-1)
    stages = {root.key: root, **{s.key: s for s in (Stage(read, a=root, b=root, number=n) for n in range(5000))}}
    ready = Ready(stages, list(stages), dict.fromkeys(stages, 0))
    assert ready.take(lambda key: True) == root.key and ready.take(lambda key: True) is None
    begun = time.perf_counter()
    ready.finish(root.key)
    while key := ready.take(lambda key: True):
        ready.finish(key)
    assert (time.perf_counter() - begun) / 5000 < 1e-3
