"""Whether each variant separates or is only quieter: how far it is above the mixture, by a metric that rewards the
right level and by one that no level changes.

Options: `metric`, in which a mixture that is turned down can gain, e.g. `usdr`, and `invariant`, in which it cannot,
e.g. `si_sdr`. The scores need `<metric>_mixture` of both, what the mixture scores as the estimate.
"""

import math
from collections.abc import Mapping
from typing import Any

from reports.document import Cell, Section, Table
from reports.findings import Findings
from reports.inputs.directory import Tables
from reports.text import style

OPTIONS = {"metric": "metric", "invariant": "metric"}

LEAST = 0.1
"""Gains below this many dB are taken for none."""


def section(findings: Findings, options: Mapping[str, Any], tables: Tables) -> Section | None:
    """One row per variant; None without scores of the mixture."""
    names = (options["metric"], options["invariant"])
    scores = tables.scores.frame
    whole = scores[(scores["track"] == "") & (scores["target"] == findings.main.target)]
    runs = whole.groupby(["variant", "metric", "seed"], sort=False)["score"].mean()
    means = runs.groupby(level=["variant", "metric"], sort=False).mean().unstack()
    if any(f"{name}_mixture" not in means for name in names):
        return None
    styles = [style(name) for name in names]
    rows = []
    for variant, line in means.iterrows():
        gains = [float(line[name] - line[f"{name}_mixture"]) for name in names]
        cells = [
            cell
            for name, gain, how in zip(names, gains, styles, strict=True)
            for cell in (Cell(how.value(line[name]), line[name]), Cell(how.difference(gain), gain))
        ]
        rows.append((Cell(str(variant)), *cells, Cell(verdict(*gains))))
    labels = [how.label for how in styles]
    head = ("variant", *(text for label in labels for text in (label, "over the mixture")), "so it is")
    said = (
        f"{labels[0]} rewards the right level: music that is only turned down gains in it. {labels[1]} is the same at "
        "any level, so that only what is taken out of the mixture counts. Mean over runs; in dB."
    )
    return Section("Separated, or only quieter?", (said,), (Table(head, tuple(rows)),), short="Separated?")


def verdict(gain: float, invariant: float) -> str:
    """What gains over the mixture say of an estimate.

    >>> verdict(6.0, 0.0), verdict(6.0, 4.0), verdict(-1.0, 2.0), verdict(0.0, -3.0)
    ('only quieter', 'separated', 'separated, at a wrong level', 'not separated')
    """
    if math.isnan(gain) or math.isnan(invariant):
        return ""
    if invariant < LEAST:
        return "only quieter" if gain >= LEAST else "not separated"
    return "separated" if gain >= LEAST else "separated, at a wrong level"
