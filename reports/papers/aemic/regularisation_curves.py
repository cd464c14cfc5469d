"""Loss curves of the separator by regularisation: Figure 4.1 of [Ligtenberg, AE-MIC], what it claims beside ours.

Options: `factor`, the factor whose levels are compared.
"""

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from reports.document import Figure, Section, Table
from reports.drawing.panels import Line, Panel, panels
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.papers.aemic.separated_stems import by_epoch
from reports.statistics.hypothesis_tests import welch
from reports.text import MISSING, number, p_value

OPTIONS = {"factor": "factor?"}

PANELS = (
    ("a", "none", "augmentation", "lower with augmentation"),
    ("b", "augmentation", "augmentation, dropout", "much higher with dropout"),
    ("c", "augmentation", "augmentation, L2", "with L2 higher at first, lower from about epoch 30"),
    ("d", "augmentation, L2", "augmentation, L2, truncated normal", "crossing in favour of truncated normal"),
)
"""Panel of Figure 4.1, the two settings it draws, and what the thesis reads from their validation loss."""


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """None without the separators' curves."""
    factor = options.get("factor", "regularisation")
    curves = tables.curves
    rows = None if curves is None else curves[curves["stage"] == "train_autoencoder"]
    if rows is None or rows.empty:
        return None
    level = {v.name: v.levels.get(factor, "") for v in findings.study.variants}
    owner = {trial.stages.get("train_autoencoder", ""): level.get(trial.variant, "") for trial in findings.study.trials}
    runs = {
        name: [run for key, run in rows.groupby("key", sort=False) if owner.get(str(key)) == name]
        for name in level.values()
    }
    plots, lines = [], []
    for letter, before, after, claim in PANELS:
        drawn = [
            Line(mean_curve(runs.get(name, []), metric), f"{colour}{dash}", f"{name}: {metric}")
            for name, colour in ((before, "s0"), (after, "s1"))
            for metric, dash in (("train_loss", " dashed"), ("valid_mae", ""))
        ]
        plots.append(Panel(f"({letter}) {after.rsplit(', ', 1)[-1]}", tuple(line for line in drawn if line.points)))
        a, b = (lowest(runs.get(name, [])) for name in (after, before))
        told = welch(a, b) if a and b else None
        lines.append(
            (
                f"4.1{letter}",
                f"{after} against {before}",
                claim,
                number(told.difference, 5, signed=True) if told else MISSING,
                MISSING
                if told is None or math.isnan(told.low)
                else f"[{number(told.low, 5, True)}, {number(told.high, 5, True)}]",
                p_value(told.p) if told else MISSING,
            )
        )
    figure = Figure(
        panels(
            plots,
            "epoch",
            "Loss by regularisation",
            2,
            (("s0", "without"), ("s1", "with"), ("s1 dashed", "training loss")),
        ),
        caption="Figure 4.1, ours: validation MAE (solid) and training loss, penalty included (dashed), "
        "the mean over runs.",
    )
    return Section(
        "Loss curves",
        ("The thesis chose its separator by these curves, one training each.",),
        (
            Table(
                (
                    "panel",
                    "setting",
                    "published: validation loss is",
                    "ours: lowest validation MAE, difference",
                    "95 % CI",
                    "Welch p",
                ),
                tuple(lines),
                "Figure 4.1: what the thesis reads from its curves, and the difference between ours over "
                "runs; p is not corrected.",
                (False, False, False, True, True, True),
            ),
        ),
        (figure,) if figure.svg else (),
    )


def mean_curve(runs: list[pd.DataFrame], metric: str) -> tuple[tuple[float, float], ...]:
    """(epoch, mean over runs) as far as all runs go."""
    each = [by_epoch(run[run["metric"] == metric]) for run in runs]
    return tuple((points[0][0], sum(y for _, y in points) / len(points)) for points in zip(*each, strict=False))


def lowest(runs: list[pd.DataFrame]) -> list[float]:
    """Lowest validation MAE of each run."""
    return [float(run[run["metric"] == "valid_mae"]["value"].min()) for run in runs]
