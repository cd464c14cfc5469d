"""Corrections of p values for a family of tests.

A p that could not be computed (NaN) still counts in the family: the comparison was planned.
"""

from collections.abc import Sequence

import numpy as np

from reports.contract import CORRECTIONS


def correct(p: Sequence[float], method: str, family: int | None = None) -> list[float]:
    """Corrected p values, in the order given.

    Args:
        p: p values; NaN where a test was not possible.
        method: one of `CORRECTIONS`.
        family: how many tests were planned, at least `len(p)`; default `len(p)`.

    >>> correct([0.01, 0.04, 0.03], "bonferroni", family=6)
    [0.06, 0.24, 0.18]
    >>> correct([0.01, 0.04, 0.03], "holm")
    [0.03, 0.06, 0.06]
    """
    if method not in CORRECTIONS:
        raise ValueError(f"unknown correction {method!r}; choose from {', '.join(CORRECTIONS)}")
    size = max(len(p), family or 0)
    values = np.asarray(p, dtype=float)
    out = np.full(len(values), np.nan)
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.argsort(values[known], kind="stable")]
    ranked = values[order]
    ranks = np.arange(1, len(order) + 1)
    if method == "bonferroni":
        ranked = ranked * size
    elif method == "holm":
        ranked = np.maximum.accumulate(ranked * (size - ranks + 1))
    elif method == "bh":
        ranked = np.minimum.accumulate((ranked * size / ranks)[::-1])[::-1]
    out[order] = np.minimum(ranked, 1.0)
    return [float(round(value, 15)) for value in out]


def stars(p: float) -> str:
    """`*` below .05, `**` below .01, `***` below .001, of a corrected p; nothing for NaN.

    >>> stars(0.02), stars(0.2)
    ('*', '')
    """
    return "".join("*" for limit in (0.05, 0.01, 0.001) if p < limit)
