"""Searches on a Ray cluster: workers that are given one training after another.

Not Tune trials, as the stages of a study are. Tune gives a waiting trial to the first process that is free and ends the
one that was starting for it, so a search whose trainings are short next to a process's start keeps few of its slots
(0.4 of its throughput, benchmarks/search.py); its OptunaSearch keeps trials in the driver's memory, and its schedulers
forget their rungs on a restart. Here a suggestion is drawn when a worker is free for it, from our storage.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

from mss_core.graph import Context, Stopped
from mss_core.store import Store
from mss_core.study import interrupts
from mss_core.study.execution import joining, on_worker, stages_on_ray  # before ray, which reads what they set
from mss_core.study.resources import check_shares, memory_share, resources, stated_processes
from mss_core.study.search import scheduler, trial
from mss_core.study.variables import seconds

import ray  # isort: skip

STARTS = 20
"""Workers that may die in a row before any has started; then it is not the machines."""


def execute(conductor: scheduler.Conductor, store: Store, ctx: Context) -> None:
    """Carry out all jobs on the cluster.

    SIGTERM, SIGHUP and Ctrl-C let running trainings write their checkpoints first, then raise KeyboardInterrupt. Raises
    RuntimeError where nodes are missing or do not share the store, where the cluster can never hold a training, or
    where workers do not start.
    """
    with joining.joined(store, ctx, sys.stderr) as cluster:
        judged = [arm.stages({}, arm.search.seed)[0] for arm in conductor.arms]
        requests = [resources(stage, cluster.gpus) for stage in judged]
        stages_on_ray.check_fit(
            {arm.trained: request for arm, request in zip(conductor.arms, requests, strict=True)}, cluster.room
        )
        if cluster.gpus:
            check_shares(judged)
        given = ray.put(
            (
                list(conductor.arms),
                [conductor.where(arm) for arm in conductor.arms],
                [(stage, memory_share(stage), stated_processes(stage)) for stage in judged],
                store.place,
                ctx,
                str(cluster.scratch),
            )
        )
        crew = _Crew(conductor, requests, given)
        with interrupts.raised():
            try:
                crew.work()
            except KeyboardInterrupt:
                crew.stop(cluster.scratch)
                raise
            finally:
                crew.dismiss(list(crew.workers))
        cluster.clean()


# ---- on a worker


class _Worker:
    """Trains what it is given; its calls run in the process's main thread, where a signal can be handled."""

    def __init__(self, given: tuple[Any, ...]) -> None:
        from mss_core import runtime

        runtime.prepare_process()
        self.arms, self.places, self.given, root, self.ctx, scratch = given
        self.held = contextlib.ExitStack()
        asked = threading.Event()
        signal.signal(signal.SIGTERM, lambda number, frame: asked.set())
        self.store, folder = self.held.enter_context(on_worker.reached(root, scratch))
        self.stop_asked = on_worker.stop_asked(folder / on_worker.STOP, asked)

    def start(self) -> None:
        """Answers when the process stands."""

    def train(self, job: trial.Job) -> dict[str, Any]:
        from mss_core import runtime

        arm = self.arms[job.arm]
        stage, share, stated = self.given[job.arm]
        here = on_worker.on_this_node(self.ctx, stage, share, stated, len(ray.get_gpu_ids()), self.stop_asked)
        try:
            outcome = trial.perform(arm, job, self.store, here, self.places[job.arm])
        except Stopped as stopped:
            raise SystemExit(str(stopped)) from None  # like a worker that died, and with its last checkpoint
        runtime.release_memory(outcome["seconds"])
        return outcome


# ---- in the driver


