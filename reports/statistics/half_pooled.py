"""The default test of a family of contrasts that share a reference: the reference's own variance and one pooled over
the variants.

With two to five seeds one arm's variance is poorly known, and a test per contrast that believes it is wrong far too
often at the level a family needs. The variants' variances are alike in most ablations, so each is moved towards their
pooled mean square, as far as their logarithms differ no more than chance would have them differ: the moderated t of
[Smyth 2004], whose prior degrees of freedom are infinite where the variances look alike. The reference keeps its own,
because an error in it would enter every contrast. A variant whose mean square is larger than that of the others by an F
test keeps its own, too.

For scores that cross runs with items (tracks) the squared standard error of variant v against reference r is

    run_v + run_r + item_vr - residual_v - residual_r

where `run` is the variance of run means over the number of runs, `item` the variance over items of the difference of
the arms' means per item, over the number of items, and `residual` the run-by-item mean square over runs and items,
which each of the other two contains once. The degrees of freedom are those of [Satterthwaite 1946]. With several
variants the reference's share is moved half the way (in its logarithm) to the variant's: with few runs a reference that
looks quiet by chance would otherwise get degrees of freedom that it does not have. docs/statistics.md shows what this
does to error rates. All functions take any number of leading axes, so that thousands of simulated studies are one call.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy import stats as scipy_stats
from scipy.special import digamma, fdtri, polygamma

from reports.statistics import groups
from reports.statistics.hypothesis_tests import NAN, Result, from_se, not_possible, variance

OWN_LEVEL = 0.03
"""A variant whose variance exceeds the others' by an F test at this level keeps its own."""
SHRINK = 0.5
"""How far the reference's share moves to the variant's in the degrees of freedom."""


@dataclass(frozen=True)
class MeanSquares:
    """What the test needs of k variants and the reference of each.

    Shape:
        all (..., k); of the reference (..., k), or (..., 1) where the contrasts are taken over the same items.

    Attributes:
        runs: runs in an arm, at least two.
        run: variance between the run means of an arm.
        residual: run-by-item mean square of an arm; zero without items.
        items: items (or groups of them) of a contrast; 0 without items.
        item: variance over items of the difference variant - reference; zero without items.
        item_df: degrees of freedom of `item` where they are not items - 1: fewer for groups of unequal size.
        run_df: degrees of freedom of `run` where they are not runs - 1.
    """

    runs: np.ndarray
    run: np.ndarray
    residual: np.ndarray
    reference_runs: np.ndarray
    reference_run: np.ndarray
    reference_residual: np.ndarray
    items: np.ndarray
    item: np.ndarray
    item_df: np.ndarray | None = None
    run_df: np.ndarray | None = None


@dataclass(frozen=True)
class Errors:
    """Standard errors and degrees of freedom of k contrasts, and which variants keep their own variance.

    Attributes:
        lasting: the part of se squared that more runs would not make smaller: that of the items.

    Shape:
        se, df, own, lasting: (..., k).
    """

    se: np.ndarray
    df: np.ndarray
    own: np.ndarray
    lasting: np.ndarray | float = 0.0


def errors(squares: MeanSquares) -> Errors:
    """Standard error and degrees of freedom of each variant against its reference.

    `se` is zero, and `df` NaN, where nothing varies.
    """
    dof, last = squares.runs - 1.0 if squares.run_df is None else squares.run_df, squares.reference_runs - 1.0
    cells, deep = np.maximum(squares.items, 1), np.maximum(squares.items - 1.0, 1.0)
    if squares.item_df is not None:
        deep = np.where(squares.items > 0, squares.item_df, 1.0)
    own = _larger(squares.run, dof)
    run, run_df = _moderated(squares.run, dof, own)
    run, reference = run / squares.runs, squares.reference_run / squares.reference_runs
    residual, residual_df = squares.residual, dof
    if np.any(squares.items > 0):
        residual, residual_df = _moderated(squares.residual, dof * deep, own)
    residual = residual / (squares.runs * cells)
    of_reference = squares.reference_residual / (squares.reference_runs * cells)
    item, floor, variances = squares.item / cells, residual + of_reference, run + reference
    # Neither other part can be less than the residual it contains, so the whole is not less than it.
    total = np.where(squares.items > 0, np.maximum(variances + item - floor, floor), variances)
    with np.errstate(divide="ignore", invalid="ignore"):
        part = SHRINK if squares.run.shape[-1] > 1 else 0.0
        moved = np.where(run > 0, reference ** (1 - part) * run**part, reference)
        scale = np.where(moved + run > 0, variances / (moved + run), 0.0)
        spread = (run * scale) ** 2 / run_df + (moved * scale) ** 2 / last
        crossed = np.maximum(item, floor) ** 2 / deep + residual**2 / residual_df + of_reference**2 / (last * deep)
        df = total**2 / (spread + np.where(squares.items > 0, crossed, 0.0))
    return Errors(np.sqrt(total), df, own, np.where(squares.items > 0, np.maximum(item - floor, 0.0), 0.0))


