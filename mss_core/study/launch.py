"""Executing a plan with Ray Tune; the only module that imports ray.

One Tune trial a distinct stage, fed by a searcher that walks the graph: whatever has its inputs and fits, runs.
Tune's own experiment state is not used to resume; the store is (a restart plans again and skips what is there).
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import shutil
import socket
import time
from collections.abc import Mapping
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

from mss_core.graph import Context, Stage  # noqa: E402
from mss_core.store import StageFailed, Store, run_stage  # noqa: E402
from mss_core.study.board import BLOCKED, DONE, FAILED, RUNNING, WAITING, Board  # noqa: E402
from mss_core.study.plan import Plan, descendants  # noqa: E402
from mss_core.study.resources import resources  # noqa: E402

RETRIES = 2
"""How often a stage whose worker died is started again (from its own checkpoint)."""


def connect() -> bool:
    """Join the Ray cluster this machine belongs to, or start one here; True where it was started here.

    ``RAY_ADDRESS`` decides where it is set (``local``: always one of its own). Otherwise a cluster counts that
    ``ray start`` recorded on this machine, not one that another program runs for itself.

    Raises RuntimeError where the cluster to join does not answer.
    """
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    record = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    address = os.environ.get("RAY_ADDRESS") or (record.read_text().strip() if record.exists() else "local")
    if address != "local":
        try:
            ray.init(address=address, **options)
        except (ConnectionError, TimeoutError) as error:
            raise RuntimeError(f"no Ray cluster answers at {address} ({error}); set RAY_ADDRESS, or RAY_ADDRESS=local "
                               "for one of this machine's own") from None
        return False
    # Stages exchange files, not objects: the smallest object store will do.
    ray.init(address="local", include_dashboard=False, object_store_memory=100 * 2**20, **options)
    return True


def execute(plan: Plan, store: Store, ctx: Context, board: Board) -> None:
    """Run every needed stage on the cluster; a failed one blocks only what needs it.

    Raises RuntimeError where the cluster can never hold a stage (Tune itself would wait for ever).
    """
    started_here = connect()
    try:
        gpus = float(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
        board.gpus = gpus
        requests = {key: resources(plan.stages[key].name, gpus) for key in plan.needed}
        _check_fit(plan, requests)
        stages = {key: plan.stages[key] for key in plan.needed}
        trainable = tune.with_resources(
            tune.with_parameters(_run, stages=stages, root=str(store.root), ctx=ctx),
            lambda config: tune.PlacementGroupFactory([requests[config["key"]]]))
        # A folder of its own: two drivers on one store would overwrite each other's Tune state.
        scratch = store.root / "ray" / f"{socket.gethostname()}-{os.getpid()}-{time.time_ns():x}"
        searcher = GraphSearcher(plan, board, scratch)
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(search_alg=searcher, num_samples=-1, reuse_actors=True,
                                        trial_dirname_creator=lambda trial: trial.trial_id),
            run_config=tune.RunConfig(
                name=scratch.name, storage_path=str(scratch.parent), verbose=0, callbacks=[_Watch(searcher)],
                failure_config=tune.FailureConfig(max_failures=RETRIES)))
        with _quiet():
            tuner.fit()
        if not searcher.died:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        if started_here:
            ray.shutdown()


def _run(config: dict[str, Any], stages: dict[str, Stage], root: str, ctx: Context) -> None:
    """What a worker does: one stage. A stage that raises is reported, not retried: it would raise again."""
    import dataclasses

    from mss_core import runtime

    runtime.prepare_process()
    device = runtime.device() if ray.get_gpu_ids() else "cpu"
    here = dataclasses.replace(ctx, device=device, device_name=runtime.device_name(device))
    stage = stages[config["key"]]
    failed = ""
    try:
        run_stage(stage, _store(root), here)
    except StageFailed as failure:
        failed = f"{failure.message} (log: {failure.log})"
    runtime.release_memory()
    tune.report({"failed": failed})


@functools.lru_cache(maxsize=1)
def _store(root: str) -> Store:
    """One store a worker process: it remembers which files it has verified."""
    return Store(root)


class GraphSearcher(Searcher):
    """Hands out stages whose inputs are in the store, those that hold up most first."""

    def __init__(self, plan: Plan, board: Board, logs: Path) -> None:
        super().__init__()
        self.board, self.stages, self.logs = board, plan.stages, logs
        below = descendants(plan.stages, plan.needed)
        self.pending = sorted(plan.needed, key=lambda key: -below[key])
        self.missing = set(plan.needed)
        self.running: dict[str, str] = {}
        self.died = False

    def suggest(self, trial_id: str) -> Any:
        self.pending = [key for key in self.pending if self.board.state[key] != BLOCKED]
        if not self.pending:
            return Searcher.FINISHED
        preparing = any(not self.stages[key].inputs for key in self.missing)
        for key in self.pending:
            if preparing and self.stages[key].inputs:
                continue  # what is wrong with the data is to be known before anything is trained
            if not any(upstream.key in self.missing for upstream in self.stages[key].inputs.values()):
                self.pending.remove(key)
                self.running[trial_id] = key
                return {"key": key, "stage": self.stages[key].name}
        return None

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        key = self.running.pop(trial_id)
        message = (result or {}).get("failed", "it reported nothing")
        if error:
            self.died = True
            message = f"its worker died {RETRIES + 1} times (log: {self.logs / trial_id / 'error.txt'})"
        if message:
            self.board.set(key, FAILED, message)
            self.board.block(key, everything=not self.stages[key].inputs)
        else:
            self.missing.discard(key)
            self.board.set(key, DONE)

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


def _check_fit(plan: Plan, requests: Mapping[str, Mapping[str, float]]) -> None:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    for key, request in requests.items():
        if not any(all(node.get(name, 0) >= amount for name, amount in request.items()) for node in nodes):
            raise RuntimeError(f"stage {plan.stages[key].name!r} asks for {dict(request)}; no node of the cluster has "
                               "that much (edit mss_core/study/resources.py)")


@contextlib.contextmanager
def _quiet() -> Any:
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
