"""Which factors and variants a command line asks for: ``--factor`` adds levels to a study, ``--only`` runs a part.

What is added is declared like what stands in the study's file, and gives the results a title of their own. What is left
out stays declared: its trials stand in the tables as not run, unless the store has them, and it counts in the family.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mss_core.errors import nearest
from mss_core.graph import walk
from mss_core.recipe import override
from mss_core.study.binding import Binder
from mss_core.study.designs import Factor
from mss_core.study.flags import setting
from mss_core.study.plan import Plan
from mss_core.study.study import Study, Trial
from mss_core.study.until import Until

AS_GIVEN = "as given"
"""The level of the study's own recipe, in a factor that the command line begins."""


def with_factors(study: Study, given: Sequence[str]) -> Study:
    """The study with the levels that ``--factor NAME=LEVEL:PATH=VALUE,...`` adds, of a factor of its own or a new one.

    Raises:
        ValueError: a text is no such level, names one that is there, changes nothing that a recipe has, or the design
            makes no variant of it.
    """
    if not given:
        return study
    factors = {factor.name: dict(factor.levels) for factor in study.factors}
    kept = {name: tuple(labels) for name, labels in study.smoke_levels.items()}
    recipes = [study.baseline, *(override(study.baseline, variant.departures) for variant in study.variants())]
    added = []
    for text in given:
        name, label, changes = _level(text)
        if label in factors.get(name, {}):
            raise ValueError(f"--factor {text}: factor {name!r} has a level {label!r} already")
        for path in changes:
            if path in study.seeded:
                raise ValueError(f"--factor {text}: {path} is a seed, which --seeds sets")
        _check_paths(text, changes, recipes)
        factors.setdefault(name, {AS_GIVEN: {}})[label] = changes
        if name in kept:
            kept[name] += (label,)
        added.append((text, name, label))
    made = replace(
        study,
        factors=[Factor(name, levels) for name, levels in factors.items()],
        smoke_levels=kept,
        added=(*study.added, *given),
    )
    variants = made.variants()
    for text, name, label in added:
        if not any(variant.levels[name] == label for variant in variants):
            raise ValueError(
                f"--factor {text}: the design {study.design.__name__} of study {study.name!r} makes no variant of "
                f"level {label!r}; write the factor into the study's file"
            )
    return made


def check_cut(study: Study) -> None:
    """Raise ValueError for an added level that a smoke run or a rehearsal undoes: it cuts what the level changes."""
    by_levels = {tuple(sorted(variant.levels.items())): variant for variant in study.variants()}
    baselines = {factor.name: factor.baseline_level for factor in study.factors}
    for text in study.added:
        name, label, _ = _level(text)
        for variant in by_levels.values() if name in baselines else ():
            plain = by_levels.get(tuple(sorted({**variant.levels, name: baselines[name]}.items())))
            if variant.levels[name] != label or plain is None:
                continue
            one, other = (study.smoke(override(study.baseline, each.departures)) for each in (variant, plain))
            if one == other:
                raise ValueError(
                    f"--factor {text}: at this size the study sets what the level changes, so {variant.name!r} would "
                    f"be the same as {plain.name!r}"
                )


def _level(text: str) -> tuple[str, str, dict[str, Any]]:
    """A factor's name, a level's label, and what departs."""
    name, _, rest = text.partition("=")
    label, colon, changes = rest.partition(":")
    if not (name.strip() and label.strip() and colon and changes.strip()):
        raise ValueError(f"--factor takes NAME=LEVEL:PATH=VALUE,..., not {text!r}")
    found: dict[str, Any] = {}
    for part in re.split(r",(?=[\w.]+=)", changes):  # a comma within a value is followed by no path
        path, value = setting(part, "--factor", text)
        if path in found:
            raise ValueError(f"--factor {text}: {path} is given twice")
        found[path] = value
    return name, label, found


def _check_paths(text: str, changes: Mapping[str, Any], recipes: Sequence[Any]) -> None:
    """Raise ValueError where no recipe of the study takes the changes, in the words of the first."""
    errors = []
    for recipe in recipes:
        try:
            override(recipe, changes)
            return
        except (ValueError, TypeError) as error:
            errors.append(error)
    raise ValueError(f"--factor {text}: {errors[0]}")


def only(study: Study, given: Sequence[str]) -> tuple[str, ...] | None:
    """The variants and controls that ``--only`` names, and what each is compared with, in the study's order; None where
    it names none, or all.

    Raises:
        ValueError: a name is no variant's and no control's, each variant is searched for, or results are looked at.
    """
    if not given:
        return None
    if not study.factors:
        raise ValueError(f"--only: study {study.name!r} has no factors, so no variants to choose from")
    if study.search is not None and study.search.scope == "each_variant":
        raise ValueError("--only goes with no search of each variant: the budgets of the variants would be unequal")
    if isinstance(study.seeds, Until):
        raise ValueError("--only goes with no study that stops when it knows: each look judges all of its variants")
    against = _against(study)
    for name in given:
        if name not in against:
            raise ValueError(f"--only: study {study.name!r} has no variant {name!r}; {nearest(name, against)}")
    wanted = {*given, *(against[name] for name in given)}
    return tuple(name for name in against if name in wanted) if len(wanted) < len(against) else None


def _against(study: Study) -> dict[str, str]:
    """By variant and control, the variant it is compared with."""
    variants = {name: variant.name for name, variant in study.references().items()}
    return {**variants, **{control.name: study.reference_variant().name for control in study.controls}}


def others(
    study: Study,
    run: Collection[str] | None,
    seeds: Sequence[int],
    small: bool,
    settings: Mapping[str, Any],
    binder: Binder,
) -> list[Trial]:
    """The trials of the variants and controls that are declared and not run; their data need not be on this machine."""
    if run is None:
        return []
    twin = binder.twin()

    def bind(recipe: Any) -> Any:
        try:
            return twin(recipe)
        except (ValueError, OSError):  # data that are of no use, which whoever runs it will be told
            return recipe

    return study.trials(seeds, small, settings, bind, {*_against(study)} - {*run})


def with_others(study: Study, plan: Plan, others: Sequence[Trial]) -> Plan:
    """A plan with trials that are declared and not run, for the tables of the study."""
    if not others:
        return plan
    order = {name: place for place, name in enumerate(_against(study))}
    trials = sorted([*plan.trials, *others], key=lambda trial: order[trial.variant.name])
    return replace(plan, trials=trials, stages=walk(trial.root for trial in trials))


def told(named: Sequence[str], others: Sequence[Trial]) -> str:
    """What ``--only`` leaves out, as a line."""
    left = list(dict.fromkeys(trial.variant.name for trial in others))
    shown = f"{', '.join(left[:6])}{f' and {len(left) - 6} more' if len(left) > 6 else ''}"
    return f"--only: {', '.join(named)}; declared and not run: {shown}"
