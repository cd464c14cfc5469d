"""Keys of stages decide what a store can reuse: a change of layout must not change one of them."""

from __future__ import annotations

import json

import pytest

from tests import golden


@pytest.mark.parametrize("size", ["full", "smoke"])
@pytest.mark.parametrize("name", golden.STUDIES)
def test_keys_are_as_they_were(name: str, size: str) -> None:
    """Where a stage's meaning changes its ``version`` is raised, and ``python -m tests.golden`` writes them anew."""
    recorded = json.loads(golden.FILE.read_text(encoding="utf-8"))
    assert golden.keys(name, size == "smoke") == recorded[f"{name} {size}"]
