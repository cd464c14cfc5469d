"""Training of the tail alone (MSSPT stage 2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial


def tail(trial: Trial, recipe: Any) -> dict[str, Any]:
    """Departures for the ``train_tail`` stage.

    Ranges, as those of ``finetune``, so that the arms with and without a separator are searched alike: a decade
    either side of the backend's own first rate (1e-4 for the CNN [released code], 5e-5 for the AST); weight decay from
    next to none (the reference has none) to 1e-3; the backend's batch size, half and a quarter of it; where the tail
    has dropout, around its 0.5.
    """
    return training(trial, "train_tail", recipe.train_tail, recipe)


def training(trial: Trial, stage: str, train: Any, recipe: Any) -> dict[str, Any]:
    """What both classifier stages search."""
    rate, batch = train.phases[0].lr, train.batch
    batches = sorted({max(2, batch // 4), max(2, batch // 2), batch})
    found: dict[str, Any] = {
        f"{stage}.phases.0.lr": trial.suggest_float(f"{stage}.phases.0.lr", rate / 10, rate * 10, log=True),
        f"{stage}.phases.0.weight_decay": trial.suggest_float(f"{stage}.phases.0.weight_decay", 1e-6, 1e-3, log=True),
        f"{stage}.batch": trial.suggest_categorical(f"{stage}.batch", batches),
    }
    if "dropout" in recipe.tail:
        found["tail.dropout"] = trial.suggest_float("tail.dropout", 0.2, 0.6)
    return found
