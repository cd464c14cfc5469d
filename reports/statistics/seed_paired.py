"""The seeds x items t of the differences of equal seeds, for arms whose equal seeds share trainings or luck.

With d the differences of a variant and its reference (seed, item),

    Var(mean d) = (seed MS + item MS - residual MS) / (seeds items), not less than its residual part.

What equal seeds have in common cancels in d. One contrast has seeds - 1 degrees of freedom between runs, few of which
look like many where the seed mean square is small by chance. Where a reference has `POOL` variants or more, the
differences are therefore split: variant - mean of the variants, whose mean squares are moderated as in half_pooled.py,
and mean of the variants - reference, which is the same in every contrast. The two add up to the plain mean squares of
the differences on average over the variants. With fewer variants one that varies more would hide in their mean, so
each contrast stands alone, and below `FEW` seeds it has the degrees of freedom of its seeds alone.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pandas as pd

from reports.statistics import groups
from reports.statistics.crossed import align
from reports.statistics.half_pooled import Errors, MeanSquares, errors
from reports.statistics.hypothesis_tests import Result, from_se, not_possible

POOL = 5
"""Variants of one reference from which on their differences are pooled."""
FEW = 4
"""Seeds below which a contrast that stands alone has the degrees of freedom of its seeds."""


def family(
    arms: Mapping[str, tuple[pd.DataFrame, pd.DataFrame]],
    alpha: float = 0.05,
    item: str = "track",
    sizes: Mapping[str, Mapping[str, int] | None] | None = None,
) -> dict[str, Result]:
    """The test of several variants that share a reference, by variant; arguments as in `crossed.family`."""
    label = f"seed-paired seeds x {item}s t"
    able: dict[tuple, dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]] = {}
    out = {}
    for name, (a, b) in arms.items():
        seeds = a.index.intersection(b.index)
        x, y, share, left_out = align(a.loc[seeds], b.loc[seeds], (sizes or {}).get(name))
        if len(x) < 2 or x.shape[1] < 2:
            what = f"{item}s that every run of both arms has" if len(x) > 1 else "seeds that both arms have"
            out[name] = not_possible("paired_crossed", label, (len(x), len(y)), x.shape[1], f"needs two {what}")
            continue
        alike = (tuple(seeds), tuple(a.columns.intersection(b.columns, sort=False)), tuple(left_out))
        able.setdefault(alike, {})[name] = (x, y, share)
    for block in able.values():
        together = [list(block)] if len(block) >= POOL else [[name] for name in block]
        for names in together:
            out |= _tested({name: block[name] for name in names}, label, alpha)
    return {name: out[name] for name in arms}


def _tested(
    block: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]], label: str, alpha: float
) -> dict[str, Result]:
    first = next(iter(block.values()))
    scores, share = np.stack([*(x for x, _, _ in block.values()), first[1]]), first[2]
    found = errors_of(mean_squares(scores, share))
    n, items = (scores.shape[1],) * 2, scores.shape[2]
    out = {}
    lasting = np.broadcast_to(found.lasting, found.se.shape)
    for (name, (x, y, _)), se, df, kept in zip(block.items(), found.se, found.df, lasting, strict=True):
        difference = float((x - y).mean(axis=0) @ share)
        result = from_se("paired_crossed", label, difference, float(se), float(df), n, alpha=alpha, items=items)
        out[name] = replace(result, lasting=float(kept))
    return out


def errors_of(squares: MeanSquares) -> Errors:
    """Standard errors and degrees of freedom of contrasts whose mean squares `mean_squares` took."""
    found = errors(squares)
    if squares.run.shape[-1] >= POOL or squares.reference_runs.max() >= FEW:
        return found
    return replace(found, df=np.minimum(found.df, squares.reference_runs - 1))


def mean_squares(scores: np.ndarray, share: np.ndarray) -> MeanSquares:
    """The two parts of the differences of k variants and their reference, as the variant's and the reference's.

    Shape:
        scores: (..., k + 1, seed, item), the reference last; share: (item,), what each item counts in the mean.
    """
    many, (seeds, items) = scores.shape[-3] - 1, scores.shape[-2:]
    own, common, weight = split(scores, -3)
    tiny = 1e-13 * max(float(np.abs(scores).max()), 1e-300)
    (run, residual), (of_all, of_all_residual) = (_parts(part, share, tiny) for part in (own, common))
    over_items = (scores[..., :-1, :, :] - scores[..., -1:, :, :]).mean(axis=-2)
    left = over_items - (over_items @ share)[..., None]
    item = (groups.factors(share) * np.where(np.ptp(over_items, axis=-1)[..., None] <= tiny, 0, left) ** 2).sum(axis=-1)
    counts = np.full(many, float(seeds))
    return MeanSquares(
        counts,
        run,
        residual,
        counts[:1],
        of_all,
        of_all_residual,
        np.full(many, items),
        item / (items - 1),
        np.full(many, groups.degrees(share)),
        (counts - 1) * (weight or 1.0),
    )


def split(scores: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Variants less their mean, their mean less the reference, and the share of a variant's own variance in the first.

    Where there are fewer than `POOL` variants: zero, each variant less the reference, and zero.

    Args:
        axis: of the arms, the reference last.
    """
    many = scores.shape[axis] - 1
    variants, reference = np.split(scores, [many], axis=axis)
    if many < POOL:
        return np.zeros_like(variants), variants - reference, 0.0
    centre = variants.mean(axis=axis, keepdims=True)
    return variants - centre, centre - reference, (many - 1) / many


def _parts(table: np.ndarray, share: np.ndarray, tiny: float) -> tuple[np.ndarray, np.ndarray]:
    """Variance between run means, and run-by-item mean square; what is as small as rounding is zero."""
    runs, items = table @ share, table.mean(axis=-2)
    left = table - runs[..., None] - items[..., None, :] + runs.mean(axis=-1)[..., None, None]
    left = np.where(np.abs(left).max(axis=(-2, -1), keepdims=True) <= tiny, 0.0, left)
    dof = (table.shape[-2] - 1) * (table.shape[-1] - 1)
    run = np.where(np.ptp(runs, axis=-1) <= tiny, 0.0, runs.var(axis=-1, ddof=1))
    return run, (groups.factors(share) * left**2).sum(axis=(-2, -1)) / dof
