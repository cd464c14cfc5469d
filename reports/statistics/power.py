"""Power of one contrast of a design, and what a next study needs."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats as scipy_stats

from reports.statistics import seed_paired
from reports.statistics.half_pooled import MeanSquares, errors, pooled_errors
from reports.statistics.hypothesis_tests import noncentral_cdf

OVER_ITEMS = ("crossed", "paired_crossed", "mixed", "bootstrap")
POOLED = ("crossed", "half_pooled", "pooled", "mixed", "bootstrap")
MOST = 1e4
"""Standard errors: a difference of more is not looked for."""


@dataclass(frozen=True)
class Spread:
    """Standard deviations of scores, alike in all arms, in the metric's unit.

    Attributes:
        run: between runs of one variant, over infinitely many items.
        cell: of variant x item, over infinitely many runs; zero without items.
        residual: of one run on one item; zero without items.
    """

    run: float
    cell: float = 0.0
    residual: float = 0.0


@dataclass(frozen=True)
class Design:
    """How many variants, runs and items a reference is compared over, and how.

    Attributes:
        runs: of each variant, at least two; reference_runs: of their reference.
        items: tracks that all runs are scored on; 0 where a run has one score.
        alpha: level of one contrast after the correction.
    """

    test: str
    runs: tuple[int, ...]
    reference_runs: int
    items: int
    alpha: float

    def with_runs(self, runs: int) -> "Design":
        """The design with so many runs in every arm."""
        return replace(self, runs=(runs,) * len(self.runs), reference_runs=runs)


def expected_errors(design: Design, spread: Spread) -> tuple[float, float]:
    """Standard error and degrees of freedom of a contrast at the expected mean squares.

    The variance between run means of an arm is run² + residual²/items; the variance over items of the difference of
    two arms is 2 cell² + residual² (1/n + 1/m).
    """
    paired = design.test == "paired_crossed"
    pooled = design.test in POOLED or (paired and len(design.runs) >= seed_paired.POOL)
    runs = np.array(design.runs if pooled else design.runs[:1], float)
    over_items = design.test in OVER_ITEMS and design.items > 0
    cells = max(design.items, 1)
    many = float(design.reference_runs)
    run = np.full(len(runs), spread.run**2 + spread.residual**2 / cells)
    residual = np.full(len(runs), spread.residual**2 if over_items else 0.0)
    items = np.full(len(runs), design.items if over_items else 0)
    item = 2 * spread.cell**2 + residual * (1 / runs + 1 / many) if over_items else np.zeros(len(runs))
    last = np.array([many])
    squares = MeanSquares(runs, run, residual, last, run[:1], residual[:1], items, item, np.maximum(items - 1, 0))
    if paired:  # of the differences, split as seed_paired.py does
        own = 1 - 1 / len(runs) if pooled else 0.0
        squares = replace(
            squares,
            run=own * run,
            residual=own * residual,
            reference_run=(2 - own) * run[:1],
            reference_residual=(2 - own) * residual[:1],
            run_df=(runs - 1) * (own or 1.0),
        )
    if design.test == "pooled":
        found = pooled_errors(squares)
    else:
        found = seed_paired.errors_of(squares) if paired else errors(squares)
    return float(found.se[0]), float(found.df[0])


def power(difference: float, se: float, df: float, alpha: float) -> float:
    """Power of the two-sided t test of a difference with standard error `se`.

    Args:
        alpha: level after correction.
    """
    if not se > 0:
        return 1.0
    df = min(df, 1e6)
    limit, shift = float(scipy_stats.t.ppf(1 - alpha / 2, df)), abs(difference) / se
    return 1.0 - noncentral_cdf(limit, df, shift) + noncentral_cdf(-limit, df, shift)


def detectable(se: float, df: float, alpha: float, wanted: float = 0.8) -> float:
    """The smallest difference found with `wanted` power; NaN without a standard error, and where none of at most MOST
    standard errors is found, as with a third of a degree of freedom."""
    from scipy.optimize import brentq

    if not (se > 0 and df > 0):
        return float("nan")

    def short(multiple: float) -> float:
        return power(multiple, 1.0, df, alpha) - wanted

    high = 4.0
    while short(high) < 0 and high < MOST:
        high *= 2
    if short(high) < 0:
        return float("nan")
    return float(brentq(short, 0.0, high, xtol=1e-6)) * se


def fewest(
    difference: float,
    errors_with: Callable[[int], tuple[float, float]],
    alpha: float,
    wanted: float = 0.8,
    limit: int = 1_000,
) -> int:
    """The fewest runs (or items), at least two, that find `difference` with `wanted` power; 0 if not even `limit` do.

    Args:
        errors_with: standard error and degrees of freedom with so many.
    """
    low, high = 2, limit
    if power(difference, *errors_with(limit), alpha) < wanted:
        return 0
    while low < high:
        middle = (low + high) // 2
        if power(difference, *errors_with(middle), alpha) >= wanted:
            high = middle
        else:
            low = middle + 1
    return low


def reference_runs(design: Design) -> int:
    """Runs of the reference with which a design of equal total cost has the least variance: √k times a variant's.

    The variance of a contrast is proportional to 1/n + 1/m, the cost to k n + m [Dunnett 1955].
    """
    each = sum(design.runs) + design.reference_runs
    k = len(design.runs)
    n = each / (k + math.sqrt(k))
    return max(design.reference_runs, round(math.sqrt(k) * n))


def nice_differences(detected: float) -> tuple[float, ...]:
    """Four round differences around a detectable one, for a table of seeds needed.

    >>> nice_differences(0.37)
    (0.1, 0.2, 0.5, 1.0)
    """
    if not detected > 0:
        return ()
    decade = 10.0 ** math.floor(math.log10(detected))
    steps = [m * decade * f for f in (0.1, 1.0, 10.0) for m in (1.0, 2.0, 5.0)]
    nearest = int(np.argmin([abs(math.log(step / detected)) for step in steps]))
    start = max(0, min(nearest - 2, len(steps) - 4))
    return tuple(float(f"{step:.1g}") for step in steps[start : start + 4])
