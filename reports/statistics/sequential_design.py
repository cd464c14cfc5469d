"""What a sequential design ends with: studies of normal runs, simulated through the decisions of every look."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics.half_pooled import errors
from reports.statistics.sequential import (
    GOING,
    SEED,
    SIGNIFICANT,
    Boundary,
    Standing,
    arms,
    boundary,
    decide,
    mean_squares,
)


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


STUDIES = 400
SMALLEST_STEP = 0.25


@dataclass(frozen=True)
class Expected:
    """What a sequential study takes where every variant has this true difference, in standard deviations of a run.

    Attributes:
        seeds: mean per variant; trials: mean of the study.
        power: share of contrasts that end as significant.
    """

    effect: float
    seeds: float
    trials: float
    power: float


def expected(
    blocks: Sequence[int], looks: tuple[int, ...], level: float, spending: str, margin: float | None
) -> tuple[list[Expected], float]:
    """What a study takes at effects of 0, 1, 2 and 3 standard deviations of a run, and the smallest effect, in steps of
    a quarter, that it finds with 80 % power; simulated on runs, with the half-pooled test.

    Args:
        blocks: how many variants each reference is compared with.
        level: of one contrast, over all looks.
        margin: in standard deviations of a run.
    """
    bounds = boundary(max(blocks), looks, level, spending, "half_pooled")

    def at(effect: float) -> Expected:
        parts = [simulate(bounds, [effect] * many, margin, STUDIES) for many in blocks]
        weights = np.array(blocks) / sum(blocks)
        return Expected(
            effect,
            float(weights @ [part.seeds for part in parts]),
            sum(part.trainings for part in parts),
            float(weights @ [part.share(SIGNIFICANT) for part in parts]),
        )

    rows = [at(float(effect)) for effect in range(4)]
    below = max((row.effect for row in rows if row.power < 0.8), default=0.0)
    least = below + SMALLEST_STEP
    while least < below + 1 and at(least).power < 0.8:
        least += SMALLEST_STEP
    return rows, least
