"""Every search space speaks paths that the recipe has."""

from __future__ import annotations

import importlib
import pkgutil

import optuna
import pytest

import search_spaces
from mss_core.recipe import flatten, override
from mss_core.study.search import bound
from mss_core.systems.msspt import AST, msspt_cnn

MODULES = [module.name for module in pkgutil.iter_modules(search_spaces.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_suggestions_are_departures_of_the_recipe(name: str) -> None:
    space = bound(getattr(importlib.import_module(f"search_spaces.{name}"), name), msspt_cnn())
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen = set()
    for _ in range(5):
        trial = study.ask()
        changes = space(trial)
        assert changes == trial.params
        recipe = flatten(override(msspt_cnn(), changes))
        assert {path: recipe[path] for path in changes} == changes
        seen.add(tuple(changes.values()))
    assert len(seen) == 5


@pytest.mark.parametrize("name", ["tail", "finetune"])
def test_a_backend_is_searched_around_its_own_values(name: str) -> None:
    """Rates a decade either side, no larger batch, dropout only where there is some."""
    space = getattr(importlib.import_module(f"search_spaces.{name}"), name)
    for backend, rate, batches, dropout in (({}, 1e-4, (4, 8, 16), True), (AST, 5e-5, (2, 4), False)):
        trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
        found = bound(space, override(msspt_cnn(), backend))(trial)
        (ends,) = (distribution for path, distribution in trial.distributions.items() if path.endswith(".lr"))
        assert (ends.low, ends.high) == (pytest.approx(rate / 10), pytest.approx(rate * 10))
        (sizes,) = (distribution for path, distribution in trial.distributions.items() if path.endswith(".batch"))
        assert sizes.choices == batches and ("tail.dropout" in found) == dropout
