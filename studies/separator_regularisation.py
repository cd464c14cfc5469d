"""What keeps the AE-MIC separator from overfitting: augmentation, dropout, L2, initialisation?  AE-MIC, Figure 4.1.

    python studies/separator_regularisation.py --dry-run        what would run
    python studies/separator_regularisation.py --smoke          all of it, tiny, on this machine

As in the thesis, what follows augmentation is added to it; 50 epochs each. An epoch of static augmentation is five
times as long, since its variants are segments of their own: beside the thesis's equal epochs stand rows of equal
optimiser steps (250 epochs). The thesis judged by loss curves; here the held-out songs decide.
"""

from mss_core.study import Factor, Search, Study, only_listed, run
from mss_core.systems.aemic import separator_only, smoke
from search_spaces.train_autoencoder import train_autoencoder

PLAIN = {"augmentation.when": "off", "autoencoder_penalty.weight": 0.0, "autoencoder.init": "glorot"}
AUGMENTED = {**PLAIN, "augmentation.when": "static"}
ON_THE_FLY = {**PLAIN, "augmentation.when": "on_the_fly"}
EQUAL_STEPS = {"train_autoencoder.phases.0.epochs": 5 * 50}
PENALISED = {**AUGMENTED, "autoencoder_penalty.weight": 1e-4}

study = Study(
    name="separator_regularisation",
    question="What keeps the spectrogram autoencoder from overfitting?",
    baseline=separator_only(epochs=50),
    factors=[
        Factor(
            "regularisation",
            {
                "none": PLAIN,
                "augmentation": AUGMENTED,
                "augmentation on the fly": ON_THE_FLY,
                "none, equal steps": {**PLAIN, **EQUAL_STEPS},
                "augmentation on the fly, equal steps": {**ON_THE_FLY, **EQUAL_STEPS},
                "augmentation, dropout": {**AUGMENTED, "autoencoder.dropout": 0.5},
                "augmentation, L2": PENALISED,
                "augmentation, L2, truncated normal": {**PENALISED, "autoencoder.init": "truncated_normal"},
                "augmentation, MSE": {**AUGMENTED, "autoencoder_loss": "mse"},
            },
        )
    ],
    design=only_listed,
    reference={"regularisation": "augmentation"},
    seeds=range(5),
    seeded=("train_autoencoder.seed", "augmentation.seed"),
    metric="spectrogram_sdr",
    target="vocals+other",
    sections=[{"kind": "regularisation_curves"}],
    smoke=smoke,
    search=Search({"train_autoencoder": train_autoencoder}, trials=20),  # with --search each_variant
)

if __name__ == "__main__":
    run(study)
