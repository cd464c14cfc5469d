"""What a driver spends on a study of many trials beside what the stages do: to plan and print it, its memory, and time
per decision.

    python benchmarks/bookkeeping.py [TRIALS]

The plan is a --dry-run's, in a process of its own, of trials with four stages of which one is shared. No stage is run
and Ray is not started: the searcher that Tune asks is asked here, and told that each stage has ended.
Bounds: a plan of 100,000 trials in 10 s and 2 GB, a decision under 1 ms, the bookkeeping of 100,000 stages under 60 s.
"""

from __future__ import annotations

import io
import multiprocessing
import resource
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path

from mss_core.graph import Context, Stage, walk
from mss_core.store import Store
from mss_core.study import Factor, Study, only_listed, run
from mss_core.study.execution.stages_on_ray import GraphSearcher
from mss_core.study.plan import Plan
from mss_core.study.progress import RUNNING, Board
from mss_core.systems.msspt import msspt_cnn, smoke

SEEDS = 5


def prepare(*, number: int, out: Path, ctx: Context) -> None:
    """A data set."""


def train(*, data: Path, seed: int, out: Path, ctx: Context) -> None:
    """A training on it."""


def score(*, model: Path, out: Path, ctx: Context) -> None:
    """Its scores."""


def plan(trials: int) -> None:
    """Plan and print a study of the tail alone."""
    tail_alone = {"pretrain": None, "finetune": None}
    levels = {
        f"rate {number}": {**tail_alone, "train_tail.phases.0.weight_decay": number / 1e6}
        for number in range(trials // SEEDS)
    }
    study = Study(
        name="large",
        question="Which weight decay?",
        baseline=msspt_cnn(),
        factors=[Factor("rate", levels)],
        design=only_listed,
        seeds=range(SEEDS),
        seeded=("train_tail.seed", "finetune.seed"),
        reference={"rate": "rate 0"},
        metric="roc_auc",
        smoke=smoke,
    )
    printed = io.StringIO()
    begun, work = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(printed):
        run(study, ["--dry-run", "--store", str(Path(folder) / "store")])
    took, work = time.perf_counter() - begun, time.process_time() - work
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    told = printed.getvalue().splitlines()[0].partition(": ")[2]
    print(f"{told}: planned and printed in {took:.1f} s, {work:.1f} of CPU, {peak:.2f} GB")


def decide(count: int) -> None:
    """Drive a graph whose stages end as soon as they have begun."""
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
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    process = multiprocessing.get_context("spawn").Process(target=plan, args=(number,))
    process.start()
    process.join()
    decide(number)
