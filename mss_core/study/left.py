"""What a study asks of what its stages leave, before an artefact is committed; docs/your-own-study.md has the list.

The last stage of a trial must leave scores.csv. Notes, examples, predictions and groups are optional, and must be whole
where they are there. A stage whose files cannot be read fails, so nothing wrong is ever found in the store.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mss_core.artefact import COLUMNS
from mss_core.errors import nearest
from mss_core.graph import Stage
from mss_core.store import Store
from mss_core.study.designs import COLUMNS as TAKEN
from mss_core.study.plan import Plan
from mss_core.study.study import Study, Trial, scored
from reports import contract

LABELS = tuple(name for name in TAKEN if name not in COLUMNS)
"""Columns that a study itself puts before those of a stage."""
SOUNDS = ("mixture", "reference", "estimate")


@dataclass(frozen=True)
class Asked:
    """What the trials of a study are read for.

    Attributes:
        ends: keys of the last stages, which must leave scores.
        factors: names of columns that the study adds.
        metrics: primary metrics, of which every last stage must leave one; none where the stages' modules state their
            METRICS, which the declaration was checked against.
    """

    ends: frozenset[str] = frozenset()
    factors: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


def asked(study: Study, trials: Sequence[Trial]) -> Asked:
    """What is asked of the stages of a study's trials."""
    roots = [trial.root for trial in trials]
    metrics = () if scored(roots)[0] is not None else (study.metric, *study.metrics.values())
    return Asked(frozenset(root.key for root in roots), tuple(factor.name for factor in study.factors), metrics)


def check_found(asked: Asked, plan: Plan, store: Store) -> None:
    """Raise ValueError for a last stage in the store that cannot be read: an earlier release took it as it was."""
    for key in asked.ends & plan.done:
        stage = plan.stages[key]
        try:
            check(asked, stage, store.directory(stage))
        except ValueError as error:
            raise ValueError(
                f"{stage.name} {key[:12]} in the store: {error}. Where the stage is right by now, remove what it left: "
                f"mss store rm {key[:12]} --store {store.root}"
            ) from None


def check(asked: Asked, stage: Stage, folder: Path) -> None:
    """Raise ValueError for a file of an artefact that a study cannot read; it names the file and the column."""
    if stage.key in asked.ends:
        _scores(folder / "scores.csv", asked)
    for name, ask in (("notes.json", _notes), ("examples.json", _examples), ("groups.json", _groups)):
        if (folder / name).exists():
            try:
                ask(json.loads((folder / name).read_text(encoding="utf-8")), folder)
            except json.JSONDecodeError as error:
                raise ValueError(f"{name} is not JSON: {error}") from None
    if (folder / "predictions.parquet").exists():
        _predictions(folder / "predictions.parquet", asked)


def _scores(path: Path, asked: Asked) -> None:
    if not path.exists():
        raise ValueError("it has left no scores.csv, the table of its scores (mss_core.artefact.write_scores)")
    try:
        with path.open(encoding="utf-8", newline="") as file:  # every run looks at all that it finds: pandas takes long
            reader = csv.DictReader(file, restval="")
            rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"scores.csv cannot be read as a table: {error}") from None
    _columns("scores.csv", list(reader.fieldnames or ()), ("metric", "score"), asked)
    if not rows:
        raise ValueError("scores.csv holds no row")
    seen: set[tuple[str, ...]] = set()
    for number, row in enumerate(rows, start=1):
        if None in row:
            raise ValueError(f"scores.csv cannot be read as a table: row {number} has more cells than the head")
        if row["score"] and not _is_number(row["score"]):
            raise ValueError(f"scores.csv: 'score' is {row['score']!r}, which is no number")
        if not row["metric"].strip():
            raise ValueError("scores.csv has a row whose 'metric' is empty")
        named = tuple(row.get(name, "") for name in ("track", "target", "metric"))
        if named in seen:
            cell = ", ".join(
                f"{name} {text!r}" for name, text in zip(("track", "target", "metric"), named, strict=True)
            )
            raise ValueError(
                f"scores.csv has two scores for {cell}: tell them apart by the columns 'track' and 'target', and leave "
                "out a seed or variant, which the study adds"
            )
        seen.add(named)
    found = {row["metric"] for row in rows}
    if asked.metrics and not found & {*asked.metrics}:
        metric = asked.metrics[0]
        raise ValueError(f"scores.csv has no metric {metric!r}, which the study reports; {nearest(metric, found)}")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _columns(name: str, columns: list[str], needed: tuple[str, ...], asked: Asked) -> None:
    for column in needed:
        if column not in columns:
            raise ValueError(f"{name} has no column {column!r}; {nearest(column, columns)}")
    for place, column in enumerate(columns):
        if column in columns[:place]:
            raise ValueError(f"{name} has two columns {column!r}")
        if column in (*LABELS, *asked.factors):
            raise ValueError(f"{name} has a column {column!r}, which the study itself adds: leave it out")


def _notes(content: Any, folder: Path) -> None:
    notes = contract.from_json(tuple[contract.Note, ...], content, "notes.json")
    if any(not note.text or not note.kind for note in notes):
        raise ValueError("notes.json has a note without 'kind' or 'text' (mss_core.artefact.note makes one)")


def _examples(content: Any, folder: Path) -> None:
    if not isinstance(content, list) or not all(isinstance(example, dict) for example in content):
        raise ValueError("examples.json must hold a list of objects")
    for example in content:
        for name in ("track", "target", "folder"):
            if not isinstance(example.get(name), str):
                raise ValueError(f"examples.json has an example whose {name!r} is {example.get(name)!r}, not a text")
        for sound in SOUNDS:
            if not (folder / example["folder"] / f"{sound}.wav").exists():
                raise ValueError(f"examples.json names the folder {example['folder']!r}, which has no {sound}.wav")


def _groups(content: Any, folder: Path) -> None:
    if not isinstance(content, dict) or not all(isinstance(group, str) for group in content.values()):
        raise ValueError("groups.json must hold an object that names a group, a text, for each item")


def _predictions(path: Path, asked: Asked) -> None:
    import pandas as pd  # slow to import, and every process of a study imports this module

    try:
        table = pd.read_parquet(path)
    except (ValueError, OSError) as error:
        raise ValueError(f"predictions.parquet cannot be read: {error}") from None
    _columns("predictions.parquet", list(table.columns), ("item", "target", "truth", "score"), asked)
    if not table["truth"].isin([0, 1]).all():
        wrong = table["truth"][~table["truth"].isin([0, 1])].iloc[0]
        raise ValueError(f"predictions.parquet: 'truth' is {wrong}; it must be 0 or 1")
    wrong_scores = table["score"][pd.to_numeric(table["score"], errors="coerce").isna()]
    if not wrong_scores.empty:
        raise ValueError(f"predictions.parquet: 'score' is {wrong_scores.iloc[0]!r}, which is no number")
    twice = table.duplicated(["item", "target"])
    if twice.any():
        row = table[twice].iloc[0]
        raise ValueError(f"predictions.parquet has two rows for item {row['item']!r}, target {row['target']!r}")
