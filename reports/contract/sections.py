"""The kinds of section that a report has, and what the options of each may hold.

A section states its options as a dict literal of its module, read here without importing what draws:

    OPTIONS = {"factor": "factor", "lines": "variants?"}

says that the section needs `factor`, a factor of the study, and may be given `lines`, names of variants. `_check_value`
knows what a value may hold; `?` marks an option that may be left out.
"""

import ast
import importlib.util
import json
import string
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from reports.contract.names import nearest
from reports.contract.values import Declaration

PAPERS = ("msspt", "aemic", "iass", "tagbox", "hmss")
"""Papers whose printed tables come with the project."""

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
    "cost": "reports.sections.cost",
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
class Names:
    """What a section's options may name."""

    declaration: Declaration
    variants: Collection[str]
    metrics: Collection[str] | None

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        return {factor.name: (*factor.levels, "baseline") for factor in self.declaration.factors}


def check_section(section: Mapping[str, Any], names: Names) -> None:
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


def _check_value(holds: str, value: Any, options: Mapping[str, Any], names: Names) -> None:
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
