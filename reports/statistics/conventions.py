"""One way to score, of several of one kind."""

from collections.abc import Mapping
from dataclasses import dataclass

from reports.text import Style


@dataclass(frozen=True)
class Convention:
    """One way to score, of several of one kind.

    Attributes:
        over: "mean" or "median": how tracks became a score of a run.
        differences: variant -> difference to its reference, in the metric's unit.
    """

    style: Style
    over: str
    differences: Mapping[str, float]

    @property
    def name(self) -> str:
        """For print."""
        return f"{self.style.label} ({self.over} over tracks)"

    def sign(self, variant: str) -> int:
        """1 where the variant is better than its reference, -1 where it is worse, else 0."""
        value = self.differences.get(variant, 0.0) * (1 if self.style.higher_is_better else -1)
        return (value > 0) - (value < 0)
