"""What each instrument gains from one gate to the next, run by run [Hung and Lerch 2020, Fig. 5].

Options: `steps`, pairs of variants [from, to]; `metric`, "avg" where it is not named, the mean of SDR, SIR and SAR.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from reports.contract import MACRO
from reports.document import Figure, Section, Table
from reports.drawing import svg
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.text import MISSING, Style, number, style

LEFT, WIDTH, BAR = 150.0, 760.0, 15.0

OPTIONS = {"steps": "pairs", "metric": "metric?"}


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """A table and bars; None where no target has a score of both variants of a step."""
    metric = options.get("metric", "avg")
    scores = tables.scores.frame
    split = scores[(scores["track"] == "") & ~scores["target"].isin(MACRO) & (scores["metric"] == metric)]
    steps = [(f"{after} - {before}", before, after) for before, after in options["steps"]]
    gains = {
        target: [_gains(group, before, after) for _, before, after in steps]
        for target, group in split.groupby("target", sort=False)
    }
    if not any(len(gain) for found in gains.values() for gain in found):
        return None
    how = style(metric)
    lines = [(str(target), *(_cell(gain, how) for gain in found)) for target, found in gains.items()]
    names = [name for name, _, _ in steps]
    text = (
        f"What {how.label} gains by target: mean ± standard error of the differences within each run, whose gates "
        "share one training. The paper prints bars without figures."
    )
    means = {str(target): [float(gain.mean()) for gain in found if len(gain)] for target, found in gains.items()}
    caption = f"{names[0]} (dark)" + (f" and {names[1]} (light)" if len(names) > 1 else "") + f", {how.label}."
    return Section(
        "Gains by gate",
        (text,),
        (Table(("target", *names), tuple(lines), numeric=(False, *(True for _ in names))),),
        (Figure(_bars(means), caption=caption),),
    )


def _gains(rows: pd.DataFrame, before: str, after: str) -> np.ndarray:
    """Differences of the seeds that both variants have."""
    by_seed = rows.pivot_table(index="seed", columns="variant", values="score", aggfunc="mean", observed=True)
    if not {before, after} <= set(by_seed.columns):
        return np.zeros(0)
    return np.asarray((by_seed[after] - by_seed[before]).dropna())


def _cell(gain: np.ndarray, how: Style) -> str:
    if not len(gain):
        return MISSING
    error = gain.std(ddof=1) / np.sqrt(len(gain)) * how.scale if len(gain) > 1 else np.nan
    spread = f" ± {number(float(error), how.digits)}" if np.isfinite(error) else ""
    return number(float(gain.mean()) * how.scale, how.digits) + spread


def _bars(rows: Mapping[str, list[float]]) -> str:
    values = [0.0, *(value for found in rows.values() for value in found)]
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.5
    x = svg.linear(low - room, high + room, LEFT, WIDTH - 20)
    bottom = 12 + 3 * BAR * len(rows)
    parts = svg.x_axis(x, svg.ticks(low - room, high + room, 5), 8, bottom, "dB")
    for k, (name, found) in enumerate(rows.items()):
        y = 12 + 3 * BAR * k + BAR
        parts.append(svg.text(LEFT - 12, y + BAR / 2 + 4, svg.shortened(name, 20), "name", "end"))
        for offset, value, kind in zip((0.0, BAR), found, ("thick clear", "thick faint"), strict=False):
            parts.append(svg.line(x(0), y + offset, x(value), y + offset, kind))
    return svg.drawing(WIDTH, bottom + 42, parts, "Gains by gate and target")
