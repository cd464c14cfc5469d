"""Who runs next, dies, sleeps or meets an error: decided at every call by a seed, or by a list that is replayed.

Every simulated process is a greenlet. Whatever a process asks of its machine (``mss_core.disk``) is a call of
:meth:`Play.do`, and only there another process may go on. What was decided otherwise
than "go on" is kept as ``{number of the call: [action, argument]}``: with that dict alone a schedule is played again,
and with parts of it left out a shorter one is found.
"""

from __future__ import annotations

import errno
import hashlib
import math
from collections.abc import Callable
from random import Random
from typing import Any

from greenlet import getcurrent, greenlet

from tests.simulation.installed import installed
from tests.simulation.world import APPEND, Files, Handle, Machine, failure

LIMIT = 60_000
"""Calls after which a schedule counts as one that never ends."""

FAULTS = {
    "pause": 5,
    "kill": 5,
    "error": 5,
    "slow": 2,
    "power": 1,
    "loss": 1,
    "full": 1,
    "denied": 1,
}  # fmt: skip
"""What may go wrong, and how often compared with each other."""

LASTING = {"full", "denied"}
"""Faults that may fail a stage; all others must not."""

DELICATE = {"rename", "link", "unlink", "rmdir"}
"""Calls that more often than others meet a fault: most of what two processes can do to each other is in them."""

WAKING = 58.0, 85.0
"""Seconds after which one that sleeps wakes up just while another takes its claim over."""

BAD_DAYS = 0.25
"""Of all schedules so many may meet four times as many faults as the others."""

Decision = list[Any]


class Killed(BaseException):
    """Unwinds the greenlet of a process that is no more; nothing that it still calls has an effect."""


class Process:
    """One process of a machine: a main task, and those that it calls in the background."""

    def __init__(self, machine: Machine, number: int, name: str, uid: int) -> None:
        self.machine, self.number, self.name, self.uid = machine, number, name, uid
        self.alive, self.paused_until = True, 0.0
        self.handles: dict[Handle, None] = {}

    def appends(self) -> bool:
        return any(handle.kind == APPEND for handle in self.handles)


class Task:
    """What one process does, in the foreground or in the background: ready when its time has come."""

    def __init__(self, process: Process, body: Callable[[], object], wake: float, main: bool) -> None:
        self.process, self.body, self.wake, self.main = process, body, wake, main
        self.greenlet: greenlet | None = None
        self.claim_read = self.sealed_at = 0
        self.timed = True  # it sleeps until its time, and is not merely one that waits for its turn
        self.ended, self.late = False, None  # type: ignore[var-annotated]

    @property
    def due(self) -> float:
        return max(self.wake, self.process.paused_until)


