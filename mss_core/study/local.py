"""Executing a plan in this process, one stage after another: no Ray needed, same scores."""

from __future__ import annotations

from mss_core import runtime
from mss_core.claim import ClaimLost
from mss_core.graph import Context, Stage
from mss_core.store import StageFailed, Store, run_stage
from mss_core.study.board import BLOCKED, DONE, FAILED, RUNNING, Board
from mss_core.study.plan import Plan


def execute(plan: Plan, store: Store, ctx: Context, board: Board) -> None:
    """Run every needed stage; a failed one blocks only what needs it."""
    runtime.prepare_process()
    for key in sorted(plan.needed, key=lambda key: bool(plan.stages[key].inputs)):  # data first
        if board.state[key] == BLOCKED:
            continue
        board.set(key, RUNNING)
        try:
            _run(plan.stages[key], store, ctx)
        except StageFailed as failure:
            board.set(key, FAILED, f"{failure.message} (log: {failure.log})")
            board.block(key, everything=not plan.stages[key].inputs)
        else:
            board.set(key, DONE)


def _run(stage: Stage, store: Store, ctx: Context) -> None:
    try:
        run_stage(stage, store, ctx)
    except ClaimLost:  # this process slept too long and another took over: wait for its result, or go on from it
        run_stage(stage, store, ctx)
