"""One training of a search: how it is made, how it is watched, and how it ended."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mss_core.claim import ClaimLost
from mss_core.graph import Clock, Context, Stage, read_history
from mss_core.seal import sealed
from mss_core.store import StageFailed, Store, materialize, run_stage
from mss_core.study.search import optuna_storage
from mss_core.study.search.declare import Arm, Asha

COMPLETE, PRUNED, DIVERGED, FAILED, WRONG = "complete", "pruned", "diverged", "failed", "wrong"


@dataclass(frozen=True)
class Job:
    """One training of one suggestion; plain data, so that it can be sent anywhere.

    Attributes:
        arm: index of the search.
        number: of the suggestion.
        departures: what it suggests.
        seed: of the training.
        rerun: whether it is trained again after the search.
    """

    arm: int
    number: int
    departures: dict[str, Any]
    seed: int
    rerun: bool


def encode(job: Job) -> str:
    """A job as text."""
    return json.dumps(dataclasses.asdict(job))


class Pruned(Exception):
    """Raised out of a stage's report to end its training; the store keeps its partial state."""


@dataclass(frozen=True)
class Watch:
    """Passes a training's reports on to the storage and ends it where the pruner says so; ``Context.listen``.

    Reads the stage's own history instead of single reports: a training that resumes, or was begun by another search,
    has epochs behind it that nobody heard of here.
    """

    where: str
    name: str
    number: int
    metric: str
    maximise: bool
    pruner: Asha
    store: Store
    stage: Stage

    def __call__(self, row: Mapping[str, Any]) -> None:
        study = optuna_storage.load(self.where, self.name)
        storage = optuna_storage.shared(self.where)
        identity = optuna_storage.identity(storage, self.name, self.number)
        trial = storage.get_trial(identity)
        values = [row[self.metric] for row in read_history(self.store.partial(self.stage)) if self.metric in row]
        for epoch, value in enumerate(values, start=1):
            if epoch not in trial.intermediate_values:
                storage.set_trial_intermediate_value(identity, epoch, value)
            name = f"rung {epoch}"
            if not self.pruner.is_rung(epoch, self.number):
                continue
            if name not in trial.system_attrs:
                arrived = [
                    other.system_attrs[name]["value"]
                    for other in study.get_trials(deepcopy=False)
                    if name in other.system_attrs
                    and self.pruner.bracket(other.number) == self.pruner.bracket(self.number)
                ]
                keep = self.pruner.keeps(value, [*arrived, value], self.maximise)
                storage.set_trial_system_attr(identity, name, {"value": value, "keep": keep})
            else:
                keep = trial.system_attrs[name]["keep"]
            if not keep:
                raise Pruned(name)


def perform(arm: Arm, job: Job, store: Store, ctx: Context, where: str) -> dict[str, Any]:
    """Train what a job asks for, with the test split sealed, and say how it ended.

    Returns ``state``, ``values`` (None unless complete), ``message``, ``epochs`` run, ``most`` it could have run, and
    ``seconds`` of training. Trainings that the store has are not repeated.
    """
    stages = arm.stages(job.departures, job.seed)
    metrics, pruner = arm.search.metrics, arm.search.pruner
    state, message = COMPLETE, ""
    values: list[float] | None = None
    with sealed("test"):
        try:
            for stage in stages:
                listen = None
                if pruner is not None and not job.rerun:
                    listen = Watch(
                        where,
                        arm.stage.key,
                        job.number,
                        metrics[0],
                        arm.search.directions[0] == "maximize",
                        pruner,
                        store,
                        stage,
                    )
                    if _given_up(where, arm.stage.key, job.number):
                        raise Pruned
                _train(stage, store, ctx, listen)
            values = values_of(stages, store, metrics)
        except Pruned:
            state = PRUNED
        except StageFailed as failure:
            message = f"{failure.message} (log: {failure.log})"
            if isinstance(failure.__cause__, Pruned):
                state, message = PRUNED, ""
                failure.log.unlink(missing_ok=True)
            else:
                state = DIVERGED if isinstance(failure.__cause__, FloatingPointError) else FAILED
        except ValueError as error:  # the search asks for what its trainings do not report
            state, message = WRONG, str(error)
    return {"state": state, "values": values, "message": message, **spent(stages, store, metrics[0])}


def crashed(message: str) -> dict[str, Any]:
    """The outcome of a training that nobody lived to tell."""
    return {"state": FAILED, "values": None, "message": message, "epochs": 0, "most": 0, "seconds": 0.0}


def _given_up(where: str, name: str, number: int) -> bool:
    """Whether a killed attempt had already been told to stop."""
    storage = optuna_storage.shared(where)
    optuna_storage.load(where, name)
    trial = storage.get_trial(optuna_storage.identity(storage, name, number))
    return any(
        attribute.startswith("rung ") and not decision["keep"] for attribute, decision in trial.system_attrs.items()
    )


def _train(stage: Stage, store: Store, ctx: Context, listen: Callable[[dict[str, Any]], None] | None) -> None:
    for attempt in range(2):
        try:
            for upstream in stage.inputs.values():
                materialize(upstream, store, dataclasses.replace(ctx, processes=1))
            if store.get(stage) is None:
                run_stage(stage, store, dataclasses.replace(ctx, listen=listen))
            return
        except ClaimLost:  # this process slept too long and another took over: wait for its result, or go on from it
            if attempt:
                raise


def values_of(stages: Sequence[Stage], store: Store, metrics: Sequence[str]) -> list[float]:
    """Each metric of finished trainings, mean over them, at the epoch whose weights were kept.

    Raises ValueError naming what is reported where a metric is not.
    """
    found = []
    for metric in metrics:
        each = []
        for stage in stages:
            folder = store.directory(stage)
            if metric == "parameters":
                each.append(float(_parameters(folder)))
                continue
            rows = read_history(folder)
            if not any(metric in row for row in rows):
                known = sorted({name for row in rows for name in row if name.startswith("valid_")})
                raise ValueError(
                    f"stage {stage.name!r} reports no {metric!r}; it reports "
                    f"{', '.join(known) or 'nothing of the validation split'}"
                )
            each.append(float(_kept(stage, [row for row in rows if metric in row])[metric]))
        found.append(sum(each) / len(each))
    return found


def _kept(stage: Stage, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The row of the epoch whose weights a training kept: of the lowest validation loss, or the last."""
    if getattr(stage.arguments.get("train"), "select", "best") == "last" or "valid_loss" not in rows[0]:
        return rows[-1]
    return min(rows, key=lambda row: row["valid_loss"])


def _parameters(folder: Path) -> int:
    import torch

    weights = torch.load(folder / "weights.pt", map_location="cpu", weights_only=True)
    return sum(value.numel() for value in weights.values())


def spent(stages: Sequence[Stage], store: Store, metric: str) -> dict[str, Any]:
    """Epochs and seconds of training so far, of finished stages and of the one that stopped."""
    epochs, most, seconds = 0, 0, 0.0
    for stage in stages:
        manifest = store.manifest(stage)
        left = store.partials(stage)
        folder = store.directory(stage) if manifest is not None or not left else left[0]
        rows = [row for row in read_history(folder) if metric in row or metric == "parameters"]
        if rows:
            epochs += len(rows)
            most += round(len(rows) * rows[-1]["total"] / rows[-1]["step"])
        if manifest is not None:
            seconds += manifest["seconds"]
        else:
            seconds += Clock(folder / ".work" / "seconds").before
    return {"epochs": epochs, "most": most, "seconds": round(seconds, 3)}
