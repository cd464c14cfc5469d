"""Tests on scores that cross seeds with items (tracks, or tags): every run is scored on the same
items.

The model, for variant v, run s of it and item i, is

    score = mean_v + run_vs + item_i + (variant x item)_vi + (run x item)_vsi

Runs are nested in variants, items are crossed with both. The item effect cancels in a difference
of two variants; the run effect does not, so 5 seeds x 50 tracks are not 250 independent pairs.
Treating items as random asks whether the difference would hold for other items like these.
"""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.statistics.hypothesis_tests import NAN, Result, from_se, not_possible, variance

POOL = 1.25


@dataclass(frozen=True)
class Components:
    """Variances of a difference of two arms over seeds and items, in the metric's unit squared.

    Attributes:
        run: what the runs contribute to the squared standard error of the difference, with the
            residual they carry.
        item: what variant-by-item variation contributes, with the residual it carries.
        residual: the run-by-item part, contained in both of the others.
        total: squared standard error of the difference: run + item - residual, where a part below
            1.25 times the residual counts as the residual.
        df: Satterthwaite degrees of freedom of `total`.
    """

    run: float
    item: float
    residual: float
    total: float
    df: float


def align(a: pd.DataFrame, b: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Both arms on the items that every run of both has: (seed, item) arrays and the names of the
    items left out.
    """
    items = a.columns.intersection(b.columns, sort=False)
    x, y = a[items].to_numpy(float), b[items].to_numpy(float)
    whole = ~(np.isnan(x).any(axis=0) | np.isnan(y).any(axis=0))
    left_out = sorted(set(a.columns).union(b.columns) - set(items[whole]))
    return x[:, whole], y[:, whole], [str(name) for name in left_out]


def components(a: np.ndarray, b: np.ndarray) -> Components:
    """Variance components of mean(a) - mean(b), from mean squares.

    Shape:
        a: (seed, item); b: (seed, item), the same items; at least two seeds in each and two items.
    """
    items = a.shape[1]
    terms: list[tuple[float, float]] = []
    run = residual = 0.0
    for arm in (a, b):
        n = arm.shape[0]
        part = variance(arm.mean(axis=1).tolist()) / n
        left = arm - arm.mean(axis=1, keepdims=True) - arm.mean(axis=0) + arm.mean()
        square = float((left**2).sum()) / ((n - 1) * (items - 1)) / (n * items)
        run, residual = run + part, residual + square
        terms += [(part, n - 1), (square, (n - 1) * (items - 1))]
    item = variance((a.mean(axis=0) - b.mean(axis=0)).tolist()) / items
    # A mean square not clearly above the residual's is taken as the residual (Bancroft's sometimes
    # pooling): negative variances cannot occur, and the upward bias of merely cutting them off at
    # zero, which makes the test too timid where runs hardly differ, is balanced.
    runs_differ, items_differ = run > POOL * residual, item > POOL * residual
    total = (run if runs_differ else residual) + (item if items_differ else residual) - residual
    runs, residuals = terms[0::2], terms[1::2]
    if runs_differ and items_differ:
        terms = [*runs, *residuals, (item, items - 1)]
    elif runs_differ:
        terms = runs
    else:
        terms = [(item, items - 1)] if items_differ else residuals
    spread = sum(part**2 / df for part, df in terms)
    return Components(run, item, residual, total, total**2 / spread if spread > 0 else NAN)


def crossed(a: pd.DataFrame, b: pd.DataFrame, alpha: float = 0.05, item: str = "track") -> Result:
    """Variance-component t over seeds and items, Satterthwaite degrees of freedom [Satterthwaite
    1946].
    """
    label = f"seeds x {item}s t"
    x, y, left_out = align(a, b)
    n, items = (x.shape[0], y.shape[0]), x.shape[1]
    difference = float(x.mean() - y.mean()) if items and min(n) else NAN
    why = ""
    if min(n) < 2:
        why = "needs two runs in each arm: one run cannot show how much runs differ"
    elif items < 2:
        why = f"needs two {item}s that every run of both arms has"
    if why:
        return not_possible("crossed", label, n, items, why, difference)
    found = components(x, y)
    note = ""
    if left_out:
        note = f"{len(left_out)} {item}(s) without a score in some run left out: {', '.join(left_out[:5])}"
        note += " and more" if len(left_out) > 5 else ""
    return from_se(
        "crossed", label, difference, math.sqrt(found.total), found.df, n, alpha=alpha, items=items, note=note
    )


def naive(a: pd.DataFrame, b: pd.DataFrame, alpha: float = 0.05, item: str = "track") -> Result:
    """Paired t over all (seed, item) pairs as if they were independent: the field's habit, far
    too sure of itself.
    """
    x, y, _ = align(a, b)
    seeds = sorted(set(a.index) & set(b.index))
    rows_a, rows_b = (np.flatnonzero(arm.index.isin(seeds)) for arm in (a, b))
    d = (x[rows_a] - y[rows_b]).ravel()
    n = (len(d), len(d))
    label = f"pooled pairs (naive: takes every seed x {item} pair as independent)"
    if len(d) < 2:
        why = "needs two pairs that agree on seed and " + item
        return not_possible("naive", label, n, x.shape[1], why)
    se = math.sqrt(variance(d.tolist()) / len(d))
    return from_se("naive", label, float(d.mean()), se, len(d) - 1, n, alpha=alpha, items=x.shape[1])


def item_means(
    a: pd.DataFrame, b: pd.DataFrame, alpha: float = 0.05, item: str = "track", declared: bool = False
) -> Result:
    """Paired t over items, each averaged over seeds: generalises to other items but not to
    another training.

    Args:
        declared: it is the study's own test, because nothing but the items is a sample.
    """
    x, y, _ = align(a, b)
    label = (
        f"paired t over {item}s (models as given)"
        if declared
        else f"{item} means (naive: takes these runs as the only ones)"
    )
    if x.shape[1] < 2 or min(len(x), len(y)) < 1:
        why = f"needs two {item}s"
        return not_possible("item_means", label, (len(x), len(y)), x.shape[1], why)
    d = x.mean(axis=0) - y.mean(axis=0)
    se = math.sqrt(variance(d.tolist()) / len(d))
    return from_se("item_means", label, float(d.mean()), se, len(d) - 1, (len(x), len(y)), alpha=alpha, items=len(d))


def bootstrap(
    a: pd.DataFrame,
    b: pd.DataFrame,
    rng: np.random.Generator,
    alpha: float = 0.05,
    item: str = "track",
    resamples: int = 1_999,
) -> Result:
    """Hierarchical bootstrap: runs within each arm and items, shared by the arms, are drawn with
    replacement.

    The interval is the percentile interval; p is twice the smaller tail at zero, counting the
    sample itself.
    """
    label = "hierarchical bootstrap"
    x, y, _ = align(a, b)
    n, items = (x.shape[0], y.shape[0]), x.shape[1]
    if min(n) < 2 or items < 2:
        why = f"needs two runs in each arm and two {item}s"
        return not_possible("bootstrap", label, n, items, why)
    weights = rng.multinomial(items, np.full(items, 1 / items), size=resamples) / items
    means = []
    for arm in (x, y):
        rows = rng.multinomial(len(arm), np.full(len(arm), 1 / len(arm)), size=resamples) / len(arm)
        means.append(np.einsum("rs,si,ri->r", rows, arm, weights, optimize=True))
    draws = means[0] - means[1]
    tail = min((draws <= 0).sum(), (draws >= 0).sum())
    p = min(1.0, 2 * (tail + 1) / (resamples + 1))
    low, high = np.quantile(draws, [alpha / 2, 1 - alpha / 2])
    return Result(
        "bootstrap",
        label,
        float(x.mean() - y.mean()),
        float(low),
        float(high),
        float(draws.std(ddof=1)),
        NAN,
        NAN,
        float(p),
        n,
        items,
    )
