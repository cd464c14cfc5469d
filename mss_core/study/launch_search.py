"""Searches on a Ray cluster: their trainings as Tune trials, fed by the conductor.

Tune's own OptunaSearch keeps its trials in the driver's memory and its schedulers forget their rungs on a restart; so
the suggestions come from our storage, and Tune does what it is good at: placing work, retrying it, reusing processes.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mss_core.graph import Context
from mss_core.store import Store
from mss_core.study import conduct
from mss_core.study.launch import RETRIES, _quiet, connect  # first: it sets what Ray reads when it is imported
from mss_core.study.resources import resources
from mss_core.study.search import Arm

import ray  # isort: skip
from ray import tune  # isort: skip
from ray.tune.search import Searcher  # isort: skip


def execute(conductor: conduct.Conductor, store: Store, ctx: Context) -> None:
    """Carry out all jobs on the cluster.

    Raises RuntimeError where the cluster can never hold one (Tune itself would wait for ever).
    """
    started_here = connect()
    try:
        gpus = float(ray.cluster_resources().get("GPU", 0))  # type: ignore[no-untyped-call]
        requests = [resources(arm.trained, gpus) for arm in conductor.arms]
        _check_fit(conductor.arms, requests)
        places = [conductor.where(arm) for arm in conductor.arms]
        given = ray.cloudpickle.dumps((list(conductor.arms), places, str(store.root), ctx))  # type: ignore[no-untyped-call]
        trainable = tune.with_resources(
            _light(given),
            lambda config: tune.PlacementGroupFactory([requests[conduct.decode(config["job"]).arm]]))
        scratch = store.root / "ray" / f"search-{socket.gethostname()}-{os.getpid()}-{time.time_ns():x}"
        searcher = JobSearcher(conductor, scratch)
        tuner = tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(search_alg=searcher, num_samples=-1, reuse_actors=True,
                                        trial_dirname_creator=lambda trial: trial.trial_id),
            run_config=tune.RunConfig(name=scratch.name, storage_path=str(scratch.parent), verbose=0,
                                      failure_config=tune.FailureConfig(max_failures=RETRIES)))
        with _quiet():
            tuner.fit()
        if not searcher.died:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        if started_here:
            ray.shutdown()


def _light(given: bytes) -> Callable[[dict[str, Any]], None]:
    """What Tune starts: a function that imports nothing until it has work.

    Tune gives a waiting trial to the first process that is free and drops the one that was starting for it, so where
    starting takes longer than a trial, a search would never get all its slots.
    """
    def work(config: dict[str, Any]) -> None:
        from mss_core.study import launch_search

        launch_search.train(config["job"], given)

    return work


def train(text: str, given: bytes) -> None:
    """What a worker does: one training."""
    import dataclasses

    from mss_core import runtime

    arms, places, root, ctx = _opened(given)
    runtime.prepare_process()
    device = runtime.device() if ray.get_gpu_ids() else "cpu"
    here = dataclasses.replace(ctx, device=device, device_name=runtime.device_name(device))
    job = conduct.decode(text)
    outcome = conduct.perform(arms[job.arm], job, Store(root), here, places[job.arm])
    if outcome["seconds"] > 20:  # collecting takes a fifth of a second of a core: not after every short training
        runtime.release_memory()
    tune.report({"outcome": json.dumps(outcome)})  # as text: Tune flattens what is nested


@functools.lru_cache(maxsize=1)
def _opened(given: bytes) -> Any:
    return ray.cloudpickle.loads(given)


class JobSearcher(Searcher):
    """The conductor as Tune sees it."""

    def __init__(self, conductor: conduct.Conductor, logs: Path) -> None:
        super().__init__()
        self.conductor, self.logs = conductor, logs
        self.running: dict[str, conduct.Job] = {}
        self.died = False

    def suggest(self, trial_id: str) -> Any:
        job = self.conductor.next()
        if job is None:
            return Searcher.FINISHED if self.conductor.over else None
        self.running[trial_id] = job
        return {"job": conduct.encode(job)}

    def on_trial_complete(self, trial_id: str, result: Mapping[str, Any] | None = None, error: bool = False) -> None:
        job = self.running.pop(trial_id)
        told = (result or {}).get("outcome")
        outcome = json.loads(told) if told and not error else None
        if outcome is None:
            self.died = True
            message = f"its worker died {RETRIES + 1} times (log: {self.logs / trial_id / 'error.txt'})"
            outcome = {"state": conduct.FAILED, "values": None, "message": message, "epochs": 0, "most": 0,
                       "seconds": 0.0}
        self.conductor.done(job, outcome)

    def __deepcopy__(self, memo: dict[int, Any]) -> JobSearcher:
        return self  # the conductor it talks to is one

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune writes its searcher down; nothing of ours is read back

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the storage is what a restart reads."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        raise RuntimeError("a search is resumed by running its study again, not by restoring Tune")


def _check_fit(arms: Sequence[Arm], requests: Sequence[Mapping[str, float]]) -> None:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    for arm, request in zip(arms, requests, strict=True):
        if not any(all(node.get(name, 0) >= amount for name, amount in request.items()) for node in nodes):
            raise RuntimeError(f"the search of {arm.trained!r} asks for {dict(request)} a trial; no node of the "
                               "cluster has that much (edit mss_core/study/resources.py)")
