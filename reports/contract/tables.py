"""Reading a user's table: its separator is found out, blank rows are passed over, a row that does not fit is an error
with its line. And cells that a spreadsheet would take for a formula."""

import codecs
import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from reports.contract.names import nearest

if TYPE_CHECKING:
    import pandas as pd

SEPARATORS = (",", ";", "\t", "|")
FORMULA = re.compile(r"'*(\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])")
"""How a cell begins that a spreadsheet calculates, full-width signs too."""


def guarded(text: str) -> str:
    """A cell that no spreadsheet calculates: what begins as a formula has an apostrophe before it; numbers stay.

    >>> guarded("=1+1"), guarded("-0.5"), guarded("-6 dB"), guarded("drums")
    ("'=1+1", '-0.5', "'-6 dB", 'drums')
    """
    if not FORMULA.match(text):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def unguarded(text: str) -> str:
    """What `guarded` was given."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def guarded_table(table: "pd.DataFrame") -> "pd.DataFrame":
    """A table whose heads and texts are `guarded`."""
    changed = {}
    for name, column in table.items():
        cells = {cell: guarded(cell) for cell in column.unique() if isinstance(cell, str)}
        if any(cell != written for cell, written in cells.items()):
            changed[name] = column.map(lambda cell, cells=cells: cells.get(cell, cell))
    return table.assign(**changed).rename(columns=guarded) if changed else table.rename(columns=guarded)


def read_table(path: Path, needed: Sequence[str]) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns of a CSV file, and each row that is not blank with the line on which it ends.

    The separator is the one that shows the most of the ``needed`` columns, whatever the file's suffix; Excel's line
    ``sep=;`` is passed over. Text is UTF-8, or UTF-16 with a byte-order mark. Raises ValueError for a needed column
    that is not there, a column named twice, and a row with more or fewer fields than there are columns (empty fields
    at the end do not count as more).
    """
    try:
        text = decoded(path.read_bytes())
        columns, separator = _head(text, needed)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        rows = [(reader.line_num, row) for row in reader]
        _closed(path, rows, text)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV file in UTF-8 ({error}); save it as CSV, UTF-8") from None
    if "\0" in text:
        raise ValueError(f"{path}: not a CSV file in UTF-8 (it holds the byte 0); save it as CSV, UTF-8")
    rows = [(line, row) for line, row in rows if any(cell.strip() for cell in row) and not (line == 1 and _says(row))]
    for column in needed:
        if column not in columns:
            how = f" (columns are parted by one of {' '.join(map(repr, SEPARATORS))})" if len(columns) == 1 else ""
            raise ValueError(f"{path}: no column {column!r}; {nearest(column, columns)}{how}")
    for place, column in enumerate(columns):
        if column and column in columns[:place]:
            raise ValueError(f"{path}: two columns are called {column!r}; rename or remove one")
    if columns[0] == "" and _counts([row[0] for _, row in rows[1:]]):
        columns, rows = columns[1:], [(line, row[1:]) for line, row in rows]
    return columns, [(line, _fitted(row, columns, f"{path}, line {line}")) for line, row in rows[1:]]


def _closed(path: Path, rows: list[tuple[int, list[str]]], text: str) -> None:
    """Raise ValueError where a quote is opened and never closed: the last row then holds the rest of the file."""
    if rows and any("\n" in cell for cell in rows[-1][1][-1:]) and text.count('"') % 2:
        first = rows[-2][0] + 1 if len(rows) > 1 else 1
        raise ValueError(
            f"{path}, line {first}: a quote is opened and not closed; close it, or double one that is meant"
        )


def _counts(cells: list[str]) -> bool:
    """Whether a column without a name numbers the rows, as pandas does."""
    return bool(cells) and all(cell.strip().isdecimal() for cell in cells) and len({*cells}) == len(cells)


def columns_of(path: Path, needed: Sequence[str]) -> list[str]:
    """The columns of a CSV file, parted by what shows the most of the ``needed`` ones; ValueError where it is none."""
    try:
        return _head(decoded(path.read_bytes()), needed)[0]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: not a CSV file in UTF-8 ({error}); save it as CSV, UTF-8") from None


def decoded(data: bytes) -> str:
    """Text in UTF-8, or in UTF-16 with a byte-order mark, without that mark; UnicodeDecodeError for any other."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return data.decode("utf-16" if wide else "utf-8-sig")


def _says(row: list[str]) -> bool:
    """Whether a first line is Excel's word for the separator; it may be split by that separator."""
    return re.fullmatch(r"sep=.?", "".join(row).strip()) is not None


def _head(text: str, needed: Sequence[str]) -> tuple[list[str], str]:
    """The cells of the first line that is not blank, and the separator that makes the most of it."""
    lines = [line for line in io.StringIO(text, newline="") if line.strip(" \t\r\n,;|") and not _says([line])]
    heads = {mark: [cell.strip() for cell in next(csv.reader(lines, delimiter=mark), [])] for mark in SEPARATORS}
    separator = max(SEPARATORS, key=lambda mark: len({*needed} & {*heads[mark]}))
    return heads[separator], separator


def _fitted(row: list[str], columns: list[str], place: str) -> dict[str, str]:
    while len(row) > len(columns) and not row[-1].strip():
        row = row[:-1]
    if len(row) != len(columns):
        raise ValueError(
            f"{place}: {len(row)} fields where the head has {len(columns)}; put quotes around a field that holds the "
            "separator"
        )
    cells = dict(zip(columns, row, strict=True))
    if cells.get("", "").strip():
        raise ValueError(f"{place}: {cells['']!r} stands in a column without a name")
    return cells
