"""Training of the tail alone (MSSPT stage 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial


def tail(trial: Trial) -> dict[str, Any]:
    """Departures for the ``train_tail`` stage.

    Ranges, as those of ``finetune``, so that the arms with and without a separator are searched alike: a decade
    either side of the reference code's Adam rate 1e-4; weight decay from next to none (the reference has none) to
    1e-3; the batch sizes of its two backends (16 and 4) and between; dropout around its 0.5.
    """
    return {
        "train_tail.phases.0.lr": trial.suggest_float("train_tail.phases.0.lr", 1e-5, 1e-3, log=True),
        "train_tail.phases.0.weight_decay": trial.suggest_float("train_tail.phases.0.weight_decay", 1e-6, 1e-3,
                                                                log=True),
        "train_tail.batch": trial.suggest_categorical("train_tail.batch", [4, 8, 16]),
        "tail.dropout": trial.suggest_float("tail.dropout", 0.2, 0.6),
    }
