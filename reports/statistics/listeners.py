"""Tests on ratings of listeners: every listener rates every song, of every run that is heard, in both arms.

With d the differences of a variant and its reference (listener, song, run), all that listeners, songs and runs share is
random and crossed:

    d = mean + listener + song + run + (all their interactions)

The variance of the mean of d is estimated by its expected mean squares [Cornfield and Tukey 1956], with the degrees of
freedom of [Satterthwaite 1946]: of two factors, listener MS + song MS - residual MS over the number of ratings, which
is the quasi F ratio F'' of [Clark 1973] with one sample for each; of three, the sum over single factors less that over
pairs, plus the residual. Neither it nor its degrees of freedom are less than what the factor that varies most gives
alone. Below `FEW` levels of a factor there are no more degrees of freedom than that factor has. A factor with one
level is no sample: the claim is about that level.
"""

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from scipy.special import bdtr

from reports.statistics.hypothesis_tests import NAN, Result, from_se, not_possible
from reports.statistics.seed_paired import FEW

FACTORS = ("listener", "song", "run")


def variance_of_mean(differences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The variance of the mean of each table of differences, and its degrees of freedom (NaN without spread).

    Shape:
        differences: (..., listener, song, run); both: (...).
    """
    sizes = dict(zip((-3, -2, -1), differences.shape[-3:], strict=True))
    axes = [axis for axis, size in sizes.items() if size > 1]
    tiny = 1e-13 * max(float(np.abs(differences).max()), 1e-300)
    single = alone = total = spread = np.zeros(differences.shape[:-3])
    for chosen in (part for many in range(1, len(axes) + 1) for part in itertools.combinations(axes, many)):
        effect = differences
        for axis in axes:
            mean = effect.mean(axis=axis, keepdims=True)
            effect = effect - mean if axis in chosen else mean
        effect = np.where(np.abs(effect).max(axis=(-3, -2, -1), keepdims=True) <= tiny, 0.0, effect)
        dof = math.prod(sizes[axis] - 1 for axis in chosen)
        part = (effect**2).sum(axis=(-3, -2, -1)) / dof / math.prod(sizes[axis] for axis in chosen)
        total = total - (-1) ** len(chosen) * part
        spread = spread + part**2 / dof
        if len(chosen) == 1:
            single, alone = np.maximum(single, part), np.where(part >= single, dof, alone)
    total = np.maximum(total, single)
    with np.errstate(divide="ignore", invalid="ignore"):
        dof = np.where(total > 0, np.maximum(total**2 / spread, alone), NAN)
    few = [sizes[axis] - 1.0 for axis in axes if sizes[axis] < FEW]
    return total, np.minimum(dof, min(few, default=math.inf))


def crossed(differences: np.ndarray, alpha: float = 0.05) -> Result:
    """The t test of a variant's ratings less its reference's over all factors that have two levels or more.

    Shape:
        differences: (listener, song, run).
    """
    heard = [name for name, size in zip(FACTORS, differences.shape, strict=True) if size > 1]
    label, n = " x ".join(f"{name}s" for name in heard) + " t", (len(differences),) * 2
    mean = float(differences.mean())
    if len(differences) < 2:
        why = "needs two listeners: one cannot show how much listeners differ"
        return not_possible("listeners", label, n, differences.shape[1], why, mean)
    square, dof = variance_of_mean(differences)
    note = "" if square > 0 else "no rating differs from what the others say: the difference has no standard error"
    return from_se(
        *("listeners", label, mean, math.sqrt(square), float(dof), n),
        **{"alpha": alpha, "items": differences.shape[1], "note": note if mean else ""},
    )


def signs(preferences: np.ndarray) -> dict[str, tuple[int, int, float]]:
    """By factor of two levels or more: how many of its levels prefer the variant, how many prefer either, and the p of
    the exact two-sided sign test over them; ties are left out.

    Shape:
        preferences: (listener, song, run), 1 where the variant was preferred and 0 where its reference was.
    """
    found = {}
    for name, means in _by_level(preferences):
        ups, downs = int((means > 0.5 + 1e-9).sum()), int((means < 0.5 - 1e-9).sum())
        found[name] = (ups, ups + downs, binomial(ups, ups + downs))
    return found


def binomial(successes: int, trials: int) -> float:
    """The exact two-sided p of a fair coin; 1 without a trial."""
    return min(1.0, 2 * float(bdtr(min(successes, trials - successes), trials, 0.5)))


def preferred(preferences: np.ndarray) -> float:
    """The p of a preference that is to hold for other listeners, songs and runs: the largest of the exact sign tests
    over those that are a sample; NaN for one listener."""
    return max(p for _, _, p in signs(preferences).values()) if len(preferences) > 1 else NAN


def _by_level(table: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The mean of each level of each factor that has two or more."""
    for axis, name in enumerate(FACTORS):
        if table.shape[axis] > 1:
            yield name, table.mean(axis=tuple(other for other in range(3) if other != axis))


def passed_over(ratings: Sequence[float]) -> float:
    """The share of ratings of the hidden reference below `LEAST` [ITU-R BS.1534-3, 4.1.2].

    >>> passed_over([100, 95, 80, 90])
    0.25
    """
    return sum(rating < LEAST for rating in ratings) / len(ratings) if len(ratings) else 0.0


LEAST, SHARE = 90.0, 0.15
"""A listener who rates the hidden reference below the first in more than this share of the items is left out."""
