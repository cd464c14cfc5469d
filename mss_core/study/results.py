"""From a plan and the store to the files a report reads; docs/formats.md says what is in them."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pyarrow.parquet import ParquetFile

from mss_core import disk
from mss_core.artefact import (
    COLUMNS,
    read_examples,
    read_groups,
    read_json,
    read_last_scores,
    read_notes,
    read_score_rows,
)
from mss_core.graph import HISTORY, Stage, digest, plain, read_history, walk
from mss_core.recipe import flatten
from mss_core.store import Store
from mss_core.study.facts import called
from mss_core.study.plan import Plan
from mss_core.study.search import phase
from mss_core.study.search.declare import Arm
from mss_core.study.study import Study, Trial
from reports import contract
from reports.contract.tables import guarded, guarded_table


def collect(
    study: Study,
    title: str,
    plan: Plan,
    store: Store,
    declaration: contract.Declaration,
    smoke: bool,
    errors: Mapping[str, str],
    command: str,
    surroundings: Mapping[str, Any],
    guard: Callable[[], None] = lambda: None,
    replaced: Mapping[str, str] = MappingProxyType({}),
    ahead: contract.Ahead | None = None,
) -> Path:
    """Write scores.csv, predictions.parquet, curves.csv and study.json; returns their directory.

    They are made of verified files alone: a stage whose artefact was damaged meanwhile has failed. ``guard`` is called
    before each is written; it raises where this process is the study's driver no more. ``replaced`` are the
    trials that failed and that others stand for, by the key of their last stage; ``ahead`` what ran and was not needed.
    """
    folder = store.root / "studies" / title
    disk.make_folder(folder)
    examined = {stage.key: store.examine(stage) for stage in store.among(plan.stages.values())}
    errors = {**errors, **{key: f"its artefact is damaged: {harm}" for key, (_, harm) in examined.items() if harm}}
    manifests = {key: examined[key][0] if key in examined else None for key in plan.stages}
    finished = [t for t in plan.trials if manifests[t.root.key] is not None and t.root.key not in replaced]

    def having(name: str) -> dict[str, Stage]:
        """The stages that have left a file of that name."""
        files = {key: manifest["files"] for key, manifest in manifests.items() if manifest is not None}
        return {key: stage for key, stage in plan.stages.items() if name in files.get(key, ())}

    groups = {key: read_groups(store.directory(stage)) for key, stage in having("groups.json").items()}
    factors = [factor.name for factor in study.factors]
    guard()
    _write_table(folder / "scores.csv", _scores(title, finished, store, groups, factors))
    predictions = _predictions(finished, store, having("predictions.parquet"), groups)
    guard()
    if predictions is None:
        disk.remove(folder / "predictions.parquet")
    else:
        disk.write_atomically(folder / "predictions.parquet", predictions.to_parquet(index=False))
    guard()
    _write_table(folder / "curves.csv", _curves(having(HISTORY).values(), store))
    declared = contract.to_json(declaration)
    described = contract.Study(
        title=title,
        name=study.name,
        question=study.question,
        smoke=smoke,
        rehearsal=study.rehearsal,
        declared=digest(declared),
        declaration=declaration,
        variants=tuple(
            contract.Variant(v.name, v.levels, v.departures, flatten(_first(plan.trials, v.name).recipe))
            for v in study.variants()
        ),
        controls=tuple(
            contract.Variant(v.name, v.levels, v.departures, flatten(_first(plan.trials, v.name).recipe))
            for v in study.control_variants()
        ),
        trials=tuple(_trial(trial, manifests, errors, command, replaced) for trial in plan.trials),
        stages={key: _stage(stage, manifests[key], store, errors.get(key)) for key, stage in plan.stages.items()},
        notes=contract.from_json(tuple[contract.Note, ...], _notes(having("notes.json").values(), store), "notes"),
        examples=contract.from_json(
            tuple[contract.Example, ...], _examples(finished, store, having("examples.json")), "examples"
        ),
        environment={**surroundings, **_hardware(manifests)},
        ahead=ahead,
    )
    guard()
    disk.write_atomically(folder / "study.json", json.dumps(plain(contract.to_json(described)), indent=1).encode())
    return folder


def _write_table(path: Path, table: pd.DataFrame) -> None:
    disk.write_atomically(path, guarded_table(table).to_csv(index=False, float_format="%.17g").encode())


def _scores(
    title: str, trials: Sequence[Trial], store: Store, groups: Mapping[str, Mapping[str, str]], factors: Sequence[str]
) -> pd.DataFrame:
    if not trials:
        return pd.DataFrame(
            columns=["study", "trial", "variant", *factors, "seed", "track", "target", "metric", "aggregation", "score"]
        )
    labels = [
        {
            "study": title,
            "trial": trial.name,
            "variant": trial.variant.name,
            **{factor: trial.variant.levels[factor] for factor in factors},
            "seed": trial.seed,
        }
        for trial in trials
    ]
    table, lengths = _stacked_scores([store.directory(trial.root) for trial in trials])
    return _labelled(_grouped(table, lengths, "track", trials, groups), lengths, labels)


def _stacked_scores(directories: Sequence[Path]) -> tuple[pd.DataFrame, list[int]]:
    """The scores of last stages as one table, and how many rows are of each."""
    read = [read_score_rows(directory) for directory in directories]
    if all(columns == COLUMNS for columns, _ in read):
        return pd.DataFrame([row for _, rows in read for row in rows], columns=COLUMNS), [len(rows) for _, rows in read]
    tables = [read_last_scores(directory) for directory in directories]
    return pd.concat(tables, ignore_index=True), [len(table) for table in tables]


def _grouped(
    table: pd.DataFrame,
    lengths: Sequence[int],
    item: str,
    trials: Sequence[Trial],
    groups: Mapping[str, Mapping[str, str]],
) -> pd.DataFrame:
    """The table with a column ``group``, the song or artist of each item, where a data set names any.

    Args:
        lengths: how many rows are of each trial.
        groups: of each item, by the stage that says so.
    """
    if not any(groups[key] for key in walk(trial.root for trial in trials) if key in groups):
        return table
    of_trial = [
        {name: group for key in walk([trial.root]) for name, group in groups.get(key, {}).items()} for trial in trials
    ]
    rows = zip(np.repeat(np.arange(len(trials)), lengths), table[item], strict=True)
    column = [of_trial[trial].get(name, "") for trial, name in rows]
    return table.assign(group=column)[[*table.columns[:1], "group", *table.columns[1:]]]


def _labelled(table: pd.DataFrame, lengths: Sequence[int], labels: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """The table with a front column for each label, of which there is one per so many rows."""
    front = {
        name: pd.Series([label[name] for label in labels]).repeat(lengths).reset_index(drop=True) for name in labels[0]
    }
    return pd.concat([pd.DataFrame(front), table], axis=1)


def _predictions(
    trials: Sequence[Trial], store: Store, having: Mapping[str, Stage], groups: Mapping[str, Mapping[str, str]]
) -> pd.DataFrame | None:
    """The predictions of the stages ``having`` some: of each trial those that were made last."""
    tables, labels, told = [], [], []
    for trial in trials:
        stages = [having[key] for key in walk([trial.root]) if key in having]
        if stages:
            with ParquetFile(store.directory(stages[-1]) / "predictions.parquet") as file:
                tables.append(file.read(use_threads=False))
            told.append(trial)
            labels.append({"trial": trial.name, "variant": trial.variant.name, "seed": trial.seed})
    if not tables:
        return None
    lengths = [len(table) for table in tables]
    if all(table.schema.equals(tables[0].schema, check_metadata=True) for table in tables):
        table = pa.concat_tables(tables).to_pandas()  # at once: pandas takes a millisecond to begin with a table
    else:
        table = pd.concat([table.to_pandas() for table in tables], ignore_index=True)
    return _labelled(_grouped(table.reset_index(drop=True), lengths, "item", told, groups), lengths, labels)


def _curves(stages: Iterable[Stage], store: Store) -> pd.DataFrame:
    rows = [
        (stage.label, stage.key, row["step"], metric, value)
        for stage in stages
        for row in read_history(store.directory(stage))
        for metric, value in row.items()
        if metric not in ("step", "total")
    ]
    return pd.DataFrame(rows, columns=["stage", "key", "step", "metric", "value"])


def _first(trials: Sequence[Trial], variant: str) -> Trial:
    return next(trial for trial in trials if trial.variant.name == variant)


def _trial(
    trial: Trial, manifests: Mapping[str, Any], errors: Mapping[str, str], command: str, replaced: Mapping[str, str]
) -> contract.Trial:
    stages = walk([trial.root])
    if trial.root.key in replaced:
        reason = replaced[trial.root.key]
        return contract.Trial(trial.name, trial.variant.name, trial.seed, "replaced", reason, named(stages), command)
    failed = [errors[key] for key in stages if key in errors]
    status = "done" if manifests[trial.root.key] else "failed" if failed else "missing"
    error = failed[0] if status == "failed" else ""
    return contract.Trial(trial.name, trial.variant.name, trial.seed, status, error, named(stages), command)


def named(stages: Mapping[str, Stage]) -> dict[str, str]:
    """Keys by stage label; several of one label are ``infer``, ``infer.2``, ``infer.3``, in the order of the graph."""
    count: Counter[str] = Counter()
    found = {}
    for key, stage in stages.items():
        count[stage.label] += 1
        found[stage.label if count[stage.label] == 1 else f"{stage.label}.{count[stage.label]}"] = key
    return found


def _stage(stage: Stage, manifest: Mapping[str, Any] | None, store: Store, error: str | None) -> contract.Stage:
    facts = manifest or {}
    made = facts.get("environment", {})
    return contract.Stage(
        name=stage.name,
        status="done" if manifest else "failed" if error else "missing",
        directory=f"{stage.name}/{stage.key}",
        **{name: facts[name] for name in ("seconds", "device", "device_name", "finished") if facts.get(name)},
        torch=str(made.get("torch", "")),
        kernels=str(made.get("kernels", "")),
        processes=int(made.get("processes", 0)),
        kept=_kept(stage, store) if manifest else None,
        cost=contract.from_json(contract.Cost, facts["cost"], "cost") if facts.get("cost") else None,
    )


def _kept(stage: Stage, store: Store) -> contract.Kept | None:
    """Which weights a training kept, of its best.json and history; None of any other stage."""
    chosen = [value.select for value in stage.arguments.values() if hasattr(value, "select")]
    folder = store.directory(stage)
    if not chosen or not (folder / "best.json").exists():
        return None
    best = read_json(folder, "best.json")
    if not {"epoch", "epochs", "steps"} <= best.keys():
        return None
    last = "last" in chosen
    look, looks = best["epochs"] if last else best["epoch"], best["epochs"]
    steps = [row["step"] for row in read_history(folder) if "train_loss" in row]
    step = best["steps"] if look == looks else steps[look - 1] if len(steps) == looks and look else 0
    by = "validation loss" if "loss" in best and not last else ""
    return contract.Kept(called(stage), step, best["steps"], look, looks, by)


def _notes(stages: Iterable[Stage], store: Store) -> list[dict[str, Any]]:
    told = [
        {**note, "data": stage.name.removeprefix("prepare_")}
        for stage in stages
        for note in read_notes(store.directory(stage))
    ]
    return list({digest(note): note for note in told}.values())  # what many stages say alike is told once


def _examples(trials: Sequence[Trial], store: Store, having: Mapping[str, Stage]) -> list[dict[str, Any]]:
    """Audio that stages left, once for each, and of the first seed where seeds differ."""
    found, seen = [], set()
    told: dict[tuple[str, str, str], int] = {}
    for trial in trials:
        for stage in walk([trial.root]).values():
            if stage.key in seen or stage.key not in having:
                continue
            seen.add(stage.key)
            for example in read_examples(store.directory(stage)):
                if told.setdefault((trial.variant.name, example["track"], example["target"]), trial.seed) != trial.seed:
                    continue
                here = store.directory(stage).relative_to(store.root) / example["folder"]
                found.append(
                    {
                        "track": example["track"],
                        "target": example["target"],
                        "variant": trial.variant.name,
                        "seed": trial.seed,
                        **{kind: str(here / f"{kind}.wav") for kind in ("mixture", "reference", "estimate")},
                    }
                )
    return found


def _hardware(manifests: Mapping[str, Mapping[str, Any] | None]) -> dict[str, Any]:
    present = [manifest for manifest in manifests.values() if manifest]
    names = {
        device: ", ".join(sorted({m.get("device_name", "") for m in present if m.get("device") == device}))
        for device in ("cpu", "cuda")
    }
    kernels = sorted({str(m["environment"]["kernels"]) for m in present if "kernels" in m.get("environment", {})})
    return {
        "cpu": names["cpu"],
        "gpu": names["cuda"],
        **({"kernels": ", ".join(kernels)} if kernels else {}),
        "hours": round(sum(manifest.get("seconds", 0) for manifest in present) / 3600, 4),
    }


def collect_search(folder: Path, study: Study, arms: Mapping[str, Arm], store: Store) -> None:
    """Write search.json and search.csv beside the study's tables."""
    out = io.StringIO()
    writer = None
    for variant, arm in arms.items():
        with open(store.directory(arm.stage) / "history.csv", newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if writer is None:
                    writer = csv.DictWriter(out, ["variant", *row], lineterminator="\n")
                    writer.writeheader()
                writer.writerow({"variant": guarded(variant), **row})
    disk.write_atomically(folder / "search.csv", out.getvalue().encode())
    found = phase.winners(arms, store)
    searches = [
        {
            "variant": variant,
            "key": arm.stage.key,
            "trained": arm.trained,
            "directory": str(store.directory(arm.stage).relative_to(store.root)),
            "points": list(arm.points),
            "given": _given(arm),
            **found[variant],
        }
        for variant, arm in arms.items()
    ]
    described = {"declared": dict(study.searched), "searches": searches}
    disk.write_atomically(folder / "search.json", json.dumps(plain(described), indent=1).encode())


def _given(arm: Arm) -> dict[str, Any]:
    """The recipe's own values of what was searched."""
    own = flatten(arm.recipe)
    return {path: own[path] for path in arm.stage.arguments["space"] if path in own}
