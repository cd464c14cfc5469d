"""The examples in docstrings hold."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY


def modules() -> list[str]:
    """Every module with an example in it."""
    paths = [
        path.relative_to(REPOSITORY).with_suffix("")
        for package in ("mss_core", "reports", "search_spaces")
        for path in (REPOSITORY / package).rglob("*.py")
        if ">>> " in path.read_text(encoding="utf-8")
    ]
    return sorted(".".join(_without_init(path).parts) for path in paths)


def _without_init(path: Path) -> Path:
    return path.parent if path.name == "__init__" else path


@pytest.mark.parametrize("name", modules())
def test_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0 and result.failed == 0
