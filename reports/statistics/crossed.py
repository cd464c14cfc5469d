"""Tests on scores that cross seeds with items (tracks, or tags): every run is scored on the same
items.

The model, for variant v, run s of it and item i, is

    score = mean_v + run_vs + item_i + (variant x item)_vi + (run x item)_vsi

Runs are nested in variants, items are crossed with both. The item effect cancels in a difference
of two variants; the run effect does not, so 5 seeds x 50 tracks are not 250 independent pairs.
Treating items as random asks whether the difference would hold for other items like these.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from reports.statistics import groups, half_pooled
from reports.statistics.hypothesis_tests import NAN, Result, from_se, not_possible, variance


def align(
    a: pd.DataFrame, b: pd.DataFrame, sizes: Mapping[str, int] | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Both arms on the items that every run of both has: (seed, item) arrays, what each item counts in the mean, and
    the names of the items left out.

    Args:
        sizes: where the items are groups, how many tracks (or clips) each has.
    """
    same = a.columns.equals(b.columns)
    items = a.columns if same else a.columns.intersection(b.columns, sort=False)
    x, y = (arm.to_numpy(float) if same else arm[items].to_numpy(float) for arm in (a, b))
    whole = ~(np.isnan(x).any(axis=0) | np.isnan(y).any(axis=0))
    if same and whole.all():
        return x, y, groups.shares(items, sizes), []
    left_out = sorted(set(a.columns).union(b.columns) - set(items[whole]))
    return x[:, whole], y[:, whole], groups.shares(items[whole], sizes), [str(name) for name in left_out]


def family(
    arms: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    alpha: float = 0.05,
    item: str = "track",
    sizes: Mapping[str, Mapping[str, int] | None] | None = None,
) -> dict[str, Result]:
    """The half-pooled t over seeds and items of several variants that share a reference, by variant.

    Args:
        arms: variant -> its table (seed x item) and its reference's.
        sizes: by variant, as in `align`.
    """
    label = f"seeds x {item}s t"
    able, out, notes, shares = {}, {}, {}, {}
    for name, (a, b) in arms.items():
        x, y, share, left_out = align(a, b, (sizes or {}).get(name))
        if why := _impossible(x, y, item):
            difference = float(x.mean() - y.mean()) if x.size and y.size else NAN
            out[name] = not_possible("crossed", label, (len(x), len(y)), x.shape[1], why, difference)
            continue
        able[name] = (x, y)
        shares[name] = share
        if left_out:
            more = " and more" if len(left_out) > 5 else ""
            lacking = f"{len(left_out)} {item}(s) without a score in some run left out"
            notes[name] = f"{lacking}: {', '.join(left_out[:5])}{more}"
    for name, result in half_pooled.results(able, "crossed", label, alpha, shares).items():
        out[name] = replace(result, note="; ".join(filter(None, (notes.get(name, ""), result.note))))
    return {name: out[name] for name in arms}


def _impossible(x: np.ndarray, y: np.ndarray, item: str) -> str:
    """Why two aligned arms cannot be tested over runs and items; empty if they can."""
    if min(len(x), len(y)) < 2:
        return "needs two runs in each arm: one run cannot show how much runs differ"
    return f"needs two {item}s that every run of both arms has" if x.shape[1] < 2 else ""


def _of_mean(table: np.ndarray, share: np.ndarray, runs: bool = True) -> tuple[float, float, float]:
    """The variance of the mean of a table (seed, item), its square over the degrees of freedom, part by part
    [Satterthwaite 1946], and the variance that more runs would leave. Without ``runs`` the items alone are a sample."""
    many, items = table.shape
    item, over_items = groups.scatter(table.mean(axis=0), share) / items, groups.degrees(share)
    if not runs:
        return item, item**2 / over_items, item
    found = half_pooled.of_arms([(table, np.zeros_like(table))], [share])
    residual, run = float(found.residual[0]) / (many * items), float(found.run[0]) / many
    spread = run**2 / (many - 1) + max(item, residual) ** 2 / over_items + residual**2 / ((many - 1) * over_items)
    return max(run + item - residual, residual), spread, max(item - residual, 0.0)


