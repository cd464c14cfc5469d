"""Executing a plan with Ray Tune.

One Tune trial a distinct stage, fed by a searcher that walks the graph: whatever has its inputs and fits, runs.
Tune's own experiment state is not used to resume; the store is (a restart plans again and skips what is there).
"""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mss_core.graph import Context, Stage
from mss_core.store import Store
from mss_core.store.remote.opening import opened
from mss_core.study import interrupts
from mss_core.study.execution import apart, on_worker
from mss_core.study.execution.joining import (  # before ray: it sets what Ray reads when it is imported
    cores,
    gpus_up,
    joined,
    machines,
)
from mss_core.study.execution.ready import Later, Ready, held, together
from mss_core.study.plan import Plan, descendants
from mss_core.study.progress import BLOCKED, DONE, FAILED, RUNNING, WAITING, Board
from mss_core.study.resources import (
    ACCELERATOR,
    check_shares,
    memory_share,
    out_of_memory,
    resources,
    stated_processes,
    warm,
    where_to_change,
)
from mss_core.study.variables import seconds

import ray  # isort: skip
from ray import tune  # isort: skip
from ray.tune.experiment import Trial as TuneTrial  # isort: skip
from ray.tune.search import Searcher  # isort: skip

RETRIES = 2
"""How often a stage whose worker died is started again without having written a checkpoint since the last time."""


def execute(plan: Plan, store: Store, ctx: Context, board: Board, ahead: Plan | None = None) -> None:
    """Run every needed stage on the cluster; a failed one blocks only what needs it.

    Stages of ``ahead`` start where nothing else ever will: on nodes that are up, in what all that is still to run
    leaves free. When the plan's own stages have ended, those that train write a checkpoint and end, too.

    SIGTERM, SIGHUP and Ctrl-C let running trainings write their checkpoints first, then raise KeyboardInterrupt. Raises
    RuntimeError where nodes are missing or do not share the store, or where the cluster can never hold a stage (Tune
    itself would wait for ever).
    """
    with joined(store, ctx, board.out) as cluster:
        board.gpus = cluster.gpus
        later = [key for key in ahead.needed if key not in board.state] if ahead else []
        stages = {key: (plan if key in board.state else ahead or plan).stages[key] for key in (*plan.needed, *later)}
        requests = {key: resources(stage, cluster.gpus) for key, stage in stages.items()}
        check_fit({stages[key].name: request for key, request in requests.items()}, cluster.room)
        if cluster.gpus:
            check_shares(stages.values())

        def now(key: str) -> Mapping[str, float]:
            """What a stage asks for when its turn comes: a GPU too, where the first came after the study started."""
            return requests[key] if cluster.gpus else resources(stages[key], gpus_up())

        scratch = cluster.scratch
        searcher = GraphSearcher(plan, board, store, scratch, Later(stages, later, now, ray.cluster_resources))
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_Worker, stages=stages, root=store.place, ctx=ctx, folder=str(scratch)),
                lambda config: tune.PlacementGroupFactory([dict(now(config["key"]))]),
            ),
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                num_samples=-1,
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=tune.RunConfig(
                name=scratch.name,
                storage_path=str(scratch.parent),
                verbose=0,
                callbacks=[_Watch(searcher)],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )
        with _quiet(), interrupts.raised():
            try:
                tuner.fit()
            except KeyboardInterrupt:
                _stop(searcher, store, scratch)
                raise
            except Exception:  # a table of Tune's own, of files that a full disk may have cut short
                if not searcher.over():
                    raise
        if not searcher.died:
            cluster.clean()


# ---- on a worker


