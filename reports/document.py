"""The values that a report is made of and writers render: tables, figures, sections. In all texts `code` stands between
backticks."""

import math
import re
from dataclasses import dataclass, replace
from functools import cached_property


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
