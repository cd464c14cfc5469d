"""Tests after every few seeds that keep their level over all looks: boundaries, decisions, intervals, estimates.

At each look an undecided contrast gives a two-sided p by the study's own test. It is significant where this p is below
the look's nominal level. The levels are such that a contrast without an effect is called significant at any look with
probability alpha: the error that may have been spent by a look is a function of the share of seeds it has seen
[Lan and DeMets 1983], and the levels follow from it by simulating the path of p. With a few seeds the test is a t whose
variance is estimated anew at every look, so the known-variance tables of clinical trials do not hold for it. Tests that
are not simulated (`SIMULATED`) get the increments of the error as levels, which is safe for every test with a valid p.

A t with variances of its own is too strict with few seeds where runs vary alike, and too lenient where those of one arm
vary more. Levels that use up the error in the first case would exceed it in the second, so they are lowered until the
family keeps its error there, too (`UNEQUAL`). That costs seeds, and must: benchmarks/until.py shows what the best test
could find with few seeds. The pooled t is for those who declare that all runs vary alike.

A variant that stops lends the others no further runs for their common variance. So studies whose contrasts stop as out
of reach have more errors than those in which all go on, and the levels are lowered by studies of the former kind.

Spending `"e"` needs no list of looks: an e-process, valid at every seed. It is the Bayes factor of the t statistic for
a normal prior on the standardised effect, a martingale under the null hypothesis for every variance (right Haar prior;
[Grunwald, de Heide and Koolen 2024]); a contrast is significant where it reaches 1 / alpha [Ville 1939].

A contrast that stops without significance spends nothing itself, so equivalence and futility are free.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from scipy import stats as scipy_stats
from scipy.special import stdtr, stdtrit

from reports.statistics.half_pooled import Errors, MeanSquares, errors, pooled_errors

SIMULATED = ("half_pooled", "crossed", "pooled")
"""Tests whose path is simulated, on runs; tracks, the same at every look, only make a second chance rarer."""
UNEQUAL = 3.0
"""The runs of one arm may vary so many times as much as those of all others, or those of the reference so many times
less, and the family keeps its error."""
PRIOR = 4.0
"""Variance of the standardised effect under the e-process's prior."""
LEAST = 40
"""Paths that must cross at a look for its level to be simulated; with fewer it is the error spent there, which is safe
for a valid p, and what an earlier look left is kept for the next one."""
SEED = 20_261_126
SIGNIFICANT, EQUIVALENT, OUT_OF_REACH, UNDECIDED, GOING = "significant", "equivalent", "out of reach", "undecided", ""
HOPE, HOPELESS = 0.1, 0.05
"""Out of reach: even if the true effect is as large as the end of a one-sided 1 - HOPE interval, the chance of
significance at the last look is below HOPELESS."""


@dataclass(frozen=True)
class Boundary:
    """The looks of one contrast and what it takes to be significant at each.

    Attributes:
        looks: seeds per arm at each look.
        alpha: of this contrast, over all looks.
        spending: one of `reports.contract.SPENDING`.
        levels: nominal two-sided level of p at each look, 0 where no error is spent yet; empty for an e-process.
        spent: error that may have been spent by each look.
    """

    looks: tuple[int, ...]
    alpha: float
    spending: str
    levels: tuple[float, ...]
    spent: tuple[float, ...]

    def level(
        self, look: int, df: np.ndarray | float, runs: np.ndarray | float, others: np.ndarray | float
    ) -> np.ndarray:
        """Nominal level of p at a look (counted from 0), for degrees of freedom and runs in the two arms."""
        if self.levels:
            return np.broadcast_to(self.levels[look], np.shape(df))
        return np.asarray(2 * stdtr(df, -_e_critical(self.alpha, np.asarray(df, float), _information(runs, others))))


