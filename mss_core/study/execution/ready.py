"""Which stages can start now: those whose inputs are there, what holds up most first, what only may run last."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mss_core.graph import Stage


@dataclass(frozen=True)
class Later:
    """What may run where nothing else will.

    Attributes:
        stages: all that may run.
        keys: of those that only may; the board does not know them.
        request: what a stage asks for.
        there: resources of the nodes that are up.
    """

    stages: Mapping[str, Stage] = field(default_factory=dict)
    keys: Sequence[str] = ()
    request: Callable[[str], Mapping[str, float]] = lambda key: {}
    there: Callable[[], Mapping[str, float]] = dict


class Ready:
    """The stages of a run whose inputs are all there, in a heap; the others by how many inputs they lack.

    A decision costs the logarithm of how many are ready, whatever else is pending.
    """

    def __init__(
        self,
        stages: Mapping[str, Stage],
        needed: Sequence[str],
        below: Mapping[str, int],
        later: Collection[str] = frozenset(),
    ) -> None:
        """``later``: those of the needed ones that come after all others."""
        self._rank = {key: (key in later, -below[key], place) for place, key in enumerate(needed)}
        self._readers: dict[str, list[str]] = {key: [] for key in needed}
        self._lacks: dict[str, int] = {}
        for key in needed:
            inputs = {upstream.key for upstream in stages[key].inputs.values()} & self._rank.keys()
            self._lacks[key] = len(inputs)
            for upstream in inputs:
                self._readers[upstream].append(key)
        self._heap = [(self._rank[key], key) for key in needed if not self._lacks[key]]
        heapq.heapify(self._heap)

    def take(self, wanted: Callable[[str], bool], idle: Callable[[str], bool] = lambda key: True) -> str | None:
        """The next stage to start, None where none is ready. Those that are not ``wanted`` any more are dropped; one of
        ``later`` is kept back until something is ``idle`` for it."""
        while self._heap:
            (later, *_), key = self._heap[0]
            if later and not idle(key):
                return None
            heapq.heappop(self._heap)
            if wanted(key):
                return key
        return None

    def finish(self, key: str) -> None:
        """A stage is in the store: what lacked nothing else is ready."""
        for reader in self._readers[key]:
            self._lacks[reader] -= 1
            if not self._lacks[reader]:
                heapq.heappush(self._heap, (self._rank[reader], reader))

    def again(self, key: str) -> None:
        """A stage that was started must be started again, before all others."""
        heapq.heappush(self._heap, ((False, -len(self._rank) - 1, self._rank[key][-1]), key))


def held(
    stages: Mapping[str, Stage], unfinished: Sequence[str], request: Callable[[str], Mapping[str, float]]
) -> Mapping[str, float]:
    """The most resources that stages will take at once: a stage that waits for another takes that one's place.

    Args:
        unfinished: inputs before what reads them.
        request: what a stage asks for.
    """
    readers: dict[str, list[str]] = {key: [] for key in unfinished}
    first: list[str] = []
    for key in unfinished:
        above = next((up.key for up in stages[key].inputs.values() if up.key in readers), None)
        (first if above is None else readers[above]).append(key)
    most: dict[str, Mapping[str, float]] = {}
    for key in reversed(unfinished):
        own, after = request(key), together(most[reader] for reader in readers[key])
        most[key] = {name: max(own.get(name, 0.0), after.get(name, 0.0)) for name in {*own, *after}}
    return together(most[key] for key in first)


def together(amounts: Iterable[Mapping[str, float]]) -> Mapping[str, float]:
    """Sums by resource."""
    found: dict[str, float] = {}
    for each in amounts:
        for name, amount in each.items():
            found[name] = found.get(name, 0.0) + amount
    return found
