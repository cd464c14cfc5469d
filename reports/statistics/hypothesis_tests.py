"""Tests on runs: each run (one training with one seed) gives one score, and runs are the replicates.

Every function compares two arms, `a` (the variant) and `b` (the reference), and returns a `Result` for a - b. A test
that its data do not allow comes back with NaN in place of p and says why in `note`; none raises for small samples.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np
from scipy import stats as scipy_stats
from scipy.special import ndtr, stdtr, stdtrit

from reports.contract.names import EXACT_RELABELLINGS

NAN = float("nan")
EXACT_PAIRS = 16


@dataclass(frozen=True)
class Result:
    """One test of one difference.

    Attributes:
        test: short name, as in a declaration.
        label: name to print.
        difference: a - b in the metric's own unit.
        low, high: confidence interval of the difference, NaN where the test gives none.
        se: standard error of the difference, NaN where the test has none.
        statistic: t, z, W or the like; NaN where there is none.
        df: degrees of freedom; NaN where there are none.
        p: two-sided, uncorrected.
        n: replicates in a and b.
        items: tracks, tags or clips used beside the replicates; 0 for none.
        note: what the reader must know; why the test was not possible.
        lasting: the part of se squared that more runs would not make smaller: that of the items.
    """

    test: str
    label: str
    difference: float
    low: float
    high: float
    se: float
    statistic: float
    df: float
    p: float
    n: tuple[int, int]
    items: int = 0
    note: str = ""
    lasting: float = 0.0


def not_possible(test: str, label: str, n: tuple[int, int], items: int, why: str, difference: float = NAN) -> Result:
    """A test that could not be made, with the reason as its note."""
    return Result(test, label, difference, NAN, NAN, NAN, NAN, NAN, NAN, n, items, why)


def from_se(
    test: str,
    label: str,
    difference: float,
    se: float,
    df: float,
    n: tuple[int, int],
    *,
    alpha: float,
    items: int = 0,
    note: str = "",
) -> Result:
    """The t test of a difference with a known standard error and degrees of freedom (infinite:
    z).
    """
    if not (se > 0 and df > 0):
        if se == 0 and difference == 0:
            note = note or "every score is the same in both arms: the difference is exactly zero"
            return Result(test, label, 0.0, 0.0, 0.0, 0.0, NAN, NAN, 1.0, n, items, note)
        note = note or "no spread between runs: the difference has no standard error and cannot be tested"
        return not_possible(test, label, n, items, note, difference)
    t = difference / se
    half = float(stdtrit(df, 1 - alpha / 2)) * se
    p = float(2 * stdtr(df, -abs(t)))
    return Result(test, label, difference, difference - half, difference + half, se, t, df, p, n, items, note)


def _too_few(test: str, label: str, a: Sequence[float], b: Sequence[float], why: str) -> Result:
    difference = float(np.mean(a) - np.mean(b)) if len(a) and len(b) else NAN
    return not_possible(test, label, (len(a), len(b)), 0, why, difference)


def variance(values: Sequence[float]) -> float:
    """Sample variance (n - 1), exactly zero for a constant sample whatever its rounding."""
    constant = np.ptp(values) <= 1e-13 * np.abs(values).max()
    return 0.0 if constant else float(np.var(values, ddof=1))


def welch(a: Sequence[float], b: Sequence[float], alpha: float = 0.05) -> Result:
    """Welch's t test: unequal variances, Satterthwaite degrees of freedom [Welch 1947]."""
    if min(len(a), len(b)) < 2:
        return _too_few("welch", "Welch t", a, b, "needs two runs in each arm")
    difference, se, df = welch_parts(a, b)
    return from_se("welch", "Welch t", difference, se, df, (len(a), len(b)), alpha=alpha)


def welch_parts(a: Sequence[float], b: Sequence[float]) -> tuple[float, float, float]:
    """Difference, standard error and Satterthwaite degrees of freedom (NaN without spread)."""
    parts = [(variance(arm) / len(arm), len(arm) - 1) for arm in (a, b)]
    squared = sum(part for part, _ in parts)
    df = squared**2 / sum(part**2 / dof for part, dof in parts) if squared > 0 else NAN
    return float(np.mean(a) - np.mean(b)), math.sqrt(squared), df


def student(a: Sequence[float], b: Sequence[float], alpha: float = 0.05) -> Result:
    """Student's t test: one variance for both arms."""
    if min(len(a), len(b)) < 2:
        return _too_few("student", "Student t", a, b, "needs two runs in each arm")
    df = len(a) + len(b) - 2
    pooled = ((len(a) - 1) * variance(a) + (len(b) - 1) * variance(b)) / df
    se = math.sqrt(pooled * (1 / len(a) + 1 / len(b)))
    difference = float(np.mean(a) - np.mean(b))
    return from_se("student", "Student t", difference, se, df, (len(a), len(b)), alpha=alpha)


