"""The progress display: its table, its estimate, and what it says of failures, on a terminal and in a log."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from mss_core.graph import WORK, Stage
from mss_core.store import Store
from mss_core.study.execution.progress import DONE, FAILED, RUNNING, SHOWN, WAITING, Board

STAGE_RESOURCES = {"train_tail": {"gpu": 1}}


def train_tail(*, number: int, out: Path, ctx) -> None: ...


def infer(*, model: Path, out: Path, ctx) -> None: ...


@pytest.fixture
def board(tmp_path) -> Board:
    trainings = [Stage(train_tail, number=number) for number in range(20)]
    stages = [*trainings, *(Stage(infer, model=training) for training in trainings)]
    return Board({stage.key: stage for stage in stages}, Store(tmp_path), io.StringIO())


def test_the_table_counts_every_stage_once(board: Board) -> None:
    first, second, third, *_ = board.stages
    board.gpus = 4
    for key in (first, second, third):
        board.set(key, RUNNING)
    assert "3 of 4 GPUs in use" in board.status()
    board.set(first, DONE)
    board.set(second, FAILED, "ValueError: the loss became nan (log: /store/train_tail/x.log)")
    board.block(second)
    head, trainings, inferences = (line.split() for line in board.table())
    assert head == ["stage", "done", "running", "waiting", "failed", "blocked", "each"]
    assert trainings == ["train_tail", "1", "1", "17", "1", ".", "0:00"]
    assert inferences == ["infer", ".", ".", "19", ".", "1"]
    assert board.status().startswith("1/40 stages done, 1 running, 36 waiting, 1 failed, 1 blocked")
    said = board.out.getvalue()
    assert "FAILED train_tail" in said and "the loss became nan (log: /store/train_tail/x.log)" in said


def test_many_running_stages_leave_room_on_the_screen(board: Board) -> None:
    for key in list(board.stages)[:20]:
        board.set(key, RUNNING)
    lines = board.running()
    assert len(lines) == SHOWN + 1 and lines[-1].strip() == f"and {20 - SHOWN} more"
    assert all(len(line) < 80 for line in [*board.table(), *lines])


def test_the_estimate_is_what_finished_stages_took(board: Board, monkeypatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("mss_core.study.execution.progress.time.monotonic", lambda: clock[0])
    keys = list(board.stages)
    for position in (0, 20):  # a training takes 100 s, an inference 10
        board.set(keys[position], RUNNING)
        clock[0] += 100.0 if position == 0 else 10.0
        board.set(keys[position], DONE)
    board.set(keys[1], RUNNING)
    board.set(keys[2], RUNNING)
    assert board._seconds_left() == pytest.approx((19 * 100 + 19 * 10) / 2)
    assert "17:25 to go, until" in board.status()


def test_a_stage_slower_than_the_others_is_estimated_by_its_own_steps(board: Board, monkeypatch) -> None:
    """Not by those that an attempt before it made."""
    clock = [1000.0]
    monkeypatch.setattr("mss_core.study.execution.progress.time.monotonic", lambda: clock[0])
    first, second = list(board.stages)[:2]
    board.state = {second: WAITING}
    partial = board.store.partial(board.stages[second])
    (partial / WORK).mkdir(parents=True)

    def at(step: int) -> None:
        (partial / WORK / "step").write_text(f"{step} 1000")

    at(900)
    board.set(second, RUNNING)
    assert board._seconds_left() is None
    board.state = {first: RUNNING, second: RUNNING}
    board.set(first, DONE)
    board.seconds = {"train_tail": [5.0]}
    clock[0] += 20.0
    at(910)
    assert board._seconds_left() == pytest.approx(0.0 + 90 * 2.0)
