"""Seeds until the study knows, as a value that stands where a study's seeds do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload


@dataclass(frozen=True)
class Until(Sequence[int]):
    """As many seeds as it takes: after each look more seeds are trained only of what is not decided.

    A contrast is decided when it is significant, equivalent within the study's ``margin``, or out of reach of the
    largest look. The reference goes on while any of its variants does. docs/sequential.md explains it.

    As a sequence it holds the most seeds that a variant may take.

    Attributes:
        looks: seeds per variant at each look, rising.
        spending: how the error is spent over the looks: ``"pocock"``, ``"obf"`` or ``"e"`` (an e-process).
        first: the seeds to begin with; default 0, 1, 2 and so on.
    """

    looks: tuple[int, ...] = (3, 4, 6, 8, 12)
    spending: str = "pocock"
    first: tuple[int, ...] = ()

    @property
    def seeds(self) -> list[int]:
        """All of them, in the order they are taken."""
        return extended(self.first or (0,), max(self.looks, default=0))

    def __len__(self) -> int:
        return max(self.looks, default=0)

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> list[int]: ...

    def __getitem__(self, index: int | slice) -> int | list[int]:
        return self.seeds[index]


def extended(first: Sequence[int], count: int) -> list[int]:
    """So many seeds: the first ones of those given, then higher ones.

    >>> extended((0, 1, 7), 5), extended((0, 1, 7), 2)
    ([0, 1, 7, 8, 9], [0, 1])
    """
    kept = list(first)[:count]
    return kept + [max(kept) + 1 + extra for extra in range(count - len(kept))]
