"""Our scores by level or stem as columns, beside those of the paper's own table: one table per metric.

Option: `paper`, whose table it is, where it is none of reports/papers. Its tables.json says which printed row a variant
repeats (the study's "variants") and which printed columns hold a metric of ours (the table's "layout": its columns by
metric, where {target} stands for the print's name of a target).
"""

from collections.abc import Mapping
from typing import Any

from reports.contract import PAPERS
from reports.document import Cell, Section, Table, shown_number, unpublished
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.published import not_beside, paper
from reports.sections.by_target import over_runs
from reports.text import MISSING, style

OPTIONS = {"paper": "paper?"}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """The tables; None for a study that repeats no row of such a table, or has no score of one."""
    study = findings.study
    papers = (options["paper"],) if "paper" in options else PAPERS
    found = next((p for p in map(paper, papers) if study.name in p.studies), None)
    if found is None:
        return None
    match = found.studies[study.name]
    published = found.table(match["table"])
    scores = tables.scores.frame
    split = scores[scores["track"] == ""]
    rows = {v.name: match["variants"][v.name] for v in study.variants if v.name in match["variants"]}
    parts, repeated = [], set()
    for metric, column in published.layout.get("columns", {}).items():
        how = style(metric)
        columns = {t: column.format(target=name) for t, name in published.layout["targets"].items()}
        of_metric = split[split["metric"] == metric]
        if not of_metric["target"].isin(columns).any():
            continue
        lines = []
        for variant, row in rows.items():  # one without a score keeps its place, with dashes
            mine = of_metric[of_metric["variant"] == variant]
            cells: list[Cell | str] = [variant, row]
            for target, name in columns.items():
                cell = published.rows[row].get(name)
                shown = over_runs(mine[mine["target"] == target], how)
                ours = Cell(shown, shown_number(shown), score=(metric, target, variant))
                cells += [ours, cell.text if cell else MISSING]
            lines.append(tuple(cells))
            repeated.add(row)
        if lines:
            head = ["variant", "row of the table"]
            for name in columns.values():
                head += [name, "published"]
            made = dict.fromkeys(of_metric[of_metric["target"].isin(columns)]["aggregation"])
            caption = "; ".join(text for text in (f"{how.label}, {how.unit}", *made) if text) + "."
            parts.append(Table(tuple(head), tuple(lines), caption, (False, False, *(True for _ in head[2:]))))
    if not parts:
        return None
    if why := not_beside(study, found):
        return Section("By target", (why,), tuple(unpublished(table) for table in parts))
    absent = [row for row in published.rows if row not in repeated]
    told = [
        f"{published.name} of {found.source}: {published.about}. Ours: over the whole split, not means of tracks; "
        "mean ± standard error over runs. The published figures are of single trainings"
        + ("; ours are of a tiny run (smoke or rehearsal) and say nothing about them." if study.smoke else "."),
        f"Printed rows that no variant repeats: {'; '.join(absent)}." if absent else "",
        f"{published.name}: {published.note}" if published.note else "",
    ]
    return Section(f"{published.name} as printed", tuple(text for text in told if text), tuple(parts))