class _Worker(tune.Trainable):
    """What a worker does: one stage per trial. A stage that raises is reported, not retried: it would raise again.

    Stages that may follow one another in a process do so in this one, each other has its own.
    Of Tune's two interfaces this is the one that runs in its process's main thread, where a signal can be handled.
    """

    def setup(self, config: dict[str, Any], **given: Any) -> None:
        from mss_core import runtime

        runtime.prepare_process()
        self.stages: Mapping[str, Stage] = given["stages"]
        self.ctx, self.root, self.folder = given["ctx"], given["root"], given["folder"]
        self.store = opened(self.root)
        self.asked, self.cores = threading.Event(), cores()
        self.apart = apart.Apart(self.asked, ray.cloudpickle)
        signal.signal(signal.SIGTERM, self._ask)

    def _ask(self, number: int, frame: Any) -> None:
        self.asked.set()
        self.apart.terminate()

    def step(self) -> dict[str, Any]:
        stage = self.stages[self.config["key"]]
        given = on_worker.Given(
            ctx=self.ctx,
            folder=self.folder,
            stage=stage,
            source=self.config["source"],
            share=self.config["gpu_memory"],
            stated=self.config["processes"],
            gpus=len(ray.get_gpu_ids()),
            request=self.config["request"],
            cores=self.cores,
        )
        if self.asked.is_set():
            raise SystemExit("it was asked to end before a stage began")
        if warm(stage):
            result = on_worker.run(given, self.store, self.asked)
        else:
            result = self.apart.call(on_worker.run_apart, given, self.root)
        if result.pop("stopped", False):
            raise SystemExit(result["failed"])  # like a worker that died, and with its last checkpoint
        return result

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return True


def free_claim(store: Store, stage: Stage, folder: Path) -> None:
    """Give back the claim of a worker of this run that Ray knows to be dead, so that nobody waits for it to age."""
    with contextlib.suppress(OSError, ValueError):
        store.claim(stage).free(json.loads(on_worker.worker_file(folder, stage).read_text()))


# ---- in the driver


class GraphSearcher(Searcher):
    """Hands out stages whose inputs are in the store, those that hold up most first, and what only may run last."""

    def __init__(self, plan: Plan, board: Board, store: Store, logs: Path, later: Later | None = None) -> None:
        super().__init__()
        self.later = later or Later()
        self.board, self.store, self.logs = board, store, logs
        self.own, self.stages = plan.needed, {**plan.stages, **self.later.stages}
        below = descendants(plan.stages, plan.needed) | descendants(self.stages, self.later.keys)
        self.ready = Ready(self.stages, [*plan.needed, *self.later.keys], below, self.later.keys)
        self.running: dict[str, str] = {}
        self.deaths: dict[str, int] = dict.fromkeys(plan.needed, 0)
        self.checkpoints: dict[str, int] = {}
        self.died = False

    def suggest(self, trial_id: str) -> Any:
        key = self.ready.take(lambda key: self.board.state.get(key) != BLOCKED, self._idle)
        if key is None:
            return None if self.running else Searcher.FINISHED  # what is still not ready is blocked
        self.running[trial_id] = key
        stage = self.stages[key]
        return {
            "key": key,
            "gpu_memory": memory_share(stage),
            "processes": stated_processes(stage),
            "source": on_worker.fingerprint(stage),
            "request": {name: amount for name, amount in self.later.request(key).items() if name in ("CPU", "GPU")},
        }

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        key = self.running.pop(trial_id)
        if error:
            free_claim(self.store, self.stages[key], self.logs)
        if key not in self.board.state:  # it only might have run: where it failed, the look that needs it says so
            if not error and result and not result["failed"]:
                self.ready.finish(key)
            return
        if error and self._again(key):
            self.ready.again(key)
            self.board.set(key, WAITING)
            return
        result = result or {"failed": "it reported nothing"}
        message = out_of_memory(self.stages[key]) if result.get("out_of_memory") else result["failed"]
        message += f" (log: {result['log']})" if "log" in result else ""
        if error:
            self.died = True
            message = (
                f"its worker died {self.deaths[key]} times without progress (log: {self.logs / trial_id / 'error.txt'})"
            )
        if message:
            self.board.set(key, FAILED, message)
            self.board.block(key)
        else:
            self.ready.finish(key)
            self.board.set(key, DONE)
        if self.running and not self.board.pending():
            (self.logs / on_worker.STOP).touch()

    def over(self) -> bool:
        """Whether every stage of the plan has ended: nothing that happens later changes what became of one."""
        return not self.running and not self.board.pending()

    def _idle(self, key: str) -> bool:
        """Whether there is room for a stage that only may run, beside the most that all others will take at once."""
        unfinished = [key for key in self.own if self.board.state[key] in (WAITING, RUNNING)]
        if not unfinished:
            return False
        request, there = self.later.request, self.later.there()
        started = [request(other) for other in self.running.values() if other not in self.board.state]
        taken = together([held(self.stages, unfinished, request), *started])
        return all(there.get(name, 0.0) - taken.get(name, 0.0) >= amount for name, amount in request(key).items())

    def _again(self, key: str) -> bool:
        """Whether to start a stage again whose worker died: a spot machine may be lost often, if it got on between."""
        checkpoint = self.store.checkpoint_time(self.stages[key])
        progress = checkpoint > self.checkpoints.get(key, 0)
        self.checkpoints[key] = checkpoint
        self.deaths[key] = 1 if progress else self.deaths[key] + 1
        return self.deaths[key] <= RETRIES

    def __deepcopy__(self, memo: dict[int, Any]) -> GraphSearcher:
        return self  # the board it talks to is one

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune writes its searcher down; nothing of ours is read back

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is what a restart reads."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        raise RuntimeError("a study is resumed by running it again, not by restoring Tune")


