"""The progress display: what is running, what waits, and when it may be over; readable in a log file too."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from mss_core.graph import WORK, Stage, read_history, walk
from mss_core.store import Store
from mss_core.study.durations import Durations
from mss_core.study.facts import called, trains
from mss_core.study.resources import resources
from mss_core.training import TrainConfig

SHOWN = 12
"""At most so many running stages have a line of their own."""

WAITING, RUNNING, DONE, FAILED, BLOCKED = "waiting", "running", "done", "failed", "blocked"


class Board:
    """The state of every stage of a run; told by whatever executes, shown by a thread.

    On a terminal (ssh's too) a table and the running stages are rewritten twice a second; in a log file there is a line
    when a stage ends and at least every ten seconds, and the table once a minute.

    Attributes:
        gpus: of the cluster, where whoever executes knows them.
        durations: what its stages will take, by those that took ``usual`` seconds in the store or ``expected`` seconds
            on another machine.
        most: stages that have run at once.
        lines: as in a log file, on a terminal too: what SSH writes to may be a file on another machine.
        lost: machines that were lost while the study ran.
        untimed: stages that nothing was known of when the time left was last told.
    """

    def __init__(
        self,
        stages: Mapping[str, Stage],
        store: Store,
        out: TextIO = sys.stderr,
        usual: Mapping[str, float] | None = None,
        lines: bool = False,
        expected: Mapping[str, float] | None = None,
    ) -> None:
        self.stages, self.store, self.out = stages, store, out
        self.durations = Durations(usual, expected)
        self.most = self.untimed = 0
        self.state = dict.fromkeys(stages, WAITING)
        self.counts = Counter({WAITING: len(stages)})
        self._readers: dict[str, list[str]] = {}
        for key, stage in stages.items():
            for upstream in stage.inputs.values():
                self._readers.setdefault(upstream.key, []).append(key)
        self.errors: dict[str, str] = {}
        self.started: dict[str, float] = {}
        self.seconds: dict[str, list[float]] = {}
        self._first: dict[str, tuple[float, float]] = {}  # seconds and step of a running stage when first looked at
        self.gpus = 0.0
        self.lost = 0
        self.begun = time.monotonic()
        self._lock = threading.Lock()
        # By the stream alone: FORCE_COLOR must not put control characters into a log file.
        self._console = Console(file=out, highlight=False, force_terminal=out.isatty() and not lines and _has_size(out))
        self._ended = threading.Event()
        self._shown = contextlib.ExitStack()

    def set(self, key: str, state: str, error: str = "") -> None:
        """Record that a stage is now in ``state``."""
        with self._lock:
            self.counts[self.state[key]] -= 1
            self.counts[state] += 1
            self.state[key] = state
            self.most = max(self.most, self.counts[RUNNING])
            if state == RUNNING:
                self.started.setdefault(key, time.monotonic())
            elif state == DONE:
                spent = time.monotonic() - self.started.get(key, time.monotonic())
                self.seconds.setdefault(self.stages[key].name, []).append(spent)
                self.durations.ended(self.stages[key], spent)
            if error:
                self.errors[key] = error
        if state in (DONE, FAILED):
            self.say(self._outcome(key))

    def pending(self) -> int:
        """How many stages wait or run; asked whenever one ends: looking at 10,000 each time took 14 s of a core."""
        return self.counts[WAITING] + self.counts[RUNNING]

    def lost_machine(self, name: str, left: int) -> None:
        """Say that a machine was lost, and count it."""
        self.lost += 1
        self.say(f"lost: node {name}, {left} are left; its stages go on from their checkpoints")

    def block(self, failed: str) -> None:
        """Mark all that needs a failed stage."""
        lost, todo = {failed}, [failed]
        while todo:
            for key in self._readers.get(todo.pop(), ()):
                if key not in lost:
                    lost.add(key)
                    todo.append(key)
                    if self.state[key] == WAITING:
                        self.set(key, BLOCKED, f"{self.stages[failed].name} {failed[:8]} failed")

    def __enter__(self) -> Board:
        if self._console.is_interactive:
            live = Live(
                get_renderable=self._screen,
                console=self._console,
                refresh_per_second=2,
                transient=True,
                redirect_stdout=sys.stdout.isatty(),  # into a file or a pipe it still goes there
            )
            self._shown.enter_context(live)
        else:
            thread = threading.Thread(target=self._log, name="board", daemon=True)
            thread.start()
            self._shown.callback(thread.join)
            self._shown.callback(self._ended.set)
        return self

    def __exit__(self, *exception: object) -> None:
        self._shown.close()

    def status(self) -> str:
        """One line: counts, percentage and an estimate of what is left."""
        counts, total = self.counts, len(self.state)
        parts = [f"{counts[DONE]}/{total} stages done"]
        parts += [f"{counts[state]} {state}" for state in (RUNNING, WAITING, FAILED, BLOCKED) if counts[state]]
        if self.lost:
            parts.append(f"{self.lost} nodes lost")
        left = self._seconds_left()
        parts.append(f"{_clock(time.monotonic() - self.begun)} gone")
        if left is not None:
            end = time.strftime("%a %H:%M", time.localtime(time.time() + left))
            word = "at least" if self.untimed else "about"
            parts.append(f"{word} {_clock(left)} to go, until {end}")
        if self.gpus:
            used = sum(
                resources(self.stages[key], self.gpus).get("GPU", 0.0)
                for key, state in list(self.state.items())
                if state == RUNNING
            )
            parts.append(f"{used:g} of {self.gpus:g} GPUs in use")
        return ", ".join(parts)

    def table(self) -> list[str]:
        """A line for each kind of stage: how many are in which state, and what one takes."""
        counts: dict[str, Counter[str]] = {}
        for key, state in list(self.state.items()):
            counts.setdefault(self.stages[key].name, Counter())[state] += 1
        shown = [
            state
            for state in (DONE, RUNNING, WAITING, FAILED, BLOCKED)
            if state in (DONE, RUNNING, WAITING) or any(row[state] for row in counts.values())
        ]
        lines = [f"  {'stage':<20}" + "".join(f"{state:>9}" for state in shown) + f"{'each':>9}"]
        for name, row in counts.items():
            times = self.seconds.get(name)
            each = _clock(sum(times) / len(times)) if times else ""
            lines.append(f"  {name:<20.20}" + "".join(f"{row[state] or '.':>9}" for state in shown) + f"{each:>9}")
        return lines

    def running(self) -> list[str]:
        """A line for each running stage: what it is, how far, its last figures."""
        lines = []
        running = [key for key, state in list(self.state.items()) if state == RUNNING]
        for key in running[:SHOWN]:
            stage = self.stages[key]
            spent = _clock(time.monotonic() - self.started.get(key, time.monotonic()))
            bar = _bar(*self._progress(stage))
            lines.append(f"  {describe(stage):<36.36} {bar} {spent:>6}  {self._figures(stage)}")
        return lines + ([f"  and {len(running) - SHOWN} more"] if len(running) > SHOWN else [])

    def _progress(self, stage: Stage) -> tuple[float, int]:
        partial = self.store.partial(stage)
        history = read_history(partial)
        step: float
        step, total = (history[-1]["step"], history[-1]["total"]) if history else (0, 0)
        try:
            at, of = (partial / WORK / "step").read_text().split()
            step, total = max(step, float(at)), int(of)
        except (OSError, ValueError):
            pass
        return step, total

    def _figures(self, stage: Stage) -> str:
        history = read_history(self.store.partial(stage))
        if not history:
            return ""
        return " ".join(
            f"{name} {value:.4g}" for name, value in history[-1].items() if name in ("train_loss", "valid_loss")
        )

    def _seconds_left(self) -> float | None:
        """What is left to do over as many stages as have run at once, and no less than the longest chain of them; None
        while nothing is known of any. A stage that nothing is known of counts nothing until one of its kind has run."""
        left: dict[str, float | None] = {}
        for key, state in list(self.state.items()):
            if state in (WAITING, RUNNING):
                left[key] = self._left_of(key, state)
        known = [seconds for seconds in left.values() if seconds is not None]
        self.untimed = len(left) - len(known)
        if left and not known:
            return None
        chain: dict[str, float] = {}
        for key, seconds in left.items():  # inputs stand before what reads them
            above = [chain[up.key] for up in self.stages[key].inputs.values() if up.key in chain]
            chain[key] = (seconds or 0.0) + max(above, default=0.0)
        return max([sum(known) / max(1, self.most), *chain.values()])

    def _left_of(self, key: str, state: str) -> float | None:
        """By what is foretold of it, else by the mean of its kind in this run, else by its own pace."""
        name = self.stages[key].name
        usual = self.durations.of(self.stages[key])
        if usual is None and (times := self.seconds.get(name)):
            usual = sum(times) / len(times)
        spent = time.monotonic() - self.started[key] if state == RUNNING and key in self.started else 0.0
        if state == RUNNING and (usual is None or spent > usual):
            pace = self._pace(key, spent)
            usual = usual if pace is None else pace
        return None if usual is None else max(0.0, usual - spent)

    def _pace(self, key: str, spent: float) -> float | None:
        """How long a running stage will have taken, by its steps since it was first looked at: those before may be
        another attempt's."""
        step, total = self._progress(self.stages[key])
        since, first = self._first.setdefault(key, (spent, step))
        return spent + (spent - since) * (total - step) / (step - first) if step > first else None

    def _outcome(self, key: str) -> str:
        stage = self.stages[key]
        spent = _clock(time.monotonic() - self.started.get(key, time.monotonic()))
        if self.state[key] == FAILED:
            return f"FAILED {describe(stage)} after {spent}: {self.errors.get(key, '')}"
        return f"[{self.counts[DONE]}/{len(self.state)}] {describe(stage)} done in {spent}"

    def _screen(self) -> Text:
        return Text("\n".join([self.status(), *self.table(), *self.running()]), no_wrap=True, overflow="ellipsis")

    def _log(self) -> None:
        last = table = time.monotonic()
        while not self._ended.wait(1.0):
            if time.monotonic() - last > 10:
                last = time.monotonic()
                self.say("  ".join([self.status() + ";", *(line.strip() for line in self.running()[:2])]))
                if last - table > 60:
                    table = last
                    self.say("\n".join(self.table()))

    def say(self, text: str) -> None:
        """A line above the table."""
        with contextlib.suppress(OSError):  # a terminal that is gone must not end the study: its SIGHUP does, in order
            self._console.print(Text(text), soft_wrap=True)


def _has_size(out: TextIO) -> bool:
    """Whether a terminal says how large it is: one that SSH made for a file or a pipe has none."""
    try:
        return os.get_terminal_size(out.fileno()).columns > 0
    except OSError:
        return False


def describe(stage: Stage) -> str:
    """A stage in a few words: what it works on, its seed and the start of its key."""
    trained = [s.arguments for s in walk([stage]).values() if trains(s)]
    seeds = [value.seed for of in trained for value in of.values() if isinstance(value, TrainConfig)]
    return " ".join([called(stage), *(f"seed {seed}" for seed in seeds[-1:]), stage.key[:8]])


def _bar(step: float, total: int, width: int = 12) -> str:
    if not total:
        return " " * (width + 5)
    share = min(1.0, step / total)
    return f"{'#' * round(share * width):.<{width}} {share:4.0%}"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
