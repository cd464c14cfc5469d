"""Many systems on the same tracks, one model each: Friedman's test, all pairs, critical differences of mean ranks."""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from reports.statistics.corrections import correct
from reports.statistics.hypothesis_tests import wilcoxon

FEWEST = 4
"""Systems from which on a report compares all of them with each other."""


@dataclass(frozen=True)
class Systems:
    """All systems on the items that every one of them has.

    Attributes:
        items: how many; unit: what they are, `track` or `group`.
        ranks: mean rank over items, 1 the best, in this order.
        means: mean score over items.
        statistic, p: Friedman's chi squared with one degree of freedom less than systems.
        critical: mean ranks that differ by less are not told apart by Nemenyi's test at alpha [Demsar 2006].
        pairs: p of Wilcoxon's signed-rank test of two systems, corrected over all pairs by Holm's method.
        cliques: systems side by side in rank of which no pair differs at alpha, largest groups alone.
    """

    items: int
    unit: str
    ranks: Mapping[str, float]
    means: Mapping[str, float]
    statistic: float
    p: float
    critical: float
    pairs: Mapping[tuple[str, str], float]
    cliques: tuple[tuple[str, ...], ...]

    def apart(self, a: str, b: str) -> float:
        """The corrected p of two systems in either order."""
        return self.pairs[(a, b) if (a, b) in self.pairs else (b, a)]


def compare(scores: Mapping[str, np.ndarray], higher_is_better: bool, alpha: float, unit: str) -> Systems | None:
    """The comparison of all; None with too few systems or items.

    Shape:
        scores: (item,) of each system, the same items.
    """
    table = np.array(list(scores.values()))
    if len(table) < FEWEST or table.shape[1] < 3 or not np.isfinite(table).all():
        return None
    ranked = scipy_stats.rankdata(-table if higher_is_better else table, axis=0).mean(axis=1)
    order = sorted(scores, key=lambda name: ranked[list(scores).index(name)])
    ranks = dict(zip(scores, map(float, ranked), strict=True))
    constant = (np.ptp(table, axis=0) == 0).all()
    friedman = (0.0, 1.0) if constant else scipy_stats.friedmanchisquare(*table)
    names = list(itertools.combinations(order, 2))
    p = [wilcoxon(dict(enumerate(scores[a])), dict(enumerate(scores[b])), alpha).p for a, b in names]
    pairs = dict(zip(names, correct(p, "holm"), strict=True))
    return Systems(
        table.shape[1],
        unit,
        {name: ranks[name] for name in order},
        {name: float(scores[name].mean()) for name in order},
        float(friedman[0]),
        float(friedman[1]),
        critical_difference(len(table), table.shape[1], alpha),
        pairs,
        _cliques(order, pairs, alpha),
    )


def critical_difference(systems: int, items: int, alpha: float) -> float:
    """q sqrt(k (k + 1) / 6 N), with q the studentised range over the square root of two [Nemenyi 1963].

    >>> round(critical_difference(5, 30, 0.05), 3)  # 2.728 sqrt(5 x 6 / 180)
    1.114
    """
    q = float(scipy_stats.studentized_range.ppf(1 - alpha, systems, np.inf)) / math.sqrt(2)
    return q * math.sqrt(systems * (systems + 1) / (6 * items))


def _cliques(order: list[str], pairs: Mapping[tuple[str, str], float], alpha: float) -> tuple[tuple[str, ...], ...]:
    found: list[range] = []
    for first in range(len(order)):
        last = first
        while last + 1 < len(order) and all(pairs[order[k], order[last + 1]] >= alpha for k in range(first, last + 1)):
            last += 1
        if last > first and not (found and found[-1].stop > last):
            found.append(range(first, last + 1))
    return tuple(tuple(order[k] for k in span) for span in found)
