"""What a declaration is refused for. `Study.check` calls this before anything runs, a report when it reads study.json.

A section states its options as a dict literal of its module, read here without importing what draws:

    OPTIONS = {"factor": "factor", "lines": "variants?"}

says that the section needs `factor`, a factor of the study, and may be given `lines`, names of variants. `_check_value`
knows what a value may hold; `?` marks an option that may be left out.
"""

import ast
import importlib.util
import json
import math
import string
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
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
from reports.contract.values import EXPECTED, Declaration, from_json

LEAST_ALPHA = 1e-5
"""Below it, over a family of contrasts, noncentral t quantiles are no longer found."""
OWN_TRACKS = ("", "crossed", "item_means")
"""Tests that take two samples of tracks as well as one; the first is the default."""
PAPERS = ("msspt", "aemic", "iass", "tagbox", "hmss")
"""Papers whose printed tables come with the project."""


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
        _check_section(section, _Names(declaration, variants, None))
    if metrics is not None:
        for metric in filter(None, dict.fromkeys((declaration.metric, *declaration.metrics.values()))):
            check_metric(metric, metrics)
        check_target(declaration.metric, declaration.target, targets)
    for section in declaration.sections:
        _check_section(section, _Names(declaration, variants, metrics))


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


# ---- sections

KINDS = {
    "looks": "reports.sections.looks",
    "result": "reports.sections.result",
    "controls": "reports.sections.controls",
    "systems": "reports.sections.systems",
    "tests": "reports.sections.tests",
    "published": "reports.sections.published",
    "runs": "reports.sections.runs",
    "items": "reports.sections.items",
    "separation": "reports.sections.separation",
    "listen": "reports.sections.listen",
    "curves": "reports.sections.curves",
    "design": "reports.sections.design",
    "explore": "reports.sections.explore",
    "limits": "reports.sections.limits",
    "reproduce": "reports.sections.reproduce",
    "attenuation": "reports.sections.attenuation",
    "by_target": "reports.sections.by_target",
    "published_columns": "reports.sections.published_columns",
    "published_table": "reports.sections.published_table",
    "search": "reports.sections.search",
    "sweep": "reports.sections.sweep",
    "tag_differences": "reports.papers.msspt.tag_differences",
    "activity_detection": "reports.papers.iass.activity_detection",
    "gate_gains": "reports.papers.iass.gate_gains",
    "dropped_frames": "reports.papers.iass.dropped_frames",
    "masked_spectrograms": "reports.papers.iass.masked_spectrograms",
    "instruments": "reports.papers.aemic.instruments",
    "regularisation_curves": "reports.papers.aemic.regularisation_curves",
    "separated_stems": "reports.papers.aemic.separated_stems",
    "steering": "reports.papers.tagbox.steering",
    "heard": "reports.papers.tagbox.heard",
}
"""Module of each kind of section that has a short name."""


def section_module(kind: str) -> str:
    """The dotted name of a section's module; `kind` is one of `KINDS` or, with a dot, that name itself.

    Raises:
        ValueError: there is no such kind or module.
    """
    if kind not in KINDS and "." not in kind:
        raise ValueError(f"no report section {kind!r}; {nearest(kind, KINDS)}")
    try:
        if importlib.util.find_spec(KINDS.get(kind, kind)) is None:
            raise ModuleNotFoundError(f"No module named {kind!r}")
    except ModuleNotFoundError as error:
        raise ValueError(f"the report section {kind!r} cannot be imported: {error}") from None
    return KINDS.get(kind, kind)


def section_options(kind: str) -> Mapping[str, str] | None:
    """What the section's module states of its options; None where it states nothing.

    Raises:
        ValueError: there is no such module, or it has no function `section`.
    """
    spec = importlib.util.find_spec(section_module(kind))
    stated = _stated(Path(spec.origin)) if spec and spec.origin and spec.origin.endswith(".py") else {"section": None}
    if "section" not in stated:
        raise ValueError(f"the module {kind!r} is no report section: it has no function `section`")
    return stated.get("OPTIONS")


@cache
def _stated(path: Path) -> Mapping[str, Any]:
    """The names that a module's own statements bind; the value of OPTIONS, None of others."""
    stated: dict[str, Any] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                stated[name] = None
            case ast.Import(names=names) | ast.ImportFrom(names=names):
                stated.update({each.asname or each.name: None for each in names})
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value)
            ):
                stated[name] = ast.literal_eval(value) if name == "OPTIONS" and value else None
    return stated


@dataclass(frozen=True)
class _Names:
    """What a section's options may name."""

    declaration: Declaration
    variants: Collection[str]
    metrics: Collection[str] | None

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        return {factor.name: (*factor.levels, "baseline") for factor in self.declaration.factors}


