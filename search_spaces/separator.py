"""Separation pre-training (MSSPT stage 1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial


def separator(trial: Trial) -> dict[str, Any]:
    """Departures for the ``pretrain`` stage.

    Ranges: the reference code's Adam rates lie between 1e-4 (bass) and 1e-3 (vocals), widened to a third of the lowest
    and three times the highest; its decay of 0.9 every 15,000 steps, from stronger to none; its batch of 8 and a step
    either way; its hop of 3 s between training segments, finer and coarser.
    """
    return {
        "pretrain.phases.0.lr": trial.suggest_float("pretrain.phases.0.lr", 3e-5, 3e-3, log=True),
        "pretrain.phases.0.weight_decay": trial.suggest_float("pretrain.phases.0.weight_decay", 1e-7, 1e-3, log=True),
        "pretrain.phases.0.decay": trial.suggest_float("pretrain.phases.0.decay", 0.7, 1.0),
        "pretrain.batch": trial.suggest_categorical("pretrain.batch", [4, 8, 16]),
        "mixing.hop_seconds": trial.suggest_categorical("mixing.hop_seconds", [1.5, 3.0, 6.0]),
    }
