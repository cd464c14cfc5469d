"""How long the stages of a run will take: by what stages like them took, corrected by those that are done."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Iterable, Mapping, Sequence

from mss_core.graph import Stage
from mss_core.study.facts import trains

ALIKE = 0.05
"""A start is told apart from a pace where durations differ: by this share of their weighted squares."""
LONGEST_START = 5.0
"""Seconds that a process which imports torch takes on a busy machine."""


@dataclasses.dataclass(frozen=True)
class _Sums:
    """Sums over stages that are done: ``said`` was foretold of them, ``spent`` is what they took.

    A relative error counts the same for a long stage and for a short one: each has the weight ``1 / (1 + said) ** 2``.
    """

    count: int = 0
    said: float = 0.0
    spent: float = 0.0
    w: float = 0.0
    ws: float = 0.0
    wt: float = 0.0
    wss: float = 0.0
    wst: float = 0.0

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(*map(operator.add, dataclasses.astuple(self), dataclasses.astuple(other)))


def _of(said: float, spent: float) -> _Sums:
    """One stage that is done."""
    w = 1 / (1 + said) ** 2
    return _Sums(1, said, spent, w, w * said, w * spent, w * said * said, w * said * spent)


class Durations:
    """What is known of the stages of a run before and while it runs.

    A stage takes a start, and then what was foretold of it at a pace. The start is one for all. Stages that train have
    one pace and the others another, each where the store timed stages like them and where another machine did. Start
    and paces are the weighted least-squares ones. Stages of one name may differ twentyfold, so that their mean says
    little of one: what those of its name took beyond start and pace is added.

    Attributes:
        usual: by key, the seconds that stages like it took in the store.
        expected: by key, the seconds that it took on another machine.
    """

    def __init__(self, usual: Mapping[str, float] | None, expected: Mapping[str, float] | None) -> None:
        self.usual, self.expected = usual or {}, expected or {}
        self._groups: dict[tuple[bool, bool], _Sums] = {}
        self._named: dict[tuple[tuple[bool, bool], str], _Sums] = {}
        self._trains: dict[str, bool] = {}

    def ended(self, stage: Stage, spent: float) -> None:
        """Count a stage that is done."""
        said = self._said(stage)
        if said is not None:
            group = self._group(stage)
            name = (group, stage.name)
            self._groups[group] = self._groups.get(group, _Sums()) + _of(said, spent)
            self._named[name] = self._named.get(name, _Sums()) + _of(said, spent)

    def of(self, stage: Stage) -> float | None:
        """The seconds that a stage will take in all; None where nothing was foretold of it."""
        said = self._said(stage)
        if said is None:
            return None
        group = self._group(stage)
        start = _start([*self._groups.values()])
        # What was timed elsewhere says nothing of the pace of what was timed here.
        known = [sums for (here, _), sums in self._groups.items() if here == group[0]]
        pace = _pace([self._groups[group]] if group in self._groups else known, start)
        alike = self._named.get((group, stage.name), _Sums())
        beyond = (alike.spent - alike.count * start - pace * alike.said) / (alike.count + 1)
        return max(0.0, start + pace * said + beyond)

    def _said(self, stage: Stage) -> float | None:
        return self.usual.get(stage.key, self.expected.get(stage.key))

    def _group(self, stage: Stage) -> tuple[bool, bool]:
        if stage.key not in self._trains:
            self._trains[stage.key] = trains(stage)
        return stage.key in self.usual, self._trains[stage.key]


def _start(groups: Sequence[_Sums]) -> float:
    """What every stage takes beside its work, in seconds: by the stages of one pace, else as if all had one."""
    for alike in (groups, [sum(groups, _Sums())]):
        known = [each for each in alike if each.wss]
        under = sum(each.w - each.ws**2 / each.wss for each in known)
        if under > ALIKE * sum(each.w for each in known):
            over = sum(each.wt - each.ws * each.wst / each.wss for each in known)
            return min(LONGEST_START, max(0.0, over / under))
    return 0.0


def _pace(groups: Iterable[_Sums], start: float) -> float:
    """Seconds that a stage takes beyond the start for each that was foretold: 1 where none is done."""
    over = under = 0.0
    for each in groups:
        over += each.wst - start * each.ws
        under += each.wss
    return max(0.0, over / under) if under else 1.0