class _Crew:
    """The workers of a search: as many as may train at a time, started where and when the cluster has room.

    Workers whose requests are equal serve the same arms. All are asked for at once, so that an autoscaler sees them.
    """

    def __init__(self, conductor: scheduler.Conductor, requests: list[dict[str, float]], given: Any) -> None:
        self.conductor, self.given = conductor, given
        self.serves: dict[Any, set[int]] = {}
        self.workers: dict[Any, frozenset[tuple[str, float]]] = {}
        self.busy: dict[Any, tuple[Any, trial.Job | None]] = {}
        self.idle: list[Any] = []
        self.lost: list[trial.Job] = []
        self.deaths: dict[str, int] = {}
        self.failed_starts = 0
        for arm, request in enumerate(requests):
            kind = frozenset(request.items())
            self.serves.setdefault(kind, set()).add(arm)
        for kind, arms in self.serves.items():
            for _ in range(sum(conductor.room(arm) for arm in arms)):
                self._engage(kind)

    def work(self) -> None:
        """Until every search has ended."""
        self._hand_out()
        while not self.conductor.over:
            ready, _ = ray.wait(list(self.busy))
            for answer in ready:
                self._take(answer)
            self._hand_out()

    def stop(self, scratch: Path) -> None:
        """Ask the workers to write their checkpoints, and wait until they have."""
        training = [answer for answer, (_, job) in self.busy.items() if job is not None]
        with contextlib.suppress(OSError):
            (scratch / on_worker.STOP).touch()
        with contextlib.suppress(OSError):  # nobody may be there to read it
            print(f"\nstopping: {len(training)} running trainings write their checkpoints", file=sys.stderr, flush=True)
        ray.wait(training, num_returns=len(training), timeout=seconds("MSS_STOP_SECONDS"))

    def dismiss(self, workers: Collection[Any]) -> None:
        """Let workers go, and what they hold."""
        for worker in workers:
            ray.kill(worker)
            del self.workers[worker]
        self.idle = [worker for worker in self.idle if worker in self.workers]

    def _engage(self, kind: frozenset[tuple[str, float]]) -> None:
        request = dict(kind)
        worker: Any = (
            ray.remote(_Worker)
            .options(num_cpus=request.pop("CPU"), num_gpus=request.pop("GPU", 0), resources=request)
            .remote(self.given)
        )
        self.workers[worker] = kind
        self.busy[worker.start.remote()] = worker, None

    def _hand_out(self) -> None:
        for worker in list(self.idle):
            arms = self.serves[self.workers[worker]]
            job = next((job for job in self.lost if job.arm in arms), None)
            if job is not None:
                self.lost.remove(job)
            else:
                job = self.conductor.next(arms)
            if job is not None:
                self.idle.remove(worker)
                self.busy[worker.train.remote(job)] = worker, job
            elif self.conductor.ended(arms):
                self.dismiss([worker])

    def _take(self, answer: Any) -> None:
        worker, job = self.busy.pop(answer)
        try:
            outcome = ray.get(answer)
        except ray.exceptions.RayTaskError as error:  # it raised what no training should: the worker stands
            outcome = trial.crashed(str(error).strip().splitlines()[-1])
        except ray.exceptions.RayError as error:
            self._bury(worker, job, str(error).strip().splitlines()[0])
            return
        self.idle.append(worker)
        self.failed_starts = 0
        if job is not None:
            self.conductor.done(job, outcome)

    def _bury(self, worker: Any, job: trial.Job | None, message: str) -> None:
        """A worker died: somebody else does its job, and another one takes its place."""
        kind = self.workers[worker]
        self.dismiss([worker])
        if job is None:
            self.failed_starts += 1
            if self.failed_starts >= STARTS:
                raise RuntimeError(f"{STARTS} workers died before they had started: {message}")
            time.sleep(0.5)
        else:
            known = trial.encode(job)
            self.deaths[known] = self.deaths.get(known, 0) + 1
            if self.deaths[known] > stages_on_ray.RETRIES:
                self.conductor.done(job, trial.crashed(f"its worker died {self.deaths[known]} times: {message}"))
            else:
                self.lost.append(job)
        self._engage(kind)
