"""What the primary test does in a study of this very design: simulated, with the study's own spread.

Scores are normal: run, variant x item and residual parts with the standard deviations that the study's tables give.
The studies have no effect for error rates and coverage, and one effect for power. Besides arms that are alike, each
design is simulated with one arm that varies three times as much, or a third as much, between runs: few runs cannot
show that this is not so.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats as scipy_stats

from reports.statistics import seed_paired
from reports.statistics.half_pooled import Errors, MeanSquares, errors, p_values, pooled_errors
from reports.statistics.power import OVER_ITEMS, Design, Spread

SIMULATED = ("crossed", "half_pooled", "welch", "student", "pooled", "paired", "paired_crossed")
"""Tests that are simulated; the others have no closed form and would take minutes."""
UNEQUAL = {
    "the runs of one variant differ three times as much as those of the others": ("variant", 3.0),
    "the runs of half of the variants differ three times as much as those of the others": ("half", 3.0),
    "the runs of the reference differ three times as much as those of the variants": ("reference", 3.0),
    "the runs of the reference differ a third as much as those of the variants": ("reference", 1 / 3),
}
SEED = 20_261_125


@dataclass(frozen=True)
class Calibration:
    """Rates of the primary test in simulated studies of one design, as shares.

    Attributes:
        studies: how many were simulated per case.
        family: contrasts that the level is for.
        level: wanted rate of studies with a false positive.
        false_positives: studies without an effect in which some contrast is called significant.
        coverage: of the pointwise 95 % interval of one contrast.
        difference, power: share of contrasts with this true difference that are called significant.
        worst: the largest false-positive rate with unequal arms; worst_case: which arms, in words.
        least_coverage, least_case: the same of the least coverage.
    """

    studies: int
    family: int
    level: float
    false_positives: float
    coverage: float
    difference: float
    power: float
    worst: float
    worst_case: str
    least_coverage: float
    least_case: str


def draw(
    design: Design, spread: Spread, studies: int, rng: np.random.Generator, times: Sequence[float] = ()
) -> tuple[np.ndarray, MeanSquares, list[np.ndarray]]:
    """Differences, mean squares and run means of studies without an effect.

    Args:
        times: by arm, the reference last, what its run and residual parts are multiplied with; default 1.

    Returns:
        differences (study, variant), mean squares, and of each arm the run means (study, run), the reference last.
    """
    counts = [*design.runs, design.reference_runs]
    scale = np.asarray(times or [1.0] * len(counts))
    deep = design.items if design.test in OVER_ITEMS else 0
    cells = max(design.items, 1)
    means, residuals, columns = [], [], []
    for n, k in zip(counts, scale, strict=True):
        own = rng.normal(0, spread.residual * k / n**0.5, (studies, deep)) if deep else np.zeros((studies, 1))
        item = own + rng.normal(0, spread.cell, own.shape) if deep else own
        noise = rng.normal(0, spread.residual * k / cells**0.5, (studies, n))
        if deep:  # what the runs' residuals have in common is in `own`
            noise -= noise.mean(axis=1, keepdims=True)
        run = rng.normal(0, spread.run * k, (studies, n)) + noise
        freedom = (n - 1) * max(deep - 1, 1)
        residuals.append(
            (spread.residual * k) ** 2 * rng.chisquare(freedom, studies) / freedom if deep else 0 * run[:, 0]
        )
        means.append(run + item.mean(axis=1, keepdims=True))
        columns.append(item)
    spreads = [arm.var(axis=1, ddof=1) for arm in means]
    item = np.stack([(arm - columns[-1]).var(axis=1, ddof=1) if deep else 0 * arm[:, 0] for arm in columns[:-1]], 1)
    squares = MeanSquares(
        np.array(counts[:-1], float),
        np.stack(spreads[:-1], 1),
        np.stack(residuals[:-1], 1),
        np.array([counts[-1]], float),
        spreads[-1][:, None],
        residuals[-1][:, None],
        np.full(len(counts) - 1, deep),
        item,
        np.full(len(counts) - 1, max(deep - 1.0, 0.0)),
    )
    centres = np.stack([arm.mean(axis=1) for arm in means], 1)
    return centres[:, :-1] - centres[:, -1:], squares, means


def errors_of(design: Design, squares: MeanSquares, means: Sequence[np.ndarray]) -> Errors:
    """Standard errors and degrees of freedom that the design's test takes."""
    if design.test in ("crossed", "half_pooled"):
        return errors(squares)
    if design.test == "paired_crossed":
        return seed_paired.errors_of(_of_differences(squares, means))
    n, m = squares.runs, squares.reference_runs
    if design.test == "paired":
        many = min(min(design.runs), design.reference_runs)
        pairs = [(arm[:, :many] - means[-1][:, :many]).var(axis=1, ddof=1) / many for arm in means[:-1]]
        return Errors(np.sqrt(np.stack(pairs, 1)), np.full(len(n), many - 1.0), np.zeros(len(n), bool))
    if design.test == "pooled":
        return pooled_errors(squares)
    a, b = squares.run / n, squares.reference_run / m
    if design.test == "student":
        df = n + m - 2
        pooled = ((n - 1) * squares.run + (m - 1) * squares.reference_run) / df
        return Errors(np.sqrt(pooled * (1 / n + 1 / m)), df, np.zeros(len(n), bool))
    return Errors(np.sqrt(a + b), (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1)), np.zeros(len(n), bool))


