"""A section as plain text, at most 100 columns wide."""

import textwrap
from collections.abc import Sequence

from reports.sections import Section, Table

WIDTH = 100


def to_text(section: Section) -> str:
    """Its tables, then its paragraphs."""
    lines = [line for table in section.tables for line in (*_table(table), "")] + list(section.paragraphs)
    return "\n".join(part for line in lines for part in (textwrap.wrap(line, WIDTH) if len(line) > WIDTH else [line]))


def _table(table: Table) -> list[str]:
    """Columns of text, the first on the left, its long names folded to what room the others leave."""
    body = [[cell.text for cell in row] for row in table.cells]
    widths = [max(map(len, column)) for column in zip(table.head, *body, strict=True)]
    room = max(20, WIDTH - sum(widths[1:]) - 2 * len(widths[1:]))
    folded = [line for row in body for line in _folded(row, room)]
    widths[0] = max(len(row[0]) for row in [table.head, *folded])
    return [
        "  ".join(
            cell.rjust(width) if k else cell.ljust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (table.head, ["─" * width for width in widths], *folded)
    ]


def _folded(row: Sequence[str], room: int) -> list[Sequence[str]]:
    """A row as several, where its name is longer than `room`."""
    first, *more = textwrap.wrap(row[0], room, subsequent_indent="  ", break_on_hyphens=False)
    return [[first, *row[1:]], *([part, *[""] * (len(row) - 1)] for part in more)]
