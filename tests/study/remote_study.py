"""A study of stages that train in steps, for stores in object stores; REMOTE_STUDY is its name."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from mss_core.graph import Stage
from mss_core.study import Factor, Study, run
from tests.store.remote_worker import prepare, score, train


@dataclass(frozen=True)
class Recipe:
    steps: int = 5
    seed: int = 0

    def pipeline(self) -> Stage:
        data = Stage(prepare, size=3_000_000)
        return Stage(score, model=Stage(train, data=data, steps=self.steps, seed=self.seed))


study = Study(
    name=os.environ.get("REMOTE_STUDY", "remote"),
    question="How many steps?",
    baseline=Recipe(),
    factors=[Factor("steps", {"5": {}, "9": {"steps": 9}})],
    reference={"steps": "5"},
    metric="roc_auc",
    smoke=lambda recipe: recipe,
    seeds=range(3),
    seeded=("seed",),
)

if __name__ == "__main__":
    if "--in-process" in sys.argv:
        sys.modules["mlflow"] = None  # type: ignore[assignment]  # to make its database takes longer than the study
    run(study)
