"""Plain data as CSV and as JSON."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from reports.contract.tables import guarded


def to_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of equal keys as CSV; None is an empty cell, and no text is a formula of a spreadsheet."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(map(_cell, rows[0]))
    writer.writerows([map(_cell, row.values()) for row in rows])
    return stream.getvalue()


def _cell(value: Any) -> Any:
    return "" if value is None else guarded(value) if isinstance(value, str) else value


def to_json(document: Any) -> str:
    """A document as JSON, which may hold neither NaN nor infinity."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
