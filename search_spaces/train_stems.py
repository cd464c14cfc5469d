"""Training of a four-stem separator (X-UMX)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial


def train_stems(trial: Trial, recipe: Any) -> dict[str, Any]:
    """Departures for the ``train_stems`` stage. The rate is that of the first phase, each has 0.3 of the rate of the
    one before; the weight decay is that of all.

    Ranges: a decade either side of the released code's Adam rate 1e-3 and weight decay 1e-5; half and twice its batch
    of 14; dropout around its 0.4.
    """
    many = len(recipe.train.phases)
    lr = trial.suggest_float("train.phases.0.lr", 1e-4, 1e-2, log=True)
    weight_decay = trial.suggest_float("train.phases.0.weight_decay", 1e-6, 1e-4, log=True)
    return {
        **{f"train.phases.{fallen}.lr": lr * 0.3**fallen for fallen in range(many)},
        **{f"train.phases.{fallen}.weight_decay": weight_decay for fallen in range(many)},
        "train.batch": trial.suggest_categorical("train.batch", [7, 14, 28]),
        "xumx.dropout": trial.suggest_float("xumx.dropout", 0.2, 0.6),
    }
