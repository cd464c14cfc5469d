"""Designs: which combinations of levels a study tries. Functions from factors to variants.

A level without departures is the factor's baseline level: it is the baseline recipe as it stands.
"""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from typing import Any

from mss_core.graph import OURS, Stage, module_of, package


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


COLUMNS = ("study", "trial", "variant", "seed", "track", "target", "metric", "aggregation", "score")
"""Columns of scores.csv that are no factors."""


FOLDERS = ("studies", "search", "drivers", "ray", "mlartifacts", "sources")
"""Folders of a store that are no stage's."""

KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("question", "metric", "target"), (str,)),
    **dict.fromkeys(("factors", "seeds", "seeded", "within", "sections", "exclude", "controls"), (Sequence,)),
    **dict.fromkeys(("reference", "metrics", "smoke_levels", "own_metrics"), (Mapping,)),
}
"""What some fields of a study must be, by name."""

CALLED: dict[Any, str] = {Sequence: "a list", str: "a text", Mapping: "a table"}


def check_kinds(study: Mapping[str, Any]) -> None:
    """Raise ValueError for a field of a study that is of another kind than what is read there."""
    for name, kinds in KINDS.items():
        value = study[name]
        if not isinstance(value, kinds) or (kinds == (Sequence,) and isinstance(value, str)):
            raise ValueError(f"{name!r} of a study is {CALLED[kinds[0]]}, not {value!r}")
    for name in ("question", "metric"):
        if not study[name].strip():
            raise ValueError(f"{name!r} of a study is empty")
    for name, kind, what in (
        ("factors", Factor, "Factor(name, levels)"),
        ("sections", Mapping, "{'kind': ...} tables"),
        ("exclude", str, "texts"),
        ("seeded", str, "texts"),
    ):
        for item in study[name]:
            if not isinstance(item, kind):
                raise ValueError(f"{name!r} of a study holds {what}, not {item!r}")
    baseline = study["baseline"]
    if isinstance(baseline, type) or not (is_dataclass(baseline) and callable(getattr(baseline, "pipeline", None))):
        raise ValueError(f"'baseline' of a study is a recipe, a dataclass with a pipeline(), not {baseline!r}")


def check_names(study: str, factors: Sequence[Factor]) -> None:
    """Raise ValueError for the name of a study that cannot name a folder, for one of a factor that cannot name a column
    of a table, and for levels that are none or that are alike."""
    if not isinstance(study, str) or not re.fullmatch(r"\w[\w.+-]*", study):
        raise ValueError(
            f"a study's name is a folder of the store: letters, digits, '_', '-', '+' and '.', not {study!r}"
        )
    for factor in factors:
        if not isinstance(factor.name, str) or not factor.name.strip() or not factor.name.isprintable():
            raise ValueError(f"a factor's name is a line of text, not {factor.name!r}")
        if factor.name in COLUMNS:
            raise ValueError(f"a factor cannot be called {factor.name!r}: that is a column of scores.csv")
        if not isinstance(factor.levels, Mapping) or not factor.levels:
            raise ValueError(f"factor {factor.name!r} has no levels: it takes {{label: {{path: value}}}}")
        labels: dict[str, str] = {}
        for label, changes in factor.levels.items():
            if not isinstance(label, str) or not label.strip() or not label.isprintable():
                raise ValueError(f"factor {factor.name!r}: a level's label is a line of text, not {label!r}")
            if not isinstance(changes, Mapping) or not all(isinstance(path, str) for path in changes):
                raise ValueError(
                    f"level {label!r} of factor {factor.name!r} must be {{path: value}}, what departs from the "
                    f"baseline, not {changes!r}"
                )
            twin = labels.setdefault(repr(sorted(changes.items(), key=str)), label)
            if twin != label:
                raise ValueError(
                    f"levels {twin!r} and {label!r} of factor {factor.name!r} are the same: {dict(changes)}"
                )


def check_stages(stages: Iterable[Stage]) -> None:
    """Raise ValueError for a stage function whose name or place cannot name artefacts: one without a name of its own,
    and one of another package that is called as a folder of the store."""
    for stage in stages:
        function = stage.function
        if not function.__name__.isidentifier() or "<locals>" in function.__qualname__:
            raise ValueError(
                f"a stage is a function at the top of a module, and {function.__qualname__!r} is none: its results "
                "could be taken for another's"
            )
        parameters = inspect.signature(function).parameters
        lacking = [name for name in ("out", "ctx") if name not in parameters]
        if lacking:
            raise ValueError(
                f"the stage {stage.name!r} takes no argument {lacking[0]!r}: a stage is called with out, the folder it "
                "writes to, and ctx, its Context"
            )
        if stage.name in FOLDERS and package(module_of(function)) != OURS:
            raise ValueError(f"a stage cannot be called {stage.name!r}: that is a folder of the store")


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
