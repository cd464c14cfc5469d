"""The default test of a family of contrasts that share a reference: the reference's own variance and one pooled over
the variants.

With two to five seeds one arm's variance is poorly known, and a test per contrast that believes it is wrong far too
often at the level a family needs. The variants' variances are alike in most ablations, so their pooled mean square
stands for each of them; the reference keeps its own, because an error in it would enter every contrast. A variant
whose mean square is larger than that of the others by an F test keeps its own.

For scores that cross runs with items (tracks) the squared standard error of variant v against reference r is

    run_v + run_r + item_vr - residual_v - residual_r

where `run` is the variance of run means over the number of runs, `item` the variance over items of the difference of
the arms' means per item, over the number of items, and `residual` the run-by-item mean square over runs and items,
which each of the other two contains once. The degrees of freedom are those of [Satterthwaite 1946], with the
reference's share moved half the way (in its logarithm) to the variant's: with few runs a reference that looks quiet by
chance would otherwise get degrees of freedom that it does not have. docs/statistics.md shows what this does to
error rates. All functions take any number of leading axes, so that thousands of simulated studies are one call.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

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
        items: items of a contrast; 0 without items.
        item: variance over items of the difference variant - reference; zero without items.
    """

    runs: np.ndarray
    run: np.ndarray
    residual: np.ndarray
    reference_runs: np.ndarray
    reference_run: np.ndarray
    reference_residual: np.ndarray
    items: np.ndarray
    item: np.ndarray


@dataclass(frozen=True)
class Errors:
    """Standard errors and degrees of freedom of k contrasts, and which variants keep their own variance.

    Shape:
        se, df, own: (..., k).
    """

    se: np.ndarray
    df: np.ndarray
    own: np.ndarray


def errors(squares: MeanSquares) -> Errors:
    """Standard error and degrees of freedom of each variant against its reference.

    `se` is zero, and `df` NaN, where nothing varies.
    """
    dof, last = squares.runs - 1.0, squares.reference_runs - 1.0
    cells, deep = np.maximum(squares.items, 1), np.maximum(squares.items - 1.0, 1.0)
    own = _larger(squares.run, dof)
    run, run_df = _pooled(squares.run, dof, own)
    run, reference = run / squares.runs, squares.reference_run / squares.reference_runs
    residual, residual_df = _pooled(squares.residual, dof * deep, own)
    residual = residual / (squares.runs * cells)
    of_reference = squares.reference_residual / (squares.reference_runs * cells)
    item, floor, variances = squares.item / cells, residual + of_reference, run + reference
    # Neither other part can be less than the residual it contains, so the whole is not less than it.
    total = np.where(squares.items > 0, np.maximum(variances + item - floor, floor), variances)
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.where(reference > 0, reference ** (1 - SHRINK) * run**SHRINK, 0.0)
        scale = np.where(moved + run > 0, variances / (moved + run), 0.0)
        spread = (run * scale) ** 2 / run_df + (moved * scale) ** 2 / last
        crossed = np.maximum(item, floor) ** 2 / deep + residual**2 / residual_df + of_reference**2 / (last * deep)
        df = total**2 / (spread + np.where(squares.items > 0, crossed, 0.0))
    return Errors(np.sqrt(total), df, own)


def p_values(difference: np.ndarray, found: Errors) -> np.ndarray:
    """Two-sided p of each contrast; NaN where nothing varies."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(2 * scipy_stats.t.sf(np.abs(difference) / found.se, found.df))


def of_arms(arms: Sequence[tuple[np.ndarray, np.ndarray]]) -> MeanSquares:
    """Mean squares of contrasts, each an arm and its reference on the same items.

    Shape:
        an arm: (run) scores without items, or (run, item).
    """
    columns = []
    for pair in arms:
        a, b = (_arm(scores) for scores in pair)
        items, item = 0, 0.0
        if pair[0].ndim == 2:
            items = pair[0].shape[1]
            item = variance((pair[0].mean(axis=0) - pair[1].mean(axis=0)).tolist())
        columns.append((*a, *b, items, item))
    return MeanSquares(*(np.array(column, float) for column in zip(*columns, strict=True)))


def _arm(scores: np.ndarray) -> tuple[int, float, float]:
    """Runs, variance between run means, and run-by-item mean square of one arm."""
    if scores.ndim == 1:
        return len(scores), variance(scores.tolist()), 0.0
    means = scores.mean(axis=1)
    left = scores - means[:, None] - scores.mean(axis=0) + scores.mean()
    if np.abs(left).max() <= 1e-13 * max(1e-300, np.abs(scores).max()):
        left = np.zeros_like(left)
    dof = (scores.shape[0] - 1) * (scores.shape[1] - 1)
    return len(scores), variance(means.tolist()), float((left**2).sum()) / dof


def of_runs(pairs: Mapping[str, tuple[Sequence[float], Sequence[float]]], alpha: float = 0.05) -> dict[str, Result]:
    """The test of several variants' runs against those of the reference, by variant."""
    label = "half-pooled t"
    few = {name: "needs two runs in each arm" for name, pair in pairs.items() if min(map(len, pair)) < 2}
    able = {name: pair for name, pair in pairs.items() if name not in few}
    found = results({name: (np.array(a), np.array(b)) for name, (a, b) in able.items()}, "half_pooled", label, alpha)
    for name, why in few.items():
        a, b = pairs[name]
        difference = float(np.mean(a) - np.mean(b)) if len(a) and len(b) else NAN
        found[name] = not_possible("half_pooled", label, (len(a), len(b)), 0, why, difference)
    return found


def results(
    arms: Mapping[str, tuple[np.ndarray, np.ndarray]], test: str, label: str, alpha: float
) -> dict[str, Result]:
    """Results of contrasts that share a reference and that all can be tested."""
    if not arms:
        return {}
    found = errors(of_arms(list(arms.values())))
    out = {}
    for (name, (a, b)), se, df, own in zip(arms.items(), found.se, found.df, found.own, strict=True):
        note = "its runs differ more than those of the other variants: its own variance is used" if own else ""
        items = a.shape[1] if a.ndim == 2 else 0
        difference, runs = float(a.mean() - b.mean()), (len(a), len(b))
        out[name] = from_se(test, label, difference, float(se), float(df), runs, alpha=alpha, items=items, note=note)
    return out


def _larger(squares: np.ndarray, dof: np.ndarray) -> np.ndarray:
    """Which mean squares exceed that of all others together by a one-sided F test."""
    if squares.shape[-1] < 2:
        return np.zeros(squares.shape, bool)
    weighed, rest = squares * dof, dof.sum() - dof
    others = (weighed.sum(axis=-1, keepdims=True) - weighed) / rest
    return np.asarray(squares > scipy_stats.f.isf(OWN_LEVEL, dof, rest) * others)


def _pooled(squares: np.ndarray, dof: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The variants' pooled mean square, or a variant's own, and its degrees of freedom.

    A variant that keeps its own still counts in the pool: without its largest members a pool would be too small.
    """
    pool = (squares * dof).sum(axis=-1, keepdims=True) / dof.sum()
    return np.where(own, squares, pool), np.where(own, dof, dof.sum())
