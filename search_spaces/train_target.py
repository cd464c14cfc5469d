"""Training of a separator of one instrument (IASS)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial


def train_target(trial: Trial) -> dict[str, Any]:
    """Departures for the ``train_target`` stage.

    Ranges: a decade either side of the paper's Adam rate 1e-3 and of the released weight decay 1e-5; the released
    batch of 8 and a step either way (where ``exceptions`` gives a target its own, as MM's piano, that stays). The
    weight of the labels, ``alpha``, is not searched: the validation loss is of the separation alone.
    """
    return {
        "train.phases.0.lr": trial.suggest_float("train.phases.0.lr", 1e-4, 1e-2, log=True),
        "train.phases.0.weight_decay": trial.suggest_float("train.phases.0.weight_decay", 1e-6, 1e-4, log=True),
        "train.batch": trial.suggest_categorical("train.batch", [4, 8, 16]),
    }
