"""Names and learning curves as MLflow takes them."""

from __future__ import annotations

import re
from typing import Any

from mlflow.entities import Metric

POINTS = 1000
"""At most this many points of a learning curve are shown."""


def allowed(name: str) -> str:
    """A name as MLflow takes it: letters, digits and ``_ - . : /`` and space; anything else becomes ``_``."""
    return re.sub(r"[^\w.\-: /]", "_", name)


def curve_points(stage: str, history: list[dict[str, Any]]) -> list[Metric]:
    """A stage's history as MLflow metrics ``<stage>/<name>``, each thinned evenly to at most 1,000 points."""
    names = dict.fromkeys(name for row in history for name in row if name not in ("step", "total"))
    points = []
    for name in names:
        rows = [(row["step"], row[name]) for row in history if name in row]
        keep = (
            range(len(rows))
            if len(rows) <= POINTS
            else {round(index * (len(rows) - 1) / (POINTS - 1)) for index in range(POINTS)}
        )
        points += [Metric(f"{stage}/{name}", float(rows[index][1]), 0, rows[index][0]) for index in sorted(keep)]
    return points
