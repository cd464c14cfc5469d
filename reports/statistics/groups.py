"""Items that come in groups (clips of one song, songs of one artist): the groups are the sample.

Scores of one group are alike, so many items of few groups tell little of other groups. Every test over items takes the
means of groups in their place. A group counts in the mean with its share of the items, so that the difference stays
that of all items; its variance is the bias-reduced cluster-robust one, with degrees of freedom that are fewer where
groups are of unequal size [Bell and McCaffrey 2002, with a correlation of one half within groups].
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from reports.statistics.hypothesis_tests import variance

WITHIN = 0.5
"""Correlation within groups that the degrees of freedom are computed for."""


def of_items(rows: pd.DataFrame, item: str = "track") -> dict[str, str]:
    """item -> group, of a table with a column `group`; empty where no item shares a group with another."""
    if "group" not in rows or not (rows["group"] != "").any():
        return {}
    pairs = rows[[item, "group"]].drop_duplicates(item)
    named = pairs[(pairs[item] != "") & (pairs["group"] != "")]
    return dict(zip(named[item], named["group"], strict=True)) if named["group"].duplicated().any() else {}


def collapse(table: pd.DataFrame, groups: Mapping[str, str]) -> pd.DataFrame:
    """A table (run x item) as (run x group), each the mean over its items; one without is its own group."""
    names = [groups.get(item, f"{item} alone") for item in table.columns]
    codes, kept = pd.factorize(np.array(names, object))
    sums = np.zeros((len(table), len(kept)))
    np.add.at(sums.T, codes, table.to_numpy(float).T)
    return pd.DataFrame(sums / np.bincount(codes), index=table.index, columns=kept)


def sizes(items: Sequence[str], groups: Mapping[str, str]) -> dict[str, int]:
    """How many of the items each group has."""
    names = pd.Series([groups.get(item, f"{item} alone") for item in items])
    return {str(name): int(many) for name, many in names.value_counts(sort=False).items()}


def shares(groups: Sequence[str], counts: Mapping[str, int] | None) -> np.ndarray:
    """What each group counts in the mean; equal parts where nothing is told of their sizes."""
    many = np.array([counts[name] if counts else 1 for name in groups], float)
    return many / many.sum() if len(many) else many


def scatter(values: np.ndarray, share: np.ndarray) -> float:
    """Variance of groups about their weighted mean, so that this over their number is the variance of that mean.

    Shape:
        values, share: (group,). With equal shares it is the sample variance.
    """
    if np.ptp(share) == 0:
        return variance(values.tolist())
    if np.ptp(values) <= 1e-13 * np.abs(values).max():
        return 0.0
    left = values - share @ values
    return float((factors(share) * left**2).sum() / (len(share) - 1))


def factors(share: np.ndarray) -> np.ndarray:
    """What the squared residual of each group counts; all one for equal shares."""
    many = len(share)
    return np.asarray(many * (many - 1) * share**2 / (1 - share))


def degrees(share: np.ndarray) -> float:
    """Degrees of freedom of `scatter`: the number of groups less one, and fewer where their shares are unequal."""
    if np.ptp(share) == 0:
        return len(share) - 1.0
    spread = WITHIN + (1 - WITHIN) * share.min() / share  # variance of a group's mean
    a, s = share**2 / (1 - share), float((share**2 / (1 - share)).sum())
    trace = float((spread * (a - 2 * a * share + s * share**2)).sum())
    alpha, omega = a * np.sqrt(spread), share * np.sqrt(spread)
    aa, aw, ww = float(alpha @ alpha), float(alpha @ omega), float(omega @ omega)
    diagonal = a * spread
    squared = float((diagonal**2).sum() + 2 * (diagonal * (s * omega**2 - 2 * alpha * omega)).sum())
    squared += 2 * aw**2 + 2 * aa * ww - 4 * s * aw * ww + s**2 * ww**2
    return trace**2 / squared
