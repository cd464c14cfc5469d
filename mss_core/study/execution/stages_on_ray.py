"""Executing a plan with Ray Tune; the only module that imports ray.

One Tune trial a distinct stage, fed by a searcher that walks the graph: whatever has its inputs and fits, runs.
Tune's own experiment state is not used to resume; the store is (a restart plans again and skips what is there).
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

# Ray and Tune read these when they are imported. Pending trials are visible to an autoscaler at once, not one at a
# time; the default loggers would write every result a second and third time; Ctrl-C is ours to handle; workers run at
# the priority of whoever started the study, not at the lowest.
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "200")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S", "1000000")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray  # noqa: E402
from ray import tune  # noqa: E402
from ray.tune.experiment import Trial as TuneTrial  # noqa: E402
from ray.tune.search import Searcher  # noqa: E402
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

from mss_core.graph import Context, Stage, Stopped  # noqa: E402
from mss_core.store import StageFailed, Store, run_stage  # noqa: E402
from mss_core.study.execution import nodes  # noqa: E402
from mss_core.study.execution.progress import BLOCKED, DONE, FAILED, RUNNING, WAITING, Board  # noqa: E402
from mss_core.study.execution.ready import Ready  # noqa: E402
from mss_core.study.execution.resources import memory_share, out_of_memory, resources, warm, where_to_change  # noqa: E402
from mss_core.study.plan import Plan, descendants  # noqa: E402
from mss_core.study.variables import seconds  # noqa: E402

RETRIES = 2
"""How often a stage whose worker died is started again without having written a checkpoint since the last time."""

STOP = "stop"
"""A file of this name in a run's own folder asks its workers to write their checkpoints and end."""


def connect() -> bool:
    """Join the Ray cluster this machine belongs to, or start one here; True where it was started here.

    ``RAY_ADDRESS`` decides where it is set (``local``: always one of its own). Otherwise a cluster counts that
    ``ray start`` recorded on this machine, not one that another program runs for itself.

    Raises RuntimeError where the cluster to join does not answer.
    """
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    address = os.environ.get("RAY_ADDRESS") or recorded_address()
    if address != "local":
        print(f"joining the Ray cluster at {address}", file=sys.stderr, flush=True)
        try:
            ray.init(address=address, **options)
        except (ConnectionError, TimeoutError) as error:
            raise RuntimeError(
                f"no Ray cluster answers at {address} ({error}); set RAY_ADDRESS, or RAY_ADDRESS=local "
                "for one of this machine's own"
            ) from None
        return False
    # Stages exchange files, not objects: the smallest object store will do.
    ray.init(address="local", include_dashboard=False, object_store_memory=100 * 2**20, **options)
    return True


