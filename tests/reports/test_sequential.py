"""Boundaries, decisions and estimates of looks after every few seeds, against published tables and simulations."""

import importlib.util
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from reports.statistics import sequential
from reports.statistics.sequential import EQUIVALENT, GOING, OUT_OF_REACH, SIGNIFICANT, Standing, boundary
from reports.statistics.sequential_design import simulate, through

LOOKS = (3, 4, 6, 8, 12)


def known_variance(times: list[float], alpha: float, spending: str) -> list[float]:
    """Two-sided bounds of a z test by the recursion under test."""
    bounds: list[float] = []
    for number in range(len(times)):
        spent = [sequential.cumulative(spending, alpha, time) for time in times[: number + 1]]
        new = spent[-1] - (spent[-2] if number else 0.0)
        bounds.append(optimize.brentq(_missing, 1, 8, (bounds, times[: number + 1], new), xtol=1e-9))
    return bounds


def _missing(bound: float, bounds: list[float], times: list[float], error: float) -> float:
    return 2 * sequential.exits([*bounds, bound], times)[-1] - error


@pytest.mark.parametrize(
    "times, alpha, spending, published",
    [
        # Five equal looks, two-sided .05: Lan-DeMets bounds as the programs of Reboussin, DeMets, Kim and Lan,
        # Controlled Clinical Trials 21 (2000) 190-207, give them (also gsDesign, sfLDOF and sfLDPocock, K = 5).
        ((0.2, 0.4, 0.6, 0.8, 1.0), 0.05, "obf", (4.8769, 3.3569, 2.6803, 2.2898, 2.0310)),
        ((0.2, 0.4, 0.6, 0.8, 1.0), 0.05, "pocock", (2.4380, 2.4268, 2.4101, 2.3966, 2.3859)),
        # Four equal looks, one-sided .05: the example in the README of SeqBounds.jl (PharmCat/SeqBounds.jl).
        ((0.25, 0.5, 0.75, 1.0), 0.10, "obf", (3.74955, 2.53993, 2.01604, 1.72014)),
    ],
)
def test_known_variance_bounds_are_the_published_ones(times, alpha, spending, published) -> None:
    assert known_variance(list(times), alpha, spending) == pytest.approx(published, abs=2e-4)


def test_the_simulated_levels_of_many_runs_are_those_of_a_known_variance() -> None:
    bounds = known_variance([0.2, 0.4, 0.6, 0.8, 1.0], 0.05, "pocock")
    found = boundary(1, (20, 40, 60, 80, 100), 0.05, "pocock", "half_pooled")
    assert found.levels == pytest.approx([2 * stats.norm.sf(bound) for bound in bounds], rel=0.06)


@pytest.mark.parametrize("variants", [1, 6, 20])
def test_the_family_keeps_its_level_over_all_looks(variants: int) -> None:
    found = boundary(variants, LOOKS, 0.05 / variants, "pocock", "half_pooled")
    rate = simulate(found, [0.0] * variants, 1.5, 10_000 if variants < 20 else 4_000, seed=variants).error
    assert 0.015 < rate < 0.055


@pytest.mark.parametrize("spending", ["obf", "e"])
def test_other_spending_keeps_the_level_too(spending: str) -> None:
    found = boundary(3, LOOKS, 0.05 / 3, spending, "half_pooled")
    assert simulate(found, [0.0] * 3, None, 3_000).error < 0.055
    assert simulate(found, [3.0] * 3, None, 300).share(SIGNIFICANT) > 0.98


def test_two_deviations_are_decided_with_about_six_seeds() -> None:
    """Where all runs vary alike; a test that allows for unequal variances takes half a seed more."""
    found = simulate(boundary(1, LOOKS, 0.05, "pocock", "student"), [2.0], None, 10_000, test="student")
    assert found.seeds < 6.2 and found.share(SIGNIFICANT) > 0.97
    safe = simulate(boundary(1, LOOKS, 0.05, "pocock", "half_pooled"), [2.0], None, 4_000)
    assert found.seeds < safe.seeds < 6.9 and safe.share(SIGNIFICANT) > 0.97


@pytest.mark.parametrize("variants, arm", [(1, 0), (1, 1), (6, 0), (6, 6)])
def test_the_family_keeps_its_level_where_one_arm_varies_three_times_as_much(variants: int, arm: int) -> None:
    bounds, scale = boundary(variants, LOOKS, 0.05 / variants, "pocock", "half_pooled"), np.ones(variants + 1)
    scale[arm] = 3
    scores = np.random.default_rng(arm).normal(size=(8_000, variants + 1, 12, 1)) * scale[:, None, None]
    assert 0.03 < through(bounds, scores, None).error < 0.055


