"""Dotted paths: what can be said, and what is refused with which words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss_core.recipe import flatten, override, paths


@dataclass(frozen=True)
class Inner:
    rate: float = 0.1
    steps: int = 10

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError(f"'steps' must be at least 1, not {self.steps}")


@dataclass(frozen=True)
class Outer:
    inner: Inner | None = Inner()
    phases: tuple[Inner, ...] = (Inner(), Inner(rate=0.01))
    model: dict[str, Any] = field(default_factory=lambda: {"name": "unet", "widths": (1, 2)})
    sources: tuple[str, ...] = ("vocals",)
    label: str = "x"


def test_flatten_and_override_are_inverse() -> None:
    flat = flatten(Outer())
    assert flat["phases.1.rate"] == 0.01 and flat["model.widths"] == (1, 2) and flat["sources"] == ("vocals",)
    assert override(Outer(), flat) == Outer()


@given(st.floats(1e-6, 1), st.integers(1, 99), st.text(max_size=5))
def test_override_changes_what_it_names_and_nothing_else(rate: float, steps: int, label: str) -> None:
    changes = {"phases.1.rate": rate, "inner.steps": steps, "label": label}
    new = flatten(override(Outer(), changes))
    assert {path: new[path] for path in changes} == changes
    assert {p: v for p, v in new.items() if p not in changes} == {
        p: v for p, v in flatten(Outer()).items() if p not in changes
    }


def test_a_stage_can_be_left_out_but_then_has_no_settings() -> None:
    assert override(Outer(), {"inner": None}).inner is None
    with pytest.raises(ValueError, match="no 'inner.rate' in the recipe: 'inner' is None"):
        override(Outer(inner=None), {"inner.rate": 0.5})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inner.stebs": 3}, "no 'stebs' in recipe path 'inner.stebs'; did you mean 'inner.steps'"),
        ({"innr": None}, "did you mean 'inner'"),
        ({"phases.7.rate": 1}, "no '7' in recipe path 'phases.7'"),
        ({"label.x": 1}, "'label' is 'x'"),
        ({"inner.steps": "ten"}, "'inner.steps' takes a whole number, not 'ten'"),
        ({"inner.steps": 1.5}, "takes a whole number"),
        ({"inner.steps": None}, "cannot be left out"),
        ({"sources": "vocals"}, "'sources' is a list"),
        ({"phases": [{"rate": 1}]}, "'phases' cannot be replaced as a whole"),
        ({"inner.steps": 0}, r"'steps' must be at least 1, not 0 \(in recipe path 'inner'\)"),
        ({"inner": None, "inner.steps": 2}, "lies inside another change"),
        ({"inner.steps": 2, "inner": None}, "contains or repeats another change"),
    ],
)
def test_mistakes_name_the_nearest_path(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(Outer(), changes)


def test_whole_floats_become_integers_where_those_are_meant() -> None:
    steps = override(Outer(), {"inner.steps": 16.0}).inner.steps
    assert steps == 16 and isinstance(steps, int)


def test_paths_lists_nodes_and_leaves() -> None:
    assert {"inner", "inner.rate", "phases.0", "model.widths"} <= set(paths(Outer()))
