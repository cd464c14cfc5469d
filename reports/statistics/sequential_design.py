"""What a sequential design ends with: studies of normal runs, simulated through the decisions of every look."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.half_pooled import errors
from reports.statistics.sequential import GOING, SEED, SIGNIFICANT, Boundary, Standing, arms, decide, mean_squares


@dataclass(frozen=True)
class Outcome:
    """What simulated studies of a sequential design end with.

    Shape:
        decision, runs: (study, variant); reference_runs: (study,).
    """

    decision: np.ndarray
    runs: np.ndarray
    reference_runs: np.ndarray

    def share(self, decision: str) -> float:
        """Of contrasts that end with this decision."""
        return float((self.decision == decision).mean())

    @property
    def error(self) -> float:
        """Share of studies in which some contrast is significant: the family-wise error where none has an effect."""
        return float((self.decision == SIGNIFICANT).any(axis=1).mean())

    @property
    def seeds(self) -> float:
        """Mean seeds per variant."""
        return float(self.runs.mean())

    @property
    def trainings(self) -> float:
        """Mean trainings per study, the reference's included."""
        return float((self.runs.sum(axis=1) + self.reference_runs).mean())


def simulate(
    bounds: Boundary,
    effects: Sequence[float],
    margin: float | None,
    studies: int,
    sd: Sequence[float] = (),
    seed: int = SEED,
) -> Outcome:
    """Studies with these true differences, in standard deviations of a run, through `decide` at every look.

    Args:
        effects: one per variant.
        margin: in the same unit.
        sd: of a run by arm, the reference last; default 1.
    """
    many = len(effects)
    scale = np.asarray(sd or [1.0] * (many + 1))
    path = arms(np.random.default_rng(seed), studies, many + 1, bounds.looks, scale)
    runs, decision = np.zeros((studies, many)), np.full((studies, many), GOING, dtype="<U16")
    centre, spread, others = np.zeros((studies, many)), np.zeros((studies, many)), np.zeros(studies)
    for look, (seeds, (mean, square)) in enumerate(zip(bounds.looks, path, strict=True)):
        going = decision == GOING
        if not going.any():
            break
        centre = np.where(going, mean[:, :-1] + effects, centre)
        spread, runs = np.where(going, square[:, :-1], spread), np.where(going, seeds, runs)
        others = np.where(going.any(axis=1), seeds, others)
        found = _grouped(runs, spread, seeds, square[:, -1:])
        now = Standing(centre - mean[:, -1:], *found, runs, np.full(runs.shape, float(seeds)))
        decision = np.where(going, decide(bounds, look, now, margin), decision)
    return Outcome(decision, runs, others)


def _grouped(runs: np.ndarray, spread: np.ndarray, seeds: int, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Standard errors and degrees of freedom, studies with the same numbers of runs at once."""
    se, df = np.zeros(runs.shape), np.zeros(runs.shape)
    patterns, where = np.unique(runs, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        rows = np.flatnonzero(where.ravel() == number)
        found = errors(mean_squares(pattern, spread[rows], np.array([float(seeds)]), reference[rows]))
        se[rows], df[rows] = found.se, found.df
    return se, df
