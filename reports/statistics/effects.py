"""Effects beside the main comparison: by tag and track, and variance by factor."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats
from scipy.linalg import lstsq

from reports.contract import Study
from reports.statistics.hypothesis_tests import NAN, welch


@dataclass(frozen=True)
class TargetEffect:
    """The difference of one variant to the reference on one tag or track: Welch over runs,
    uncorrected.
    """

    target: str
    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class FactorVariance:
    """Share of the variance of run scores that a factor (or seeds) accounts for."""

    name: str
    df: int
    eta_squared: float
    omega_squared: float
    p: float


def by_item(
    arms: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]], higher_is_better: bool, alpha: float
) -> dict[str, tuple[TargetEffect, ...]]:
    """For each contrast, the difference on each tag or track over the runs that have it; largest
    gain first.

    Args:
        arms: variant -> its table (seed x item) and its reference's, of contrasts that were made.
    """
    out: dict[str, tuple[TargetEffect, ...]] = {}
    for variant, (table, reference) in arms.items():
        effects = []
        own, theirs = ({name: column.to_numpy() for name, column in arm.items()} for arm in (table, reference))
        for name in [c for c in own if c in theirs]:
            a, b = (values[~np.isnan(values)].tolist() for values in (own[name], theirs[name]))
            if a and b:
                found = welch(a, b, alpha)
                effects.append(TargetEffect(str(name), found.difference, found.low, found.high, found.p))
        sign = -1.0 if higher_is_better else 1.0
        if effects:
            out[variant] = tuple(sorted(effects, key=lambda e: (sign * e.difference, e.target)))
    return out


def variance_by_factor(balanced: Mapping[str, Mapping[int, float]], study: Study) -> tuple[FactorVariance, ...]:
    """Shares of the variance of run scores by factor, each after all others (sums of squares of type II). ``balanced``
    holds them by variant and seed.

    Runs are the observations and the spread between runs of one variant is the error. Where the variants are not a
    factorial, each factor is measured by how much worse the additive model fits without it.
    """
    factors = [f.name for f in study.declaration.factors] or ["variant"]
    levels = {v.name: v.levels for v in study.variants}
    observations = [
        (score, [str(levels.get(variant, {}).get(name, variant)) for name in factors], variant)
        for variant, runs in balanced.items()
        for score in runs.values()
    ]
    if len(observations) < 3:
        return ()
    scores = np.array([score for score, _, _ in observations])
    cells = _dummies([variant for _, _, variant in observations])
    error, error_df = _residual(cells, scores)
    total = float(((scores - scores.mean()) ** 2).sum())
    if total <= 0:
        return ()
    columns = {name: _dummies([given[i] for _, given, _ in observations]) for i, name in enumerate(factors)}
    additive, additive_df = _residual(np.hstack(list(columns.values())), scores)
    found = []
    for name in factors:
        rest = [columns[other] for other in factors if other != name]
        without, without_df = _residual(np.hstack(rest) if rest else np.ones((len(scores), 1)), scores)
        found.append(_share(name, without - additive, without_df - additive_df, error, error_df, total))
    if additive_df > error_df:
        found.append(_share("interactions", additive - error, additive_df - error_df, error, error_df, total))
    found.append(FactorVariance("seeds (within a variant)", error_df, error / total, NAN, NAN))
    return tuple(found)


def _share(name: str, squares: float, df: int, error: float, error_df: int, total: float) -> FactorVariance:
    squares = max(0.0, squares)
    if df < 1 or error_df < 1 or error <= 0:
        return FactorVariance(name, df, squares / total, NAN, NAN)
    mean_error = error / error_df
    f = squares / df / mean_error
    omega = (squares - df * mean_error) / (total + mean_error)
    return FactorVariance(name, df, squares / total, max(0.0, omega), float(scipy_stats.f.sf(f, df, error_df)))


def _dummies(labels: list[str]) -> np.ndarray:
    codes, names = pd.factorize(np.array(labels, object))
    return np.asarray(np.eye(len(names))[codes])


def _residual(columns: np.ndarray, scores: np.ndarray) -> tuple[float, int]:
    design = np.hstack([np.ones((len(scores), 1)), columns])
    solution, _, rank, _ = lstsq(design, scores, cond=1e-9, lapack_driver="gelsy")  # equal columns are one
    left = scores - design @ solution
    squares = float((left**2).sum())
    if squares < 1e-24 * max(1.0, float((scores**2).sum())):
        squares = 0.0
    return squares, int(len(scores) - rank)


def quantile_drivers(effects: tuple[TargetEffect, ...], many: int = 10) -> tuple[TargetEffect, ...]:
    """The largest gains and losses, at most `many` of each, in order."""
    if len(effects) <= 2 * many:
        return effects
    return (*effects[:many], *effects[-many:])


def agreement(effects: tuple[TargetEffect, ...], higher_is_better: bool) -> tuple[int, int]:
    """How many tags or tracks gained, and how many were counted."""
    sign = 1 if higher_is_better else -1
    gained = sum(1 for effect in effects if not math.isnan(effect.difference) and sign * effect.difference > 0)
    return gained, len(effects)