def recorded_address() -> str:
    """The address that ``ray start`` recorded on this machine; ``local`` where it did not.

    Everybody may write to that folder, and a cluster runs what it is sent as the user who joins it: a record counts
    only if it is a file of this user's or root's in such a folder.
    """
    folder = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray"
    record = folder / "ray_current_cluster"
    try:
        owners = {record.lstat().st_uid, folder.lstat().st_uid}
        regular = stat.S_ISREG(record.lstat().st_mode)
        return record.read_text().strip() if regular and owners <= {os.getuid(), 0} else "local"
    except (FileNotFoundError, NotADirectoryError):
        return "local"


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What a driver works with.

    Attributes:
        scratch: a folder of this driver's own that every node sees.
        room: resources of each node that is there or that an autoscaler may start.
    """

    scratch: Path
    room: list[dict[str, float]]

    @property
    def gpus(self) -> float:
        """How many GPUs there can be."""
        return sum(node.get("GPU", 0.0) for node in self.room)

    def clean(self) -> None:
        """Drop the folder; what died has its log there, so a driver keeps it then."""
        shutil.rmtree(self.scratch, ignore_errors=True)


@contextlib.contextmanager
def joined(store: Store, ctx: Context, out: Any) -> Iterator[Cluster]:
    """A cluster whose nodes are all there and see the store and the data as this process does.

    Raises RuntimeError where they are not, or do not.
    """
    started_here = connect()
    try:
        cluster = {} if started_here else nodes.cluster_file()
        _wait_for_nodes(cluster, out)
        if not started_here:  # this machine's own cluster sees what this process sees
            check_store(store.root, ctx.data)
        # A folder of its own: two drivers on one store would overwrite each other's Tune state.
        scratch = store.root / "ray" / f"{socket.gethostname()}-{os.getpid()}-{time.time_ns():x}"
        scratch.mkdir(parents=True)
        yield Cluster(scratch, [*(node["Resources"] for node in _alive()), *nodes.possible_nodes(cluster)])
    finally:
        if started_here:
            ray.shutdown()


def execute(plan: Plan, store: Store, ctx: Context, board: Board) -> None:
    """Run every needed stage on the cluster; a failed one blocks only what needs it.

    SIGTERM and Ctrl-C let running trainings write their checkpoints first, then raise KeyboardInterrupt. Raises
    RuntimeError where nodes are missing or do not share the store, or where the cluster can never hold a stage (Tune
    itself would wait for ever).
    """
    with joined(store, ctx, board.out) as cluster:
        board.gpus = cluster.gpus
        stages = {key: plan.stages[key] for key in plan.needed}
        requests = {key: resources(stage, cluster.gpus) for key, stage in stages.items()}
        check_fit({stages[key].name: request for key, request in requests.items()}, cluster.room)
        scratch = cluster.scratch
        searcher = GraphSearcher(plan, board, store, scratch)
        tuner = tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_Worker, stages=stages, root=str(store.root), ctx=ctx, folder=str(scratch)),
                lambda config: _request(config, stages[config["key"]], requests[config["key"]]),
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
        with _quiet(), sigterm_interrupts():
            try:
                tuner.fit()
            except KeyboardInterrupt:
                _stop(searcher, store, scratch)
                raise
        if not searcher.died:
            cluster.clean()


def _request(config: Mapping[str, Any], stage: Stage, amounts: Mapping[str, float]) -> tune.PlacementGroupFactory:
    """Tune reuses a process for trials of equal requests: a training's has a name of its own, so it shares none."""
    own = "" if warm(stage) else f"{config['stage']} {config['key'][:12]} {config['attempt']}"
    return tune.PlacementGroupFactory([dict(amounts)], name=own)


# ---- before a study starts


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def _wait_for_nodes(cluster: Mapping[str, Any], out: Any) -> None:
    expected = nodes.expected_nodes(cluster)
    deadline = time.monotonic() + seconds("MSS_NODES_SECONDS")
    said = -1
    while len(_alive()) < expected:
        if time.monotonic() > deadline:
            raise RuntimeError(nodes.too_few([node["NodeManagerAddress"] for node in _alive()], expected, cluster))
        if len(_alive()) != said:
            said = len(_alive())
            print(f"waiting for nodes: {said} of {expected} have joined", file=out, flush=True)
        time.sleep(1)


def check_store(root: Path, data: Mapping[str, Path]) -> None:
    """Raise RuntimeError naming the nodes that do not see the store as this process does, or lack a data set.

    A node that died, of which Ray had not yet known, runs nothing and is passed over.
    """
    mark = nodes.leave_mark(root)
    alive = {node["NodeID"]: f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})" for node in _alive()}
    # Bound here, so that nodes need nothing that this process does not have.
    probe = ray.remote(num_cpus=0)(nodes.answer_mark)
    asked = {
        probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            root, mark, node, data
        ): node
        for node in alive
    }
    ray.wait(list(asked), num_returns=len(asked), timeout=120)
    problems = {}
    for reference, node in asked.items():
        try:
            problem = ray.get(reference, timeout=0)
        except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
            del alive[node]
            continue
        except ray.exceptions.GetTimeoutError:
            problem = "it did not answer within two minutes"
        except ray.exceptions.RayError as error:
            problem = f"it cannot run this project ({str(error).strip().splitlines()[-1]})"
        if problem:
            problems[alive[node]] = problem
    for node in nodes.read_answers(root, mark, [node for node in alive if alive[node] not in problems]):
        problems[alive[node]] = f"{root} is another folder there"
    if problems:
        raise RuntimeError(nodes.unshared(root, problems))


# ---- on a worker


