"""A system in a repository of its own: my_paper/, which is laid out as an installed package and edits nothing of ours.

It is the worked example of CONTRIBUTING, and what holds the door open: in process and under Ray, with a report, MLflow
runs and a GPU of a cluster that has some.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch

from mss_core import losses, models
from mss_core.graph import Context, Stage, walk
from mss_core.store import Store, materialize
from mss_core.study.resources import resources, warm
from tests.conftest import REPOSITORY
from tests.study.execution.test_stages_on_ray import cluster

HERE = Path(__file__).parent
TWIN = "def evaluate(*, number: int, version: int = 1, out, ctx) -> None:\n    (out / 'by.txt').write_text(__name__)\n"


def study(monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    from my_paper.study import study as declared

    return declared


def test_the_example_is_short() -> None:
    lines = [line for path in (HERE / "my_paper").glob("*.py") for line in path.read_text().splitlines()]
    assert len([line for line in lines if line.strip()]) <= 80


def test_its_parts_are_what_ours_are(monkeypatch) -> None:
    declared = study(monkeypatch)
    declared.check()
    stages = {stage.name: stage for stage in walk([declared.baseline.pipeline()]).values()}
    assert resources(stages["train"], 4) == {"CPU": 1, "GPU": 1} and not warm(stages["train"])
    assert resources(stages["evaluate"], 4) == {"CPU": 1, "GPU": 0.25} and warm(stages["evaluate"])
    assert resources(stages["prepare_tracks"], 4) == {"CPU": 1}
    assert models.build(declared.baseline.network)(torch.zeros(2, 50)).shape == (2, 1, 50)
    assert not losses.separation_loss(declared.baseline.loss)[1]


def test_two_packages_with_equal_calls_have_two_artefacts(tmp_path: Path, monkeypatch) -> None:
    """One result stood for the other's."""
    monkeypatch.syspath_prepend(str(tmp_path))
    stages = []
    for name in ("one_paper", "other_paper"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "stages.py").write_text(TWIN)
        stages.append(Stage(__import__(f"{name}.stages", fromlist=["evaluate"]).evaluate, number=1))
    store = Store(tmp_path / "store")
    left = [(materialize(stage, store, Context()) / "by.txt").read_text() for stage in stages]
    assert left == ["one_paper.stages", "other_paper.stages"] and stages[0].key != stages[1].key


def run(folder: Path, *flags: str, **environment: str) -> str:
    """The study's command in an empty folder, with the package on the path as an installed one is."""
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "my_paper.study", "--store", "store", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{HERE}:{REPOSITORY}", **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stderr


@pytest.mark.slow
@pytest.mark.ray
def test_it_runs_in_process_and_on_a_cluster_with_gpus(tmp_path: Path) -> None:
    import ray
    from mlflow.tracking import MlflowClient

    said = run(tmp_path / "here", "--in-process", "--seeds", "2")
    home = tmp_path / "here" / "store" / "studies" / "taps"
    told = json.loads((home / "study.json").read_text())
    command = f"{Path(sys.executable).name} -m my_paper.study --store store --in-process --seeds 2"
    assert {trial["command"] for trial in told["trials"]} == {command} and "9 stages executed" in said
    report = (home / "report.html").read_text()
    assert command in report and "The filters have 15, 1 taps." in report and "RMS error" in report
    assert "my_paper" in told["environment"]["packages"]
    client = MlflowClient(f"sqlite:///{tmp_path / 'here' / 'store' / 'mlflow.db'}")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert len(runs) == 5 and {run.info.status for run in runs} == {"FINISHED"}

    with cluster(PYTHONPATH=f"{HERE}:{REPOSITORY}") as address:
        run(tmp_path / "there", "--seeds", "1", RAY_ADDRESS=address)
        ray.init(address=address, log_to_driver=False)
        try:
            groups = ray.util.placement_group_table().values()
        finally:
            ray.shutdown()
    asked = [bundle.get("GPU", 0.0) for group in groups for bundle in group["bundles"].values()]
    assert asked.count(1.0) >= 2 and 0.25 in asked  # one per training, and what the module says of its scoring
    ours, theirs = (pd.read_csv(tmp_path / x / "store/studies/taps/scores.csv") for x in ("here", "there"))
    pd.testing.assert_frame_equal(ours[ours.seed == 0].reset_index(drop=True), theirs)
