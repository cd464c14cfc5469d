"""Throughput of a search beside plain Ray Tune with its OptunaSearch: equal objective, sampler, trials and slots.

    python benchmarks/search.py [--trials 200] [--slots 8] [--seconds 2.0] [--rounds 1]

The objective sleeps, so that slots, not cores, are what is scarce. Ours writes every suggestion and outcome to a
journal on disk, commits every training to a store and can be killed at any time; theirs keeps all in memory. What is
timed is the search itself: Ray and one process per slot are started before (with both sides' imports), for on few cores
Tune drops a process that starts more slowly than trials end. The ratio is the throughput of ours over theirs.
"""

from __future__ import annotations

import argparse
import logging
import os
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

from mss_core.graph import Context, Stage
from mss_core.store import Store
from mss_core.study import Search
from mss_core.study.designs import Variant
from mss_core.study.execution import joining
from mss_core.study.search import on_ray, phase, scheduler
from mss_core.study.study import Study

import optuna  # isort: skip
import ray  # isort: skip
from ray import tune  # isort: skip
from ray.tune.search.optuna import OptunaSearch  # isort: skip


@dataclass(frozen=True)
class Training:
    x: float = 0.5
    y: float = 0.5
    seconds: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class Sleeper:
    train: Training = Training()

    def pipeline(self) -> Stage:
        return Stage(sleep, train=self.train)


def sleep(*, train: Training, version: int = 1, out: Path, ctx: Context) -> None:
    """Waits, and reports how far (x, y) is from its optimum."""
    time.sleep(train.seconds)
    ctx.report(step=1, total=1, valid_loss=(train.x - 0.3) ** 2 + (train.y - 0.7) ** 2)


def space(trial: Any) -> dict[str, Any]:
    return {"train.x": trial.suggest_float("train.x", 0.0, 1.0), "train.y": trial.suggest_float("train.y", 0.0, 1.0)}


def ours(folder: Path, trials: int, slots: int, seconds: float, seed: int) -> tuple[float, float]:
    """Seconds and best value of a search of ours."""
    search = Search({"sleep": space}, trials=trials, scope="baseline", concurrency=slots, reruns=0, seed=1000 + seed)
    study = Study(
        name="b",
        question="",
        baseline=Sleeper(Training(seconds=seconds)),
        factors=[],
        reference={},
        metric="",
        smoke=lambda recipe: recipe,
        seeded=("train.seed",),
        search=search,
    )
    store = Store(folder)
    (arm,) = phase.plan_arms(study, False, {}, lambda recipe: recipe, store).values()
    assert arm.variant == Variant("baseline", {}, {}).name
    start = time.monotonic()
    conductor = scheduler.Conductor([replace(arm, points=())], store, lambda arm: phase.where(arm, store))
    on_ray.execute(conductor, store, Context())
    spent = time.monotonic() - start
    (run,) = conductor.underway
    done = [trial for trial in run.suggestions.trials() if trial.state == optuna.trial.TrialState.COMPLETE]
    assert len(done) == trials and not conductor.errors(), (len(done), conductor.errors())
    return spent, min(trial.value for trial in done)


def theirs(folder: Path, trials: int, slots: int, seconds: float, seed: int) -> tuple[float, float]:
    """Seconds and best value of the same search by plain Tune."""

    def objective(config: dict[str, Any]) -> None:
        import torch  # noqa: F401

        time.sleep(seconds)
        tune.report({"valid_loss": (config["train.x"] - 0.3) ** 2 + (config["train.y"] - 0.7) ** 2})

    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    searcher = OptunaSearch(
        {name: optuna.distributions.FloatDistribution(0, 1) for name in ("train.x", "train.y")},
        metric="valid_loss",
        mode="min",
        sampler=sampler,
    )
    tuner = tune.Tuner(
        tune.with_resources(objective, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            search_alg=searcher,
            metric="valid_loss",
            mode="min",
            num_samples=trials,
            max_concurrent_trials=slots,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(name="theirs", storage_path=str(folder), verbose=0),
    )
    start = time.monotonic()
    found = tuner.fit()
    spent = time.monotonic() - start
    assert len(found) == trials and not found.errors
    return spent, float(found.get_best_result().metrics["valid_loss"])


@ray.remote(num_cpus=1)
def start(until: float) -> int:
    """Imports what a training needs, and keeps its process from another such task until all have one."""
    import torch  # noqa: F401

    from mss_core.study.search import on_ray  # noqa: F401

    time.sleep(max(0.0, until - time.time()))
    return os.getpid()


def warm(slots: int) -> None:
    """Leave a started process for every slot."""
    found: set[int] = set()
    while len(found) < slots:
        found = set(ray.get([start.remote(time.time() + 20) for _ in range(slots)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--slots", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=1, help="how often each is timed, in turn")
    chosen = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    logging.getLogger("ray").setLevel(logging.CRITICAL)  # theirs complains of loggers that are off for both
    ray.init(address="local", num_cpus=chosen.slots, include_dashboard=False, log_to_driver=False)
    joining.connect = lambda: False  # the cluster is there, for both
    ideal = chosen.trials * chosen.seconds / chosen.slots
    ratios = []
    for number in range(chosen.rounds):
        found = {}
        for name, search in (("ours", ours), ("theirs", theirs))[:: 1 if number % 2 == 0 else -1]:
            warm(chosen.slots)
            with tempfile.TemporaryDirectory() as folder:
                found[name] = search(Path(folder), chosen.trials, chosen.slots, chosen.seconds, number)
            spent, best = found[name]
            print(
                f"{name:<7} {chosen.trials} trials in {spent:6.1f} s (at least {ideal:.1f}), "
                f"{chosen.trials / spent:.2f} a second, best {best:.2g}, load {os.getloadavg()[0]:.0f}",
                flush=True,
            )
        ratios.append(found["theirs"][0] / found["ours"][0])
        print(f"ratio   {ratios[-1]:.2f}", flush=True)
    print(f"median ratio {sorted(ratios)[len(ratios) // 2]:.2f}")


if __name__ == "__main__":
    main()