def common(a: Mapping[int, float], b: Mapping[int, float]) -> tuple[list[float], list[float]]:
    """The scores of both arms on the seeds that both have."""
    seeds = sorted(set(a) & set(b))
    return [a[seed] for seed in seeds], [b[seed] for seed in seeds]


def paired(a: Mapping[int, float], b: Mapping[int, float], alpha: float = 0.05) -> Result:
    """Paired t on common seeds: valid also when equal seeds give correlated runs."""
    x, y = common(a, b)
    if len(x) < 2:
        return _too_few("paired", "paired t", x, y, "needs two seeds that both arms have")
    d = np.subtract(x, y)
    se = math.sqrt(variance(d.tolist()) / len(d))
    return from_se("paired", "paired t", float(d.mean()), se, len(d) - 1, (len(x), len(y)), alpha=alpha)


def wilcoxon(a: Mapping[int, float], b: Mapping[int, float], alpha: float = 0.05) -> Result:
    """Wilcoxon's signed-rank test on common seeds: exact up to 16 pairs, by all signs of the midranks, ties and zeros
    included; with more, exact without ties and by the normal approximation with them.

    A zero difference counts in the ranks and has no sign [Pratt 1959].
    """
    x, y = common(a, b)
    label = "Wilcoxon signed-rank"
    if not x:
        return _too_few("wilcoxon", label, x, y, "needs seeds that both arms have")
    d = np.subtract(x, y)
    n = (len(x), len(y))
    if not d.any():
        note = "every paired difference is zero"
        return Result("wilcoxon", label, 0.0, NAN, NAN, NAN, NAN, NAN, 1.0, n, 0, note)
    w, p = _signed_ranks(d)
    floor = 2.0 ** (1 - np.count_nonzero(d))
    note = f"with {len(d)} pairs its smallest possible p is {floor:.3g}" if floor > alpha / 20 else ""
    if floor > alpha:
        note += f": it cannot reach {alpha:g}"
    return Result("wilcoxon", label, float(d.mean()), NAN, NAN, NAN, w, NAN, p, n, 0, note)


def _signed_ranks(d: np.ndarray) -> tuple[float, float]:
    """The smaller of the two rank sums, and the two-sided p of as small a one when every sign is a coin's."""
    ties = len(set(np.abs(d))) < len(d) or (d == 0).any()
    if len(d) > EXACT_PAIRS:
        outcome = scipy_stats.wilcoxon(d, zero_method="pratt", method="approx" if ties or len(d) > 25 else "exact")
        return float(outcome.statistic), float(outcome.pvalue)
    # Differences of decimals that are equal on paper are equal here, too.
    ranks = scipy_stats.rankdata(np.round(np.abs(d), 12))[d != 0]
    signs = (np.arange(2 ** len(ranks))[:, None] >> np.arange(len(ranks))) & 1
    sums, w = signs @ ranks, float(ranks[d[d != 0] > 0].sum())
    smaller = min(w, ranks.sum() - w)
    return float(smaller), min(1.0, 2 * float(np.mean(sums <= smaller + 1e-9)))


def permutation(
    a: Sequence[float], b: Sequence[float], alpha: float = 0.05, rng: np.random.Generator | None = None
) -> Result:
    """Permutation test of the difference of means, exact up to `EXACT_RELABELLINGS`, else 9,999 random ones.

    scipy's permutation_test takes 5 to 90 times as long up to there, and has a tie of decimals for less than one.
    """
    label = "exact permutation"
    if min(len(a), len(b)) < 1:
        return _too_few("permutation", label, a, b, "needs a run in each arm")
    pool = np.concatenate([a, b])
    observed = float(np.mean(a) - np.mean(b))
    count = math.comb(len(pool), len(a))
    tolerance = 1e-12 * max(1.0, float(np.abs(pool).max()))
    if count <= EXACT_RELABELLINGS:
        chosen = np.array(list(itertools.combinations(range(len(pool)), len(a))))
        first = pool[chosen].sum(axis=1)
        differences = first / len(a) - (pool.sum() - first) / len(b)
        p = float(np.mean(np.abs(differences) >= abs(observed) - tolerance))
        floor = (2 if len(a) == len(b) else 1) / count
    else:
        label = "permutation (9,999 random)"
        rng = rng or np.random.default_rng(0)
        shuffled = rng.permuted(np.tile(pool, (9_999, 1)), axis=1)
        differences = shuffled[:, : len(a)].mean(axis=1) - shuffled[:, len(a) :].mean(axis=1)
        p = float((1 + np.sum(np.abs(differences) >= abs(observed) - tolerance)) / 10_000)
        floor = 1e-4
    note = f"its smallest possible p is {floor:.3g}" if floor > alpha / 20 else ""
    if floor > alpha:
        note += f": it cannot reach {alpha:g}"
    spread = [variance(arm) if len(arm) > 1 else 0.0 for arm in (a, b)]
    if max(spread) > 4 * min(spread):
        note += f"{'; ' if note else ''}the arms' spreads differ, which it takes for an effect, too"
    return Result("permutation", label, observed, NAN, NAN, NAN, NAN, NAN, p, (len(a), len(b)), 0, note)