class _Worker(tune.Trainable):
    """What a worker does: one stage a trial. A stage that raises is reported, not retried: it would raise again.

    Of Tune's two interfaces this is the one that runs in its process's main thread, where a signal can be handled.
    """

    def setup(self, config: dict[str, Any], **given: Any) -> None:
        from mss_core import runtime

        runtime.prepare_process()
        self.stages: Mapping[str, Stage] = given["stages"]
        self.ctx: Context = given["ctx"]
        self.store, self.run_folder = Store(given["root"]), Path(given["folder"])
        self.stop_asked = stop_asked(self.run_folder / STOP, threading.Event())

    def step(self) -> dict[str, Any]:
        from mss_core import runtime

        stage = self.stages[self.config["key"]]
        if not nodes.appears(self.run_folder):  # a node that joined after the others were probed
            return {"failed": f"node {socket.gethostname()} does not see the store {self.store.root}", "done": True}
        device = runtime.device() if ray.get_gpu_ids() else "cpu"
        runtime.limit_memory(device, self.config["gpu_memory"])
        here = dataclasses.replace(
            self.ctx, device=device, device_name=runtime.device_name(device), stop=self.stop_asked
        )
        result: dict[str, Any] = {"failed": "", "done": True}
        begun = time.monotonic()
        try:
            run_stage(stage, self.store, here)
        except StageFailed as failure:
            result |= {
                "failed": failure.message,
                "log": str(failure.log),
                "out_of_memory": runtime.is_out_of_memory(failure.__cause__),
            }
        except Stopped as stopped:
            raise SystemExit(str(stopped)) from None  # like a worker that died, and with its last checkpoint
        runtime.release_memory(time.monotonic() - begun)
        return result

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config = new_config
        return True


def stop_asked(file: Path, asked: threading.Event) -> Callable[[], bool]:
    """Whether this process has had SIGTERM, or a run's stop file is there (looked for once a second)."""
    signal.signal(signal.SIGTERM, lambda number, frame: asked.set())
    looked = 0.0

    def stop() -> bool:
        nonlocal looked
        if not asked.is_set() and time.monotonic() - looked > 1.0:
            looked = time.monotonic()
            if file.exists():
                asked.set()
        return asked.is_set()

    return stop


# ---- in the driver


class GraphSearcher(Searcher):
    """Hands out stages whose inputs are in the store, those that hold up most first."""

    def __init__(self, plan: Plan, board: Board, store: Store, logs: Path) -> None:
        super().__init__()
        self.board, self.stages, self.store, self.logs = board, plan.stages, store, logs
        below = descendants(plan.stages, plan.needed)
        self.ready = Ready(plan.stages, plan.needed, below)
        self.running: dict[str, str] = {}
        self.attempts: dict[str, int] = dict.fromkeys(plan.needed, 0)
        self.deaths: dict[str, int] = dict.fromkeys(plan.needed, 0)
        self.checkpoints: dict[str, int] = {}
        self.died = False

    def suggest(self, trial_id: str) -> Any:
        key = self.ready.take(lambda key: self.board.state[key] != BLOCKED)
        if key is None:
            return None if self.running else Searcher.FINISHED  # what is still not ready is blocked
        self.running[trial_id] = key
        self.attempts[key] += 1
        stage = self.stages[key]
        return {"key": key, "stage": stage.name, "attempt": self.attempts[key], "gpu_memory": memory_share(stage)}

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        key = self.running.pop(trial_id)
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
    def __init__(self, searcher: GraphSearcher) -> None:
        self.searcher = searcher

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        key = self.searcher.running.get(trial.trial_id)
        if key is not None and self.searcher.board.state[key] == WAITING:
            self.searcher.board.set(key, RUNNING)


def check_fit(requests: Mapping[str, Mapping[str, float]], room: list[dict[str, float]]) -> None:
    """Raise RuntimeError naming a stage that asks for more than any node has."""
    for stage, request in requests.items():
        if not any(all(node.get(name, 0) >= amount for name, amount in request.items()) for node in room):
            raise RuntimeError(
                f"stage {stage!r} asks for {dict(request)}; no node of the cluster has that much; change it in "
                f"{where_to_change()}"
            )


def _stop(searcher: GraphSearcher, store: Store, scratch: Path) -> None:
    """Ask the workers to write their checkpoints, and wait until they have let their claims go."""
    running = [searcher.stages[key] for key in searcher.running.values() if searcher.board.state[key] == RUNNING]
    print(f"\nstopping: {len(running)} running stages write their checkpoints", file=searcher.board.out, flush=True)
    with contextlib.suppress(OSError):
        (scratch / STOP).touch()
    deadline = time.monotonic() + seconds("MSS_STOP_SECONDS")
    while time.monotonic() < deadline and any(store.claim(stage).holder() for stage in running):
        time.sleep(0.2)


@contextlib.contextmanager
def sigterm_interrupts() -> Iterator[None]:
    """SIGTERM ends a study as Ctrl-C does; both only once, so that nothing cuts the stopping short."""

    def interrupt(number: int, frame: Any) -> None:
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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
