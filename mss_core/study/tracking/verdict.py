"""What the parent run of a study says of its result: the report's own words and table, contrasts, the declaration."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from mss_core.study.tracking.points import allowed

LONGEST = 4_800
"""Characters of a note: MLflow takes 5,000."""
DECLARED = ("metric", "target", "test", "correction", "alpha", "margin", "reference", "within", "seeds", "seeded")


@dataclass(frozen=True)
class Verdict:
    """The result of a study.

    Attributes:
        tags: `mlflow.note.content`, the report's first paragraphs and its main table as Markdown, and what was declared
            (not parameters, which MLflow keeps as they were first written).
        metrics: difference, interval and corrected p of each contrast of the primary metric, in the scores' unit.
    """

    tags: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)


def of_folder(folder: Path, question: str) -> Verdict:
    """The verdict as the report in a study's folder has it; an empty one where there is no whole report."""
    try:
        contrasts = json.loads((folder / "report.json").read_text(encoding="utf-8"))["contrasts"]
        page = (folder / "report.md").read_text(encoding="utf-8").splitlines()
        declared = json.loads((folder / "study.json").read_text(encoding="utf-8"))["declaration"]
    except (OSError, ValueError, KeyError):
        return Verdict()
    opening = [
        line for line in takewhile(lambda line: not line.startswith("- "), page[1:]) if line and line != question
    ]
    first = next((number for number, line in enumerate(page) if line.startswith("|")), len(page))
    table = list(takewhile(lambda line: line.startswith("|"), page[first:]))
    caption = next((line for line in reversed(page[:first]) if line), "")
    above = [caption] if not caption.startswith(("#", "- ")) else []
    note = "\n\n".join([question, *opening, *above, "\n".join(table)])
    if len(note) > LONGEST:
        note = note[:LONGEST].rpartition("\n")[0] + "\n\n(the rest is in report.md)"
    told = {name: _plain(declared[name]) for name in DECLARED if declared.get(name) not in (None, "", [], {})}
    tags = {"mlflow.note.content": note} | {f"declared {name}": text[:500] for name, text in told.items()}
    metrics: dict[str, float] = {}
    for contrast in contrasts:
        if (contrast["metric"], contrast["target"]) == (contrasts[0]["metric"], contrasts[0]["target"]):
            low, high = contrast["ci"] or (None, None)
            values = {
                "difference": contrast["difference"],
                "low": low,
                "high": high,
                "p corrected": contrast["p_corrected"],
            }
            metrics |= {
                allowed(f"{kind}/{contrast['variant']}"): float(value)
                for kind, value in values.items()
                if value is not None and math.isfinite(value)
            }
    return Verdict(tags, metrics)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
