"""Joint finetuning of separator and tail (MSSPT stage 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from search_spaces.tail import training

if TYPE_CHECKING:
    from optuna import Trial


def finetune(trial: Trial, recipe: Any) -> dict[str, Any]:
    """Departures for the ``finetune`` stage: the ranges of ``tail``, of this stage's own settings."""
    return training(trial, "finetune", recipe.finetune, recipe)
