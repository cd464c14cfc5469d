"""Corrections of p values for a family of tests.

A p that could not be computed (NaN) still counts in the family: the comparison was planned.
"""

import contextlib
import gc
import math
from collections.abc import Iterator, Sequence

from statsmodels.stats.multitest import multipletests

from reports.contract import CORRECTIONS

METHODS = {"bonferroni": "bonferroni", "holm": "holm", "bh": "fdr_bh"}
"""What statsmodels calls a correction."""


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
    known = [value for value in p if not math.isnan(value)]
    if method == "none" or not known:
        return [float(value) for value in p]
    padded = [*known, *[1.0] * (max(len(p), family or 0) - len(known))]
    with _little_to_collect() if method == "holm" else contextlib.nullcontext():
        corrected = iter(multipletests(padded, method=METHODS[method])[1].round(15).tolist())
    return [math.nan if math.isnan(value) else next(corrected) for value in p]


@contextlib.contextmanager
def _little_to_collect() -> Iterator[None]:
    """In Holm's correction statsmodels collects garbage, a fifth of a second of a core where torch is loaded: what is
    there already is left out of it. What the caller has frozen stays so, and is counted for that: 30 ms."""
    before = gc.get_freeze_count()
    gc.freeze()
    try:
        yield
    finally:
        if not before:
            gc.unfreeze()


def stars(p: float) -> str:
    """`*` below .05, `**` below .01, `***` below .001, of a corrected p; nothing for NaN.

    >>> stars(0.02), stars(0.2)
    ('*', '')
    """
    return "".join("*" for limit in (0.05, 0.01, 0.001) if p < limit)
