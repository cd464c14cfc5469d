"""Every search space speaks paths that the recipe has."""

from __future__ import annotations

import importlib
import pkgutil

import optuna
import pytest

import search_spaces
from mss_core.recipe import flatten, override
from mss_core.systems.msspt import msspt_cnn

MODULES = [module.name for module in pkgutil.iter_modules(search_spaces.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_suggestions_are_departures_of_the_recipe(name: str) -> None:
    space = getattr(importlib.import_module(f"search_spaces.{name}"), name)
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
