"""Carrying searches out: which training is next, how one is made and watched, what its outcome means.

A :class:`Conductor` hands out jobs and takes their outcomes; whoever executes them (this process, or Ray's workers)
needs to know nothing else. All it remembers is in the storage, so a new one goes on where a killed one was.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from mss_core.claim import ClaimLost
from mss_core.graph import Clock, Context, Stage, read_history
from mss_core.seal import sealed
from mss_core.store import StageFailed, Store, materialize, run_stage
from mss_core.study.resources import processes_here
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


# ---- one training


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
    return {"state": state, "values": values, "message": message, **_spent(stages, store, metrics[0])}


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


def _spent(stages: Sequence[Stage], store: Store, metric: str) -> dict[str, Any]:
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


# ---- many


@dataclass
class _Underway:
    """One search: its suggestions, the jobs that are out, and how it stands."""

    index: int
    arm: Arm
    suggestions: optuna_storage.Suggestions
    adopted: list[int] = field(default_factory=list)
    trials_out: set[int] = field(default_factory=set)
    reruns_out: set[tuple[int, int]] = field(default_factory=set)
    error: str = ""
    over: bool = False


class Conductor:
    """Hands out the trainings of several searches so that each gets its budget and a cluster stays full.

    Args:
        arms: searches, no two with one key.
        store: where trainings and the searches' own artefacts are.
        where: storage of an arm's suggestions.
        say: progress, a line at a time.
    """

    def __init__(
        self,
        arms: Sequence[Arm],
        store: Store,
        where: Callable[[Arm], str],
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.arms, self.store, self.where, self.say = arms, store, where, say
        self.underway = [self._begin(index, arm) for index, arm in enumerate(arms)]

    def _begin(self, index: int, arm: Arm) -> _Underway:
        declared = arm.search
        suggestions = optuna_storage.Suggestions(
            self.where(arm),
            arm.stage.key,
            arm.space,
            declared.directions,
            declared.sampler,
            declared.seed,
            declared.concurrency > 1,
            arm.points,
        )
        left = [trial.number for trial in suggestions.trials() if trial.state == TrialState.RUNNING]
        return _Underway(index, arm, suggestions, adopted=left)

    @property
    def over(self) -> bool:
        """Whether every search has ended."""
        return self.ended(range(len(self.underway)))

    def errors(self) -> dict[str, str]:
        """Why a search gave up, by variant."""
        return {run.arm.variant: run.error for run in self.underway if run.error}

    def ended(self, arms: Collection[int]) -> bool:
        """Whether some of the searches, by index, have ended."""
        return all(self.underway[index].over or self.underway[index].error for index in arms)

    def room(self, index: int) -> int:
        """How many trainings of a search can be under way at a time from now on."""
        declared = self.arms[index].search
        left = max(declared.trials - len(self.underway[index].suggestions.trials()), 0)
        left += len(self.underway[index].adopted)
        return min(declared.concurrency, max(left, declared.top * declared.reruns, 1))

    def next(self, among: Collection[int] | None = None) -> Job | None:
        """The next training, of the search that is furthest behind; None where all have to wait, or are over.

        Args:
            among: indices of the searches that count, by default all.
        """
        asked = [run for run in self.underway if among is None or run.index in among]
        for run in sorted(asked, key=lambda run: (len(run.suggestions.trials()), run.index)):
            if run.over or run.error or len(run.trials_out) + len(run.reruns_out) >= run.arm.search.concurrency:
                continue
            job = self._next(run)
            if job is not None:
                return job
        return None

    def _next(self, run: _Underway) -> Job | None:
        trials = run.suggestions.trials()
        failed = sum(trial.state == TrialState.FAIL for trial in trials)
        if run.adopted:
            trial = trials[run.adopted.pop(0)]
        elif len(trials) - failed < run.arm.search.trials:
            trial = run.suggestions.draw()
        elif run.trials_out:
            return None
        else:
            return self._next_rerun(run)
        run.trials_out.add(trial.number)
        return Job(run.index, trial.number, _departures(trial), run.arm.search.seed, rerun=False)

    def _next_rerun(self, run: _Underway) -> Job | None:
        missing = [pair for pair in self._reruns(run) if pair not in run.reruns_out]
        if missing:
            number, seed = missing[0]
            run.reruns_out.add((number, seed))
            return Job(run.index, number, _departures(run.suggestions.trials()[number]), seed, rerun=True)
        run.over = not run.reruns_out
        return None

    def _reruns(self, run: _Underway) -> Iterator[tuple[int, int]]:
        """Trial and seed of what is still to be trained again; a crashed rerun is replaced by the next seed."""
        declared = run.arm.search
        trials = run.suggestions.trials()
        rows = [
            {"trial": trial.number, "rerun": None, "state": optuna_storage.ended(trial), "values": trial.values}
            for trial in trials
        ]
        known = run.suggestions.reruns()
        for number in optuna_storage.candidates(rows, declared.directions, declared.top) if declared.reruns else []:
            crashed = sum(facts["state"] == FAILED for (trial, _), facts in known.items() if trial == number)
            for seed in range(declared.seed + 1, declared.seed + 1 + declared.reruns + crashed):
                if (number, seed) not in known:
                    yield number, seed

    def done(self, job: Job, outcome: Mapping[str, Any]) -> None:
        """Take the outcome of a job: store it, and see whether its search goes on."""
        run = self.underway[job.arm]
        state = outcome["state"]
        if state == WRONG:
            run.error = outcome["message"]
            return
        if job.rerun:
            run.reruns_out.discard((job.number, job.seed))
            run.suggestions.note_rerun(job.number, job.seed, outcome)
        else:
            run.trials_out.discard(job.number)
            worst = [-math.inf if direction == "maximize" else math.inf for direction in run.arm.search.directions]
            ended, values = {
                COMPLETE: (TrialState.COMPLETE, outcome["values"]),
                PRUNED: (TrialState.PRUNED, None),
                DIVERGED: (TrialState.COMPLETE, worst),  # an answer about this point, and the worst there is
                FAILED: (TrialState.FAIL, None),
            }[state]
            run.suggestions.tell(job.number, ended, values)
        self._limit_crashes(run, outcome["message"])
        self.say(self._line(run, job, outcome))
        if not run.trials_out and not run.adopted and not run.error:
            self._next_is_known(run)

    def keep_facts(self) -> None:
        """Store what the trainings of all suggestions took, from their own records."""
        for run in self.underway:
            arm, metric = run.arm, run.arm.search.metrics[0]
            run.suggestions.note(
                {
                    trial.number: _spent(arm.stages(_departures(trial), arm.search.seed), self.store, metric)
                    for trial in run.suggestions.trials()
                }
            )

    def _next_is_known(self, run: _Underway) -> None:
        """Notice the end of a search as soon as its last outcome is in."""
        trials = run.suggestions.trials()
        failed = sum(trial.state == TrialState.FAIL for trial in trials)
        if len(trials) - failed >= run.arm.search.trials and not run.reruns_out and not any(self._reruns(run)):
            run.over = True

    def _limit_crashes(self, run: _Underway, message: str) -> None:
        trials = run.suggestions.trials()
        crashed = sum(trial.state == TrialState.FAIL for trial in trials)
        crashed += sum(facts["state"] == FAILED for facts in run.suggestions.reruns().values())
        allowed = max(3, run.arm.search.trials)
        if crashed > allowed:
            run.error = f"{crashed} trainings crashed, more than the {allowed} that are replaced; the last: {message}"

    def _line(self, run: _Underway, job: Job, outcome: Mapping[str, Any]) -> str:
        declared = run.arm.search
        trials = run.suggestions.trials()
        finished = sum(trial.state in (TrialState.COMPLETE, TrialState.PRUNED) for trial in trials)
        what = f"seed {job.seed} again" if job.rerun else outcome["state"]
        value = f" {declared.metrics[0]} {outcome['values'][0]:.4g}" if outcome["values"] else ""
        message = f": {outcome['message']}" if outcome["message"] else ""
        return (
            f"search {run.arm.variant} [{finished}/{declared.trials}] trial {job.number} {what}{value}, "
            f"{outcome['seconds']:.0f} s{message}"
        )


def _departures(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    return dict(trial.user_attrs["departures"])


def execute(conductor: Conductor, store: Store, ctx: Context) -> None:
    """Carry out all jobs in this process, one after another."""
    from mss_core import runtime

    runtime.prepare_process()
    while (job := conductor.next()) is not None:
        arm = conductor.arms[job.arm]
        here = dataclasses.replace(ctx, processes=processes_here(arm.stages({}, arm.search.seed)[0], ctx.device))
        conductor.done(job, perform(arm, job, store, here, conductor.where(arm)))


def encode(job: Job) -> str:
    """A job as text."""
    return json.dumps(dataclasses.asdict(job))
