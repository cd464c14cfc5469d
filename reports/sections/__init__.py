"""A report as a list of sections: the values that writers render, and which sections a report has, in which order.

`USUAL` are the sections of every report. A study declares others, `{"kind": name, **options}`; the name is one of
`KINDS` (reports/contract/sections.py), or, with a dot, a module of any package (`my_paper.report`). They stand as
declared, after the result, the tests and the published figures. A usual section that is declared as well stands where
the declaration has it; with `{"kind": name, "leave_out": True}` it is left out. The module has

    OPTIONS = {"option": "what it holds"}, see reports/contract/sections.py; with it options are checked before a run
    section(findings, options, tables) -> Section | None

with `tables` (reports/inputs/directory.py), the study's scores, predictions, curves and searches, each read once, and
the store, below which an artefact's files lie in study.json's `directory`. None leaves the section out. In all texts
`code` stands between backticks.
"""

import importlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from reports.contract import section_module

if TYPE_CHECKING:
    from reports.findings import Findings
    from reports.inputs.directory import Tables

FIRST: tuple[Mapping[str, Any], ...] = (
    *({"kind": kind} for kind in ("looks", "result", "controls", "systems", "tests", "published")),
)
LAST: tuple[Mapping[str, Any], ...] = (
    {"kind": "explore"},
    {"kind": "runs"},
    {"kind": "items", "by": "tag"},
    {"kind": "items", "by": "track"},
    {"kind": "separation"},
    {"kind": "listen"},
    {"kind": "curves"},
    {"kind": "cost"},
    {"kind": "design"},
    {"kind": "limits"},
    {"kind": "reproduce"},
)
USUAL = (*FIRST, *LAST)
"""What a report has unless its study says otherwise; declared sections stand between the two parts."""


@dataclass(frozen=True)
class Cell:
    """One table cell.

    Attributes:
        text: what is shown.
        value: the number behind the text, unrounded, which sorts the column; NaN for one that is missing, None for a
            text. A column with a value is right-aligned.
        kind: how it stands out: `reference`, `clear` (of a row's first cell: the whole row), `better`, `naive`, `yes`,
            `no`, `p`; empty for nothing.
        score: which of ours it shows beside a printed figure: metric, target and variant; None for any other cell.
    """

    text: str
    value: float | None = None
    kind: str = ""
    score: tuple[str, str, str] | None = None


SHOWN = re.compile(r"[-+−]?(\d[\d,]*\.?\d*|\.\d+)(e[-+]?\d+)?|[-+−]?∞")


def shown_number(text: str) -> float | None:
    """The number that a text shows first, behind `=` where there is one; NaN for a gap, None for words.

    >>> shown_number("−7.28"), shown_number("t(4.0) = 2.50"), shown_number("< .0001"), shown_number("adam")
    (-7.28, 2.5, 0.0001, None)
    """
    if text.strip() in ("", "–"):
        return math.nan
    found = SHOWN.search(text.rpartition("=")[2])
    if found is None:
        return None
    written = found[0].replace("−", "-").replace(",", "").replace("∞", "inf")
    return float(written)


@dataclass(frozen=True)
class Table:
    """A table; a plain string is a cell without a value. `numeric` says which columns of strings are numbers, which
    sort by the number that they show."""

    head: tuple[str, ...]
    rows: tuple[tuple[Cell | str, ...], ...]
    caption: str = ""
    numeric: tuple[bool, ...] = ()

    @cached_property
    def cells(self) -> tuple[tuple[Cell, ...], ...]:
        """The rows, every entry a cell."""
        numeric = self.numeric or (False,) * len(self.head)
        return tuple(
            tuple(
                each if isinstance(each, Cell) else Cell(each, shown_number(each) if number else None)
                for each, number in zip(row, numeric, strict=True)
            )
            for row in self.rows
        )

    @property
    def texts(self) -> list[list[str]]:
        """The rows as what their cells show."""
        return [[cell.text for cell in row] for row in self.cells]

    @cached_property
    def right(self) -> tuple[bool, ...]:
        """Which columns are right-aligned numbers."""
        return self.numeric or tuple(
            any(row[column].value is not None for row in self.cells) for column in range(len(self.head))
        )


@dataclass(frozen=True)
class Figure:
    """An SVG drawing, a picture as a `data:` URI, a sound as one with its sample rate, or several of these, with one
    caption. A note is a few words behind it, e.g. what a sound scores."""

    svg: str = ""
    image: str = ""
    caption: str = ""
    audio: str = ""
    rate: int = 0
    note: str = ""