def test_students_path_is_that_of_an_independent_computation() -> None:
    """The share of studies without an effect that p values of scipy's test call significant at these levels."""
    levels, runs = (
        boundary(1, LOOKS, 0.05, "pocock", "student").levels,
        np.random.default_rng(3).normal(size=(2, 12, 20_000)),
    )
    p = [stats.ttest_ind(runs[0, :look], runs[1, :look]).pvalue for look in LOOKS]
    called = (np.array(p) < np.array(levels)[:, None]).any(axis=0).mean()
    assert called == pytest.approx(0.05, abs=0.006)  # 3.9 standard errors


def test_an_e_value_is_the_bayes_factor_of_the_t_statistic() -> None:
    """Against the integral of the noncentral t over the prior; it reaches 1 / alpha at the critical t."""
    prior = stats.norm(0, math.sqrt(sequential.PRIOR))

    def weighed(effect: float, t: float, df: float, n: float) -> float:
        return float(stats.nct.pdf(t, df, effect * math.sqrt(n)) * prior.pdf(effect))

    for t, df, runs, others in ((2.5, 4.0, 3, 3), (4.0, 22.0, 12, 12), (0.3, 9.0, 4, 8)):
        n = 1 / (1 / runs + 1 / others)
        numerator = integrate.quad(weighed, -12, 12, (t, df, n), limit=200)[0]
        assert sequential.e_value(t, df, runs, others) == pytest.approx(numerator / stats.t.pdf(t, df), rel=1e-4)
        level = boundary(1, LOOKS, 0.05, "e", "half_pooled").level(0, df, runs, others)
        critical = stats.t.isf(level / 2, df)
        assert sequential.e_value(critical, df, runs, others) == pytest.approx(20, rel=1e-6)


def test_an_interval_within_the_margin_is_equivalence_and_a_hopeless_contrast_stops() -> None:
    bounds = boundary(1, LOOKS, 0.05, "pocock", "welch")  # increments: no simulation

    def at(look: int, difference: float, se: float, margin: float | None) -> str:
        seeds = float(LOOKS[look])
        now = Standing(*(np.array([value]) for value in (difference, se, 2 * seeds - 2, seeds, seeds)))
        return str(sequential.decide(bounds, look, now, margin)[0])

    assert at(1, 1.0, 0.1, None) == SIGNIFICANT
    assert at(1, 0.0, 0.1, 1.0) == EQUIVALENT and at(1, 0.0, 0.1, 0.11) != EQUIVALENT
    assert at(3, 0.01, 0.1, None) == OUT_OF_REACH and at(0, 0.2, 0.1, None) == GOING
    assert at(2, 0.0, 0.2, 0.65) == GOING  # significance is out of reach, equivalence is not
    assert at(4, 0.2, 0.1, None) == "undecided"


@given(st.integers(0, 4), st.floats(1e-9, 1.0))
@settings(max_examples=60, deadline=None)
def test_the_overall_p_agrees_with_the_decision(look: int, p: float) -> None:
    bounds = boundary(1, LOOKS, 0.05, "obf", "welch")
    level = float(bounds.level(look, 10.0, 5, 5))
    assert (sequential.overall_p(bounds, look, p, level) < 0.05) == (p < level)
    nowhere = boundary(1, LOOKS, 0.05, "e", "welch")  # a look whose e-value cannot reach 1 / alpha: of few, uneven runs
    assert sequential.overall_p(nowhere, look, p, 0.0) == 1


def test_whole_tables_end_as_the_simulated_studies_do() -> None:
    """The function that plans and reports against the one that takes thousands of studies at once: it asserts it."""
    spec = importlib.util.spec_from_file_location("until", Path(__file__).parents[2] / "benchmarks" / "until.py")
    until = importlib.util.module_from_spec(spec)
    sys.modules["until"] = until  # dataclasses look their module up
    spec.loader.exec_module(until)
    for regime in (until.Regime(2, margin=2.0), until.Regime(2, tracks=4)):
        assert until.rates(regime, 3, 3, 0)["studies"] == 3


def test_the_adjusted_estimate_is_too_high_as_often_as_too_low() -> None:
    """Normal means with two looks and a true effect that is often found at the first: the naive mean is too large."""
    bounds = boundary(1, (4, 8), 0.05, "pocock", "welch")
    rng, truth, naive, adjusted = np.random.default_rng(1), 1.2, [], []
    for _ in range(400):
        runs = rng.normal(truth, math.sqrt(2), 8)  # differences of two arms, variance known
        for look, seeds in enumerate((4, 8)):
            mean = float(runs[:seeds].mean())
            p = 2 * float(stats.norm.sf(abs(mean) * math.sqrt(seeds / 2)))
            if p < bounds.levels[look] or seeds == 8:
                naive.append(mean)
                adjusted.append(sequential.median_unbiased(mean, p, bounds, look, bounds.levels[: look + 1]))
                break
    assert np.mean(naive) > truth + 0.05
    assert abs(np.mean(np.array(adjusted) > truth) - 0.5) < 0.06  # 2.4 standard errors
    assert abs(np.mean(adjusted) - truth) < abs(np.mean(naive) - truth)
