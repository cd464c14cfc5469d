"""Learning curves of every training."""

from collections.abc import Mapping
from typing import Any

from reports.drawing import figures, svg
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.sections import Figure, Section

OPTIONS: dict[str, str] = {}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """One drawing per stage and metric; None without curves."""
    curves = figures.learning_curves(tables.curves, findings.study)
    if not curves:
        return None
    names = [variant.name for variant in findings.study.variants][: svg.COLOURS]
    return Section(
        "Learning curves",
        ("One line per stage call; grey: used by several variants.",),
        figures=(Figure(svg.legend(names)),),
        parts=(Section("", figures=tuple(Figure(drawing) for _, drawing in curves), kind="pair"),),
    )