@dataclass(frozen=True)
class Section:
    """One part of a report: its paragraphs, points, tables and figures in this order, then parts of its own.

    Attributes:
        kind: `fold` for a part that a page shows folded, `open` for one that can be folded; `warn`, `pair` and
            `players` are ways to set it apart; `explore` is for a page alone; empty for none.
        data: of `explore`, what the page's script reads (reports/explored.py); empty for none.
        short: what the page's navigation calls it; empty for its title.
    """

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()
    points: tuple[str, ...] = ()
    parts: "tuple[Section, ...]" = ()
    kind: str = ""
    short: str = ""
    data: str = ""

    @property
    def anchor(self) -> str:
        """The short title as an HTML id."""
        return "-".join("".join(c if c.isalnum() else " " for c in (self.short or self.title).lower()).split())


@dataclass(frozen=True)
class Report:
    """A whole report: its heading, what it says first, its sections.

    Attributes:
        warnings: what must be known before the verdict is believed, the gravest first.
    """

    title: str
    question: str
    lead: str
    about: tuple[str, ...]
    sections: tuple[Section, ...]
    warnings: tuple[str, ...] = ()


def unpublished(table: Table) -> Table:
    """A table without the columns and rows that are named as published or printed: of a study on other data."""
    print_ = re.compile("published|printed")
    kept = [place for place, name in enumerate(table.head) if not print_.search(name)]
    rows = [row for row in table.rows if not print_.search(row[0] if isinstance(row[0], str) else row[0].text)]
    return replace(
        table,
        head=tuple(table.head[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in rows),
        numeric=tuple(table.numeric[place] for place in kept) if table.numeric else (),
    )


def filled(cells: tuple[Cell, ...], columns: int) -> tuple[Cell, ...]:
    """A row whose last columns are empty."""
    return (*cells, *[Cell("", math.nan)] * (columns - len(cells)))


def order(declared: tuple[Mapping[str, Any], ...]) -> list[Mapping[str, Any]]:
    """The sections of a report, in order: the usual ones and what a study declares.

    >>> [part["kind"] for part in order(({"kind": "sweep"}, {"kind": "tests"}, {"kind": "items", "leave_out": True}))]
    ... # doctest: +NORMALIZE_WHITESPACE
    ['looks', 'result', 'controls', 'systems', 'published', 'sweep', 'tests', 'explore', 'runs', 'separation', 'listen',
     'curves', 'cost', 'design', 'limits', 'reproduce']
    """
    named = {part.get("kind") for part in declared}
    usual = [[part for part in parts if part["kind"] not in named] for parts in (FIRST, LAST)]
    own = [
        whole
        for part in declared
        if not part.get("leave_out")
        for whole in ([each for each in USUAL if each == {**each, **part}] or [part])
    ]
    return [*usual[0], *own, *usual[1]]


def sections(findings: "Findings", tables: "Tables", declared: tuple[Mapping[str, Any], ...]) -> tuple[Section, ...]:
    """The sections of that declaration that have something to say.

    Raises:
        ValueError: a kind that does not exist.
    """
    made = []
    for part in declared:
        options = dict(part)
        module = importlib.import_module(section_module(str(options.pop("kind", ""))))
        section = module.section(findings, options, tables)
        made += [section] if section is not None else []
    return tuple(made)


def report(findings: "Findings", tables: "Tables") -> Report:
    """The report of a study as its declaration wants it."""
    from reports import level, prose
    from reports.ablation import describe_design

    study, main = findings.study, findings.main
    target = f" ({main.target})" if main.target else ""
    about = (
        f"{describe_design(findings)}. Primary: {main.style.label}{target}, {main.test_label}, alpha {main.alpha}, "
        f"{prose.family_phrase(main)}."
    )
    return Report(
        study.title,
        study.question or study.name,
        prose.headline(findings),
        (*filter(None, [study.no_result, level.power_sentence(findings)]), about),
        sections(findings, tables, tuple(order(study.declaration.sections))),
        _warnings(findings),
    )


WARNINGS = 6
"""Cautions that stand on the first screen; all of them stand under the limits."""


def _warnings(findings: "Findings") -> tuple[str, ...]:
    """The first cautions, which are about data and trainings, and what was trained once for all seeds."""
    study = findings.study
    known = [text for text in findings.cautions if text not in (study.no_result, study.declaration.cut)]
    shown = [*known[:WARNINGS], *filter(None, [study.declaration.shared[:1].upper() + study.declaration.shared[1:]])]
    more = len(known) - WARNINGS
    if more > 0:
        shown.append(f"{more} more under Limits and notes.")
    return tuple(shown)
