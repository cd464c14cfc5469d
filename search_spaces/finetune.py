"""Joint finetuning of separator and tail (MSSPT stage 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial


def finetune(trial: Trial) -> dict[str, Any]:
    """Departures for the ``finetune`` stage.

    Ranges: a decade either side of the reference code's Adam rate 1e-4; dropout around its 0.5; batch sizes of the
    two backends (16 and 4) and between.
    """
    return {
        "finetune.phases.0.lr": trial.suggest_float("finetune.phases.0.lr", 1e-5, 1e-3, log=True),
        "finetune.phases.0.weight_decay": trial.suggest_float("finetune.phases.0.weight_decay", 1e-6, 1e-3, log=True),
        "finetune.batch": trial.suggest_categorical("finetune.batch", [4, 8, 16]),
        "tail.dropout": trial.suggest_float("tail.dropout", 0.2, 0.6),
    }
