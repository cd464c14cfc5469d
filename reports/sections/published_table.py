"""Our scores in the layout of the paper's own table, beside what it printed.

Options: `paper`, whose table it is, where it is none of reports/papers; `rows`, the factors that tell rows apart;
`columns`, for each factor that tells columns apart the level that is meant where the study does not vary it. Which row
and column a level is printed as stands in the paper's tables.json.
"""

import math
from collections.abc import Mapping
from typing import Any

from reports.contract import PAPERS
from reports.document import Cell, Section, Table, shown_number
from reports.findings import Comparison, Findings
from reports.inputs.directory import Tables
from reports.published import not_beside, paper
from reports.text import MISSING

OPTIONS = {"paper": "paper?", "rows": "factors", "columns": "words"}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """The table, or None for a study that repeats none."""
    for name in (options["paper"],) if "paper" in options else PAPERS:
        found = paper(name)
        match = found.studies.get(findings.study.name)
        if match is not None and "row" in match:
            if why := not_beside(findings.study, found):
                return Section(f"{found.table(match['table']).name} as printed", (why,))
            return _section(findings, options, found.table(match["table"]), match, found.short)
    return None


def _section(
    findings: Findings, options: Mapping[str, Any], table: Any, match: Mapping[str, Any], short: str
) -> Section:
    names = match["names"]
    cells: dict[str, dict[str, Cell]] = {}
    for variant in findings.study.variants:
        levels = {**dict(options["columns"]), **variant.levels}
        words = {factor: names.get(level, level) for factor, level in levels.items()}
        row = match["row"].format_map(words)
        for comparison in findings.comparisons:
            metric = names.get(comparison.style.name)
            column = metric and match["column"].format_map({**words, "metric": metric})
            if column in table.columns and comparison.target in ("", "macro"):
                cell = _ours(comparison, variant.name)
                if cell is not None:
                    cells.setdefault(row, {})[column] = cell
    columns = [c for c in table.columns if any(c in row for row in cells.values())]
    head = [" and ".join(options["rows"]), *(text for c in columns for text in (c, "published"))]
    lines = []
    for row, printed in table.rows.items():
        if row not in cells:
            continue
        line: list[Cell | str] = [row]
        for column in columns:
            line += [cells[row].get(column, MISSING), printed[column].text if column in printed else MISSING]
        lines.append(tuple(line))
    absent = len(table.columns) - len(columns)
    told = [
        f"{table.name} of {short}. Mean ± standard error over runs, in percent; * marks a row better than its "
        "reference after correction (ours) or as printed (published).",
        'Where the metric is plain accuracy it stands beside the printed "weighted accuracy", which the released '
        "code computes without weights."
        if "accuracy" in {c.style.name for c in findings.comparisons}
        else "",
        f"{absent} of the {len(table.columns)} printed columns were not run." if absent else "",
    ]
    return Section(
        f"{table.name} as printed",
        tuple(text for text in told if text),
        (Table(tuple(head), tuple(lines), numeric=(False, *(True for _ in head[1:]))),),
    )


def _ours(comparison: Comparison, variant: str) -> Cell | None:
    """Our figure, a dash where the variant has no score; None where it is none of the comparison's."""
    row = next((r for r in comparison.rows if r.variant == variant), None)
    if row is None:
        return None
    score = (comparison.style.name, comparison.target, variant)
    if not row.runs:
        return Cell(MISSING, math.nan, score=score)
    style, contrast = comparison.style, comparison.contrast(variant)
    text = style.value(row.mean) + ("" if math.isnan(row.se) else f"±{style.value(row.se)}")
    gain = contrast is not None and contrast.primary.difference > 0
    starred = text + ("*" if contrast is not None and gain and contrast.stars else "")
    return Cell(starred, shown_number(starred), score=score)
