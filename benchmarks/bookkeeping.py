"""What a driver spends on a run of many stages beside what the stages do: time per decision, and CPU in all.

    python benchmarks/bookkeeping.py [STAGES]

No stage is run and Ray is not started: the searcher that Tune asks is asked here, and told that each stage has ended.
Bounds: a decision under 1 ms, the bookkeeping of 100,000 stages under 60 s.
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

from mss_core.graph import Context, Stage, walk
from mss_core.store import Store
from mss_core.study.execution.stages_on_ray import GraphSearcher
from mss_core.study.plan import Plan
from mss_core.study.progress import RUNNING, Board


def prepare(*, number: int, out: Path, ctx: Context) -> None:
    """A data set."""


def train(*, data: Path, seed: int, out: Path, ctx: Context) -> None:
    """A training on it."""


def score(*, model: Path, out: Path, ctx: Context) -> None:
    """Its scores."""


def main(count: int) -> None:
    data = [Stage(prepare, number=number) for number in range(10)]
    ends = [Stage(score, model=Stage(train, data=data[seed % 10], seed=seed)) for seed in range(count // 2)]
    stages = walk(ends)
    store = Store(Path("nowhere"))
    begun = time.process_time()
    board = Board(stages, store, io.StringIO())
    searcher = GraphSearcher(Plan([], stages, set(), list(stages), {}), board, store, Path("nowhere"))
    built = time.process_time() - begun
    running, decisions, number = [], [], 0
    while True:
        asked = time.process_time()
        suggestion = searcher.suggest(f"trial {number}")
        decisions.append(time.process_time() - asked)
        if isinstance(suggestion, dict):
            board.set(suggestion["key"], RUNNING)
            running.append(f"trial {number}")
            number += 1
        if not running:
            break
        if not isinstance(suggestion, dict) or len(running) == 500:
            searcher.on_trial_complete(running.pop(0), {"failed": ""})
    spent = time.process_time() - begun
    mean, most = 1e3 * sum(decisions) / len(decisions), 1e3 * max(decisions)
    print(f"{len(stages)} stages: {built:.1f} s to build, {spent:.1f} s in all")
    print(f"a decision takes {mean:.4f} ms, at most {most:.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
