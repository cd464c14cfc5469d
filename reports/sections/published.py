"""The study's row in a published table, beside ours, and how the two protocols differ.

Options: `paper`, whose table it is; without it, that of the papers in reports/papers that lists the study.
"""

import math
from collections.abc import Mapping
from typing import Any

from reports import published
from reports.contract import PAPERS
from reports.document import Cell, Section, Table
from reports.findings import Findings
from reports.inputs.directory import Tables

OPTIONS = {"paper": "paper?"}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """None for a study that repeats no published table."""
    beside = published.beside(findings, (options["paper"],) if "paper" in options else PAPERS)
    if beside is None:
        return None
    if why := published.not_beside(findings.study, beside.paper):
        return Section("Published beside ours", (why,), short="Published")
    head = ["variant"]
    for metric in beside.metrics:
        head += [f"{metric}, published", f"{metric}, ours"]
    rows = []
    for variant, figures in beside.by_variant():
        row = [Cell(variant)]
        for metric in beside.metrics:
            figure = figures.get(metric)
            if figure is None:
                row += [Cell("", math.nan)] * 2
            else:
                row += [
                    Cell(figure.published.text.replace("±", " ± "), figure.published.value),
                    Cell(figure.ours, figure.mean),
                ]
        rows.append(tuple(row))
    return Section(
        "Published beside ours",
        (
            f"{beside.paper.source}: {beside.table}. Not the same experiment; what differs is below.",
            "* as printed. Which of the published claims their own figures reproduce: `python -m reports.claims`.",
        ),
        (
            *([Table(tuple(head), tuple(rows))] if rows else []),
            Table(("protocol", "published", "ours"), beside.protocol),
        ),
        short="Published",
    )
