"""How well the separators separate, beside what needs no separator."""

import math
from collections.abc import Mapping
from typing import Any

from reports.document import Cell, Section, Table
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.text import listing

OPTIONS: dict[str, str] = {}

VERDICTS = {None: Cell(""), True: Cell("yes", kind="yes"), False: Cell("no", kind="no")}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """One row per separator, source and metric; None without a separator."""
    if not findings.separation:
        return None
    names = list(dict.fromkeys(name for row in findings.separation for name in row.baselines))
    rows = tuple(
        (
            Cell(row.variant + (f" (equal: {listing(row.equal)})" if row.equal else "")),
            Cell(row.target),
            Cell(row.style.label + (" ↑" if row.style.higher_is_better else " ↓")),
            Cell(row.style.value(row.model), row.model),
            *(
                Cell(row.style.value(row.baselines[name]), row.baselines[name])
                if name in row.baselines
                else Cell("", math.nan)
                for name in names
            ),
            VERDICTS[row.beats],
            Cell(str(row.tracks or ""), row.tracks),
            Cell(
                f"{len(row.lost)}: {listing(row.lost, 3)}" if row.lost else "",
                len(row.lost) if row.baselines else math.nan,
            ),
            Cell(row.aggregation),
        )
        for row in findings.separation
    )
    text = (
        "What the separators themselves score, beside estimates that need no separator, where they were scored: "
        "silence, the mixture, and the mixture times the one scalar that suits the reference best. An arrow says which "
        "way is better. Beside the mean each track is judged: those on which the model is not better than all of these "
        "are named. Variants whose figures are equal to the last bit share a row, which names them all."
    )
    head = ("variant", "source", "metric", "model", *names, "beats all", "tracks", "not better on", "aggregation")
    return Section("Separation", (text,), (Table(head, rows),))
