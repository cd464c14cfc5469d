"""Designs: which combinations of levels a study tries. Functions from factors to variants.

A level without departures is the factor's baseline level: it is the baseline recipe as it stands.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Factor:
    """One axis of an ablation: ``levels`` maps a label to what departs from the baseline.

    Departures are ``{dotted path: value}`` and name only what changes; ``{}`` is the baseline's own level.
    """

    name: str
    levels: Mapping[str, Mapping[str, Any]]

    @property
    def baseline_level(self) -> str:
        """The label of the level without departures, ``"baseline"`` where no level has that role."""
        return next((label for label, changes in self.levels.items() if not changes), "baseline")


@dataclass(frozen=True)
class Variant:
    """One combination of levels: a label for every factor, and the union of their departures."""

    name: str
    levels: Mapping[str, str]
    departures: Mapping[str, Any]


def one_at_a_time(factors: Sequence[Factor]) -> list[Variant]:
    """The baseline, and every level of every factor on its own."""
    base = {factor.name: factor.baseline_level for factor in factors}
    variants = [_variant(factors, base)]
    for factor in factors:
        variants += [
            _variant(factors, {**base, factor.name: label}) for label, changes in factor.levels.items() if changes
        ]
    return variants


def only_listed(factors: Sequence[Factor]) -> list[Variant]:
    """One at a time without a row for the baseline, where no level stands for it."""
    return [variant for variant in one_at_a_time(factors) if "baseline" not in variant.levels.values()]


def full_factorial(factors: Sequence[Factor]) -> list[Variant]:
    """Every combination of the listed levels."""
    names = [factor.name for factor in factors]
    return [
        _variant(factors, dict(zip(names, labels, strict=True)))
        for labels in itertools.product(*(factor.levels for factor in factors))
    ]


def table_cells(factors: Sequence[Factor]) -> list[Variant]:
    """Every combination, named by its labels alone (``"AST, genre, vocals"``); they must tell their factors."""
    return [replace(variant, name=", ".join(variant.levels.values())) for variant in full_factorial(factors)]


def cumulative(factors: Sequence[Factor]) -> list[Variant]:
    """The ladder of a roadmap table: the baseline, then one factor after another switched and kept.

    Raises ValueError for a factor with more or fewer than one level beside its baseline level.
    """
    levels = {factor.name: factor.baseline_level for factor in factors}
    variants = [_variant(factors, levels)]
    for factor in factors:
        labels = [label for label, changes in factor.levels.items() if changes]
        if len(labels) != 1:
            raise ValueError(
                f"a cumulative design needs one departing level a factor; {factor.name!r} has "
                f"{len(labels)}: {', '.join(labels)}"
            )
        levels = {**levels, factor.name: labels[0]}
        variants.append(_variant(factors, levels))
    return variants


def _variant(factors: Sequence[Factor], levels: Mapping[str, str]) -> Variant:
    departures: dict[str, Any] = {}
    for factor in factors:
        for path, value in factor.levels.get(levels[factor.name], {}).items():
            if path in departures and departures[path] != value:
                raise ValueError(f"{path!r} is changed by two factors in one variant ({dict(levels)})")
            departures[path] = value
    # What one level leaves out (None), no other can change.
    gone = tuple(f"{path}." for path, value in departures.items() if value is None)
    departures = {path: value for path, value in departures.items() if not path.startswith(gone)}
    departing = [f for f in factors if factors and f.levels.get(levels[f.name])]
    if len(factors) == 1:
        name = levels[factors[0].name]
    else:
        name = ", ".join(f"{f.name}={levels[f.name]}" for f in departing) or "baseline"
    return Variant(name, dict(levels), departures)