@dataclass(frozen=True)
class Effect:
    """Hedges g with its confidence interval; NaN where it is undefined."""

    g: float
    low: float
    high: float


def hedges(a: Sequence[float], b: Sequence[float], alpha: float = 0.05) -> Effect:
    """Standardised mean difference with the small-sample factor J, exact gamma form [Hedges 1981].

    J takes the bias out of the estimate alone: the interval inverts the noncentral t distribution of Student's t, whose
    bounds cover the true effect as they are.
    """
    df = len(a) + len(b) - 2
    if min(len(a), len(b)) < 2:
        return Effect(NAN, NAN, NAN)
    pooled = ((len(a) - 1) * variance(a) + (len(b) - 1) * variance(b)) / df
    if pooled == 0:
        return Effect(0.0 if np.mean(a) == np.mean(b) else NAN, NAN, NAN)
    scale = math.sqrt(1 / len(a) + 1 / len(b))
    j = math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)
    d = float(np.mean(a) - np.mean(b)) / math.sqrt(pooled)
    low, high = noncentral_interval(d / scale, df, alpha)
    return Effect(j * d, low * scale, high * scale)


@cache
def _gauss() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(20)


def noncentral_cdf(t: float, df: float, noncentrality: float) -> float:
    """Distribution function of the noncentral t, integrated over the chi density of its divisor.

    scipy's own returns NaN for some ordinary arguments (df 2, t and noncentrality near 5 or 67).
    """
    if df > 1e5:
        return float(scipy_stats.norm.cdf(t - noncentrality))
    s, density = _divisor(df)
    return float(np.clip(density @ ndtr(t * s - noncentrality), 0.0, 1.0))


@lru_cache(maxsize=256)
def _divisor(df: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes of the chi distributed divisor of a t statistic, and their weights times its density."""
    low, high = np.sqrt(scipy_stats.chi2.ppf([1e-15, 1 - 1e-15], df) / df)
    nodes, weights = _gauss()
    edges = np.linspace(low, high, 121)
    half = (edges[1] - edges[0]) / 2
    s = (edges[:-1, None] + half * (nodes + 1)).ravel()
    log_density = math.log(2) + df / 2 * math.log(df / 2) - math.lgamma(df / 2) + (df - 1) * np.log(s) - df * s**2 / 2
    return s, np.exp(log_density) * np.tile(weights, len(edges) - 1) * half


def noncentral_interval(t: float, df: float, alpha: float) -> tuple[float, float]:
    """Confidence interval of the noncentrality parameter of a t statistic."""
    from scipy.optimize import brentq

    def bound(level: float) -> float:
        def excess(noncentrality: float) -> float:
            return noncentral_cdf(t, df, noncentrality) - level

        width = 6.0 + abs(t)
        low, high = t - width, t + width
        for _ in range(20):
            if excess(low) > 0 > excess(high):
                return float(brentq(excess, low, high, xtol=1e-10))
            low, high = low - width, high + width
        return NAN

    return bound(1 - alpha / 2), bound(alpha / 2)


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests against a margin in the metric's unit.

    Attributes:
        margin: the margin asked for, or NaN.
        p: the larger of the two one-sided p values at that margin; NaN without a margin.
        smallest: the smallest margin at which the arms would be called equivalent at this alpha.
    """

    margin: float
    p: float
    smallest: float


def tost(result: Result, alpha: float = 0.05, margin: float | None = None) -> Equivalence:
    """Equivalence by two one-sided t tests, from any result that has a standard error [Schuirmann
    1987].
    """
    if not result.se > 0:
        exact = result.difference == 0 and result.se == 0
        return Equivalence(margin or NAN, NAN, 0.0 if exact else NAN)
    half = float(scipy_stats.t.ppf(1 - alpha, result.df)) * result.se
    smallest = abs(result.difference) + half
    if margin is None:
        return Equivalence(NAN, NAN, smallest)
    lower = scipy_stats.t.sf((result.difference + margin) / result.se, result.df)
    upper = scipy_stats.t.cdf((result.difference - margin) / result.se, result.df)
    return Equivalence(margin, float(max(lower, upper)), smallest)
