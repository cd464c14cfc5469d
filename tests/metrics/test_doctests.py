"""The examples in the docstrings of the metrics hold."""

import doctest
import importlib
import pkgutil

import pytest

import mss_core.metrics

MODULES = [m.name for m in pkgutil.iter_modules(mss_core.metrics.__path__) if m.name != "__main__"]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(f"mss_core.metrics.{name}"))
    assert result.failed == 0
