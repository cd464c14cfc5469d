"""Every search space speaks paths that its recipe has, and holds the recipe's own values."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

import search_spaces
from mss_core.graph import walk
from mss_core.recipe import flatten, override
from mss_core.study.search.declare import bound
from mss_core.systems import aemic, hmss, iass, msspt, tagbox, transfer

MODULES = [module.name for module in pkgutil.iter_modules(search_spaces.__path__)]


def vqvae_trained_here() -> tagbox.TagBox:
    return replace(tagbox.tagbox(), vqvae_weights=None)


RECIPES: dict[str, tuple[Callable[[], Any], Callable[[Any], Any], str]] = {
    # space: the recipe, its smoke form, the stage
    "separator": (msspt.msspt_cnn, msspt.smoke, "pretrain"),
    "tail": (msspt.msspt_cnn, msspt.smoke, "train_tail"),
    "finetune": (msspt.msspt_cnn, msspt.smoke, "finetune"),
    "train_target": (iass.iass_mm, iass.smoke, "train_target"),
    "train_levels": (hmss.hmss, hmss.smoke, "train_levels"),
    "train_stems": (transfer.transfer, transfer.smoke, "train_stems"),
    "train_autoencoder": (aemic.aemic, aemic.smoke, "train_autoencoder"),
    "train_classifier": (aemic.aemic, aemic.smoke, "train_classifier"),
    "train_vqvae": (vqvae_trained_here, tagbox.smoke, "train_vqvae"),
}


def space_of(name: str, recipe: Any) -> Callable[[optuna.trial.BaseTrial], dict[str, Any]]:
    return bound(getattr(importlib.import_module(f"search_spaces.{name}"), name), recipe)


def trainings(recipe: Any, stage: str) -> set[str]:
    return {key for key, each in walk([recipe.pipeline()]).items() if each.name == stage}


@pytest.mark.parametrize("smoke", [False, True], ids=["full", "smoke"])
@pytest.mark.parametrize("name", MODULES)
def test_suggestions_are_departures_of_the_recipe(name: str, smoke: bool) -> None:
    make, shrink, stage = RECIPES[name]
    recipe = shrink(make()) if smoke else make()
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen, met = set(), trainings(recipe, stage)
    for count in range(1, 6):
        trial = study.ask()
        changes = space_of(name, recipe)(trial)
        assert {path: changes[path] for path in trial.params} == trial.params
        changed = override(recipe, changes)
        assert {path: flatten(changed)[path] for path in changes} == changes
        met |= trainings(changed, stage)
        seen.add(tuple(changes.values()))
        assert len(met) % (count + 1) == 0  # each is a training of its own
    assert len(seen) == 5


@pytest.mark.parametrize("name", MODULES)
def test_the_recipes_own_values_are_suggestions(name: str) -> None:
    """All that follows from them, such as the rates of later phases, is the recipe's as well."""
    recipe = RECIPES[name][0]()
    own = flatten(recipe)
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    space_of(name, recipe)(trial)
    outside = {path for path, ranged in trial.distributions.items() if not holds(ranged, own[path])}
    assert all(own[path] == 0 and path.endswith("weight_decay") for path in outside)  # no logarithm holds 0
    held = {path: (trial.params if path in outside else own)[path] for path in trial.params}
    changes = space_of(name, recipe)(optuna.trial.FixedTrial(held))
    assert override(recipe, {**changes, **dict.fromkeys(outside, 0.0)}) == recipe


def holds(ranged: BaseDistribution, value: Any) -> bool:
    if isinstance(ranged, CategoricalDistribution):
        return value in ranged.choices
    assert isinstance(ranged, FloatDistribution)
    return ranged.low <= value <= ranged.high


@pytest.mark.parametrize("name", ["tail", "finetune"])
def test_a_backend_is_searched_around_its_own_values(name: str) -> None:
    """Rates a decade either side, no larger batch, dropout only where there is some."""
    for backend, rate, batches, dropout in (({}, 1e-4, (4, 8, 16), True), (msspt.AST, 5e-5, (2, 4), False)):
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
        found = space_of(name, override(msspt.msspt_cnn(), backend))(trial)
        (ends,) = (distribution for path, distribution in trial.distributions.items() if path.endswith(".lr"))
        assert (ends.low, ends.high) == (pytest.approx(rate / 10), pytest.approx(rate * 10))
        (sizes,) = (distribution for path, distribution in trial.distributions.items() if path.endswith(".batch"))
        assert sizes.choices == batches and ("tail.dropout" in found) == dropout
