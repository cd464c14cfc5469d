"""The hash of a search space's code: of the space alone, wherever it is written."""

from __future__ import annotations

import functools
from typing import Any

import pytest

from mss_core.study.search.declare import _source


def given(*values: Any, **named: Any) -> tuple[Any, ...]:
    return values


ALONE = lambda trial: {"lr": trial.suggest_float("lr", 0.0, 1.0)}  # noqa: E731
FIRST = given(lambda trial: {"lr": trial.suggest_float("lr", 0.0, 1.0)}, 1)[0]
# Its line does not parse alone: it raised SyntaxError.
# fmt: off
OWN_LINE = given(
    "before",
    lambda trial: {"lr": trial.suggest_float("lr", 0.0, 1.0)},
    "after",
)[1]
# fmt: on
ONE, OTHER = given(lambda trial: {"lr": trial.suggest_float("lr", 0.0, 1.0)}, lambda trial: {"lr": 2.0})
OUTER = given(lambda trial: lambda inner: {"lr": inner})[0]


def plain(trial: Any) -> dict[str, Any]:
    return {"lr": trial.suggest_float("lr", 0.0, 1.0)}


def commented(trial: Any) -> dict[str, Any]:
    """Another docstring."""
    # and a comment
    return {
        "lr": trial.suggest_float("lr", 0.0, 1.0)
    }  # fmt: skip


def decorated() -> Any:
    @functools.wraps(plain)
    def plain_(trial: Any) -> dict[str, Any]:
        return {"lr": 3.0}

    return plain_


def test_a_lambda_is_hashed_without_its_neighbours() -> None:
    assert len({_source(space) for space in (ALONE, FIRST, OWN_LINE, ONE)}) == 1
    assert len({_source(space) for space in (ONE, OTHER, OUTER, OUTER(0))}) == 4


def test_layout_comments_and_docstring_do_not_count_and_code_does() -> None:
    def plain(trial: Any) -> dict[str, Any]:
        "Its name is the same."
        return {"lr": trial.suggest_float("lr", 0.0, 1.0)}

    outer = globals()["plain"]
    assert _source(plain) == _source(outer) != _source(commented) != _source(ALONE)


def test_what_has_no_source_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="a search space must be a function, not functools.partial"):
        _source(functools.partial(plain))
    space: Any = eval("lambda trial: {}")
    with pytest.raises(ValueError, match="the source of the search space '<lambda>' cannot be read"):
        _source(space)
