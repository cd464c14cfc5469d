"""A system that trains nothing: its "loss" is a known function of its settings, so that searches can be judged."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mss_core.graph import Context, Stage
from mss_core.study import Asha, Factor, Search, Study

OPTIMUM = {"train.lr": 1e-2, "train.momentum": 0.7}


@dataclass(frozen=True)
class Training:
    lr: float = 1e-3
    momentum: float = 0.5
    width: int = 4
    epochs: int = 9
    seed: int = 0
    select: str = "best"


@dataclass(frozen=True)
class Toy:
    """``train`` may be left out; ``other`` is a second training stage."""

    kind: str = "a"
    train: Training | None = Training()
    other: Training | None = None
    aggregate: str = "mean"

    def pipeline(self) -> Stage:
        trained = tuple(Stage(toy_train, kind=self.kind, train=train) for train in (self.train,) if train)
        others = tuple(Stage(toy_other, train=train) for train in (self.other,) if train)
        return Stage(toy_score, models=(*trained, *others), aggregate=self.aggregate)


def loss(train: Training, epoch: int) -> float:
    """Lowest, up to noise, at OPTIMUM and the last epoch; bad settings also learn more slowly."""
    far = (np.log10(train.lr) + 2) ** 2 + (train.momentum - 0.7) ** 2
    noise = np.random.default_rng([train.seed, epoch, int(1e6 * train.momentum), int(1e9 * train.lr)]).normal()
    return float(far + (1 + far) * 0.9**epoch + 0.002 * noise)


def toy_train(*, kind: str, train: Training, version: int = 1, out: Path, ctx: Context) -> None:
    """Reports a validation loss an epoch. Crashes, waits and kills its process at epoch 2, which takes the file away,
    as TOY_CRASHES (kind, file), TOY_SECONDS and TOY_DIES (file) say."""
    crashing, _, counter = os.environ.get("TOY_CRASHES", "").partition(":")
    if crashing == kind and (left := int(Path(counter).read_text())) > 0:
        Path(counter).write_text(str(left - 1))
        raise RuntimeError("the toy broke")
    for epoch in range(1, train.epochs + 1):
        time.sleep(float(os.environ.get("TOY_SECONDS", "0")))
        if train.lr > 0.5:
            raise FloatingPointError("the training loss became nan")
        ctx.report(step=epoch, total=train.epochs, valid_loss=loss(train, epoch))
        if epoch == 2 and (order := os.environ.get("TOY_DIES")) and Path(order).exists():
            Path(order).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
    import torch

    torch.save({"weight": torch.zeros(train.width, 3)}, out / "weights.pt")


def toy_other(*, train: Training, version: int = 1, out: Path, ctx: Context) -> None:
    for epoch in range(1, train.epochs + 1):
        ctx.report(step=epoch, total=train.epochs, valid_error=-loss(train, epoch))


def toy_score(*, models: tuple[Path, ...], aggregate: str, version: int = 1, out: Path, ctx: Context) -> None:
    value = len(models) + np.random.default_rng([len(str(models[0]))]).random()
    (out / "scores.csv").write_text(f"track,target,metric,aggregation,score\n,macro,roc_auc,mean over tags,{value}\n")


def space(trial: Any) -> dict[str, Any]:
    """Around the optimum."""
    return {
        "train.lr": trial.suggest_float("train.lr", 1e-4, 1e-1, log=True),
        "train.momentum": trial.suggest_float("train.momentum", 0.0, 1.0),
    }


def other_space(trial: Any) -> dict[str, Any]:
    return {"other.momentum": trial.suggest_float("other.momentum", 0.0, 1.0)}


def sizes(trial: Any) -> dict[str, Any]:
    return {**space(trial), "train.width": trial.suggest_int("train.width", 1, 64)}


def wild(trial: Any) -> dict[str, Any]:
    """Half of its learning rates diverge."""
    return {"train.lr": trial.suggest_float("train.lr", 1e-1, 2.0)}


def asha(**changes: Any) -> Search:
    return Search(
        **{
            "space": {"toy_train": space},
            "trials": 12,
            "concurrency": 1,
            "top": 2,
            "reruns": 1,
            "pruner": Asha(1, 3),
            "scope": "baseline",
            **changes,
        }
    )


def study(search: Search | None, factors: tuple[Factor, ...] = (), **changes: Any) -> Study:
    return Study(
        **{
            "name": "toy",
            "question": "Which is better?",
            "baseline": Toy(),
            "factors": factors,
            "reference": {factor.name: factor.baseline_level for factor in factors},
            "metric": "roc_auc",
            "smoke": lambda recipe: recipe,
            "seeded": ("train.seed",),
            "seeds": range(2),
            "search": search,
            **changes,
        }
    )
