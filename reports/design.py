"""The design of a study as its tables show it: runs, tracks, family and spread, and what it could have found."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from reports.findings import Comparison, Contrast, Power
from reports.statistics import crossed
from reports.statistics.half_pooled import of_arms
from reports.statistics.power import (
    OVER_ITEMS,
    Design,
    Spread,
    detectable,
    expected_errors,
    fewest,
    nice_differences,
    reference_runs,
)

Tables = Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]


def of_study(main: Comparison, tables: Tables) -> tuple[Power | None, Spread, list[Design]]:
    """What the primary comparison could have shown, the spread of its scores, and one design per reference.

    Args:
        tables: variant -> its table (seed x track) and its reference's, of contrasts that were made.
    """
    made = [c for c in main.contrasts if not c.refused and c.primary.p == c.primary.p]
    if main.test in ("item_means", "delong"):
        return (_of_items(main, made, tables) if main.test == "item_means" else None), Spread(0.0), []
    spread, blocks = _spread(main, made, tables), _blocks(main, made)
    if not blocks or not (spread.run > 0 or spread.residual > 0):
        return None, spread, []
    first = max(blocks, key=lambda block: len(block.runs))
    each = int(np.median(first.runs))
    least = detectable(*expected_errors(first, spread), first.alpha)
    needed = []
    for difference in nice_differences(least):
        runs = fewest(difference, lambda n: expected_errors(first.with_runs(n), spread), first.alpha)
        needed.append((difference, runs))
    sd = math.hypot(spread.run, spread.residual / math.sqrt(max(first.items, 1)))
    more = reference_runs(first) if len(first.runs) > 2 and first.test not in ("paired", "paired_crossed") else 0
    more = more if more > 1.3 * first.reference_runs else 0
    return Power("run", each, sd, first.alpha, least, tuple(needed), more), spread, blocks


def _of_items(main: Comparison, made: list[Contrast], tables: Tables) -> Power | None:
    """The same where items are the sample: the spread is that of a difference over items."""
    sizes = [(c.primary.se * math.sqrt(c.primary.items), c.primary.items) for c in made if c.primary.se > 0]
    if not sizes:
        return None
    sd, items = float(np.median([sd for sd, _ in sizes])), int(np.median([items for _, items in sizes]))
    alpha = _level(main)
    least = detectable(sd / math.sqrt(items), items - 1, alpha)
    needed = [
        (difference, fewest(difference, lambda n: (sd / math.sqrt(n), n - 1.0), alpha, limit=100_000))
        for difference in nice_differences(least)
    ]
    return Power(main.item, items, sd, alpha, least, tuple(needed))


def _level(main: Comparison) -> float:
    return main.alpha if main.correction == "none" else main.alpha / main.family


def _blocks(main: Comparison, made: list[Contrast]) -> list[Design]:
    """One design per reference; the family is filled up with contrasts like those that were made."""
    blocks: dict[str, list[Contrast]] = {}
    for contrast in made:
        blocks.setdefault(contrast.reference, []).append(contrast)
    items = main.items if main.test in OVER_ITEMS else 0
    return [
        Design(main.test, tuple(c.primary.n[0] for c in block), block[0].primary.n[1], items, _level(main))
        for block in blocks.values()
        if min(min(c.primary.n) for c in block) > 1
    ]


def _spread(main: Comparison, made: list[Contrast], tables: Tables) -> Spread:
    """Variance components pooled over all arms, from mean squares; a negative one is zero."""
    if main.test in OVER_ITEMS:
        pairs = [crossed.align(*tables[c.variant])[:2] for c in made if c.variant in tables]
        pairs = [(x, y) for x, y in pairs if min(len(x), len(y)) > 1 and x.shape[1] > 1]
        if pairs:
            found = of_arms(pairs)
            residual = float(np.mean([found.residual, found.reference_residual]))
            run = float(np.mean([found.run, found.reference_run]) - np.mean(residual / found.items))
            both = 1 / found.runs + 1 / found.reference_runs
            cell = float(np.mean(found.item - residual * both)) / 2
            return Spread(*(math.sqrt(max(0.0, part)) for part in (run, cell, residual)))
    spread = [(row.sd**2, len(row.runs) - 1) for row in main.rows if not math.isnan(row.sd)]
    df = sum(dof for _, dof in spread)
    return Spread(math.sqrt(sum(var * dof for var, dof in spread) / df) if df else 0.0)
