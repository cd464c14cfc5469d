"""What is said of all arms of a study at once, over the targets and tracks that every one of them has."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from reports.contract import Study
from reports.findings import Comparison
from reports.overlap import Arm
from reports.statistics import factorial, groups, systems, tagging


def tables(main: Comparison, scored: Mapping[str, Arm]) -> dict[str, Arm]:
    """The arms that were compared, on what all of them have in every run."""
    made = {name for c in main.contrasts if c.primary.p == c.primary.p for name in (c.variant, c.reference)}
    used = {row.variant: scored[row.variant] for row in main.rows if row.variant in made and row.variant in scored}
    shared = set.intersection(*(set(arm.complete) for arm in used.values())) if used else set()
    return {name: arm.over(shared) for name, arm in used.items()} if shared else {}


def all_systems(main: Comparison, arms: Mapping[str, Arm], clusters: Mapping[str, str]) -> systems.Systems | None:
    """All pairs of models as given; None where runs are the sample, or systems or tracks are few."""
    items = {name: arm.items for name, arm in arms.items() if arm.items is not None}
    if main.test != "item_means" or not items:
        return None
    units = {name: groups.collapse(table, clusters) for name, table in items.items()}
    columns = next(iter(units.values())).columns
    means = {name: table[columns].to_numpy(float).mean(axis=0) for name, table in units.items()}
    return systems.compare(means, main.style.higher_is_better, main.alpha, "group" if clusters else "track")


def factor_effects(
    study: Study,
    main: Comparison,
    arms: Mapping[str, Arm],
    clusters: Mapping[str, str],
    areas: Mapping[str, tagging.Influence],
) -> tuple[factorial.Effect, ...]:
    """Main effects and interactions of a full factorial, each of whose cells has the runs that the test needs."""
    factors = [factor.name for factor in study.declaration.factors]
    levels = {v.name: {name: v.levels.get(name, "") for name in factors} for v in study.variants}
    weights = factorial.plan(levels, {name: levels.get(main.reference, {}).get(name, "") for name in factors})
    if not weights or levels.keys() != arms.keys():
        return ()
    if main.test != "item_means" and min(len(arm.runs) for arm in arms.values()) < 2:
        return ()
    if main.test in tagging.OVER_CLIPS and arms.keys() <= areas.keys():
        over = {name: areas[name].scores for name in arms}
        return _over_items(weights, over, areas[main.reference].sizes, tagging.OVER_CLIPS[main.test], main.alpha)
    items = {name: arm.items for name, arm in arms.items() if arm.items is not None}
    if len(items) < len(arms) or main.item != "track" or main.groups == 1:
        runs = {name: np.array(list(arm.runs.values())) for name, arm in arms.items()}
        return factorial.effects(weights, runs, main.test, main.alpha) if main.test != "item_means" else ()
    units: dict[str, pd.DataFrame] = {name: groups.collapse(table, clusters) for name, table in items.items()}
    sizes = groups.sizes(list(next(iter(items.values())).columns), clusters)
    return _over_items(weights, units, sizes, main.test, main.alpha)


def _over_items(
    weights: Mapping[str, Mapping[str, float]],
    units: Mapping[str, pd.DataFrame],
    sizes: Mapping[str, int] | None,
    test: str,
    alpha: float,
) -> tuple[factorial.Effect, ...]:
    first = next(iter(units.values()))
    alike = all(table.index.equals(first.index) for table in units.values())
    scores = {name: table[first.columns].to_numpy(float) for name, table in units.items()}
    paired = test if alike or test != "paired_crossed" else "crossed"
    return factorial.effects(weights, scores, paired, alpha, groups.shares(first.columns, sizes))
