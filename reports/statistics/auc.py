"""ROC curves and tests of their area: DeLong, Hanley-McNeil, and the D score of Ligtenberg's thesis."""

import math

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from reports.statistics.hypothesis_tests import NAN


def auc(truth: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half; NaN with one class only.

    >>> auc(np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8]))
    0.75
    """
    positive = truth.astype(bool)
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if not n1 or not n0:
        return NAN
    ranks = scipy_stats.rankdata(score)
    return float((ranks[positive].sum() - n1 * (n1 + 1) / 2) / (n1 * n0))


def of_runs(predictions: pd.DataFrame) -> pd.DataFrame:
    """A score table of predictions: `roc_auc` of each run by target, and with several targets their mean as `macro`.

    It is NaN for a target with fewer than two items of either truth.
    """
    rows = []
    for (variant, seed), run in predictions.groupby(["variant", "seed"], sort=False):
        areas = {}
        for target, one in run.groupby("target", sort=False):
            truth = one["truth"].to_numpy()
            few = min(truth.sum(), (1 - truth).sum()) < 2
            areas[str(target)] = np.nan if few else auc(truth, one["score"].to_numpy())
        if len(areas) > 1:
            known = [area for area in areas.values() if np.isfinite(area)]
            areas["macro"] = float(np.mean(known)) if known else np.nan
        rows += [(variant, seed, "", target, "roc_auc", "", area) for target, area in areas.items()]
    return pd.DataFrame(rows, columns=["variant", "seed", "track", "target", "metric", "aggregation", "score"])


def placements_by_cell(truth: np.ndarray, score: np.ndarray, cell: np.ndarray) -> np.ndarray:
    """DeLong's structural components, one per item: the share of the other class of its cell that it is ranked right
    against.

    Ties count half. The mean over a cell's positives, and over its negatives, is its AUC [DeLong et al. 1988]. An
    item's rank among all items of its cell, less its rank among those of its own class, counts the other class below
    it [Sun and Xu 2014, equation 8].

    Args:
        truth: 0 or 1. Shape: (item,).
        score: Shape: (item,).
        cell: the number of each item's cell, from 0. Shape: (item,).
    """
    positive = truth.astype(bool)
    side = 2 * cell + positive
    below = _midranks(score, cell) - _midranks(score, side)
    with np.errstate(divide="ignore", invalid="ignore"):  # a cell of one class has no placements
        share = below / np.bincount(side, minlength=2 * int(cell.max(initial=0)) + 2)[side ^ 1]
    return np.asarray(np.where(positive, share, 1 - share))


def _midranks(score: np.ndarray, group: np.ndarray) -> np.ndarray:
    """The rank of each score within its group, ties sharing the mean of theirs. Shape: (item,)."""
    order = np.lexsort((score, group))
    groups, scores = group[order], score[order]
    starts = np.diff(groups, prepend=-1) != 0
    ties = np.flatnonzero(starts | np.append(True, scores[1:] != scores[:-1])) if len(order) else np.array([], np.intp)
    many = np.diff(ties, append=len(order))
    begun = np.maximum.accumulate(np.where(starts, np.arange(len(order)), 0))
    out = np.empty(len(order))
    out[order] = np.repeat(ties + (many + 1) / 2, many) - begun
    return out


def hanley_mcneil(area: float, positives: int, negatives: int) -> float:
    """Standard error of an AUC from its value and the class sizes alone [Hanley and McNeil 1982].

    >>> round(hanley_mcneil(0.89, 51, 58), 3)
    0.033
    """
    if min(positives, negatives) < 1:
        return NAN
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    square = area * (1 - area) + (positives - 1) * (q1 - area**2) + (negatives - 1) * (q2 - area**2)
    return math.sqrt(max(0.0, square) / (positives * negatives))


def d_score(a: float, b: float, half_a: float, half_b: float) -> float:
    """D = a - (b + half_a + half_b): positive when two intervals do not overlap [Ligtenberg,
    section 4.2].

    >>> round(d_score(0.839, 0.722, 0.044, 0.052), 3)
    0.021
    """
    return a - (b + half_a + half_b)


def curve(truth: np.ndarray, score: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """True-positive rate at each false-positive rate of `grid`; NaN with one class only."""
    positive = truth.astype(bool)
    n1, n0 = int(positive.sum()), int((~positive).sum())
    if not n1 or not n0:
        return np.full(len(grid), NAN)
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    hits = np.append(0, np.cumsum(positive[order])[last]) / n1
    false = np.append(0, np.cumsum(~positive[order])[last]) / n0
    return np.asarray(np.interp(grid, false, hits))
