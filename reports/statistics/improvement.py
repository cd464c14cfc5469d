"""Probability of improvement: how often a run of one arm scores higher than one of another on an item like these.

The mean over pairs of runs, and over items, of 1 where the first is better, 1/2 where both are equal [Agarwal et al.
2021, who take runs alone as a sample]. Its variance is that of a U statistic of two samples of runs and one of items:
the sum over the three of the variance of the means over the other two. With runs alone it is the relative effect of
[Brunner and Munzel 2000], whose test has the same degrees of freedom.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats as scipy_stats

from reports.statistics.hypothesis_tests import variance


@dataclass(frozen=True)
class Improvement:
    """A probability with its confidence interval, within 0 and 1; NaN where nothing varies."""

    p: float
    low: float
    high: float


def improvement(a: np.ndarray, b: np.ndarray, higher_is_better: bool = True, alpha: float = 0.05) -> Improvement:
    """Of arm `a` over arm `b`; what there is only one of (a run of each arm, of models as given) is no sample.

    Shape:
        a, b: (run,), or (run, item) on the same items.
    """
    a, b = (arm.reshape(len(arm), -1) for arm in (a, b))
    sign = 1.0 if higher_is_better else -1.0
    better = (np.sign(sign * (a[:, None] - b[None])) + 1) / 2  # (run of a, run of b, item)
    p = float(better.mean())
    parts = [
        (variance(better.mean(axis=axes).tolist()) / size, size - 1)
        for axes, size in (((1, 2), len(a)), ((0, 2), len(b)), ((0, 1), better.shape[2]))
        if size > 1
    ]
    total = sum(part for part, _ in parts)
    if not total > 0:
        return Improvement(p, math.nan, math.nan)
    df = total**2 / sum(part**2 / dof for part, dof in parts)
    half = float(scipy_stats.t.ppf(1 - alpha / 2, df)) * math.sqrt(total)
    return Improvement(p, max(0.0, p - half), min(1.0, p + half))
