"""What a declaration is refused for: by `Study.check` before anything runs, by a report when it reads study.json."""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from reports.contract.names import (
    COLUMNS,
    CORRECTIONS,
    MACRO,
    METRICS,
    OF_CLIPS,
    SEQUENTIAL,
    SPELLINGS,
    SPENDING,
    TESTS,
    nearest,
)
from reports.contract.sections import Names, check_section
from reports.contract.values import EXPECTED, Declaration, from_json

LEAST_ALPHA = 1e-5
"""Below it, over a family of contrasts, noncentral t quantiles are no longer found."""
OWN_TRACKS = ("", "crossed", "item_means")
"""Tests that take two samples of tracks as well as one; the first is the default."""


def read_declaration(raw: Mapping[str, Any]) -> Declaration:
    """A declaration from its JSON, a correction by its one name.

    Raises:
        ValueError: a field has the wrong type.
    """
    declaration: Declaration = from_json(Declaration, raw, "declaration")
    return replace(declaration, correction=SPELLINGS.get(declaration.correction, declaration.correction))


def check(
    declaration: Declaration,
    variants: Collection[str] = (),
    metrics: Collection[str] | None = None,
    targets: Collection[str] | None = None,
) -> None:
    """Refuse what cannot be analysed or rendered.

    Args:
        variants: names of the study's variants; empty where nothing is known of them.
        metrics: what the scores have; None leaves metric and target to whoever reads the scores.
        targets: what the scores have; None where nobody knows before they are there.

    Raises:
        ValueError: names the value, where it stands and the nearest valid choice.
    """
    if declaration.test and declaration.test not in TESTS:
        raise ValueError(f"unknown test {declaration.test!r} in declaration.test; {nearest(declaration.test, TESTS)}")
    for metric in filter(None, (declaration.metric, *declaration.metrics.values())):
        if declaration.test in OF_CLIPS and metric != "roc_auc":
            raise ValueError(
                f"declaration.test is {declaration.test!r}, which compares ROC-AUCs by their clips; the metric is "
                f"{metric!r}. Leave the test out for the one that fits"
            )
    for metric, own in declaration.own_metrics.items():
        if metric in METRICS and own.higher_is_better != METRICS[metric].higher_is_better:
            raise ValueError(
                f"declaration.own_metrics turns the direction of {metric!r}, a known metric; give yours another name"
            )
    if declaration.correction not in CORRECTIONS:
        raise ValueError(
            f"unknown correction {declaration.correction!r} in declaration.correction; "
            + nearest(declaration.correction, (*CORRECTIONS, *SPELLINGS))
        )
    if not LEAST_ALPHA <= declaration.alpha < 0.5:
        raise ValueError(
            f"declaration.alpha is {declaration.alpha:g}; it must lie between {LEAST_ALPHA:f} and 0.5, e.g. 0.05"
        )
    if declaration.margin is not None and not 0 < declaration.margin < math.inf:
        raise ValueError(
            f"declaration.margin is {declaration.margin:g}; it must be a positive number, in the unit of the scores"
        )
    if declaration.own_tracks and declaration.test not in OWN_TRACKS:
        raise ValueError(
            f"declaration.own_tracks names {declaration.own_tracks[0]!r}: with test tracks of their own no test but "
            f"{' or '.join(filter(None, OWN_TRACKS))} compares its levels; declaration.test is {declaration.test!r}"
        )
    _check_looks(declaration)
    _check_controls(declaration, variants)
    for factor in declaration.factors:
        if factor.name in COLUMNS:
            raise ValueError(f"a factor cannot be called {factor.name!r}: that is a column of scores.csv")
        if declaration.metrics.keys() & factor.levels.keys() and factor.name not in declaration.within:
            raise ValueError(
                f"declaration.metrics names levels of factor {factor.name!r}, which are compared with each other; "
                "a factor in declaration.within may have a metric per level"
            )
    _check_exclusions(declaration, variants)
    for section in declaration.sections:
        check_section(section, Names(declaration, variants, None))
    if metrics is not None:
        for metric in filter(None, dict.fromkeys((declaration.metric, *declaration.metrics.values()))):
            check_metric(metric, metrics)
        check_target(declaration.metric, declaration.target, targets)
    for section in declaration.sections:
        check_section(section, Names(declaration, variants, metrics))


