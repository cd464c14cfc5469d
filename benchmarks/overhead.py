"""What the harness adds to Ray Tune: the same no-op stages through both, stores and tracking on, in one run.

    python benchmarks/overhead.py [--trials 64] [--concurrent 2] [--repeats 1] [--only cold|warm]

Cold: a process for each stage, as trainings get. Warm: one process runs many, as inference gets; raw Tune has
``reuse_actors`` then. Both sides start their own local Ray, import the same modules in the stage, write a small table
to disk and show every trial in an MLflow of their own (SQLite). The sides alternate, so that both see the same load.
"""

from __future__ import annotations

import argparse
import io
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mss_core.graph import Context, Stage
from mss_core.store import Store
from mss_core.study.execution import joining, stages_on_ray
from mss_core.study.plan import Plan
from mss_core.study.progress import Board
from mss_core.study.tracking.mirror import database
from mss_core.study.tracking.tracker import Tracker
from mss_core.study.view import StudyView, TrialView

TABLE = "track,target,metric,aggregation,score\n,macro,score,,0.5\n"


def imports() -> None:
    """What a stage loads before it can do anything of use."""
    import pandas  # noqa: F401
    import torch  # noqa: F401

    import mss_core.training  # noqa: F401


def train_nothing(*, number: int, out: Path, ctx: Context) -> None:
    """A stage that gets a process of its own."""
    imports()
    (out / "scores.csv").write_text(TABLE)
    ctx.report(step=1, total=1, loss=0.5)


def infer_nothing(*, number: int, out: Path, ctx: Context) -> None:
    """A stage of which one process may run many."""
    imports()
    (out / "scores.csv").write_text(TABLE)
    ctx.report(step=1, total=1, loss=0.5)


STAGE_RESOURCES = {"infer_nothing": {"warm": 1}}


def ours(folder: Path, trials: int, warm: bool) -> float:
    """Seconds that the harness takes for so many stages."""
    function = infer_nothing if warm else train_nothing
    stages = {stage.key: stage for stage in (Stage(function, number=number) for number in range(trials))}
    start = time.monotonic()
    store = Store(folder)
    plan = Plan([], stages, set(), list(stages), {})
    view = StudyView(
        "noop",
        "",
        "",
        ("number",),
        "score",
        True,
        tuple(
            TrialView(f"{number}/seed0", 0, {key: stage.name}, {"number": str(number)}, {})
            for number, (key, stage) in enumerate(stages.items())
        ),
    )
    tracker = Tracker(None, store, "noop", "benchmark")
    tracker.begin(view)
    board = Board(stages, store, io.StringIO())
    with board:
        stages_on_ray.execute(plan, store, Context(), board)
    if not tracker.flush(120):
        raise RuntimeError("MLflow shows not all of it")
    tracker.close(interrupted=False)
    taken = time.monotonic() - start
    assert len(list(folder.glob("*_nothing/*/manifest.json"))) == trials
    assert sum(run.info.status == "FINISHED" for run in _runs(database(folder))) == trials
    return taken


def raw(folder: Path, trials: int, warm: bool) -> float:
    """Seconds that Ray Tune alone takes."""
    import ray
    from ray import tune
    from ray.tune.logger.mlflow import MLflowLoggerCallback

    def trial(config: dict[str, Any]) -> None:
        imports()
        Path("scores.csv").write_text(TABLE)
        tune.report({"loss": 0.5})

    start = time.monotonic()
    joining.connect()
    callback = MLflowLoggerCallback(tracking_uri=database(folder), experiment_name="noop")
    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": 1}),
        param_space={"number": tune.grid_search(list(range(trials)))},
        tune_config=tune.TuneConfig(reuse_actors=warm),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0, callbacks=[callback]),
    )
    with stages_on_ray._quiet():
        results = tuner.fit()
    ray.shutdown()
    taken = time.monotonic() - start
    assert len(results) == trials and not results.errors
    assert sum(run.info.status == "FINISHED" for run in _runs(database(folder))) == trials
    return taken


def _runs(uri: str) -> list[Any]:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(uri)
    return list(client.search_runs([each.experiment_id for each in client.search_experiments()], max_results=5000))


def main() -> None:
    parser = argparse.ArgumentParser(description="Overhead of the harness over Ray Tune")
    parser.add_argument("--trials", type=int, default=64)
    parser.add_argument("--concurrent", type=int, default=2, help="CPUs that Ray is told it has")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--only", choices=("cold", "warm"))
    options = parser.parse_args()
    import os

    import ray

    os.environ["RAY_ADDRESS"] = "local"
    start_ray = ray.init
    ray.init = lambda **given: start_ray(num_cpus=options.concurrent, **given)
    limits = {"cold": 0.25, "warm": 0.8}
    for kind, limit in limits.items():
        if options.only not in (None, kind):
            continue
        times: dict[str, list[float]] = {"ours": [], "raw": []}
        for _ in range(options.repeats):
            for side, function in (("raw", raw), ("ours", ours)):
                with tempfile.TemporaryDirectory(prefix="overhead-") as folder:
                    times[side].append(function(Path(folder), options.trials, kind == "warm"))
                print(f"  {kind} {side}: {times[side][-1]:.1f} s", file=sys.stderr, flush=True)
        medians = {side: statistics.median(values) for side, values in times.items()}
        print(
            f"{kind}: {options.trials} stages, {options.concurrent} at a time: raw Tune {medians['raw']:.1f} s, "
            f"harness {medians['ours']:.1f} s, ratio {medians['ours'] / medians['raw']:.2f} (at most {limit})",
            flush=True,
        )


if __name__ == "__main__":
    main()
