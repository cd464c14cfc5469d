"""The order in which stages start, and what a decision costs."""

from __future__ import annotations

import io
import random
import time
from pathlib import Path

from mss_core.graph import Stage
from mss_core.study.execution.ready import Later, Ready, held


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


def test_what_comes_later_waits_for_all_others_and_for_an_idle_place() -> None:
    first, second, third = (Stage(make, number=n) for n in range(3))
    late = Stage(read, a=first, b=third, number=0)
    stages = {stage.key: stage for stage in (first, second, third, late)}
    keys = list(stages)
    ready = Ready(stages, keys, {**dict.fromkeys(keys, 0), third.key: 9, late.key: 9}, {third.key, late.key})
    assert ready.take(lambda key: True, lambda key: False) == first.key  # though the third holds up more
    assert ready.take(lambda key: True, lambda key: False) == second.key
    assert ready.take(lambda key: True, lambda key: False) is None
    ready.again(second.key)
    assert ready.take(lambda key: True) == second.key
    assert ready.take(lambda key: True, lambda key: True) == third.key  # it was kept
    ready.finish(third.key)
    assert ready.take(lambda key: True) is None
    ready.finish(first.key)
    assert ready.take(lambda key: True) == late.key


def test_what_waits_for_another_stage_takes_its_place() -> None:
    """A pre-training that twelve trainings start from will take twelve places, a chain one."""
    start = Stage(make, number=0)
    tuned = [Stage(read, a=start, b=start, number=n) for n in range(12)]
    alone = Stage(make, number=1)
    chain = Stage(read, a=alone, b=alone, number=99)
    stages = {stage.key: stage for stage in (start, *tuned, alone, chain)}

    def request(key: str) -> dict[str, float]:
        return {"GPU": 0.5, "CPU": 4.0} if key == chain.key else {"GPU": 1.0}

    assert held(stages, list(stages), request) == {"GPU": 13.0, "CPU": 4.0}
    assert held(stages, [tuned[0].key, chain.key], request) == {"GPU": 1.5, "CPU": 4.0}
    assert held(stages, [], request) == {}


def test_a_searcher_hands_out_what_may_run_only_where_nothing_else_will(tmp_path: Path) -> None:
    """Two places: of a look one stage and one that waits for it, so one place stays idle; then the look is over."""
    from mss_core.store import Store
    from mss_core.study.execution.on_worker import STOP
    from mss_core.study.execution.stages_on_ray import GraphSearcher
    from mss_core.study.plan import Plan
    from mss_core.study.progress import FAILED, RUNNING, Board

    own = Stage(make, number=0)
    reader = Stage(read, a=own, b=own, number=1)
    more = [Stage(make, number=n) for n in (5, 6, 7)]
    stages = {stage.key: stage for stage in (own, reader)}
    store, logs = Store(tmp_path / "store"), tmp_path
    board = Board(stages, store)
    every = {**stages, **{stage.key: stage for stage in more}}
    later = Later(every, [stage.key for stage in more], lambda key: {"CPU": 1.0}, lambda: {"CPU": 2.0})
    searcher = GraphSearcher(Plan([], stages, set(), list(stages), {}), board, store, logs, later)

    def asked(name: str) -> str | None:
        found = searcher.suggest(name)
        if found is not None and found["key"] in board.state:
            board.set(found["key"], RUNNING)
        return found and found["key"]

    done = {"failed": "", "done": True}
    assert asked("a") == own.key and asked("b") == more[0].key and asked("c") is None
    searcher.on_trial_complete("b", {"failed": "no power", "done": True})  # nobody's business
    assert board.errors == {} and asked("d") == more[1].key and asked("e") is None
    searcher.on_trial_complete("a", done)
    assert asked("f") == reader.key and asked("g") is None and not (logs / STOP).exists()
    searcher.on_trial_complete("f", {"failed": "it was", "done": True})
    assert board.state[reader.key] == FAILED and (logs / STOP).exists()
    assert asked("h") is None  # the look is over: nothing more begins, though a place is free
    searcher.on_trial_complete("d", error=True)  # stopped, with a checkpoint
    assert searcher.suggest("i") == GraphSearcher.FINISHED and not searcher.died


def test_what_is_done_when_a_stage_ends_does_not_grow_with_their_number(tmp_path: Path) -> None:
    """0.6 ms of CPU for all that a driver does for a stage, as for 100,000 stages in a minute."""
    from mss_core.store import Store
    from mss_core.study.execution.stages_on_ray import GraphSearcher
    from mss_core.study.plan import Plan
    from mss_core.study.progress import RUNNING, Board

    stages = {stage.key: stage for stage in (Stage(make, number=n) for n in range(10_000))}
    store = Store(tmp_path / "store")
    board = Board(stages, store, io.StringIO())
    searcher = GraphSearcher(Plan([], stages, set(), list(stages), {}), board, store, tmp_path)
    begun = time.process_time()
    for number in range(len(stages)):
        board.set(searcher.suggest(f"{number}")["key"], RUNNING)
        searcher.on_trial_complete(f"{number}", {"failed": ""})
        assert board.pending() == len(stages) - number - 1
    assert time.process_time() - begun < 6 and searcher.over()
