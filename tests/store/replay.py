"""Small stores as releases wrote them: ``python -m tests.store.replay`` leaves tests/store/releases/<version>/.

Run once per release, with the release's own source, and never again for an earlier one: what is kept is what that code
wrote. The stages here must keep their names, arguments and meaning, since their keys are in those stores.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from mss_core.graph import Context, Stage, Stopped
from mss_core.store import Store, materialize
from mss_core.study import Factor, Study, run

FOLDER = Path(__file__).resolve().parent / "releases"
STEPS = 6
SEEDS = 2
"""Seeds of the finished study; the training of the next seed was stopped after three steps."""


@dataclass(frozen=True)
class Recipe:
    count: int = 5
    rate: float = 0.5
    seed: int = 0

    def pipeline(self) -> Stage:
        data = Stage(replay_numbers, count=self.count)
        return Stage(replay_score, model=Stage(replay_train, data=data, rate=self.rate, seed=self.seed))


def replay_numbers(*, count: int, version: int = 1, out: Path, ctx: Context) -> None:
    (out / "numbers.json").write_text(json.dumps([1 / (1 + number) for number in range(count)]))


def replay_train(*, data: Path, rate: float, seed: int, version: int = 1, out: Path, ctx: Context) -> None:
    numbers = json.loads((data / "numbers.json").read_text())
    begun = json.loads(ctx.checkpoint.read_text()) if ctx.checkpoint.exists() else {"step": 0, "weight": float(seed)}
    weight = begun["weight"]
    for step in range(begun["step"], STEPS):
        weight += rate * numbers[step % len(numbers)]
        ctx.report(step=step + 1, total=STEPS, weight=weight)
        if ctx.stop is not None and ctx.stop():
            ctx.checkpoint.write_text(json.dumps({"step": step + 1, "weight": weight}))
            raise Stopped
    (out / "weights.json").write_text(json.dumps({"weight": weight, "began_at": begun["step"]}))


def replay_score(*, model: Path, version: int = 1, out: Path, ctx: Context) -> None:
    weight = json.loads((model / "weights.json").read_text())["weight"]
    (out / "scores.csv").write_text(f"track,target,metric,aggregation,score\n,macro,roc_auc,mean over tags,{weight}\n")


study = Study(
    name="replay",
    question="Can the newest code open what this release wrote?",
    baseline=Recipe(),
    factors=[Factor("rate", {"slow": {}, "fast": {"rate": 0.75}})],
    reference={"rate": "slow"},
    metric="roc_auc",
    smoke=lambda recipe: recipe,
    seeded=["seed"],
    seeds=range(SEEDS),
)


def root(rate: float, seed: int) -> Stage:
    return Recipe(rate=rate, seed=seed).pipeline()


def write(target: Path) -> None:
    """A finished study, and a training that was stopped half-way."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        _write(Path("store"))  # from there, so that no path of this machine is in it
        shutil.move("store", target)


def _write(folder: Path) -> None:
    untracked = mock.patch.dict(sys.modules, {"mlflow": None})  # its database is large, and made anew from the rest
    with untracked, contextlib.redirect_stdout(io.StringIO()):
        run(study, ["--in-process", "--store", str(folder)])
    asked = iter([False, False, True])
    with contextlib.suppress(Stopped):
        materialize(root(0.5, SEEDS), Store(folder), Context(stop=lambda: next(asked)))
    shutil.rmtree(folder / "drivers")
    for path in (folder / "studies" / study.name).glob("report.*"):
        path.unlink()


if __name__ == "__main__":
    import tests.store.replay as module  # keys name the functions by this module

    project = tomllib.loads((FOLDER.parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    target = FOLDER / project["version"]
    if target.exists():
        raise SystemExit(f"{target} is there: what a release wrote is not written again")
    module.write(target)
