"""Power of a two-arm comparison of runs, and the seeds a next study needs."""

import math

import numpy as np
from scipy import stats as scipy_stats

from reports.statistics.hypothesis_tests import noncentral_cdf


def power(difference: float, sd: float, runs: int, alpha: float, item_variance: float = 0.0) -> float:
    """Power of the two-sided two-sample t test with `runs` runs an arm.

    Args:
        difference: true difference, in the unit of `sd`.
        sd: standard deviation between runs of one variant.
        runs: runs an arm, at least 2.
        alpha: level after correction.
        item_variance: part of the squared standard error that more runs do not reduce
            (variant-by-item variance over the number of items).
    """
    from_runs = 2 * sd**2 / runs
    total = from_runs + item_variance
    df = 2 * (runs - 1) * (total / from_runs) ** 2 if from_runs > 0 else math.inf
    if total <= 0:
        return 1.0
    df = min(df, 1e6)
    limit = float(scipy_stats.t.ppf(1 - alpha / 2, df))
    shift = abs(difference) / math.sqrt(total)
    return 1.0 - noncentral_cdf(limit, df, shift) + noncentral_cdf(-limit, df, shift)


def detectable(sd: float, runs: int, alpha: float, item_variance: float = 0.0, wanted: float = 0.8) -> float:
    """The smallest difference found with `wanted` power; NaN without spread or with one run."""
    from scipy.optimize import brentq

    if runs < 2 or not sd > 0:
        return float("nan")
    scale = math.sqrt(2 * sd**2 / runs + item_variance)

    def short(multiple: float) -> float:
        return power(multiple * scale, sd, runs, alpha, item_variance) - wanted

    high = 4.0
    while short(high) < 0 and high < 1e4:
        high *= 2
    return float(brentq(short, 0.0, high, xtol=1e-6)) * scale


def runs_needed(
    difference: float, sd: float, alpha: float, item_variance: float = 0.0, wanted: float = 0.8, limit: int = 1_000
) -> int:
    """The fewest runs an arm that find `difference` with `wanted` power; 0 if not even `limit`
    do.
    """
    low, high = 2, limit
    if power(difference, sd, limit, alpha, item_variance) < wanted:
        return 0
    while low < high:
        middle = (low + high) // 2
        if power(difference, sd, middle, alpha, item_variance) >= wanted:
            high = middle
        else:
            low = middle + 1
    return low


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