class _Watch(tune.Callback):
    """Tells the board which stages run, and which machines were lost or came."""

    def __init__(self, searcher: GraphSearcher) -> None:
        self.searcher = searcher
        self.machines, self.looked = machines(), time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        key = self.searcher.running.get(trial.trial_id)
        if key is not None and self.searcher.board.state.get(key) == WAITING:
            self.searcher.board.set(key, RUNNING)

    def on_step_end(self, iteration: int, trials: list[TuneTrial], **info: Any) -> None:
        if time.monotonic() - self.looked < 5:
            return
        now, self.looked = machines(), time.monotonic()
        for node in self.machines.keys() - now.keys():
            self.searcher.board.lost_machine(self.machines[node], len(now))
        for node in now.keys() - self.machines.keys():
            self.searcher.board.say(f"joined: node {now[node]}, now {len(now)} nodes")
        self.machines = now


def _has(node: Mapping[str, float], name: str, amount: float) -> bool:
    """Whether a node has that much; the type of a GPU is not known before the machine is there."""
    unknown = name.startswith(ACCELERATOR) and not any(each.startswith(ACCELERATOR) for each in node)
    return unknown or node.get(name, 0) >= amount


def check_fit(requests: Mapping[str, Mapping[str, float]], room: list[dict[str, float]]) -> None:
    """Raise RuntimeError naming a stage that asks for more than any node has."""
    for stage, request in requests.items():
        if not any(all(_has(node, name, amount) for name, amount in request.items()) for node in room):
            raise RuntimeError(
                f"stage {stage!r} asks for {dict(request)}; no node of the cluster has that much; change it in "
                f"{where_to_change()}"
            )


def _stop(searcher: GraphSearcher, store: Store, scratch: Path) -> None:
    """Ask the workers to write their checkpoints, and wait until they have let their claims go."""
    running = [searcher.stages[key] for key in searcher.running.values() if searcher.board.state.get(key) != WAITING]
    with contextlib.suppress(OSError):
        (scratch / on_worker.STOP).touch()
    with contextlib.suppress(OSError):  # nobody may be there to read it
        print(f"\nstopping: {len(running)} running stages write their checkpoints", file=searcher.board.out, flush=True)
    deadline = time.monotonic() + seconds("MSS_STOP_SECONDS")
    while time.monotonic() < deadline and any(store.claim(stage).holder() for stage in running):
        time.sleep(0.2)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Tune's log lines off the terminal; warnings about its own experiment state do not concern us."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune", "ray.train")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
