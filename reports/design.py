"""The design of a study as its tables show it: runs, tracks, family and spread, and what it could have found."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from reports.findings import Comparison, Contrast, Power
from reports.inputs.tables import item_scores, read_predictions, read_scores, run_scores, select, track_scores
from reports.statistics import crossed
from reports.statistics.calibration import Calibration, simulate
from reports.statistics.half_pooled import of_arms
from reports.statistics.hypothesis_tests import variance
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
from reports.statistics.sequential_design import expected as expected
from reports.statistics.tagging import OVER_CLIPS, influences

Tables = Mapping[str, tuple[pd.DataFrame, pd.DataFrame]]


def of_study(main: Comparison, tables: Tables) -> tuple[Power | None, Spread, list[Design]]:
    """What the primary comparison could have shown, the spread of its scores, and one design per reference.

    Args:
        tables: variant -> its table (seed x track; pseudo-values of clips for AUCs) and its reference's, of contrasts
            that were made.
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
    return Power("group" if main.groups else main.item, items, sd, alpha, least, tuple(needed))


def _level(main: Comparison) -> float:
    return main.alpha if main.correction == "none" else main.alpha / main.family


def _blocks(main: Comparison, made: list[Contrast]) -> list[Design]:
    """One design per reference; the family is filled up with contrasts like those that were made."""
    blocks: dict[str, list[Contrast]] = {}
    for contrast in made:
        blocks.setdefault(contrast.reference, []).append(contrast)
    test = OVER_CLIPS.get(main.test, main.test)
    items = 0
    if test in OVER_ITEMS:
        items = main.groups or main.items or max((contrast.primary.items for contrast in made), default=0)
    return [
        Design(test, tuple(c.primary.n[0] for c in block), block[0].primary.n[1], items, _level(main))
        for block in blocks.values()
        if min(min(c.primary.n) for c in block) > 1
    ]


def _spread(main: Comparison, made: list[Contrast], tables: Tables) -> Spread:
    """Variance components pooled over all arms, from mean squares; a negative one is zero."""
    test = OVER_CLIPS.get(main.test, main.test)
    if test in OVER_ITEMS:
        pairs = [crossed.align(*tables[c.variant])[:2] for c in made if c.variant in tables]
        pairs = [(x, y) for x, y in pairs if min(len(x), len(y)) > 1 and x.shape[1] > 1]
        if pairs and test == "paired_crossed":
            return _of_differences([(x, y) for x, y in pairs if len(x) == len(y)])
        if pairs:
            return _components(pairs)
    spread = [(row.sd**2, len(row.runs) - 1) for row in main.rows if not math.isnan(row.sd)]
    df = sum(dof for _, dof in spread)
    return Spread(math.sqrt(sum(var * dof for var, dof in spread) / df) if df else 0.0)


def _components(pairs: list[tuple[np.ndarray, np.ndarray]]) -> Spread:
    found = of_arms(pairs)
    residual = float(np.mean([found.residual, found.reference_residual]))
    run = float(np.mean([found.run, found.reference_run]) - np.mean(residual / found.items))
    both = 1 / found.runs + 1 / found.reference_runs
    cell = float(np.mean(found.item - residual * both)) / 2
    return Spread(*(math.sqrt(max(0.0, part)) for part in (run, cell, residual)))


def _of_differences(pairs: list[tuple[np.ndarray, np.ndarray]]) -> Spread:
    """The spread of arms whose seeds were independent and whose differences vary as these do from seed to seed."""
    if not pairs:
        return Spread(0.0)
    found = of_arms([(x - y, np.zeros_like(x)) for x, y in pairs])
    residual = float(np.mean(found.residual))
    run = float(np.mean(found.run) - np.mean(residual / found.items))
    cell = float(np.mean(found.item - residual / found.runs))
    return Spread(*(math.sqrt(max(0.0, part) / 2) for part in (run, cell, residual)))


@dataclass(frozen=True)
class Planned:
    """What a study that has not run can find: see `Power` and `Calibration`; NaN and None where it cannot be told."""

    detectable: float
    reference_runs: int
    calibration: Calibration | None


def planned(
    test: str, blocks: Sequence[int], seeds: int, items: int, spread: Spread, alpha: float, level: float
) -> Planned:
    """What a study of so many seeds per variant can find.

    Args:
        test: the declared one; empty for the default of such scores.
        items: tracks, or clips; 0 where a run has one score.
        blocks: how many variants each reference is compared with.
        alpha: level of the family; level: of one contrast after the correction.
    """
    if seeds < 2 or not (spread.run > 0 or spread.residual > 0):
        return Planned(math.nan, 0, None)
    test = OVER_CLIPS.get(test, test) or ("crossed" if items else "half_pooled")
    designs = [Design(test, (seeds,) * many, seeds, items, level) for many in blocks if many]
    first = max(designs, key=lambda block: len(block.runs))
    least = detectable(*expected_errors(first, spread), level)
    more = reference_runs(first) if len(first.runs) > 2 else 0
    return Planned(least, more if more > 1.3 * seeds else 0, simulate(designs, spread, alpha, least))


def spread_of(path: Path, metric: str, target: str) -> tuple[Spread, int, int] | None:
    """Variance components of a score table, its tracks, and degrees of freedom between runs; None with too few runs.

    An AUC's are those of the predictions beside the table, and its tracks are clips.
    """
    by_track = track_scores(select(read_scores(path), metric, target))
    runs = [list(each.values()) for each in run_scores(by_track).values() if len(each) > 1]
    df = sum(len(each) - 1 for each in runs)
    if not df:
        return None
    predictions = read_predictions(path.with_name("predictions.parquet")) if metric == "roc_auc" else None
    if predictions is not None:
        tables = [area.scores for area in influences(predictions, target).values()]
    else:
        tables = [table.dropna(axis=1) for table in item_scores(by_track).values()]
    tables = [table for table in tables if len(table) > 1 and table.shape[1] > 1]
    if len(tables) > 1:
        aligned = [crossed.align(table, tables[0])[:2] for table in tables[1:]]
        if pairs := [(x, y) for x, y in aligned if x.shape[1] > 1]:
            return _components(pairs), max(x.shape[1] for x, _ in pairs), df
    return Spread(math.sqrt(sum((len(each) - 1) * variance(each) for each in runs) / df)), 0, df
