"""Which variants of a long rehearsal run: as few as call every stage in every way, and in every pair that meets.

A *call* is a stage function with its own arguments, whatever it reads. A trial covers its calls and their *meetings*:
that a function reads, as a certain argument, what a certain call has left. A variant whose calls and meetings are all
covered by others repeats what they do in another order, and shows the scores of one of them: it is lent its last stage.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from mss_core.graph import Stage, digest, module_of, walk

Thing = TypeVar("Thing", bound=Hashable)


def call(stage: Stage) -> tuple[str, str, str]:
    """A stage's function and its own arguments, each stage among them by its place alone."""

    def own(value: object) -> object:
        if isinstance(value, Stage):
            return "$stage"
        return [own(part) for part in value] if isinstance(value, tuple | list) else value

    arguments = {name: own(value) for name, value in stage.arguments.items()}
    return module_of(stage.function), stage.name, digest(arguments)


def covered(root: Stage) -> set[Hashable]:
    """The calls of a trial and their meetings."""
    stages = walk([root]).values()
    meetings = {(*call(s)[:2], name, call(read)) for s in stages for name, read in s.inputs.items()}
    return {call(stage) for stage in stages} | meetings


def fewest(sets: Mapping[str, set[Thing]], first: Sequence[str]) -> list[str]:
    """The ``first`` of some named sets, and after them as many more as it takes to hold every thing of all, by greedy
    choice: the one that adds most, the earlier of equals."""
    missing = set[Thing]().union(*sets.values()).difference(*(sets[name] for name in first))
    chosen = list(dict.fromkeys(first))
    while missing:
        best = max(sets, key=lambda name: len(sets[name] & missing))
        chosen.append(best)
        missing -= sets[best]
    return chosen


def lenders(
    roots: Mapping[str, Stage], references: Mapping[str, str], levels: Mapping[str, Mapping[str, str]]
) -> dict[str, str]:
    """By variant that need not run, the one whose scores it shows.

    All references run, and what would add its last stage alone. A lender is compared with the same reference and ends
    with the same call, and so has the same metrics and targets; of several it is the one with most levels in common,
    and not the reference where there is another. A variant without one runs.
    """
    chosen = fewest({name: covered(root) for name, root in roots.items()}, sorted(set(references.values())))
    there = walk(roots[name] for name in chosen)
    found = {}
    for name, root in roots.items():
        able = [n for n in chosen if references[n] == references[name] and call(roots[n]) == call(root)]
        if name in chosen or not able or all(read.key in there for read in root.inputs.values()):
            continue

        def likeness(other: str, name: str = name) -> tuple[bool, int]:
            return other != references[name], len(levels[name].items() & levels[other].items())

        found[name] = max(able, key=likeness)
    return found


def lent(trials: Sequence[Any], references: Mapping[str, str]) -> list[Any]:
    """The trials (``study.Trial``) of all variants, of which some have the last stage of another's with their seed."""
    by_name = {(trial.variant.name, trial.seed): trial for trial in trials}
    first: dict[str, Any] = {}
    for trial in trials:
        first.setdefault(trial.variant.name, trial)
    found = lenders(
        {name: trial.root for name, trial in first.items()},
        references,
        {name: trial.variant.levels for name, trial in first.items()},
    )

    def shown(trial: Any) -> Any:
        lender = found.get(trial.variant.name)
        return trial if lender is None else replace(trial, root=by_name[lender, trial.seed].root, shows=lender)

    return [shown(trial) for trial in trials]
