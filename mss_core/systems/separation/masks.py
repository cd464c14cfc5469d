"""A small separator by masks, the recipe of the study `demo`, and the size at which it is trained in minutes."""

from __future__ import annotations

from dataclasses import replace

from mss_core.models import model
from mss_core.systems.separation.recipe import Separation, smoke
from mss_core.systems.separation.train import Mixtures
from mss_core.training import Phase, TrainConfig

EPOCHS = 60
"""Of 500 steps each."""


def masks() -> Separation:
    """The recipe on MUSDB18-HQ."""
    return Separation(
        separator=model("mask_network"),
        mixing=Mixtures(seconds=3.0),
        loss={"name": "mse"},
        train=TrainConfig((Phase(lr=1e-3, epochs=EPOCHS, clip_norm=5.0),), batch=16, epoch_steps=500, select="last"),
    )


def small(recipe: Separation) -> Separation:
    """The same on the embedded music, at half the rate: a narrower network, and a tenth of each arm's epochs."""
    cut, (phase,) = smoke(recipe), recipe.train.phases
    return replace(
        cut,
        separator={**cut.separator, "hidden": 128, "layers": 1},
        data=replace(cut.data, size=40, samplerate=22_050),
        train=replace(
            recipe.train, phases=(replace(phase, lr=3e-3, epochs=phase.epochs // 10),), batch=2, epoch_steps=40
        ),
    )
