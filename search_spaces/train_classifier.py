"""Training of the instrument classifier (AE-MIC)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial


def train_classifier(trial: Trial) -> dict[str, Any]:
    """Departures for the ``train_classifier`` stage. One that selects on the test split cannot be searched: that split
    is sealed.

    Ranges: a decade either side of the thesis' Adam rate 3e-4 (its code has 2.5e-4); half and twice its batch of 16;
    dropout around its 0.2 and 0.5; the penalty from a decade below to a decade above its 1e-6 and 1e-5.
    """
    return {
        "train_classifier.phases.0.lr": trial.suggest_float("train_classifier.phases.0.lr", 3e-5, 3e-3, log=True),
        "train_classifier.batch": trial.suggest_categorical("train_classifier.batch", [8, 16, 32]),
        "learning.regularisation.weight": trial.suggest_float("learning.regularisation.weight", 1e-7, 1e-4, log=True),
        "classifier.dropout": trial.suggest_float("classifier.dropout", 0.1, 0.4),
        "classifier.dense_dropout": trial.suggest_float("classifier.dense_dropout", 0.3, 0.6),
    }
