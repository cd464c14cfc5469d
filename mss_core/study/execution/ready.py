"""Which stages can start now: those whose inputs are there, what holds up most first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence

from mss_core.graph import Stage


class Ready:
    """The stages of a run whose inputs are all there, in a heap; the others by how many inputs they lack.

    A decision costs the logarithm of how many are ready, whatever else is pending.
    """

    def __init__(self, stages: Mapping[str, Stage], needed: Sequence[str], below: Mapping[str, int]) -> None:
        self._rank = {key: (-below[key], place) for place, key in enumerate(needed)}
        self._readers: dict[str, list[str]] = {key: [] for key in needed}
        self._lacks: dict[str, int] = {}
        for key in needed:
            inputs = {upstream.key for upstream in stages[key].inputs.values()} & self._rank.keys()
            self._lacks[key] = len(inputs)
            for upstream in inputs:
                self._readers[upstream].append(key)
        self._heap = [(self._rank[key], key) for key in needed if not self._lacks[key]]
        heapq.heapify(self._heap)

    def take(self, wanted: Callable[[str], bool]) -> str | None:
        """The next stage to start, None where none is ready. Those that are not ``wanted`` any more are dropped."""
        while self._heap:
            key = heapq.heappop(self._heap)[1]
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
        heapq.heappush(self._heap, ((-len(self._rank) - 1, self._rank[key][1]), key))
