"""Learning curves of every training."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from reports.contract import Kept, Study
from reports.document import Figure, Section, Table
from reports.drawing import figures, svg
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.text import listing

OPTIONS: dict[str, str] = {}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """One drawing per stage and metric; None without curves."""
    curves = figures.learning_curves(tables.curves, findings.study)
    kept = weights(findings.study)
    if not curves:
        return Section("Learning curves", tables=(kept,)) if kept.rows else None
    names = [variant.name for variant in findings.study.variants][: svg.COLOURS]
    return Section(
        "Learning curves",
        ("One line per stage call; grey: used by several variants.",),
        tables=(kept,) if kept.rows else (),
        figures=(Figure(svg.legend(names)),),
        parts=(Section("", figures=tuple(Figure(drawing) for _, drawing in curves), kind="pair"),),
    )


def weights(study: Study) -> Table:
    """Which step's weights were kept, one row per kind of training."""
    kinds: dict[tuple[str, str], list[Kept]] = {}
    for stage in study.stages.values():
        if stage.kept:
            kinds.setdefault((stage.kept.label, stage.kept.by or "none: the last"), []).append(stage.kept)
    rows = []
    for (label, by), trainings in kinds.items():
        steps = Counter(f"{one.step or 'unknown'} of {one.steps}" for one in trainings)
        told = [step + (f" ({number} times)" if number > 1 else "") for step, number in steps.items()]
        rows.append((label, str(len(trainings)), listing(told, 6), by))
    caption = "The step whose weights were kept, and by what it was chosen."
    return Table(("training", "trainings", "kept step", "chosen by"), tuple(rows), caption, (False, True, False, False))