def _information(runs: np.ndarray | float, others: np.ndarray | float) -> np.ndarray:
    """Of a difference of two means of so many runs, in units of one run's variance."""
    return 1 / (1 / np.asarray(runs, float) + 1 / np.asarray(others, float))


def cumulative(spending: str, alpha: float, share: float) -> float:
    """Error spent by a share of the seeds: functions of [Lan and DeMets 1983] (two-sided: half of it on either side).

    >>> round(cumulative("pocock", 0.05, 0.25), 4), round(cumulative("obf", 0.05, 0.5), 4)
    (0.0179, 0.0031)
    """
    if spending == "pocock":
        return alpha * math.log(1 + (math.e - 1) * share)
    return float(4 * scipy_stats.norm.sf(scipy_stats.norm.isf(alpha / 4) / math.sqrt(share)))


@cache
def boundary(variants: int, looks: tuple[int, ...], alpha: float, spending: str, test: str) -> Boundary:
    """The boundary of one of several contrasts that share a reference.

    Args:
        variants: that share the reference, whose variances the test pools.
        alpha: of one contrast, over all looks: after a correction for several.
    """
    shares = [look / looks[-1] for look in looks]
    if spending == "e":
        return Boundary(looks, alpha, spending, (), (alpha,) * len(looks))
    spent = tuple(cumulative(spending, alpha, share) for share in shares)
    if test not in SIMULATED:
        return Boundary(looks, alpha, spending, tuple(np.diff(spent, prepend=0.0).tolist()), spent)
    paths = int(np.clip(5_000 / alpha, 200_000, 1_000_000))
    alike = np.ones(variants + 1)
    levels = levels_of(_null_paths(alike, looks, paths, alpha, test).reshape(len(looks), -1), spent)
    return _lowered(Boundary(looks, alpha, spending, levels, spent), test, variants)


def levels_of(paths: np.ndarray, spent: Sequence[float]) -> tuple[float, ...]:
    """Levels by which so many paths of p, shape (look, path), have crossed by each look."""
    going, crossed, levels, before = np.ones(paths.shape[1], bool), 0, [], 0.0
    for p, error in zip(paths, spent, strict=True):
        many = round(error * paths.shape[1]) - crossed
        level = float(np.partition(p[going], many)[many]) if many >= LEAST else error - before
        before = error
        levels.append(level)
        crossing = going & (p < level)
        crossed += int(crossing.sum())
        going &= ~crossing
    return tuple(levels)


