"""Scores along a factor whose levels are numbers, beside variants that have no such number.

Options: `factor`; `metrics`, one drawing each; `lines`, variants drawn as horizontal lines.
"""

import math
from collections.abc import Mapping
from typing import Any

from reports.document import Figure, Section, Table
from reports.drawing import svg
from reports.findings import Comparison, Findings
from reports.inputs.directory import Tables
from reports.text import MISSING

OPTIONS = {"factor": "factor", "metrics": "metrics", "lines": "variants?"}

LEFT, RIGHT, TOP, BOTTOM, WIDTH = 60.0, 610.0, 14.0, 250.0, 760.0


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """A table of mean and interval, and a drawing a metric; None where the study has none of the metrics."""
    factor = options["factor"]
    points = {v.name: float(v.levels[factor]) for v in findings.study.variants if _is_number(v.levels.get(factor))}
    order = sorted(points, key=lambda name: points[name])
    shown = [
        c for m in options["metrics"] for c in findings.comparisons if c.style.name == m and c.target in ("", "macro")
    ]
    if not shown or len(order) < 2:
        return None
    best = []
    for comparison in shown:
        sign = 1 if comparison.style.higher_is_better else -1
        scored = [name for name in order if comparison.row(name).runs]
        if scored:
            top = max(scored, key=lambda name: sign * comparison.row(name).mean)
            best.append(f"{comparison.style.label}: {points[top]:g}")
    lines = [name for name in options.get("lines", ()) if any(v.name == name for v in findings.study.variants)]
    rows = tuple(
        (f"{points[name]:g}" if name in points else name, *(cell for c in shown for cell in _cells(c, name)))
        for name in (*lines, *order)
    )
    head = (factor, *(text for c in shown for text in (c.style.label, f"difference to {c.against}, interval")))
    return Section(
        f"Scores along {factor}",
        (
            f"The {factor} of the highest mean, chosen on the same tracks that it is scored on: {'; '.join(best)}. "
            "All rows of one seed share its trainings, so their differences are less uncertain than their levels.",
        ),
        (Table(head, rows, numeric=(False, *(True for _ in head[1:]))),),
        tuple(
            Figure(
                _drawing(c, points, order, lines, factor),
                caption=f"{c.style.label}: mean over runs and its standard error.",
            )
            for c in shown
        ),
    )


def _is_number(label: object) -> bool:
    try:
        return math.isfinite(float(str(label)))
    except ValueError:
        return False


def _cells(comparison: Comparison, name: str) -> tuple[str, str]:
    row, contrast, style = comparison.row(name), comparison.contrast(name), comparison.style
    if not row.runs:
        return MISSING, MISSING
    error = "" if math.isnan(row.se) else f" ± {style.value(row.se)}"
    difference = MISSING
    if contrast is not None and not contrast.refused:
        found = contrast.primary
        difference = (
            f"{style.difference(found.difference)} {style.interval(found.low, found.high, contrast.reference_mean)}"
        )
    return style.value(row.mean) + error, difference


def _drawing(
    comparison: Comparison, points: Mapping[str, float], order: list[str], lines: list[str], factor: str
) -> str:
    scale = comparison.style.scale
    rows = {name: comparison.row(name) for name in (*order, *lines) if comparison.row(name).runs}
    ends = [
        scale * (row.mean + side * (0.0 if math.isnan(row.se) else row.se)) for row in rows.values() for side in (-1, 1)
    ]
    y = svg.linear(*svg.padded(ends), BOTTOM, TOP)
    x = svg.linear(math.log(points[order[0]]), math.log(points[order[-1]]), LEFT + 10, RIGHT)
    parts = svg.y_axis(y, svg.ticks(*svg.padded(ends)), LEFT, RIGHT)
    parts += [svg.text(x(math.log(points[name])), BOTTOM + 15, f"{points[name]:g}", "tick", "middle") for name in order]
    parts.append(svg.text((LEFT + RIGHT) / 2, BOTTOM + 34, f"{factor} (frames)", "label", "middle"))
    drawn = [name for name in order if name in rows]
    for name in drawn:
        row, at = rows[name], x(math.log(points[name]))
        if not math.isnan(row.se):
            parts.append(svg.line(at, y(scale * (row.mean - row.se)), at, y(scale * (row.mean + row.se)), "whisker"))
        parts.append(svg.circle(at, y(scale * row.mean), 4, "run", f"{name}: {comparison.style.value(row.mean)}"))
    parts.append(svg.polyline([(x(math.log(points[n])), y(scale * rows[n].mean)) for n in drawn], "series s0"))
    levels = {name: y(scale * rows[name].mean) for name in lines if name in rows}
    for name, at in svg.apart(levels, 16).items():
        k = list(levels).index(name) + 1
        parts.append(svg.line(LEFT, levels[name], RIGHT, levels[name], f"series dashed s{k}"))
        parts.append(svg.text(RIGHT + 8, at + 4, svg.shortened(name, 20), "name"))
    return svg.drawing(WIDTH, BOTTOM + 44, parts, f"{comparison.style.label} along {factor}")
