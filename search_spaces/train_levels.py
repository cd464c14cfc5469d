"""Training of hierarchical masks (HMSS)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial


def train_levels(trial: Trial, recipe: Any) -> dict[str, Any]:
    """Departures for the ``train_levels`` stage. The rate is that of the first phase; each has half of the rate of
    the one before.

    Ranges: a decade either side of the thesis' Adam rate 1e-4; half and twice its batch of 25; dropout around its 0.3;
    gradients clipped at the 10th percentile of their norms, as in MERL's code, or not.
    """
    many = len(recipe.train.phases)
    lr = trial.suggest_float("train.phases.0.lr", 1e-5, 1e-3, log=True)
    clip = trial.suggest_categorical("train.phases.0.clip", [None, 10.0])
    return {
        **{f"train.phases.{halved}.lr": lr * 0.5**halved for halved in range(many)},
        **{f"train.phases.{halved}.clip": clip for halved in range(many)},
        "train.batch": trial.suggest_categorical("train.batch", [12, 25, 50]),
        "network.dropout": trial.suggest_float("network.dropout", 0.1, 0.5),
    }