def pooled_errors(squares: MeanSquares) -> Errors:
    """The same for runs of all arms that are declared to vary alike: one variance of variants and reference
    [Dunnett 1955]. `own`: arms whose mean square looks larger than that of the others, or the reference's does.

    Items are no sample.
    """
    runs, others, reference = squares.runs, squares.reference_runs, squares.reference_run
    dof, last = runs - 1, others - 1
    df = dof.sum(axis=-1, keepdims=True) + last
    pool = ((squares.run * dof).sum(axis=-1, keepdims=True) + reference * last) / df
    se = np.sqrt(pool * (1 / runs + 1 / others))
    every = np.append(squares.run, np.broadcast_to(reference[..., :1], (*squares.run.shape[:-1], 1)), axis=-1)
    own = _larger(every, np.append(dof, np.broadcast_to(last[..., :1], (*dof.shape[:-1], 1)), axis=-1))
    with np.errstate(invalid="ignore"):
        return Errors(se, np.where(se > 0, df, NAN), own[..., :-1] | own[..., -1:])


def p_values(difference: np.ndarray, found: Errors) -> np.ndarray:
    """Two-sided p of each contrast; NaN where nothing varies."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(2 * scipy_stats.t.sf(np.abs(difference) / found.se, found.df))


def of_arms(arms: Sequence[tuple[np.ndarray, np.ndarray]], shares: Sequence[np.ndarray | None] = ()) -> MeanSquares:
    """Mean squares of contrasts, each an arm and its reference on the same items.

    Args:
        shares: of each contrast, what its items count in the mean; default: all the same.

    Shape:
        an arm: (run) scores without items, or (run, item); a share: (item,).
    """
    columns = []
    for pair, share in zip(arms, shares or [None] * len(arms), strict=True):
        if pair[0].ndim == 1:
            columns.append((*_arm(pair[0], None), *_arm(pair[1], None), 0, 0.0, 0.0))
            continue
        items = pair[0].shape[1]
        share = np.full(items, 1 / items) if share is None else share
        item = groups.scatter(pair[0].mean(axis=0) - pair[1].mean(axis=0), share)
        columns.append((*_arm(pair[0], share), *_arm(pair[1], share), items, item, groups.degrees(share)))
    return MeanSquares(*(np.array(column, float) for column in zip(*columns, strict=True)))


def _arm(scores: np.ndarray, share: np.ndarray | None) -> tuple[int, float, float]:
    """Runs, variance between run means, and run-by-item mean square of one arm."""
    if share is None:
        return len(scores), variance(scores.tolist()), 0.0
    means, items = scores @ share, scores.mean(axis=0)
    left = scores - means[:, None] - items + means.mean()
    if np.abs(left).max() <= 1e-13 * max(1e-300, np.abs(scores).max()):
        left = np.zeros_like(left)
    squares = (left**2).sum() if np.ptp(share) == 0 else (groups.factors(share) * left**2).sum()
    return len(scores), variance(means.tolist()), float(squares) / ((scores.shape[0] - 1) * (scores.shape[1] - 1))


def of_runs(
    pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]], alpha: float = 0.05, test: str = "half_pooled"
) -> dict[str, Result]:
    """The test of several variants' runs against those of the reference, by variant; or `"pooled"`, for runs that are
    declared to vary alike."""
    label = {"half_pooled": "half-pooled t", "pooled": "t, one variance of all arms"}[test]
    few = {name: "needs two runs in each arm" for name, pair in pairs.items() if min(map(len, pair)) < 2}
    able = {name: pair for name, pair in pairs.items() if name not in few}
    found = results({name: (np.array(a), np.array(b)) for name, (a, b) in able.items()}, test, label, alpha)
    for name, why in few.items():
        a, b = pairs[name]
        difference = float(np.mean(a) - np.mean(b)) if len(a) and len(b) else NAN
        found[name] = not_possible(test, label, (len(a), len(b)), 0, why, difference)
    return found


def results(
    arms: Mapping[str, tuple[np.ndarray, np.ndarray]],
    test: str,
    label: str,
    alpha: float,
    shares: Mapping[str, np.ndarray] | None = None,
) -> dict[str, Result]:
    """Results of contrasts that share a reference and that all can be tested; `shares` as in `of_arms`."""
    if not arms:
        return {}
    squares = of_arms(list(arms.values()), [shares[name] for name in arms] if shares else ())
    found = pooled_errors(squares) if test == "pooled" else errors(squares)
    differs = {
        "pooled": "its runs or the reference's differ more than those of the other arms, which this test takes to vary "
        "alike"
    }.get(test, "its runs differ more than those of the other variants: its own variance is used")
    out = {}
    lasting = np.broadcast_to(found.lasting, found.se.shape)
    for (name, (a, b)), se, df, own, kept in zip(arms.items(), found.se, found.df, found.own, lasting, strict=True):
        note = differs if own else ""
        items = a.shape[1] if a.ndim == 2 else 0
        of_items = a.mean(axis=0) - b.mean(axis=0) if items else np.array([a.mean() - b.mean()])
        difference, runs = float(of_items @ shares[name] if shares else of_items.mean()), (len(a), len(b))
        result = from_se(test, label, difference, float(se), float(df), runs, alpha=alpha, items=items, note=note)
        out[name] = replace(result, lasting=float(kept))
    return out


def _larger(squares: np.ndarray, dof: np.ndarray) -> np.ndarray:
    """Which mean squares exceed that of all others together by a one-sided F test."""
    if squares.shape[-1] < 2:
        return np.zeros(squares.shape, bool)
    weighed, rest = squares * dof, dof.sum(axis=-1, keepdims=True) - dof
    others = (weighed.sum(axis=-1, keepdims=True) - weighed) / rest
    bound = _of_distinct(lambda both: fdtri(both.real, both.imag, 1 - OWN_LEVEL), dof + 1j * rest)
    return np.asarray(squares > bound * others)


def _moderated(squares: np.ndarray, dof: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The variants' mean squares, each moved towards their pool or (`own`) as it is, and their degrees of freedom.

    A variant that keeps its own still counts in the pool: without its largest members a pool would be too small.
    """
    all_dof = dof.sum(axis=-1, keepdims=True)
    pool = (squares * dof).sum(axis=-1, keepdims=True) / all_dof
    prior = _prior(squares, dof, pool)
    with np.errstate(invalid="ignore"):
        weight = np.where(np.isinf(prior), 1.0, prior / (prior + dof))
    moved = weight * pool + (1 - weight) * squares
    return np.where(own, squares, moved), np.where(own, dof, np.minimum(prior + dof, all_dof))


