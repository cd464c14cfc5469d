"""A section as plain text, at most 100 columns wide."""

import textwrap
from collections.abc import Sequence

from reports.document import Section, Table
from reports.text import visible

WIDTH = 100


def to_text(section: Section) -> str:
    """Its tables, then its paragraphs."""
    lines = [line for table in section.tables for line in (*_table(table), "")]
    lines += map(visible, section.paragraphs)
    return "\n".join(part for line in lines for part in (textwrap.wrap(line, WIDTH) if len(line) > WIDTH else [line]))


def _table(table: Table) -> list[str]:
    """Columns of text, the first on the left, its long names folded to what room the others leave."""
    head, *body = [[visible(text) for text in row] for row in (table.head, *table.texts)]
    widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
    room = max(20, WIDTH - sum(widths[1:]) - 2 * len(widths[1:]))
    folded = [line for row in body for line in _folded(row, room)]
    widths[0] = max(len(row[0]) for row in [head, *folded])
    return [
        "  ".join(
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (head, ["─" * width for width in widths], *folded)
    ]


def _folded(row: Sequence[str], room: int) -> list[Sequence[str]]:
    """A row as several, where its name is longer than `room`."""
    wrapped = textwrap.wrap(row[0], room, subsequent_indent="  ", break_on_hyphens=False)
    first, *more = wrapped or [""]
    return [[first, *row[1:]], *([part, *[""] * (len(row) - 1)] for part in more)]
