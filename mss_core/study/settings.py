"""``--set`` beside the levels of a study: a setting speaks for all variants, so what a level sets is not for it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from mss_core.recipe import flatten, has, override
from mss_core.study.designs import Factor, Variant

SHOWN = 8


def check(
    settings: Mapping[str, Any],
    recipes: Sequence[tuple[Variant, Any]],
    factors: Sequence[Factor],
    seeded: Sequence[str],
) -> None:
    """Raise ValueError for a setting that a level of a factor overrules or has no place for, and name that level and
    what can be set in its stead; for one that is set by --seeds; and for one that is no path of a recipe.

    Args:
        recipes: of every variant, with its departures.
    """
    levels = [
        (path, factor.name, label, value)
        for factor in factors
        for label, changes in factor.levels.items()
        for path, value in changes.items()
    ]
    common = set.intersection(*(set(flatten(recipe)) for _, recipe in recipes)) if recipes else set()
    free = {path for path in common if not any(_covers(path, level[0]) or _covers(level[0], path) for level in levels)}
    for path, wanted in settings.items():
        for other, factor, label, value in levels:
            if _covers(path, other):
                close = difflib.get_close_matches(path, sorted(free), n=1, cutoff=0.3)
                raise ValueError(
                    f"--set {path}: level {label!r} of factor {factor!r} sets {other} to {value!r}, and --set speaks "
                    f"for all levels; edit that level in the study"
                    + (f", or set what no level does, such as {close[0]}" if close else "")
                )
        if path in seeded:
            raise ValueError(f"--set {path}: this seed is set by --seeds")
        for variant, recipe in recipes:
            if left_out(path, variant):
                continue
            try:
                override(recipe, {path: wanted})
            except ValueError as error:
                by = next((level for level in levels if _covers(level[0], path) and level[1] in variant.levels), None)
                if by is None or has(recipe, path):
                    raise
                inner = [name for name in sorted(common) if _covers(by[0], name)]
                raise ValueError(
                    f"--set {path}: {error} (variant {variant.name!r}). Level {by[2]!r} of factor {by[1]!r} puts "
                    f"another {by[0]!r} in its place, and --set speaks for all levels; they have {listed(inner)} of "
                    "it in common. For one level alone, edit that level in the study"
                ) from None


def left_out(path: str, variant: Variant) -> bool:
    """Whether a ``--set`` path lies in a stage that this variant leaves out (its departure is None)."""
    return any(value is None and path.startswith(f"{other}.") for other, value in variant.departures.items())


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are.

    >>> listed(["a", "b"]), listed([])
    ('a, b', 'nothing')
    """
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(names[:SHOWN]) or "nothing") + more


def _covers(path: str, other: str) -> bool:
    return f"{other}.".startswith(f"{path}.")
