"""What a sequential design ends with: studies of normal runs, simulated through the decisions of every look."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from reports.statistics.power import Spread
from reports.statistics.sequential import (
    GOING,
    SEED,
    SIGNIFICANT,
    Boundary,
    Standing,
    boundary,
    decide,
    errors_of,
    z_of,
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
    seed: int = SEED,
    test: str = "half_pooled",
    spread: Spread | None = None,
    items: int = 0,
) -> Outcome:
    """Studies with these true differences, one per variant, in standard deviations of a run, as is `margin`.

    Args:
        spread: in the same unit, of scores of so many `items`; default: one score per run.
    """
    rng, shape = np.random.default_rng(seed), (studies, len(effects) + 1, bounds.looks[-1])
    if spread is None:
        scores = rng.normal(size=(*shape, 1))
    else:
        scores = spread.run * rng.normal(size=(*shape, 1)) + spread.residual * rng.normal(size=(*shape, items))
        scores += spread.cell * rng.normal(size=(*shape[:2], 1, items))
    scores[:, :-1] += np.reshape(effects, (-1, 1, 1))
    return through(bounds, scores, margin, test)


def through(bounds: Boundary, scores: np.ndarray, margin: float | None, test: str = "half_pooled") -> Outcome:
    """Studies through `decide` at every look, with the half-pooled test (over seeds x items where there are items) or
    the pooled one.

    Shape:
        scores: (study, arm, seed, item), the reference last; one item for scores without items.
    """
    studies, arms, _, deep = scores.shape
    runs, decision = np.zeros((studies, arms - 1)), np.full((studies, arms - 1), GOING, dtype="<U16")
    others, kept = np.zeros(studies), [np.zeros((studies, arms, deep)), *(np.zeros((studies, arms)) for _ in "ab")]
    for look, seeds in enumerate(bounds.looks):
        going = decision == GOING
        if not going.any():
            break
        some = np.append(going, np.ones((studies, 1), bool), axis=1)
        new = _mean_squares(scores[:, :, :seeds])
        kept = [np.where(some.reshape(some.shape + (1,) * (b.ndim - 2)), a, b) for a, b in zip(new, kept, strict=True)]
        item, run, residual = kept
        runs, others = np.where(going, seeds, runs), np.where(going.any(axis=1), seeds, others)
        apart = item[:, :-1] - item[:, -1:]
        spread = apart.var(axis=-1, ddof=1) if deep > 1 else np.zeros(runs.shape)
        found = errors_of(test, runs, float(seeds), run, residual, spread, deep if deep > 1 else 0)
        others_now = np.full(runs.shape, float(seeds))
        now = Standing(apart.mean(axis=-1), found.se, found.df, runs, others_now, found.lasting)
        decision = np.where(going, decide(bounds, look, now, margin), decision)
    return Outcome(decision, runs, others)


def _mean_squares(scores: np.ndarray) -> list[np.ndarray]:
    """Means per item, variances between run means, and run-by-item mean squares of all arms."""
    item, means = scores.mean(axis=2), scores.mean(axis=3)
    run = means.var(axis=2, ddof=1)
    if item.shape[-1] == 1:
        return [item, run, np.zeros_like(run)]
    left = scores - means[..., None] - item[:, :, None] + item.mean(axis=-1)[..., None, None]
    return [item, run, (left**2).sum(axis=(2, 3)) / ((means.shape[2] - 1) * (item.shape[-1] - 1))]


STUDIES = 400
SMALLEST_STEP = 0.25
DEEP = 40
"""Items of a simulated study; more ones are stood for by so many that leave the same variance."""


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
    blocks: Sequence[int],
    looks: tuple[int, ...],
    level: float,
    spending: str,
    margin: float | None,
    test: str = "",
    spread: Spread | None = None,
    items: int = 0,
) -> tuple[list[Expected], float, float]:
    """What a study takes at effects of 0, 1, 2 and 3 standard deviations of a run, the smallest effect, in steps of
    a quarter, that it finds with 80 % power, and the smallest that any number of seeds would.

    Simulated with the pooled test where that is declared, else with the half-pooled one.

    Args:
        blocks: how many variants each reference is compared with.
        level: of one contrast, over all looks.
        margin: in standard deviations of a run mean over the items.
        spread: of scores of so many `items`, in any unit; default: one score per run.
    """
    if items < 2 or spread is None or test in ("half_pooled", "pooled", "welch", "student", "paired"):
        drawn, deep, floor = None, 0, 0.0
    else:
        unit, deep = math.hypot(spread.run, spread.residual / math.sqrt(items)), min(items, DEEP)
        less = math.sqrt(deep / items) / unit
        drawn = Spread(spread.run / unit, spread.cell * less, spread.residual * less)
        floor = spread.cell / unit * math.sqrt(2 / items)
    test = test if test == "pooled" else "half_pooled"

    def at(effect: float) -> Expected:
        parts = [
            simulate(
                boundary(many, looks, level, spending, test),
                [effect] * many,
                margin,
                STUDIES,
                test=test,
                spread=drawn,
                items=deep,
            )
            for many in blocks
        ]
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
    bounds, last = boundary(max(blocks), looks, level, spending, test), float(looks[-1])
    final = float(z_of(bounds.level(len(looks) - 1, 2 * last - 2, last, last)))
    return rows, least, floor * (final + float(scipy_stats.norm.ppf(0.8)))
