"""What a trial trained, for a notebook: the module, and what it was made of."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mss_core.artefact import read_trained
from mss_core.errors import choose, nearest
from mss_core.folders import place
from mss_core.store import read_manifest
from mss_core.store.manifest import damaged_file
from mss_core.study.study import FRESH

WEIGHTS = "weights.pt"


@dataclass(frozen=True)
class Trained:
    """A trained module.

    Attributes:
        module: in evaluation mode, on the CPU.
        recipe: of the trial, dotted path -> value, with the trial's seed.
        study, trial: whose it is; ``trial`` is ``<variant>/seed<k>``.
        stage, key, folder: the stage that trained it, and where its artefact lies.
    """

    module: Any
    recipe: Mapping[str, Any]
    study: str
    trial: str
    stage: str
    key: str
    folder: Path


def load(
    study: str | Path, trial: str, stage: str = "", store: str | Path | None = None, module: Any = None
) -> Trained:
    """The module that a trial of a study trained, and its recipe: ``load("mine", "64/seed0").module(mixtures)``.

    Args:
        study: a title below ``<store>/studies/``, or the study's folder.
        trial: ``<variant>/seed<k>``, as scores.csv has it.
        stage: which training, where a trial has several (``"pretrain"``); by default the last.
        store: where results live; by default ``MSS_STORE``, or ``store``.
        module: a module of yours to load the weights into, where the stage left no model.json beside weights.pt.

    Raises:
        ValueError: there is no such study, trial or training, its artefact is missing or damaged, or there is neither
            model.json nor a module.
    """
    folder = _folder(study, place(str(store or os.environ.get("MSS_STORE") or "store")))
    told = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    trials = {each["trial"]: each for each in told["trials"]}
    choose(f"trial of study {told['title']!r}", trial, trials)
    root = folder.parent.parent
    trained = {
        label: (root / told["stages"][key]["stage"] / key)
        for label, key in trials[trial]["stages"].items()
        if (root / told["stages"][key]["stage"] / key / WEIGHTS).is_file()
    }
    if not trained:
        raise ValueError(f"{trial} of study {told['title']!r} has no training with a {WEIGHTS} in {root}")
    if stage and stage not in trained:
        raise ValueError(f"{trial} has no training {stage!r}; {nearest(stage, trained)}")
    label = stage or list(trained)[-1]
    place_ = trained[label]
    manifest = read_manifest(place_)
    harm = "it has no valid manifest" if manifest is None else damaged_file(place_, manifest, {})
    if harm:
        raise ValueError(f"{label} {place_.name[:12]} is damaged: {harm}")
    if module is None and not (place_ / "model.json").is_file():
        raise ValueError(
            f"{label} {place_.name[:12]} left no model.json (mss_core.artefact.write_trained does): give load() a "
            "module to load its weights into, as load(study, trial, module=Net())"
        )
    found = read_trained(place_, module)
    return Trained(found, _recipe(told, trials[trial]), told["title"], trial, label, place_.name, place_)


def _folder(study: str | Path, store: Path) -> Path:
    for candidate in (place(str(study)), store / "studies" / str(study)):
        if (candidate / "study.json").is_file():
            return candidate.absolute()
    known = sorted(path.parent.name for path in (store / "studies").glob("*/study.json"))
    raise ValueError(f"no study {str(study)!r} in {store / 'studies'}; {nearest(study, known)}")


def _recipe(told: Mapping[str, Any], trial: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe of a trial's variant with its seed; of a control that draws anew, with the seed it drew with."""
    variants = {each["variant"]: each for each in (*told["variants"], *told.get("controls", ()))}
    recipe = dict(variants[trial["variant"]]["recipe"])
    declared = told["declaration"]
    fresh = any(each["name"] == trial["variant"] and each.get("fresh") for each in declared.get("controls", ()))
    seed = trial["seed"] + (FRESH if fresh else 0)
    return recipe | {path: seed for path in declared["seeded"] if path in recipe}