def _of_differences(squares: MeanSquares, means: Sequence[np.ndarray]) -> MeanSquares:
    """What `seed_paired.mean_squares` would take of the tables whose run means these are, seed by seed."""
    seeds, many = min(arm.shape[1] for arm in means), len(means) - 1
    runs = np.stack([arm[:, :seeds] for arm in means], 1)
    own, common, weight = seed_paired.split(runs, 1)
    residual = squares.residual * weight
    of_all = squares.reference_residual + (squares.residual - residual).mean(axis=1, keepdims=True)
    counts = np.full(many, float(seeds))
    return replace(
        squares,
        runs=counts,
        run=own.var(axis=-1, ddof=1),
        residual=residual,
        reference_runs=counts[:1],
        reference_run=common.var(axis=-1, ddof=1),
        reference_residual=of_all if weight else squares.residual + squares.reference_residual,
        run_df=(counts - 1) * (weight or 1.0),
    )


LARGEST = 1_000
"""Contrasts of the largest family that is simulated."""


def simulate(
    blocks: Sequence[Design], spread: Spread, level: float, difference: float, studies: int = 0
) -> Calibration | None:
    """The rates of a study whose family is made of `blocks`, each with a reference of its own; None where its test is
    not simulated, nothing varies, or the family has over LARGEST contrasts, whose simulation would take minutes.
    """
    family = sum(len(block.runs) for block in blocks)
    if not 0 < family <= LARGEST or blocks[0].test not in SIMULATED or not (spread.run > 0 or spread.residual > 0):
        return None
    size = max(len(block.runs) for block in blocks) * max(blocks[0].items, 10)
    studies = studies or int(np.clip(5e5 / size, 500, 2_000))
    alike, covered, found = _rates(blocks, spread, studies, {}, difference)
    worst, least = (alike, ""), (covered, "")
    for words, (arm, times) in UNEQUAL.items():
        if arm == "reference" or len(blocks[0].runs) > (1 if arm == "variant" else 3):
            rate, cover, _ = _rates(blocks, spread, studies, {arm: times}, difference)
            worst, least = max(worst, (rate, words)), min(least, (cover, words))
    return Calibration(studies, family, level, alike, covered, difference, found, *worst, *least)


def _rates(
    blocks: Sequence[Design], spread: Spread, studies: int, unequal: dict[str, float], difference: float
) -> tuple[float, float, float]:
    rng = np.random.default_rng(SEED)
    some = np.zeros(studies, bool)
    covered, found = [], []
    for block in blocks:
        times = [1.0] * (len(block.runs) + 1)
        times[: len(block.runs) // 2] = [unequal.get("half", 1.0)] * (len(block.runs) // 2)
        times[0], times[-1] = times[0] * unequal.get("variant", 1.0), unequal.get("reference", 1.0)
        differences, squares, means = draw(block, spread, studies, rng, times)
        each = errors_of(block, squares, means)
        p = p_values(differences, each)
        some |= (p < block.alpha).any(axis=1)
        covered.append(float(np.mean(np.abs(differences) <= scipy_stats.t.ppf(0.975, each.df) * each.se)))
        found.append(float(np.mean(p_values(differences + difference, each) < block.alpha)))
    return float(some.mean()), float(np.mean(covered)), float(np.mean(found))


def peeking(looks: Sequence[int], contrasts: int, level: float, studies: int = 4_000) -> float:
    """Share of studies without an effect in which some contrast is significant at one of several looks.

    Args:
        looks: runs per arm at each look, growing; later looks keep the runs of the earlier ones.
        level: of one contrast, at every look.
    """
    rng = np.random.default_rng(SEED)
    runs = rng.normal(0, 1, (studies, contrasts + 1, max(looks)))
    some = np.zeros(studies, bool)
    none = np.zeros((studies, contrasts))
    for many in looks:
        seen = runs[..., :many]
        spread, centre = seen.var(axis=2, ddof=1), seen.mean(axis=2)
        counts = np.full(contrasts, float(many))
        squares = MeanSquares(
            counts, spread[:, :-1], none, counts[:1], spread[:, -1:], none[:, :1], none[0], none, none[0]
        )
        some |= (p_values(centre[:, :-1] - centre[:, -1:], errors(squares)) < level).any(axis=1)
    return float(some.mean())
