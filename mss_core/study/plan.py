"""What a study would run: its trials, their distinct stages, and which of those the store already has."""

from __future__ import annotations

import dataclasses
import functools
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from mss_core.graph import Stage, walk
from mss_core.store import Store
from mss_core.study.facts import reported
from mss_core.study.study import Trial


@dataclasses.dataclass
class Plan:
    """The stages of a study.

    Attributes:
        trials: every variant with every seed.
        stages: distinct stages, inputs before what reads them.
        done: keys the store holds, verified.
        needed: keys to execute, in that order.
        damaged: keys whose artefact cannot be used, with the reason; whoever makes it anew sets it aside.
    """

    trials: Sequence[Trial]
    stages: dict[str, Stage]
    done: set[str]
    needed: list[str]
    damaged: dict[str, str]

    def summary(self) -> str:
        """Trials, stages, and how many of these the store has."""
        return (
            f"{len(self.trials)} trials, {len(self.calls)} stage calls, {len(self.stages)} distinct: "
            f"{len(self.done)} in the store, {len(self.needed)} to run"
        )

    @functools.cached_property
    def calls(self) -> list[str]:
        """The keys of each trial's stages, one trial after another."""
        return [key for trial in self.trials for key in walk([trial.root])]

    def scored(self) -> set[str]:
        """The names of the trials whose scores the store has."""
        return {trial.name for trial in self.trials if trial.root.key in self.done}

    def counts(self) -> dict[str, dict[str, int]]:
        """By stage name: calls over all trials, distinct stages, those in the store, those to execute."""
        calls = Counter(self.stages[key].name for key in self.calls)
        distinct = Counter(stage.name for stage in self.stages.values())
        done = Counter(self.stages[key].name for key in self.done)
        needed = Counter(self.stages[key].name for key in self.needed)
        return {
            name: {"calls": calls[name], "distinct": distinct[name], "done": done[name], "to_run": needed[name]}
            for name in distinct
        }


def make_plan(
    trials: Sequence[Trial], store: Store, settle: bool = True, verified: Collection[str] = frozenset()
) -> Plan:
    """Compare the trials' graph with the store.

    A stage is needed where it is missing and something needed reads it, or the study's tables do. A damaged artefact
    is computed again, even where nothing needed reads it: it would be taken for true otherwise. What is there is forced
    out, unless only a plan is wanted. Keys that were just ``verified`` are taken to be in the store without a look.
    """
    stages = walk(trial.root for trial in trials)
    done = {key for key in stages if key in verified}
    damaged: dict[str, str] = {}
    for stage in store.among([stage for key, stage in stages.items() if key not in done]):
        key = stage.key
        reason = store.damage(stage)
        if reason is not None:
            damaged[key] = reason
        else:
            done.add(key)
    wanted: set[str] = set()

    def want(stage: Stage) -> None:
        if stage.key in done or stage.key in wanted:
            return
        wanted.add(stage.key)
        for upstream in stage.inputs.values():
            want(upstream)

    for stage in reported((trial.root for trial in trials), stages):
        want(stage)
    for key in damaged:
        want(stages[key])
    if settle:
        store.settle(stages[key] for key in done)
    return Plan(trials, stages, done, [key for key in stages if key in wanted], damaged)


def descendants(stages: Mapping[str, Stage], keys: Sequence[str]) -> dict[str, int]:
    """How many of ``keys`` lie downstream of each: what holds up most is started first."""
    below: dict[str, set[str]] = {key: set() for key in keys}
    for key in reversed(keys):
        for upstream in stages[key].inputs.values():
            if upstream.key in below:
                below[upstream.key] |= below[key] | {key}
    return {key: len(found) for key, found in below.items()}
