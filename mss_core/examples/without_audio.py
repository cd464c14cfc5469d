"""A study without audio: how smooth must a fit of noisy points be?"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mss_core.artefact import write_scores
from mss_core.graph import Context, Stage
from mss_core.study import Factor, Study, run


def fit(*, degree: int, seed: int, version: int = 1, out: Path, ctx: Context) -> None:
    x, noise = np.linspace(-1, 1, 25), np.random.default_rng(seed).normal(0, 0.3, 25)
    np.save(out / "weights.npy", np.polyfit(x, np.sin(4 * x) + noise, degree))


def judge(*, fitted: Path, version: int = 1, out: Path, ctx: Context) -> None:
    x = np.linspace(-1, 1, 200)
    error = np.polyval(np.load(fitted / "weights.npy"), x) - np.sin(4 * x)
    write_scores(out, [("", "", "mae", "", float(np.abs(error).mean()))])


@dataclass(frozen=True)
class Recipe:
    degree: int = 5
    seed: int = 0

    def pipeline(self) -> Stage:
        return Stage(judge, fitted=Stage(fit, degree=self.degree, seed=self.seed))


study = Study(
    name="degrees",
    question="Which degree fits best?",
    baseline=Recipe(),
    factors=[Factor("degree", {"5": {}, "1": {"degree": 1}, "15": {"degree": 15}})],
    reference={"degree": "5"},
    metric="mae",
    seeded=["seed"],
    smoke=lambda recipe: recipe,
)
if __name__ == "__main__":
    run(study)
