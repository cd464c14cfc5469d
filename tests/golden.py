"""The keys of every stage of every study, as a table: ``python -m tests.golden`` writes tests/golden_keys.json anew."""

from __future__ import annotations

import functools
import json
import runpy
from pathlib import Path

from mss_core.graph import Stage, walk
from mss_core.study import Study

FOLDER = Path(__file__).resolve().parent
STUDIES = sorted(path.stem for path in (FOLDER.parent / "studies").glob("*.py") if path.stem != "__init__")
FILE = FOLDER / "golden_keys.json"
LENGTH = 12
"""Hexadecimal digits of each key that are kept."""


def study(name: str) -> Study:
    return runpy.run_path(str(FOLDER.parent / "studies" / f"{name}.py"))["study"]


@functools.cache
def stages(name: str, smoke: bool) -> dict[str, Stage]:
    """Every stage of a study's plan, before data sets are bound to their content."""
    planned = study(name).at_smoke_size() if smoke else study(name)
    return walk(trial.root for trial in planned.trials(planned.seeds, smoke, {}, bind=lambda recipe: recipe))


def keys(name: str, smoke: bool) -> dict[str, list[str]]:
    """``{stage name: sorted starts of the keys}`` of a study's plan."""
    table: dict[str, list[str]] = {}
    for stage in stages(name, smoke).values():
        table.setdefault(stage.name, []).append(stage.key[:LENGTH])
    return {stage: sorted(table[stage]) for stage in sorted(table)}


def all_keys() -> dict[str, dict[str, list[str]]]:
    return {f"{name} {size}": keys(name, size == "smoke") for name in STUDIES for size in ("full", "smoke")}


def _lines(table: dict[str, list[str]]) -> str:
    """One line per stage, so that a change of one stage's keys is one line of a diff."""
    return "{" + ",\n".join(f"{json.dumps(name)}: {json.dumps(found)}" for name, found in table.items()) + "}"


if __name__ == "__main__":
    studies = (f"{json.dumps(study)}: {_lines(table)}" for study, table in all_keys().items())
    FILE.write_text("{" + ",\n".join(studies) + "}\n", encoding="utf-8")