def _prior(squares: np.ndarray, dof: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Degrees of freedom that the pool is worth to each variance: infinite where they differ as chance has them.

    By the variance of their logarithms [Smyth 2004, section 6.2]. Shape: (..., 1).
    """
    many = squares.shape[-1]
    if many < 2:
        return np.full((*squares.shape[:-1], 1), np.inf)
    centre = _of_distinct(lambda each: np.log(each / 2) - digamma(each / 2), dof)
    logs = np.log(np.maximum(squares, np.maximum(1e-5 * pool, 1e-300))) + centre
    by_chance = _of_distinct(lambda each: polygamma(1, each / 2), dof).mean(axis=-1, keepdims=True)
    spread = logs.var(axis=-1, ddof=1, keepdims=True) - by_chance
    wide = spread > 1e-3
    with np.errstate(all="ignore"):
        y = _inverse_trigamma(np.where(wide, spread, 1.0))
    return np.where(wide, 2 * y, np.inf)


def _of_distinct(function: Callable[[np.ndarray], np.ndarray], values: np.ndarray) -> np.ndarray:
    """A slow function of many values of which few are distinct."""
    distinct, where = np.unique(values, return_inverse=True)
    return function(distinct)[where.reshape(values.shape)]


def _inverse_trigamma(values: np.ndarray) -> np.ndarray:
    """y with trigamma(y) = value: from a table, and one step of Newton's method."""
    logs, table = _trigammas()
    y = np.exp(np.interp(-np.log(values), table, logs))
    slope = polygamma(1, y)
    return np.asarray(y + slope * (1 - slope / values) / polygamma(2, y))


@cache
def _trigammas() -> tuple[np.ndarray, np.ndarray]:
    logs = np.linspace(math.log(1e-4), math.log(1e4), 4_000)
    return logs, -np.log(polygamma(1, np.exp(logs)))
