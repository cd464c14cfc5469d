"""Executing a plan in this process, one stage after another: no Ray needed, same scores."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import threading
from collections.abc import Iterator
from typing import Any

from mss_core import runtime
from mss_core.graph import Context, Stopped
from mss_core.store import StageFailed, Store, run_stage
from mss_core.study import interrupts
from mss_core.study.plan import Plan
from mss_core.study.progress import BLOCKED, DONE, FAILED, RUNNING, Board
from mss_core.study.resources import processes_here
from mss_core.study.variables import seconds


def execute(plan: Plan, store: Store, ctx: Context, board: Board) -> None:
    """Run every needed stage; a failed one blocks only what needs it.

    SIGTERM and SIGHUP let a running training write its checkpoint, then raise KeyboardInterrupt.
    """
    runtime.prepare_process()
    asked = threading.Event()
    here = dataclasses.replace(ctx, stop=asked.is_set)
    shared = {key: processes_here(plan.stages[key], ctx.device) for key in plan.needed}
    with _signals_set(asked):
        for key in sorted(plan.needed, key=lambda key: bool(plan.stages[key].inputs)):  # data first
            if board.state[key] == BLOCKED:
                continue
            if asked.is_set():
                raise KeyboardInterrupt
            board.set(key, RUNNING)
            try:
                run_stage(plan.stages[key], store, dataclasses.replace(here, processes=shared[key]))
            except Stopped:
                raise KeyboardInterrupt from None
            except StageFailed as failure:
                board.set(key, FAILED, f"{failure.message} (log: {failure.log})")
                board.block(key)
            else:
                board.set(key, DONE)


@contextlib.contextmanager
def _signals_set(asked: threading.Event) -> Iterator[None]:
    """A signal sets ``asked``; what is not a training, and so does not ask, is interrupted after MSS_STOP_SECONDS."""

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    patience = seconds("MSS_STOP_SECONDS")

    def ask(number: int) -> None:
        asked.set()
        signal.signal(signal.SIGALRM, interrupt)
        signal.alarm(max(1, round(patience)))

    try:
        with interrupts.handled(ask):
            yield
    finally:
        signal.alarm(0)