def _check_controls(declaration: Declaration, variants: Collection[str]) -> None:
    names = [control.name for control in declaration.controls]
    for control in declaration.controls:
        place = f"control {control.name!r} in declaration.controls"
        if not control.name.strip() or control.name in variants or names.count(control.name) > 1:
            raise ValueError(f"{place} needs a name that no variant and no other control has")
        if control.expected not in EXPECTED:
            raise ValueError(
                f"unknown expectation {control.expected!r} of {place}; {nearest(control.expected, EXPECTED)}"
            )
        if not (control.departures or control.fresh):
            raise ValueError(f"{place} changes nothing: give departures, or fresh=True for other random draws")
        if not (control.times == 1 or (control.fresh and control.times in range(1, 100))):
            raise ValueError(
                f"times={control.times!r} of {place}: a whole number from 1 to 99, above 1 with fresh=True"
            )
        if (control.expected == "equivalent") != (control.margin is not None):
            raise ValueError(f"{place}: a margin belongs to 'equivalent', and 'equivalent' needs one")
        for margin in (control.margin, control.smoke_margin):
            if margin is not None and not 0 < margin < math.inf:
                raise ValueError(f"the margin of {place} is {margin:g}; it must be a positive number")


def _check_looks(declaration: Declaration) -> None:
    until = declaration.until
    if until is None:
        return
    if until.spending not in SPENDING:
        raise ValueError(
            f"unknown spending {until.spending!r} in declaration.until; {nearest(until.spending, SPENDING)}"
        )
    rising = all(a < b for a, b in zip(until.seeds, until.seeds[1:], strict=False))
    if not (until.seeds and until.seeds[0] >= 2 and rising):
        raise ValueError(
            f"the looks of declaration.until are {list(until.seeds)}; they must be numbers of seeds that rise from 2 "
            "or more, e.g. 3, 4, 6, 8, 12"
        )
    if declaration.test not in SEQUENTIAL:
        names = [test for test in SEQUENTIAL if test]
        raise ValueError(
            f"declaration.test is {declaration.test!r}, which cannot decide after every few seeds; "
            + nearest(declaration.test, names)
        )
    if declaration.correction not in ("bonferroni", "none"):
        raise ValueError(
            f"declaration.correction is {declaration.correction!r}; a study that looks at its results needs "
            "'bonferroni' (or 'none'), because its contrasts end at different looks"
        )
    if declaration.metrics:
        raise ValueError("a study that looks at its results has one primary metric; declaration.metrics names others")


def check_metric(metric: str, metrics: Collection[str]) -> None:
    """Refuse a metric that the scores do not have."""
    if metric not in metrics:
        raise ValueError(f"the scores have no metric {metric!r}; {nearest(metric, metrics)}")


def check_target(metric: str, target: str, targets: Collection[str] | None) -> None:
    """Refuse a target that the scores do not have; where they are not known yet, a slip of `macro`."""
    slip = targets is None and get_close_matches(target, ["macro"], cutoff=0.75)
    if target not in MACRO and (slip or (targets is not None and target not in targets)):
        choices = {"macro", *(targets or ())} - {""}
        raise ValueError(f"metric {metric!r} has no target {target!r}; {nearest(target, choices)}")


def _check_exclusions(declaration: Declaration, variants: Collection[str]) -> None:
    trials = {f"{variant}/seed{seed}" for variant in variants for seed in declaration.seeds}
    for name in declaration.exclude:
        if not name:
            raise ValueError("declaration.exclude holds an empty name, which all scores without a track have")
        if name in {declaration.target, *MACRO}:
            raise ValueError(f"declaration.exclude holds {name!r}, the target that is compared")
    for name in declaration.exclude if variants and not declaration.cut else ():
        variant, _, seed = name.rpartition("/seed")
        if variant and seed.isdigit() and variant not in variants:
            raise ValueError(
                f"declaration.exclude holds {name!r}: no variant {variant!r}; {nearest(variant, variants)}"
            )
    for variant in variants:
        if trials and {f"{variant}/seed{seed}" for seed in declaration.seeds} <= set(declaration.exclude):
            raise ValueError(f"declaration.exclude leaves no trial of variant {variant!r}")
