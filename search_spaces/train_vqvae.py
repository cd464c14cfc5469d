"""Training of a VQ-VAE where the released one is not at hand (TagBox)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna import Trial


def train_vqvae(trial: Trial) -> dict[str, Any]:
    """Departures for the ``train_vqvae`` stage.

    Ranges: a decade either side of Jukebox's Adam rate 3e-4 and of its commitment weight 0.02 [Dhariwal et al. 2020];
    half and twice the recipe's batch of 16.
    """
    return {
        "train_vqvae.phases.0.lr": trial.suggest_float("train_vqvae.phases.0.lr", 3e-5, 3e-3, log=True),
        "train_vqvae.batch": trial.suggest_categorical("train_vqvae.batch", [8, 16, 32]),
        "vqvae.commitment": trial.suggest_float("vqvae.commitment", 2e-3, 0.2, log=True),
    }
