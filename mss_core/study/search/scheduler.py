"""Carrying searches out: which training is next, and what its outcome means for its search.

A :class:`Conductor` hands out jobs and takes their outcomes; whoever executes them (this process, or Ray's workers)
needs to know nothing else. All it remembers is in the storage, so a new one goes on where a killed one was.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import optuna
from optuna.trial import TrialState

from mss_core.graph import Context
from mss_core.store import Store
from mss_core.study.resources import processes_here
from mss_core.study.search import optuna_storage
from mss_core.study.search.declare import Arm
from mss_core.study.search.trial import COMPLETE, DIVERGED, FAILED, PRUNED, WRONG, Job, perform, spent


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
                    trial.number: spent(arm.stages(_departures(trial), arm.search.seed), self.store, metric)
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
