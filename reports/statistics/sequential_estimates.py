"""What a contrast that stopped at a look says: its difference without the luck of stopping, and what going on takes."""

import math
from collections.abc import Sequence
from functools import cache

import numpy as np
from scipy import optimize
from scipy import stats as scipy_stats

from reports.statistics.sequential import Boundary, z_of


def exits(
    bounds: Sequence[float], times: Sequence[float], drift: float = 0.0, last: float | None = None
) -> list[float]:
    """Probabilities to be above each bound for the first time, of Z(t) = B(t) / sqrt(t) that is stopped beyond +-bound.

    By the recursion of [Armitage, McPherson and Rowe 1969] on a grid.

    Args:
        bounds: positive, infinite for a look without one.
        drift: of the Brownian motion B.
        last: counted at the last look in place of its bound; may be negative.
    """
    grid, density, out, before = np.zeros(1), np.ones(1), [], 0.0
    for number, (bound, time) in enumerate(zip(bounds, times, strict=True)):
        sd = math.sqrt(time - before)
        limit = last if last is not None and number == len(bounds) - 1 else bound
        upper = scipy_stats.norm.sf((limit * math.sqrt(time) - grid - drift * (time - before)) / sd)
        out.append(float(density @ upper))
        edge = min(bound, 8.0 + abs(drift)) * math.sqrt(time)
        points, weights = _gauss()
        new = points * edge
        step = scipy_stats.norm.pdf((new[:, None] - grid - drift * (time - before)) / sd) / sd
        grid, density, before = new, (step @ density) * weights * edge, time
    return out


@cache
def _gauss() -> tuple[np.ndarray, np.ndarray]:
    points, weights = np.polynomial.legendre.leggauss(101)
    return points, weights


def median_unbiased(difference: float, p: float, bounds: Boundary, look: int, levels: Sequence[float]) -> float:
    """The effect under which an outcome as high as this one, or higher, has probability one half.

    A significant difference that was stopped at early is too large on average; outcomes are ordered by look, then by
    size [Emerson and Fleming 1990]. The t path is taken for that of a normal statistic with the same p.

    Args:
        levels: nominal levels of the looks up to this one.
    """
    if look == 0 or difference == 0 or not 0 < p < 1:
        return difference
    z = float(z_of(np.array(p)))
    times = np.array(bounds.looks[: look + 1]) / bounds.looks[look]
    limits = [float(z_of(np.array(level))) if level > 0 else math.inf for level in levels]
    root = optimize.brentq(lambda drift: sum(exits(limits, times.tolist(), drift, last=z)) - 0.5, -6, z + 6, xtol=1e-4)
    return difference * float(root) / z


def seeds_needed(p: float, level: float, runs: float, lasting: float = 0.0) -> float:
    """Seeds per arm for 80 % power if the true effect is the one seen, at the level of the last look; infinite where
    no number of them gives it.

    Args:
        lasting: share of the variance that seeds do not make smaller.
    """
    wanted = _wanted(p, level)
    return runs * (1 - lasting) / (wanted - lasting) if wanted > lasting else math.inf


def items_needed(p: float, level: float, runs: float, most: float, lasting: float, items: int) -> float:
    """Items that, with `most` seeds per arm, give that power; infinite where no number of them does."""
    left = _wanted(p, level) - (1 - lasting) * runs / most
    return items * lasting / left if left > 0 else math.inf


def _wanted(p: float, level: float) -> float:
    """What the variance of the difference must become for 80 % power, as a share of what it is."""
    return float((z_of(np.array(p)) / (z_of(np.array(level)) + scipy_stats.norm.ppf(0.8))) ** 2)
