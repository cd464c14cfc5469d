"""Main effects and interactions of a full factorial as contrasts with intervals.

A main effect is the mean over all combinations of the other factors of level - reference level; an interaction is the
difference of two such differences. Every run of the study counts in it, so a main effect of a 2 x 2 x 2 has half the
standard error of one cell against another. Each arm keeps its own variances: with equal weights their sum is what
pooling would give, and Satterthwaite's degrees of freedom add up over the arms.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reports.statistics import groups, half_pooled, seed_paired
from reports.statistics.corrections import correct
from reports.statistics.hypothesis_tests import Result, from_se, variance


@dataclass(frozen=True)
class Effect:
    """One main effect or interaction.

    Attributes:
        name: `loss: L2 - L1`, or with a second factor `... x mask: ...`.
        result: its test; the interval is pointwise.
        p_corrected, low, high: Bonferroni over all effects of the study, and the interval that belongs to it.
    """

    name: str
    result: Result
    p_corrected: float
    low: float
    high: float


def plan(levels: Mapping[str, Mapping[str, str]], reference: Mapping[str, str]) -> dict[str, dict[str, float]]:
    """The weights of the arms in each effect, by its name; empty where the arms are no full factorial.

    Args:
        levels: variant -> factor -> level.
        reference: factor -> the level that others are compared with.
    """
    factors = {name: list(dict.fromkeys(each[name] for each in levels.values())) for name in reference}
    factors = {name: found for name, found in factors.items() if len(found) > 1}
    cells = {tuple(each[name] for name in factors) for each in levels.values()}
    if len(factors) < 2 or not math.prod(map(len, factors.values())) == len(cells) == len(levels):
        return {}
    steps = {
        name: [(f"{name}: {level} − {reference[name]}", level) for level in found if level != reference[name]]
        for name, found in factors.items()
    }
    wanted = [{name: step} for name, found in steps.items() for step in found]
    wanted += [
        {a: one, b: other}
        for a, b in itertools.combinations(factors, 2)
        for one, other in itertools.product(steps[a], steps[b])
    ]
    return {
        " × ".join(words for words, _ in each.values()): _weights(levels, each, reference, factors) for each in wanted
    }


def _weights(
    levels: Mapping[str, Mapping[str, str]],
    step: Mapping[str, tuple[str, str]],
    reference: Mapping[str, str],
    factors: Mapping[str, Sequence[str]],
) -> dict[str, float]:
    rest = math.prod(len(found) for name, found in factors.items() if name not in step)
    out = {}
    for variant, of in levels.items():
        signs = [
            1 if of[name] == level else -1 if of[name] == reference[name] else 0 for name, (_, level) in step.items()
        ]
        if math.prod(signs):
            out[variant] = math.prod(signs) / rest
    return out


def effects(
    weights: Mapping[str, Mapping[str, float]],
    arms: Mapping[str, np.ndarray],
    test: str,
    alpha: float,
    share: np.ndarray | None = None,
) -> tuple[Effect, ...]:
    """The test of each effect, in the way of the study's primary test.

    Args:
        arms: variant -> its scores.
        test: `item_means` takes items alone as a sample, `paired_crossed` pairs equal seeds (of arms that have the
            same, in one order), any other takes runs as independent.
        share: what each item counts in the mean.

    Shape:
        an arm: (run,), or (run, item) with the items of all the same.
    """
    found = {name: linear({arm: arms[arm] for arm in each}, each, test, alpha, share) for name, each in weights.items()}
    corrected = correct([result.p for result in found.values()], "bonferroni")
    out = []
    for (name, result), p in zip(found.items(), corrected, strict=True):
        again = from_se("", "", result.difference, result.se, result.df, result.n, alpha=alpha / len(found))
        out.append(Effect(name, result, p, again.low, again.high))
    return tuple(out)


def linear(
    arms: Mapping[str, np.ndarray], weights: Mapping[str, float], test: str, alpha: float, share: np.ndarray | None
) -> Result:
    """The test of a weighted sum of arms; arguments as in `effects`."""
    counts = [len(scores) for scores in arms.values()]
    n = (min(counts), max(counts))
    if next(iter(arms.values())).ndim == 1:
        parts = [
            (weights[name] ** 2 * variance(runs.tolist()) / len(runs), len(runs) - 1.0) for name, runs in arms.items()
        ]
        return _tested(sum(weights[name] * float(runs.mean()) for name, runs in arms.items()), parts, 0.0, n, 0, alpha)
    items = next(iter(arms.values())).shape[1]
    share = np.full(items, 1 / items) if share is None else share
    over_items = sum((weights[name] * scores.mean(axis=0) for name, scores in arms.items()), np.zeros(items))
    item, deep = groups.scatter(over_items, share) / items, groups.degrees(share)
    difference = float(over_items @ share)
    if test == "item_means":
        return _tested(difference, [(item, deep)], 0.0, n, items, alpha)
    if test == "paired_crossed":
        tables = {"": sum((weights[name] * scores for name, scores in arms.items()), np.zeros((n[0], items)))}
        squared = {"": 1.0}
    else:
        tables, squared = dict(arms), {name: weight**2 for name, weight in weights.items()}
    runs, residuals = [], []
    for name, table in tables.items():
        found = half_pooled.of_arms([(table, table)], [share])
        dof = len(table) - 1.0
        runs.append((squared[name] * float(found.run[0]) / len(table), dof))
        residuals.append((squared[name] * float(found.residual[0]) / (len(table) * items), dof * deep))
    floor = sum(part for part, _ in residuals)
    parts = [*runs, (max(item, floor), deep), *residuals]
    total = max(sum(part for part, _ in runs) + item - floor, floor)
    result = _tested(difference, parts, total, n, items, alpha)
    if test == "paired_crossed" and n[0] < seed_paired.FEW and result.df > n[0] - 1:
        return _tested(difference, [(total, n[0] - 1.0)], total, n, items, alpha)
    return result


def _tested(
    difference: float, parts: list[tuple[float, float]], total: float, n: tuple[int, int], items: int, alpha: float
) -> Result:
    """A difference with the sum of variances as its own, or `total`, and Satterthwaite's degrees of freedom."""
    total = total or sum(part for part, _ in parts)
    spread = sum(part**2 / df for part, df in parts if part > 0 and df > 0)
    df = total**2 / spread if spread > 0 else math.nan
    return from_se("factorial", "", difference, math.sqrt(total), df, n, alpha=alpha, items=items)
