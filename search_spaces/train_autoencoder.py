"""Training of the spectrogram autoencoder (AE-MIC)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial


def train_autoencoder(trial: Trial) -> dict[str, Any]:
    """Departures for the ``train_autoencoder`` stage.

    Ranges: a decade either side of the thesis' Adam rate 3e-4 (its code restarts at 1e-4); half and twice its batch of
    8 and its bottleneck of 128 units. Dropout and the penalty are left to the study that compares them.
    """
    return {
        "train_autoencoder.phases.0.lr": trial.suggest_float("train_autoencoder.phases.0.lr", 3e-5, 3e-3, log=True),
        "train_autoencoder.batch": trial.suggest_categorical("train_autoencoder.batch", [4, 8, 16]),
        "autoencoder.latent": trial.suggest_categorical("autoencoder.latent", [64, 128, 256]),
    }
