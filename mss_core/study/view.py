"""What of a study is shown in MLflow, as plain values: made from a plan, or from the files a study left."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mss_core.graph import digest, plain, walk
from mss_core.recipe import flatten, values_at
from mss_core.store import read_manifest
from mss_core.study.origin import in_short
from mss_core.study.plan import Plan
from mss_core.study.study import Study


@dataclass(frozen=True)
class TrialView:
    """One trial.

    Attributes:
        name: ``<variant>/seed<k>``.
        stages: name of each stage by its key, inputs before what reads them; the last one holds the scores.
        levels: of its variant.
        values: dotted path -> what the trial's recipe holds there, of all paths that its variant or its search changes:
            what was used, after smoke size and ``--set``, and not what a level declares.
    """

    name: str
    seed: int
    stages: Mapping[str, str]
    levels: Mapping[str, str]
    values: Mapping[str, Any]

    @property
    def root(self) -> str:
        return list(self.stages)[-1]

    @property
    def key(self) -> str:
        """What a run is found again by: another recipe is another run."""
        return digest([self.name, self.root])

    def params(self) -> dict[str, str]:
        """Level of each factor, and each value as JSON."""
        return dict(self.levels) | {path: json.dumps(plain(value)) for path, value in self.values.items()}

    def labels(self) -> dict[str, str]:
        """What each stage's figures stand under: its name, numbered where a trial has several of one name."""
        total, seen = Counter(self.stages.values()), Counter[str]()
        labels = {}
        for key, name in self.stages.items():
            seen[name] += 1
            labels[key] = name if total[name] == 1 else f"{name} {seen[name]}"
        return labels


@dataclass(frozen=True)
class StudyView:
    """One study: its trials, and the columns that its table opens with."""

    title: str
    question: str
    commit: str
    factors: tuple[str, ...]
    metric: str
    higher_is_better: bool
    trials: tuple[TrialView, ...]


def of_plan(study: Study, title: str, plan: Plan, environment: Mapping[str, Any]) -> StudyView:
    """The view of a study about to run."""
    trials = tuple(
        TrialView(
            trial.name,
            trial.seed,
            {key: stage.name for key, stage in walk([trial.root]).items()},
            trial.variant.levels,
            values_at(flatten(trial.recipe), (*trial.variant.departures, *study.chosen.get(trial.variant.name, {}))),
        )
        for trial in plan.trials
    )
    return StudyView(
        title,
        study.question,
        in_short(environment),
        tuple(factor.name for factor in study.factors),
        study.metric,
        study.direction(),
        trials,
    )


def of_folder(folder: Path) -> StudyView:
    """The view of a study from its folder ``<store>/studies/<title>`` and the manifests of the store.

    Raises ValueError where the folder holds no readable study.json.
    """
    try:
        told = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise ValueError(f"{folder} holds no readable study.json ({error}): it is no study's folder") from None
    declared, variants = (
        told["declaration"],
        {variant["variant"]: variant for variant in (*told["variants"], *told.get("controls", ()))},
    )
    known = {key: facts["stage"] for key, facts in told["stages"].items()}
    root = folder.parent.parent
    trials = []
    for trial in told["trials"]:
        *_, last = trial["stages"].values()
        stages = _below(root, known.get(last, ""), last) or {key: name for name, key in trial["stages"].items()}
        variant = variants[trial["variant"]]
        changed = (*variant["departures"], *(declared.get("search") or {}).get("paths", ()))
        values = values_at(variant["recipe"], changed)
        trials.append(TrialView(trial["trial"], trial["seed"], stages, variant["levels"], values))
    return StudyView(
        told["title"],
        told["question"],
        in_short(told["environment"]),
        tuple(factor["name"] for factor in declared["factors"]),
        declared["metric"],
        declared["higher_is_better"],
        tuple(trials),
    )


def _below(root: Path, name: str, key: str) -> dict[str, str]:
    """Every stage of a committed artefact's graph, inputs first; empty where a manifest is missing."""
    found: dict[str, str] = {}

    def visit(name: str, key: str) -> bool:
        if key in found:
            return True
        content = read_manifest(root / name / key)
        if content is None or not all(visit(up["stage"], up["key"]) for up in content["inputs"].values()):
            return False
        found[key] = name
        return True

    return found if visit(name, key) else {}
