"""The progress display: its table, its estimate, and what it says of failures, on a terminal and in a log."""

from __future__ import annotations

import io
import os
import pty
import re
import struct
import termios
import threading
from fcntl import ioctl
from pathlib import Path

import pytest

from mss_core.graph import WORK, Stage
from mss_core.store import Store
from mss_core.study.progress import DONE, FAILED, RUNNING, SHOWN, WAITING, Board

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
    monkeypatch.setattr("mss_core.study.progress.time.monotonic", lambda: clock[0])
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
    monkeypatch.setattr("mss_core.study.progress.time.monotonic", lambda: clock[0])
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


def test_a_log_file_gets_whole_lines_without_control_characters(board: Board) -> None:
    first, second, *_ = board.stages
    message = "ValueError: [bold]no file[/bold] " + "x" * 300
    with board:
        board.set(first, RUNNING)
        board.set(first, DONE)
        board.set(second, RUNNING)
        board.set(second, FAILED, message)
    done, failed = board.out.getvalue().splitlines()
    assert done.startswith("[1/40] train_tail ") and done.endswith("done in 0:00")
    assert failed.endswith(f"after 0:00: {message}") and "\x1b" not in board.out.getvalue()


def test_a_terminal_is_drawn_on_and_left_clean(board: Board) -> None:
    """Read back with a small terminal: what ended stands above the table, which is gone at the end."""
    ours, theirs = pty.openpty()
    ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    seen: list[bytes] = []

    def read() -> None:
        while chunk := os.read(ours, 65536):
            seen.append(chunk)
            if b"END" in chunk:
                return

    reader = threading.Thread(target=read)
    reader.start()
    with open(theirs, "w") as terminal:
        shown = Board(board.stages, board.store, terminal)
        first, second, *_ = shown.stages
        with shown:
            shown.set(first, RUNNING)
            shown.set(second, RUNNING)
            shown.set(first, DONE)
        terminal.write("END\n")
        terminal.flush()
        reader.join(20)
    os.close(ours)
    text = b"".join(seen).decode()
    assert "[1/40] train_tail" in text and "\x1b[" in text
    assert "stage" in text and "waiting" in text  # the table was drawn
    assert shown_lines(text) == [line for line in shown_lines(text) if "done in" in line or line == "END"]


def shown_lines(text: str, width: int = 80) -> list[str]:
    """What stands on a terminal after ``text``: cursor up, carriage return and erased lines are followed."""
    rows, row, column = [""], 0, 0
    for part in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
        if part == "\r":
            column = 0
        elif part == "\n":
            row += 1
            rows += [""] * (row + 1 - len(rows))
        elif part.endswith("A") and part.startswith("\x1b"):
            row = max(0, row - int(part[2:-1] or 1))
        elif part.endswith("K") and part.startswith("\x1b"):
            rows[row] = ""
        elif not part.startswith("\x1b"):
            line = rows[row].ljust(column)[:column] + part + rows[row][column + len(part) :]
            rows[row], column = line, column + len(part)
            while len(rows[row]) > width:
                rows.insert(row + 1, rows[row][width:])
                rows[row] = rows[row][:width]
                row, column = row + 1, column - width
    return [line.rstrip() for line in rows if line.strip()]


def test_the_estimate_does_not_flip_with_what_runs_at_this_instant(board: Board, monkeypatch) -> None:
    """Two run at once as a rule; between the end of one and the start of the next only one does. A kind that was never
    timed counts nothing and hides nothing; what the store knows of a stage counts from the start."""
    monkeypatch.setattr("mss_core.study.progress.time.monotonic", lambda: 1000.0)
    keys = list(board.stages)
    board.set(keys[0], RUNNING)
    board.set(keys[1], RUNNING)
    board.seconds = {"train_tail": [100.0]}
    assert board._seconds_left() == pytest.approx(20 * 100 / 2)
    board.set(keys[0], DONE)
    board.seconds = {"train_tail": [100.0]}
    assert board._seconds_left() == pytest.approx(19 * 100 / 2)
    known = Board(board.stages, board.store, board.out, dict.fromkeys(keys, 10.0))
    assert known._seconds_left() == pytest.approx(40 * 10)
    known.state = {keys[0]: WAITING, keys[20]: WAITING}
    known.most = 2
    assert known._seconds_left() == pytest.approx(20)  # an inference waits for its training


def test_a_lost_machine_gets_a_line_and_a_count(board: Board) -> None:
    board.lost_machine("gpu3 (10.0.0.3)", 2)
    assert "lost: node gpu3 (10.0.0.3), 2 are left; its stages go on from their checkpoints" in board.out.getvalue()
    assert "1 nodes lost" in board.status()


@pytest.mark.parametrize(
    ("size", "lines", "live"), [((24, 80), False, True), ((24, 80), True, False), ((0, 0), False, False)]
)
def test_a_terminal_that_ssh_made_for_a_file_gets_lines(tmp_path: Path, size, lines: bool, live: bool) -> None:
    """``ssh -tt`` gives a study a terminal although its reader is a file: without a size, or with ``--lines``."""
    reader, writer = pty.openpty()
    ioctl(writer, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    with os.fdopen(writer, "w") as out:
        assert Board({}, Store(tmp_path), out, lines=lines)._console.is_interactive is live
    os.close(reader)


def test_what_a_stage_took_elsewhere_counts_by_its_ratio(board: Board, monkeypatch) -> None:
    """A store without timings: the first run knows no kind that comes late, and told hours as they came."""
    clock = [0.0]
    monkeypatch.setattr("mss_core.study.progress.time.monotonic", lambda: clock[0])
    took = {key: 40.0 if stage.name == "train_tail" else 8.0 for key, stage in board.stages.items()}
    assert Board(board.stages, board.store, board.out)._seconds_left() is None
    known = Board(board.stages, board.store, board.out, expected={key: took[key] / 4 for key in took})
    known.begun = 0.0
    assert known._seconds_left() == pytest.approx(sum(took.values()) / 4)  # as on the other machine
    for key in known.stages:  # four times slower here, one stage at a time
        known.set(key, RUNNING)
        clock[0] += took[key]
        known.set(key, DONE)
        left = known._seconds_left()
        assert left is not None and left == pytest.approx(sum(took.values()) - clock[0]) and known.untimed == 0


def test_the_main_job_has_a_timing_of_every_kind() -> None:
    """Whoever types `make run` for the first time is told how long it takes."""
    from mss_core.study.dry_run import reference
    from mss_core.study.plan import make_plan
    from studies.source_ablation import study

    small = study.at_smoke_size()
    trials = small.trials(small.seeds, True, {}, lambda recipe: recipe)
    plan = make_plan(trials, Store(Path("none")), settle=False)
    assert set(reference.expected(plan)) == set(plan.needed)