def _lowered(bounds: Boundary, test: str, variants: int) -> Boundary:
    """The levels times the largest factor, at most 1, by which the family keeps its error where contrasts stop as out
    of reach; unless runs are declared to vary alike, also where those of one arm vary more.

    In the latter case the error is that of simulated studies and two of its standard errors.
    """
    most, factor, sure = min(1.0, bounds.alpha * variants), 1.0, 2.0 * (test != "pooled")
    studies = max(300_000 // variants**2, 25_000)
    cases = [(0, 1.0)]
    if test != "pooled":
        cases = [(0, UNEQUAL)]  # of two arms it does not matter which one varies more
        cases += [(variants, UNEQUAL), (variants, 1 / UNEQUAL)] if variants > 1 else []
    for arm, times in cases:
        scale = np.where(np.arange(variants + 1) == arm, times, 1.0)
        paths = _null_paths(scale, bounds.looks, studies * variants, bounds.alpha, test, bounds)
        levels = np.maximum(bounds.levels, 1e-300)[:, None, None]
        shares = (paths / levels).min(axis=(0, 2))  # a study calls something significant below this factor
        safe = most - sure * math.sqrt(most * (1 - most) / len(shares))
        factor = min(factor, float(np.quantile(shares, safe)))
    return replace(bounds, levels=tuple(level * factor for level in bounds.levels))


def _null_paths(
    scale: np.ndarray, looks: tuple[int, ...], paths: int, alpha: float, test: str, stops: Boundary | None = None
) -> np.ndarray:
    """Two-sided p of contrasts without an effect, shape (look, study, variant); 1 where it is far from significant.

    Args:
        scale: standard deviation of the runs of each arm, the reference last.
        stops: contrasts that are out of reach of this boundary take no further run, and have a p of 1; default: all
            contrasts go on.
    """
    rng, chunks, variants = np.random.default_rng(SEED), [], len(scale) - 1
    size = max(1, 60_000 // variants)
    for _ in range(math.ceil(paths / (size * variants))):
        rows, many, total, squares = [], 0, np.zeros((size, variants + 1)), np.zeros((size, variants + 1))
        going, runs, mean, run = np.ones((size, variants), bool), np.zeros(variants), total, total
        for look in looks:
            new = rng.normal(size=(look - many, size, variants + 1)) * scale
            total, squares, many = total + new.sum(axis=0), squares + (new**2).sum(axis=0), look
            taken = np.append(going, np.ones((size, 1), bool), axis=1)
            mean, run = (
                np.where(taken, now, before)
                for now, before in ((total / look, mean), ((squares - total**2 / look) / (look - 1), run))
            )
            runs = np.where(going, float(look), runs) if stops else np.full(variants, float(look))
            found = errors_of(test, runs, look, run)
            se, df = found.se, found.df
            difference = mean[:, :-1] - mean[:, -1:]
            t, df, p = np.abs(difference) / se, np.broadcast_to(df, se.shape), np.ones(se.shape)
            # A t has heavier tails than z: no p below alpha is passed over.
            near = going if stops else t > scipy_stats.norm.isf(alpha / 2)
            p[near] = 2 * stdtr(df[near], -t[near])
            rows.append(p)
            if stops and look < looks[-1]:
                now = Standing(difference, se, df, runs, np.full(runs.shape, float(look)))
                going = going & ~_hopeless(stops, now, p, None)
        chunks.append(np.stack(rows))
    return np.concatenate(chunks, axis=1)


def errors_of(test: str, runs: np.ndarray, others: float, run: np.ndarray, *of_items: Any) -> Errors:
    """Standard errors and degrees of freedom of the half-pooled test (over items, where there are some), or of the
    pooled one.

    Args:
        as of `mean_squares`.
    """
    return (pooled_errors if test == "pooled" else errors)(mean_squares(runs, others, run, *of_items))


def mean_squares(
    runs: np.ndarray,
    others: float,
    run: np.ndarray,
    residual: np.ndarray | None = None,
    item: np.ndarray | None = None,
    items: int = 0,
) -> MeanSquares:
    """Of arms whose last one is the reference.

    Args:
        runs: per variant; others: of the reference.
        run, residual: of all arms.
        item: per variant.

    Shape:
        runs: (..., variant); run, residual: (..., arm); item: (..., variant).
    """
    residual = np.zeros_like(run) if residual is None else residual
    return MeanSquares(
        runs=runs,
        run=run[..., :-1],
        residual=residual[..., :-1],
        reference_runs=np.array([float(others)]),
        reference_run=run[..., -1:],
        reference_residual=residual[..., -1:],
        items=np.full(runs.shape, float(items)),
        item=np.zeros_like(run[..., :-1]) if item is None else item,
    )


# ---- decisions


@dataclass(frozen=True)
class Standing:
    """Contrasts at one look, each an array of one shape.

    Attributes:
        difference, se, df: of the test.
        runs, others: in the variant's and the reference's arm.
        lasting: the part of se squared that more runs would not make smaller: that of the items.
    """

    difference: np.ndarray
    se: np.ndarray
    df: np.ndarray
    runs: np.ndarray
    others: np.ndarray
    lasting: np.ndarray | float = 0.0


def decide(bounds: Boundary, look: int, now: Standing, margin: float | None) -> np.ndarray:
    """What each contrast is at a look (counted from 0): `SIGNIFICANT`, `EQUIVALENT`, `OUT_OF_REACH`, `UNDECIDED` or
    `GOING`.

    It is equivalent where its repeated interval lies within the margin, and out of reach where neither significance
    nor, with a margin, equivalence can be hoped for at the last look (`HOPE`).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        level = bounds.level(look, now.df, now.runs, now.others)
        half = stdtrit(now.df, 1 - level / 2) * now.se
        size, t = np.abs(now.difference), np.abs(now.difference) / now.se
        significant = size > half
        within = size + half < margin if margin else np.zeros(size.shape, bool)
        last = look == len(bounds.looks) - 1
        lost = np.zeros(size.shape, bool) if last else _hopeless(bounds, now, 2 * stdtr(now.df, -t), margin)
    return np.select(
        [significant, within, np.full(size.shape, last), lost],
        [SIGNIFICANT, EQUIVALENT, UNDECIDED, OUT_OF_REACH],
        GOING,
    )


def _hopeless(bounds: Boundary, now: Standing, p: np.ndarray, margin: float | None) -> np.ndarray:
    """Whether neither significance nor equivalence can be hoped for at the last look.

    The t path is taken for a Brownian motion with drift, its time the share of the information. Of the variance, only
    the runs' part becomes smaller with the seeds: where that of a few tracks is large, there is little left to learn.
    """
    final = bounds.looks[-1]
    kept = now.lasting / now.se**2
    share = kept + (1 - kept) * _information(now.runs, now.others) / (final / 2)
    bound = z_of(bounds.level(len(bounds.looks) - 1, _final_df(now, final), final, final))
    z = z_of(p)
    drift = (z + scipy_stats.norm.isf(HOPE)) / np.sqrt(share)
    left = 1 - share
    lost = scipy_stats.norm.sf((bound - z * np.sqrt(share) - drift * left) / np.sqrt(left)) < HOPELESS
    if margin:
        lost &= bound * now.se * np.sqrt(share) >= margin
    return np.asarray(lost)


def _final_df(now: Standing, final: int) -> np.ndarray:
    """Degrees of freedom at the last look, in proportion to the runs."""
    return np.asarray(now.df * (final - 1) / np.maximum(now.runs - 1, 1))


def z_of(p: np.ndarray) -> np.ndarray:
    """The |z| whose two-sided p this is."""
    return np.asarray(scipy_stats.norm.isf(np.clip(p, 1e-300, 1) / 2))


def _e_critical(alpha: float, df: np.ndarray, information: np.ndarray) -> np.ndarray:
    """The |t| at which the e-value reaches 1 / alpha; infinite where none does.

    e = (1 + Ng)^-1/2 [(1 + t^2 / v) / (1 + t^2 / ((1 + Ng) v))]^((v + 1) / 2), with N the information, g `PRIOR`.
    """
    grown = 1 + information * PRIOR
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        ratio = (np.sqrt(grown) / alpha) ** (2 / (df + 1))
        square = df * (ratio - 1) / (1 - ratio / grown)
        return np.where(ratio < grown, np.sqrt(np.maximum(square, 0)), np.inf)


def overall_p(bounds: Boundary, look: int, p: float, level: float) -> float:
    """The p over all looks of a contrast that stopped at a look: below alpha just where it is significant.

    Outcomes are ordered by look, then by p [Jennison and Turnbull 2000, section 8.4]: what earlier looks spent, plus
    this look's share in proportion to p.
    """
    if not bounds.levels:
        shared = min(1.0, bounds.alpha * p / level) if level > 0 else 1.0  # at level 0 nothing is significant
        return shared if p < level else max(bounds.alpha, shared)
    before, by_now = (bounds.spent[look - 1] if look else 0.0), bounds.spent[look]
    if level > 0 and p < level:
        return before + (by_now - before) * p / level
    return max(bounds.alpha, by_now + (1 - by_now) * (p - level) / (1 - level))