def own_items(
    a: pd.DataFrame,
    b: pd.DataFrame,
    alpha: float = 0.05,
    item: str = "track",
    test: str = "crossed",
    sizes: Mapping[str, int] | None = None,
) -> Result:
    """The seeds x items t of two arms without a common item: items are then two samples, as runs are.

    The variances of the two means add up, each as in seed_paired.py; with ``test="item_means"`` only items are
    a sample. Runs count as independent, which is cautious where equal seeds share their training.
    """
    runs = test != "item_means"
    label = f"{'seeds x ' if runs else ''}{item}s t, each arm on {item}s of its own"
    x, y = (table.loc[:, table.notna().all(axis=0)] for table in (a, b))
    n, many = (len(x), len(y)), min(x.shape[1], y.shape[1])
    if many < 2 or (runs and min(n) < 2):
        why = f"needs {'two runs and ' if runs else ''}two {item}s in each arm"
        return not_possible(test, label, n, many, why)
    shares = [groups.shares(table.columns, sizes) for table in (x, y)]
    means = [float(table.to_numpy(float).mean(axis=0) @ share) for table, share in zip((x, y), shares, strict=True)]
    parts = [_of_mean(table.to_numpy(float), share, runs) for table, share in zip((x, y), shares, strict=True)]
    total, spread, lasting = (sum(part[k] for part in parts) for k in range(3))
    df = total**2 / spread if spread > 0 else NAN
    result = from_se(test, label, means[0] - means[1], math.sqrt(total), df, n, alpha=alpha, items=many)
    return replace(result, lasting=lasting)


def naive(a: pd.DataFrame, b: pd.DataFrame, alpha: float = 0.05, item: str = "track") -> Result:
    """Paired t over all (seed, item) pairs as if they were independent: the field's habit, far
    too sure of itself.
    """
    x, y, *_ = align(a, b)
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
    a: pd.DataFrame,
    b: pd.DataFrame,
    alpha: float = 0.05,
    item: str = "track",
    declared: bool = False,
    sizes: Mapping[str, int] | None = None,
) -> Result:
    """Paired t over items, each averaged over seeds: generalises to other items but not to
    another training.

    Args:
        declared: it is the study's own test, because nothing but the items is a sample.
        sizes: as in `align`.
    """
    x, y, share, _ = align(a, b, sizes)
    label = (
        f"paired t over {item}s (models as given)"
        if declared
        else f"{item} means (naive: takes these runs as the only ones)"
    )
    if x.shape[1] < 2 or min(len(x), len(y)) < 1:
        why = f"needs two {item}s"
        return not_possible("item_means", label, (len(x), len(y)), x.shape[1], why)
    d = x.mean(axis=0) - y.mean(axis=0)
    se, df, n = math.sqrt(groups.scatter(d, share) / len(d)), groups.degrees(share), (len(x), len(y))
    return from_se("item_means", label, float(d @ share), se, df, n, alpha=alpha, items=len(d))


def bootstrap(
    a: pd.DataFrame,
    b: pd.DataFrame,
    rng: np.random.Generator,
    alpha: float = 0.05,
    item: str = "track",
    resamples: int = 1_999,
    sizes: Mapping[str, int] | None = None,
) -> Result:
    """Hierarchical bootstrap: runs within each arm and items, shared by the arms, are drawn with
    replacement.

    The interval is the percentile interval; p is twice the smaller tail at zero, counting the
    sample itself.
    """
    label = "hierarchical bootstrap"
    x, y, share, _ = align(a, b, sizes)
    n, items = (x.shape[0], y.shape[0]), x.shape[1]
    if min(n) < 2 or items < 2:
        why = f"needs two runs in each arm and two {item}s"
        return not_possible("bootstrap", label, n, items, why)
    weights = rng.multinomial(items, np.full(items, 1 / items), size=resamples) * share
    weights /= weights.sum(axis=1, keepdims=True)
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
        float((x.mean(axis=0) - y.mean(axis=0)) @ share),
        float(low),
        float(high),
        float(draws.std(ddof=1)),
        NAN,
        NAN,
        float(p),
        n,
        items,
    )