class Play:
    """One schedule: a world, its processes, and what is decided.

    Args:
        seed: of the settings of this world and, where ``decisions`` is not given, of what is decided.
        decisions: what is decided at which call; at all others everything goes on.
        rate: how many calls are followed by another process, on average.
    """

    def __init__(self, seed: int, decisions: dict[int, Decision] | None = None, faults: int = 14) -> None:
        self.chance, self.seed = Random(seed), seed
        self.random = self.chance.random
        settings = Random(f"settings {seed}")
        self.nfs = settings.random() < 0.5
        self.tick = settings.choice((0.002, 0.05, 0.4))
        self.skew = settings.choice((0.0, 11.0, 3600.0))
        self.coarse = settings.choice((1e-9, 1.0, 2.0))
        self.rate = settings.choice((0.02, 0.1, 0.3))
        self.fault_rate = settings.choice((0.005, 0.015, 0.04))
        self.left = settings.randint(0, faults)
        if settings.random() < BAD_DAYS:
            self.left += 3 * faults
        self.given, self.decisions = decisions, {} if decisions is None else dict(decisions)
        self.clock, self.count, self.faults, self.tokens, self.alarm = 0.0, 0, 0, 0, 0.0
        self.tasks: list[Task] = []
        self.processes: list[Process] = []
        self.files = Files(self, self.nfs, settings.choice((3.0, 30.0)), self.coarse)
        self.machines = [Machine(name, settings.uniform(-self.skew, self.skew)) for name in "abc"]
        self.current: Any = None
        self.over, self.failure, self.deaths = False, "", False
        self.dull = 5 * self.fault_rate, 1 - self.rate  # between them nothing is decided
        self.full_until = self.denied_until = 0.0
        self.lasting, self.transient, self.lost_power = False, 0, False
        self.ended: Callable[[Process, object], None] = lambda process, outcome: None
        self.lost: Callable[[Random], None] = lambda chance: None
        self.watch: Any = None
        self.error: Exception | None = None
        self.trace: list[str] = []
        self.tracing = False

    # ---- processes

    def spawn(self, machine: Machine, name: str, body: Callable[[], object], delay: float = 0.0, uid: int = 0) -> None:
        process = Process(machine, 100 + len(self.processes), name, uid)
        self.processes.append(process)
        self.tasks.append(Task(process, body, self.clock + delay, True))

    def run(self) -> str:
        """Play to the end; what went wrong, or nothing."""
        self.hub = getcurrent()
        with installed(self):
            while (task := self._next()) is not None:
                self.current = task
                task.greenlet = task.greenlet or greenlet(self._play)
                task.greenlet.switch(task)
        return self.failure

    def _play(self, task: Task) -> None:
        outcome: object = None
        try:
            if not task.process.alive or self.over:
                raise Killed
            outcome = task.body()
        except Killed as killed:
            outcome = killed
        except Exception as error:
            outcome = error
        task.ended = True
        self.tasks.remove(task)
        if task.main and not self.over:
            self._end(task.process, outcome)

    def _end(self, process: Process, outcome: object) -> None:
        process.alive, self.deaths = False, True
        for handle in list(process.handles):
            handle.release()
        self.ended(process, outcome)

    def _next(self) -> Task | None:
        if self.deaths:
            for task in list(self.tasks):
                if self.over or not task.process.alive:
                    if task.greenlet is not None:
                        return task  # it unwinds
                    self.tasks.remove(task)
                    if task.main and not self.over:
                        self._end(task.process, Killed())
            self.deaths = self.over
        first, soonest, alarm = None, math.inf, math.inf
        for task in self.tasks:
            due, paused = task.wake, task.process.paused_until
            if due < paused:
                due = paused
            if due < soonest:
                if first is not None and first.timed and soonest < alarm:
                    alarm = soonest
                first, soonest = task, due
            elif task.timed and due < alarm:
                alarm = due
        if first is not None:
            self.clock = max(self.clock, soonest)
            first.timed = False
            self.alarm = alarm
        return first

    def yield_to(self, task: Task, seconds: float = 0.0) -> None:
        """Let others run, for ``seconds`` at least."""
        task.wake, task.timed = self.clock + seconds, seconds > 0
        self.tasks.remove(task)
        self.tasks.append(task)
        self.hub.switch()
        if not task.process.alive or self.over:
            raise Killed

    def fail(self, message: str) -> None:
        """Something happened that must never happen: the schedule ends here."""
        self.failure = self.failure or message
        self.over = self.deaths = True

    def require(self, holds: object, message: str) -> None:
        """Let the schedule fail in the middle of a call, unless something holds."""
        if not holds:
            self.fail(message)
            raise Killed

    # ---- calls

    def do(
        self, what: str, path: object, effect: Callable[[], Any], part: Callable[[int], object] | None = None
    ) -> Any:
        """One call of a machine: perhaps others run first, perhaps it fails, perhaps it is the last of its process.

        Args:
            effect: what it does; ``part`` does so much of it that a process could have died then.
        """
        task = self.current
        if self.over or not task.process.alive:
            raise Killed
        self.count += 1
        clock = self.clock = self.clock + self.tick
        if self.tracing:
            self.trace.append(f"{self.count:6} {self.clock:9.2f} {task.process.name:12} {what:8} {path}")
        if self.count > LIMIT:
            self.fail("it does not end")
            raise Killed
        if self.given is not None:
            decision = self.given.get(self.count)
        else:
            number, (low, high) = self.random(), self.dull
            decision = None if low <= number <= high else self._decide(what, number)
        if decision is not None:
            self._act(decision, task, what, path, part)
        elif clock >= self.alarm:
            self.yield_to(task)
        if self.clock < self.full_until and what in ("write", "create", "mkdir"):
            raise failure(errno.ENOSPC, path)
        if self.clock < self.denied_until and what in ("names", "open", "create"):
            raise failure(errno.EACCES, path)
        result = effect()
        if task.late is not None:
            number, task.late = task.late, None
            if isinstance(result, Handle):
                result.release()  # who is told that a file could not be opened has none
            raise failure(number, path)
        return result

    def _decide(self, what: str, number: float) -> Decision | None:
        decision: Decision | None = None
        if number < self.fault_rate * (5 if what in DELICATE else 1) and self.left > 0:
            self.left -= 1
            (kind,) = self.chance.choices(list(FAULTS), list(FAULTS.values()))
            decision = [kind, self._argument(kind)]
        elif number > 1 - self.rate:
            decision = ["switch", self.chance.randrange(100)]
        if decision is not None:
            self.decisions[self.count] = decision
        return decision

    def _argument(self, kind: str) -> Any:
        chance = self.chance
        return {
            "pause": lambda: chance.choice((8.0, chance.uniform(*WAKING), chance.uniform(*WAKING), 200.0, 400.0)),
            "slow": lambda: chance.choice((8.0, chance.uniform(*WAKING), 200.0)),
            "error": lambda: [chance.choice((errno.EIO, errno.ESTALE, errno.EINTR)), chance.random() < 0.4],
            "full": lambda: chance.choice((0.5, 30.0)),
            "denied": lambda: chance.choice((0.5, 30.0)),
        }.get(kind, lambda: chance.randrange(10**6))()

    def _act(self, decision: Decision, task: Task, what: str, path: object, part: Any) -> None:
        kind, argument = decision
        if kind == "switch":
            ready = [other for other in self.tasks if other.due <= self.clock and other is not task]
            if ready:
                chosen = ready[argument % len(ready)]
                self.tasks.remove(chosen)
                self.tasks.insert(0, chosen)
                chosen.wake = 0.0
                self.yield_to(task)
            return
        self.faults += 1
        self.lasting |= kind in LASTING
        if self.tracing:
            self.trace.append(f"                {task.process.name:12} {kind} {argument}")
        if kind in ("pause", "slow") and self.nfs and task.process.appends():
            argument = min(argument, 8.0)  # who sleeps past its lock there writes over what others have appended
        if kind == "pause":
            task.process.paused_until = self.clock + argument
            self.yield_to(task)
        elif kind == "slow":
            self.yield_to(task, argument)
        elif kind == "kill":
            if part is not None:
                part(argument % 200)
            self._kill([task.process])
        elif kind == "error":
            self.transient += 1
            if not argument[1]:
                raise failure(argument[0], path)
            task.late = argument[0]
        elif kind == "power":
            self.lost_power = True
            chance = Random(argument)
            self.files.lose_power(chance)
            self.lost(chance)
            for machine in self.machines:
                machine.forget()
                machine.boots += 1
            self._kill(self.processes)
        elif kind == "loss":
            machine = task.process.machine
            machine.forget()
            machine.boots += 1
            self._kill([process for process in self.processes if process.machine is machine])
        elif kind == "full":
            self.full_until = self.clock + argument
        elif kind == "denied":
            self.denied_until = self.clock + argument

    def _kill(self, processes: list[Process]) -> None:
        if self.over:
            raise Killed
        self.deaths = True
        for process in processes:
            process.alive = False
        for task in [task for task in self.tasks if task.main and not task.process.alive]:
            task.main = False
            self._end(task.process, Killed())
        raise Killed

    # ---- time and host

    def sleep(self, seconds: float) -> None:
        self.do("sleep", "", lambda: None)
        self.yield_to(self.current, seconds)

    def every(self, seconds: float, call: Callable[[], object]) -> Callable[[], None]:
        over = calling = False

        def loop() -> None:
            nonlocal calling
            while not over:
                calling = True
                if call() is False:
                    return
                calling = False
                self.yield_to(self.current, seconds)

        task = Task(self.current.process, loop, self.clock + seconds, False)
        self.tasks.append(task)
        self.alarm = min(self.alarm, task.due)

        def stop() -> None:
            nonlocal over
            over = True
            if task.greenlet is None:
                if task in self.tasks:
                    self.tasks.remove(task)
                return
            if not calling:
                task.wake = 0.0
            while not task.ended:
                self.yield_to(self.current, 1.0)

        return stop

    def started(self, pid: int) -> str | None:
        machine = self.current.process.machine
        here = (p for p in self.processes if p.number == pid and p.machine is machine and p.alive)
        return next((f"boot {machine.boots}" for _ in here), None)

    def token(self) -> str:
        self.tokens += 1
        return hashlib.sha256(f"{self.seed} {self.tokens}".encode()).hexdigest()[:32]
