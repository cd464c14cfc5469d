"""Scores by target instrument, in the layout of a published table and beside it.

Options: `paper` and `table`, of reports/papers; `metrics`; `printed`, for each row of ours the row and column of the
published table, where {target} and {metric} stand for what the paper calls them (its "targets" and "metrics"); `by`,
the factor whose level names our row (the variant without it); `within`, {factor: level} to show a part of the study.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports.contract import MACRO
from reports.document import Cell, Section, Table, shown_number, unpublished
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.published import not_beside, paper
from reports.text import MISSING, Style, style

OPTIONS = {
    "paper": "paper",
    "table": "table",
    "metrics": "metrics",
    "printed": "cells?",
    "by": "factor?",
    "within": "levels?",
}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """The table; None where the study has no score of a target."""
    scores = tables.scores.frame
    split = scores[(scores["track"] == "") & ~scores["target"].isin(MACRO)]
    found, printed = paper(options["paper"]), options.get("printed", {})
    published = found.table(options["table"])
    names = {**found.targets, **found.metrics}
    metrics = [m for m in options["metrics"] if m in set(split["metric"])]
    within = options.get("within", {})
    chosen = [v for v in findings.study.variants if all(v.levels.get(f) == level for f, level in within.items())]
    lines = []
    for target in dict.fromkeys(split[split["variant"].isin([v.name for v in chosen])]["target"]):
        for variant in chosen:
            levels = variant.levels
            row = levels.get(options["by"], variant.name) if "by" in options else variant.name
            cells: list[Cell | str] = [target, row]
            for metric in metrics:
                ours = split[
                    (split["target"] == target) & (split["variant"] == variant.name) & (split["metric"] == metric)
                ]
                words = {"target": names.get(target, target), "metric": names.get(metric, metric)}
                place = [part.format_map(words) for part in printed.get(row, ("", ""))]
                cell = published.rows.get(place[0], {}).get(place[1])
                shown = over_runs(ours, style(metric))
                mine = Cell(shown, shown_number(shown), score=(metric, target, variant.name))
                cells += [mine, cell.text if cell else MISSING]
            lines.append(tuple(cells))  # a row without a score keeps its place, with dashes
    if not lines:
        return None
    head = ["target", options.get("by", "variant")]
    for metric in metrics:
        head += [style(metric).label, "published"]
    aggregation = next(iter(split[split["metric"] == metrics[0]]["aggregation"]), "")
    text = (
        f"{published.name} of {found.source}: {published.about}. Ours: {aggregation}; mean ± standard error over runs. "
        "The published figures are of single trainings"
        + ("; ours are of a tiny run (smoke or rehearsal) and say nothing about them." if findings.study.smoke else ".")
    )
    table = Table(tuple(head), tuple(lines), numeric=(False, False, *(True for _ in head[2:])))
    if why := not_beside(findings.study, found):
        return Section(f"By target, {aggregation}".rstrip(", "), (why,), (unpublished(table),))
    told = (text, published.note) if published.note else (text,)
    return Section(f"{published.name}, by target", told, (table,))


def over_runs(rows: pd.DataFrame, how: Style) -> str:
    """Mean ± standard error over seeds, each seed's rows averaged first."""
    values = rows.groupby("seed")["score"].mean().to_numpy()
    if not len(values):
        return MISSING
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return how.value(float(values.mean())) + (f" ± {how.spread(float(error))}" if np.isfinite(error) else "")