def _check_section(section: Mapping[str, Any], names: _Names) -> None:
    options = dict(section)
    kind = str(options.pop("kind", ""))
    allowed = section_options(kind)
    try:
        if _expect(options.pop("leave_out", False), bool, "true or false"):
            return
    except ValueError as error:
        raise ValueError(f"option 'leave_out' of report section {kind!r}: {error}") from None
    if allowed is None:  # somebody's own, which does not say
        return
    for name in options:
        if name not in allowed:
            raise ValueError(f"report section {kind!r} takes no option {name!r}; {nearest(name, allowed)}")
    for name, words in allowed.items():
        holds = words.removesuffix("?")
        if name not in options and holds == words:
            raise ValueError(f"report section {kind!r} needs the option {name!r}")
        if name in options:
            try:
                _check_value(holds, options[name], options, names)
            except ValueError as error:
                raise ValueError(f"option {name!r} of report section {kind!r}: {error}") from None


def _check_value(holds: str, value: Any, options: Mapping[str, Any], names: _Names) -> None:
    """Refuse a value that is not what the option holds; of a cut study, names that it left out are passed."""
    whole = not names.declaration.cut
    factors, variants = (names.levels, names.variants) if whole else ({}, ())
    if holds in SEVERAL:
        for item in _expect(value, list | tuple, "a list"):
            _check_value(SEVERAL[holds], item, options, names)
    elif holds in MAPPINGS:
        for name, item in _expect(value, Mapping, "a mapping").items():
            MAPPINGS[holds](name, item, factors)
    elif holds == "pair":
        if not isinstance(value, list | tuple) or len(value) != 2:
            raise ValueError(f"it is {value!r}; it must be two names of variants")
        for item in value:
            _check_value("variant", item, options, names)
    elif holds == "count":
        if isinstance(value, bool) or _expect(value, int, "a whole number") < 1:
            raise ValueError(f"it is {value!r}; it must be at least 1")
    elif "|" in holds:
        if value not in holds.split("|"):
            raise ValueError(f"it is {value!r}; {nearest(value, holds.split('|'))}")
    elif holds == "paper":
        printed_paper(_expect(value, str, "text"))
    elif holds.startswith("table"):
        paper = printed_paper(holds.removeprefix("table of ") if "of" in holds else str(options.get("paper")))
        check_table(paper["id"], [table["name"] for table in paper["tables"]], value)
    else:
        _expect(value, str, "text")
        choices: dict[str, Iterable[str]] = {
            "factor": factors,
            "level": factors.get(str(options.get("factor")), ()),
            "variant": variants,
            "arm": (*variants, "baseline") if variants else (),
            "metric": names.metrics or (),
        }
        known = list(choices.get(holds, ()))
        if known and value not in known:
            raise ValueError(f"no {holds} {value!r}; {nearest(value, known)}")


SEVERAL = {"pairs": "pair", "factors": "factor", "metrics": "metric", "variants": "variant", "texts": "text"}


def _expect(value: Any, kind: Any, words: str) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"it is {value!r}; it must be {words}")
    return value


def _level(factor: str, level: Any, factors: Mapping[str, Collection[str]]) -> None:
    if factors and factor not in factors:
        raise ValueError(f"no factor {factor!r}; {nearest(factor, factors)}")
    if factors and level not in factors[factor]:
        raise ValueError(f"factor {factor!r} has no level {level!r}; {nearest(level, factors[factor])}")


def _text(name: str, value: Any, factors: Mapping[str, Collection[str]]) -> None:
    _expect(value, str, "text")


def _cell(row: str, place: Any, factors: Mapping[str, Collection[str]]) -> None:
    """A row and a column of a printed table, in which {target} and {metric} stand for a paper's names of them."""
    if not (isinstance(place, list | tuple) and len(place) == 2 and all(isinstance(part, str) for part in place)):
        raise ValueError(f"{row!r} is {place!r}; it must be a row and a column")
    for part in place:
        for _, name, _, _ in string.Formatter().parse(part):
            if name not in (None, "target", "metric"):
                raise ValueError(f"{row!r} is {place!r}; it may have {{target}} and {{metric}}, not {{{name}}}")


MAPPINGS: dict[str, Callable[[str, Any, Mapping[str, Collection[str]]], None]] = {
    "levels": _level,
    "words": _text,
    "cells": _cell,
}


def paper_package(name: str) -> str:
    """The package that holds a paper's tables.json: one of `PAPERS`, or any package by its dotted name."""
    return f"reports.papers.{name}" if name in PAPERS else name


@cache
def printed_paper(name: str) -> Mapping[str, Any]:
    """What tables.json of a paper holds; `name` is one of `PAPERS`, or a package.

    Raises:
        ValueError: there is no such paper, or its package has no tables.json.
    """
    try:
        text = (resources.files(paper_package(name)) / "tables.json").read_text(encoding="utf-8")
    except (ModuleNotFoundError, FileNotFoundError, ValueError) as error:
        raise ValueError(
            f"no paper {name!r}: {error}; {nearest(name, PAPERS)} Or name a package that holds a tables.json."
        ) from error
    return dict(json.loads(text))


def check_table(paper: str, names: Collection[str], table: str) -> None:
    """Refuse a table that a paper does not have."""
    if table not in names:
        raise ValueError(f"the paper {paper!r} has no table {table!r}; {nearest(table, names)}")
