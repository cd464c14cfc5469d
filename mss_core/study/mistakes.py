"""Mistakes in the declaration of a study that its own values tell: found before a stage is planned."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mss_core.graph import Stage, plain
from mss_core.recipe import flatten, not_plain
from reports.contract.names import spelled_alike


@contextlib.contextmanager
def of(what: str) -> Iterator[None]:
    """Says whose recipe it was that the lines within could not use.

    An error that is neither a ValueError nor a TypeError is a mistake in somebody's own ``pipeline()``, ``smoke``
    or the like: it is told with the line that raised it.
    """
    try:
        yield
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what}: {error}") from None
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f" ({last.filename}, line {last.lineno}: {last.line})" if last.line else ""
        raise ValueError(f"{what}: {type(error).__name__}: {error}{place}") from error


def check_plain(recipe: Any) -> None:
    """Raise ValueError where a recipe, or what a level puts into it, holds what is no plain data and so cannot be
    written down."""
    for path, value in flatten(recipe).items():
        try:
            plain(value)
        except TypeError:
            raise ValueError(f"{path!r} of the recipe is {value!r}{not_plain(value)}") from None


def root(recipe: Any) -> Stage:
    """The last stage of a recipe; ValueError where its pipeline() returns none."""
    last = recipe.pipeline()
    if not isinstance(last, Stage):
        raise ValueError(f"pipeline() of the recipe must return its last Stage, not {last!r}")
    return last


def cut(smoke: Callable[[Any], Any], recipe: Any) -> Any:
    """What ``smoke`` makes of a recipe; ValueError where that is none, or where it raises."""
    with of("'smoke' of the study"):
        smaller = smoke(recipe)
        if not isinstance(smaller, type(recipe)):
            raise ValueError(f"it takes a recipe and returns a smaller {type(recipe).__name__}, not {smaller!r}")
    return smaller


def check_variants(study: str, roots: Mapping[str, Stage], departures: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise ValueError for two variants of which all stages are the same: what tells them apart is read by none."""
    first: dict[str, str] = {}
    for name, stage in roots.items():
        twin = first.setdefault(stage.key, name)
        if twin != name:
            raise ValueError(
                f"variants {twin!r} ({dict(departures[twin])}) and {name!r} ({dict(departures[name])}) of study "
                f"{study!r} have the same stages with the same arguments: their values are equal, or pipeline() does "
                "not pass them on"
            )


def check_spelling(study: str, names: Iterable[str]) -> None:
    """Raise ValueError for names of variants that a report would take for one name in two spellings."""
    pair = spelled_alike(names)
    if pair:
        raise ValueError(
            f"{pair[0]!r} and {pair[1]!r} of study {study!r} differ only by blanks, case or the form of a number: give "
            "them names that differ"
        )


def check_seeded(seeded: Iterable[str], departures: Mapping[str, Iterable[str]]) -> None:
    """Raise ValueError for a path of 'seeded' that a level changes, too: the seed would undo the level."""
    for path in seeded:
        for variant, changed in departures.items():
            for other in changed:
                if path == other:
                    raise ValueError(
                        f"'seeded' holds {path!r}, which variant {variant!r} changes: the seed would be written over it"
                    )


def check_repeats(recipe: Any) -> None:
    """Raise ValueError for a pipeline() that returns other stages each time: no result would be found again."""
    if recipe.pipeline().key != recipe.pipeline().key:
        raise ValueError(
            "pipeline() returns other stages when it is called again, so no result would be found again: what is drawn "
            "or read in it (a random number, the time) belongs into a stage, or into the recipe as a seed"
        )
