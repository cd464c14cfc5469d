"""The examples in the docstrings hold."""

import doctest
import importlib
import pkgutil

import pytest

import reports

MODULES = [
    module.name for module in pkgutil.iter_modules(reports.__path__) if module.name != "__main__"
]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"reports.{name}")).failed == 0


def test_some_examples_exist() -> None:
    found = [
        doctest.DocTestFinder().find(importlib.import_module(f"reports.{name}"))
        for name in MODULES
    ]
    assert sum(len(test.examples) for tests in found for test in tests) > 10
