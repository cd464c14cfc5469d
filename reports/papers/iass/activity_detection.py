"""How well each instrument's activity is detected, beside the mixture's energy [Hung and Lerch 2020, Fig. 4].

One row per target and training that has a classifier; rows that differ in what comes after the training are one.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from reports.contract import MACRO
from reports.document import Figure, Section, Table
from reports.drawing import svg
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.text import MISSING, number

OPTIONS: dict[str, str] = {}

AUC, FRAME, RATE = "activity_auc_1s", "activity_auc", "activation_rate"
LEFT, WIDTH, BAR = 210.0, 760.0, 15.0


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """A table and bars; None where no classifier was trained."""
    scores = tables.scores.frame
    rows = scores[(scores["track"] == "") & ~scores["target"].isin(MACRO)]
    rows = rows[rows["metric"].str.startswith("activ")]
    if rows.empty:
        return None
    seen: dict[tuple[Any, ...], tuple[str, str, list[float], dict[str, float]]] = {}
    for (target, variant), group in rows.groupby(["target", "variant"], sort=False):
        means = {str(metric): float(found["score"].mean()) for metric, found in group.groupby("metric")}
        runs = group[group["metric"] == AUC].sort_values("seed")["score"].tolist()
        seen.setdefault((target, *runs), (str(target), str(variant), runs, means))
    lines, bars = [], []
    for target, variant, runs, means in seen.values():
        error = np.std(runs, ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else np.nan
        spread = f" ± {number(100 * float(error), 1)}" if np.isfinite(error) else ""
        lines.append(
            (
                target,
                variant,
                number(100 * means.get(AUC, np.nan), 1) + spread,
                *(
                    number(100 * means[m], 1) if m in means else MISSING
                    for m in (f"{AUC}_energy", FRAME, f"{FRAME}_energy", RATE)
                ),
            )
        )
        name = target if len({t for t, *_ in seen.values()}) == len(seen) else f"{target}, {variant}"
        bars.append((name, means))
    head = (
        "target",
        "trained as in",
        "AUC by second",
        "of the mixture's energy",
        "AUC by frame",
        "of the mixture's energy",
        "active, %",
    )
    text = (
        "Area under the ROC curve, in percent, of each classifier's activity over the test tracks, pooled: by second, "
        "the median of its frames, as published; and by frame. The mixture's energy as the detector needs no "
        "training. Active is the share of the training frames in which the target sounds. The paper prints bars "
        "without figures; its orange ones, of the detector of Gururani et al., are left out: that detector is not part "
        "of this."
    )
    return Section(
        "Activity detection",
        (text,),
        (Table(head, tuple(lines), numeric=(False, False, *(True for _ in head[2:]))),),
        (
            Figure(
                _bars(bars),
                caption="AUC by second (dark), of the mixture's energy (light), and share of active "
                "training frames (tick), in percent.",
            ),
        ),
    )


def _bars(rows: list[tuple[str, dict[str, float]]]) -> str:
    x = svg.linear(0, 100, LEFT, WIDTH - 20)
    height = 3 * BAR
    bottom = 12 + height * len(rows)
    parts = svg.x_axis(x, svg.ticks(0, 100, 5), 8, bottom, "percent")
    for k, (name, means) in enumerate(rows):
        y = 12 + height * k + BAR
        parts.append(svg.text(LEFT - 12, y + BAR / 2 + 4, svg.shortened(name, 28), "name", "end"))
        for offset, metric, kind in ((0.0, AUC, "thick clear"), (BAR, f"{AUC}_energy", "thick faint")):
            if metric in means:
                parts.append(svg.line(x(0), y + offset, x(100 * means[metric]), y + offset, kind))
        if RATE in means:
            at = x(100 * means[RATE])
            parts.append(svg.line(at, y - 7, at, y + BAR + 7, "tickmark"))
    return svg.drawing(WIDTH, bottom + 42, parts, "Activity detection by target")
