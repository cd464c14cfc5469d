"""Boundaries, decisions and estimates of looks after every few seeds, against published tables and simulations."""

import importlib.util
import json
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats

from reports.ablation import analyse
from reports.contract import Declaration, Looks, Study, Trial, Variant
from reports.inputs.tables import Scores
from reports.sections.looks import sentence
from reports.sequential import follow
from reports.statistics import half_pooled, sequential, sequential_estimates
from reports.statistics.power import Spread
from reports.statistics.sequential import EQUIVALENT, GOING, OUT_OF_REACH, SIGNIFICANT, Standing, boundary
from reports.statistics.sequential_design import expected, simulate, through

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
    return 2 * sequential_estimates.exits([*bounds, bound], times)[-1] - error


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


@pytest.mark.parametrize("test, runs", [("pooled", 20), ("half_pooled", 40)])
def test_the_simulated_levels_of_many_runs_are_those_of_a_known_variance(test: str, runs: int) -> None:
    """Of twice as many runs where they are lowered for the error of the simulation, too."""
    bounds = known_variance([0.2, 0.4, 0.6, 0.8, 1.0], 0.05, "pocock")
    found = boundary(1, tuple(runs * look for look in range(1, 6)), 0.05, "pocock", test)
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
    found = simulate(boundary(1, LOOKS, 0.05, "pocock", "pooled"), [2.0], None, 10_000, test="pooled")
    assert found.seeds < 6.2 and found.share(SIGNIFICANT) > 0.97
    safe = simulate(boundary(1, LOOKS, 0.05, "pocock", "half_pooled"), [2.0], None, 4_000)
    assert found.seeds < safe.seeds < 6.9 and safe.share(SIGNIFICANT) > 0.97


UNEQUAL = [
    *((variants, arm, LOOKS, "pocock", 3.0) for variants in (1, 3, 6) for arm in (0, -1)),
    (2, -1, LOOKS, "obf", 1 / 3),
    (10, 0, (3, 5, 8), "pocock", 3.0),
    (3, 0, (2, 4, 8), "obf", 3.0),
]


@pytest.mark.parametrize("variants, arm, looks, spending, times", UNEQUAL)
def test_the_family_keeps_its_level_where_one_arm_varies_more_and_others_stop(
    variants: int, arm: int, looks: tuple[int, ...], spending: str, times: float
) -> None:
    """Of three variants, one of which varies more, 5.3 % called something significant while the levels were those of
    studies in which no variant stops; with "obf" two against a quiet reference 5.2 %."""
    bounds, scale = boundary(variants, looks, 0.05 / variants, spending, "half_pooled"), np.ones(variants + 1)
    scale[arm] = times
    found, rng, studies = 0.0, np.random.default_rng([variants, arm % 100]), 24_000
    for _ in range(studies // 4_000):
        scores = rng.normal(size=(4_000, variants + 1, looks[-1], 1)) * scale[:, None, None]
        found += through(bounds, scores, None).error * 4_000 / studies
    assert 0.02 < found < 0.0525  # of an error of 4.7 %, four standard errors


def test_every_block_has_the_levels_of_its_own_number_of_variants(monkeypatch) -> None:
    asked: list[int] = []
    real = sequential.boundary
    monkeypatch.setattr("reports.sequential.boundary", lambda many, *rest: asked.append(many) or real(many, *rest))
    names = ("a", "b", "c", "one", "two")
    references = {"a": "a", "b": "a", "c": "a", "one": "one", "two": "one"}
    declaration = Declaration(
        seeds=(0, 1, 2, 3),
        reference="a",
        references=references,
        metric="sdr",
        target="macro",
        test="welch",
        until=Looks((2, 4), "pocock"),
    )
    trials = tuple(Trial(f"{name}/seed{seed}", name, seed) for name in names for seed in range(4))
    study = Study("blocks", "blocks", declaration=declaration, variants=tuple(map(Variant, names)), trials=trials)
    rng = np.random.default_rng(0)
    rows = [(name, seed, "", "macro", "sdr", "", rng.normal()) for name in names for seed in range(4)]
    frame = pd.DataFrame(rows, columns=["variant", "seed", "track", "target", "metric", "aggregation", "score"])
    course = follow(Scores(frame, frame.iloc[:0]), study)
    assert {path.variant for path in course.paths} == {"b", "c", "two"} and {*asked} == {1, 2}


def test_the_levels_of_one_variance_are_those_of_an_independent_simulation() -> None:
    """Seven arms, Pocock-like spending of .05/6, by a script that shares no code with ours (1.5 million paths)."""
    found = boundary(6, LOOKS, 0.05 / 6, "pocock", "pooled").levels
    assert found == pytest.approx((0.00301, 0.00142, 0.00180, 0.00186, 0.00273), rel=0.07)


TABLE = {  # by run SD and effect in dB, margin .5 dB: seeds per variant, power of a contrast (2,000 studies each)
    "pocock": {
        (0.15, 0.2): (5.7, 0.31),
        (0.15, 0.5): (3.7, 1.0),
        (0.15, 1.0): (3.0, 1.0),
        (0.2, 0.5): (5.1, 1.0),
        (0.2, 1.0): (3.0, 1.0),
        (0.3, 0.5): (8.5, 0.85),
        (0.3, 1.0): (3.7, 1.0),
    },
    "obf": {
        (0.15, 0.2): (7.9, 0.35),
        (0.15, 0.5): (5.8, 1.0),
        (0.15, 1.0): (4.0, 1.0),
        (0.3, 0.5): (9.9, 0.91),
        (0.3, 1.0): (5.9, 1.0),
    },
    "e": {
        (0.15, 0.2): (6.9, 0.26),
        (0.15, 0.5): (4.2, 1.0),
        (0.15, 1.0): (3.0, 1.0),
        (0.2, 0.5): (5.9, 0.99),
        (0.2, 1.0): (3.2, 1.0),
        (0.3, 0.5): (9.3, 0.67),
        (0.3, 1.0): (4.2, 1.0),
    },
}


@pytest.mark.parametrize("spending", TABLE)
def test_seeds_and_power_of_one_variance_are_those_of_an_independent_simulation(spending: str) -> None:
    """Within 5 % (and 2.5 points of power, what 2,000 studies with a common reference leave open)."""
    looks = tuple(range(3, 13)) if spending == "e" else LOOKS
    bounds = boundary(6, looks, 0.05 / 6, spending, "pooled")
    for (sd, effect), (seeds, power) in TABLE[spending].items():
        found = simulate(bounds, [effect / sd] * 6, 0.5 / sd, 2_000, test="pooled")
        assert found.seeds == pytest.approx(seeds, rel=0.05), (sd, effect)
        assert found.share(SIGNIFICANT) == pytest.approx(power, abs=0.025 if power < 0.98 else 0.01), (sd, effect)


def test_what_is_recorded_of_the_levels() -> None:
    """benchmarks/until.json: no family above 5.5 %, unless runs are declared alike and are not."""
    rows = json.loads((Path(__file__).parents[2] / "benchmarks" / "until.json").read_text())
    declared = [row for row in rows["null"] if row["test"] == "pooled" and row["sd"] != [1, 1]]
    held = [row for row in rows["null"] if row not in declared]
    assert len(held) > 30 and all(row["studies"] >= 2_000 and row["family_wise_error"] <= 0.055 for row in held)
    assert {row["variants"] for row in held} >= {1, 2, 3, 6, 10, 20}
    assert all(row["family_wise_error"] > 0.1 for row in declared) and declared  # what the declaration risks
    pooled = {(row["spending"], row["sd"], row["effect"]): row for row in rows["grid"] if row["test"] == "pooled"}
    for (sd, effect), (seeds, power) in TABLE["pocock"].items():
        row = pooled["pocock", sd, effect]
        assert row["seeds"] == pytest.approx(seeds, rel=0.05) and row["power"] == pytest.approx(power, abs=0.025)
    alone = next(row for row in rows["alone"] if (row["test"], row["effect"]) == ("pooled", 2))
    assert alone["seeds"] <= 6.2 and alone["power"] >= 0.97


def test_students_path_is_that_of_an_independent_computation() -> None:
    """The share of studies without an effect that p values of scipy's test call significant at these levels."""
    levels, runs = (
        boundary(1, LOOKS, 0.05, "pocock", "pooled").levels,
        np.random.default_rng(3).normal(size=(2, 12, 20_000)),
    )
    p = [stats.ttest_ind(runs[0, :look], runs[1, :look]).pvalue for look in LOOKS]
    called = (np.array(p) < np.array(levels)[:, None]).any(axis=0).mean()
    assert called == pytest.approx(0.05, abs=0.006)  # 3.9 standard errors


def test_at_the_critical_t_the_bayes_factor_is_one_over_alpha() -> None:
    """Against the integral of the noncentral t over the prior."""
    prior = stats.norm(0, math.sqrt(sequential.PRIOR))

    def weighed(effect: float, t: float, df: float, n: float) -> float:
        return float(stats.nct.pdf(t, df, effect * math.sqrt(n)) * prior.pdf(effect))

    for df, runs, others in ((4.0, 3, 3), (22.0, 12, 12), (9.0, 4, 8)):
        n = 1 / (1 / runs + 1 / others)
        level = boundary(1, LOOKS, 0.05, "e", "half_pooled").level(0, df, runs, others)
        critical = stats.t.isf(level / 2, df)
        numerator = integrate.quad(weighed, -12, 12, (critical, df, n), limit=200)[0]
        assert numerator / stats.t.pdf(critical, df) == pytest.approx(20, rel=1e-4)


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


def test_futility_knows_that_seeds_do_not_make_the_tracks_part_smaller() -> None:
    """By regression: the last estimate, given this one, if the truth is as large as can be hoped for.

    With 4 of 12 seeds and .9 of a variance of 1 in the tracks, the last variance is .9 + .1 / 3.
    """
    bounds = boundary(1, LOOKS, 0.05, "pocock", "welch")
    critical = stats.norm.isf(bounds.levels[-1] / 2)

    def chance(size: float, lasting: float) -> float:
        last = lasting + (1 - lasting) / 3  # also the covariance of both estimates
        hoped = size + stats.norm.isf(sequential.HOPE)
        mean, variance = hoped + last * (size - hoped), last - last**2
        return float(stats.norm.sf((critical * math.sqrt(last) - mean) / math.sqrt(variance)))

    for lasting in (0.0, 0.5, 0.9):
        for size in (0.1, 0.6, 1.0, 1.4, 1.8, 2.0):
            values = (size, 1.0, 1e6, 4.0, 4.0, lasting)
            found = sequential.decide(bounds, 1, Standing(*(np.array([value]) for value in values)), None)[0]
            assert (found == OUT_OF_REACH) == (chance(size, lasting) < sequential.HOPELESS), (size, lasting)
    assert chance(1.4, 0.0) > 0.3 and chance(1.4, 0.9) < 0.01  # seeds would have been promised to help


def test_what_going_on_takes_by_hand() -> None:
    """z = 2 where 4 are needed: the variance must fall to a quarter."""
    p, level = 2 * stats.norm.sf(2.0), 2 * stats.norm.sf(4 - stats.norm.ppf(0.8))
    needed, tracks = sequential_estimates.seeds_needed, sequential_estimates.items_needed
    assert needed(p, level, 4) == pytest.approx(16)
    assert needed(p, level, 4, 0.1) == pytest.approx(4 * 0.9 / (0.25 - 0.1))
    assert needed(p, level, 4, 0.36) == math.inf
    assert tracks(p, level, 4, 12, 0.36, 10) == pytest.approx(10 * 0.36 / (0.25 - 0.64 / 3))
    assert tracks(p, level, 4, 6, 0.36, 10) == math.inf  # of the runs' part alone .43 would be left


def test_the_lasting_part_of_a_variance_is_that_of_the_tracks() -> None:
    rng = np.random.default_rng(5)
    cells = rng.normal(size=(2, 1, 9))
    without_residual = [rng.normal(size=(4, 1)) + cell for cell in cells]
    result = half_pooled.results({"a": tuple(without_residual)}, "crossed", "t", 0.05)["a"]
    assert result.lasting == pytest.approx(np.var(cells[0] - cells[1], ddof=1) / 9)
    found = [
        half_pooled.errors(half_pooled.of_arms([tuple(0.5 * rng.normal(size=(2, 5, 8)) + rng.normal(size=(2, 1, 8)))]))
        for _ in range(400)
    ]
    assert np.mean([each.lasting for each in found]) == pytest.approx(2 / 8, abs=0.02)  # three standard errors
    assert half_pooled.of_runs({"a": ([1.0, 2.0, 4.0], [1.0, 3.0, 4.0])})["a"].lasting == 0


def test_a_study_of_few_tracks_asks_for_tracks_and_not_for_seeds() -> None:
    rng, tracks, names = np.random.default_rng(2), 4, ("new", "reference")
    cells = {"new": np.array([0.9, -0.5, 1.1, 0.1]), "reference": np.zeros(4)}
    rows = [
        (name, seed, f"t{track}", "macro", "sdr", "", 0.01 * rng.normal() + cells[name][track])
        for name in names
        for seed in range(12)
        for track in range(tracks)
    ]
    frame = pd.DataFrame(rows, columns=["variant", "seed", "track", "target", "metric", "aggregation", "score"])
    declaration = Declaration(
        seeds=tuple(range(12)), reference="reference", metric="sdr", target="macro", until=Looks(LOOKS, "pocock")
    )
    trials = tuple(Trial(f"{name}/seed{seed}", name, seed) for name in names for seed in range(12))
    study = Study("few", "few", declaration=declaration, variants=tuple(map(Variant, names)), trials=trials)
    findings = analyse(Scores(frame, frame.iloc[:0]), study)
    assert findings.course is not None
    (path,) = findings.course.paths
    assert path.decision == OUT_OF_REACH and path.looks[-1].seeds == 3
    result = path.looks[-1].result
    assert path.needed == math.inf and result.lasting / result.se**2 > 0.99
    told = sentence(findings.main, path, findings.course)
    assert (
        "no number of seeds gives 80 % power, because 100 % of the variance of the difference is that of the 4 tracks"
        in (told)
    )
    assert f"about {math.ceil(path.items)} tracks with 12 seeds per arm do" in told
    # The standard error there must be is the difference over what z must be, and it falls with the root of the tracks.
    final = boundary(1, LOOKS, 0.05, "pocock", "crossed").levels[-1]
    z = stats.norm.isf(result.p / 2)
    assert path.items == pytest.approx(4 * ((stats.norm.isf(final / 2) + stats.norm.ppf(0.8)) / z) ** 2, rel=0.01)


def test_what_is_expected_counts_the_tracks() -> None:
    """Few tracks that differ by more than the runs do: fewer contrasts are found, and below a floor no seed helps."""
    without, least, floor = expected([1], LOOKS, 0.05, "pocock", None)
    assert floor == 0
    spread = Spread(0.2, 0.4, 0.0)
    within, higher, lowest = expected([1], LOOKS, 0.05, "pocock", None, "", spread, 8)
    assert within[2].power < without[2].power - 0.2 and higher > least and higher > lowest
    final = boundary(1, LOOKS, 0.05, "pocock", "crossed").levels[-1]
    wanted = (stats.norm.isf(final / 2) + stats.norm.ppf(0.8)) * math.sqrt(2 / 8) * 2  # cell over run SD is 2
    assert lowest == pytest.approx(wanted)
    many = expected([1], LOOKS, 0.05, "pocock", None, "", spread, 8_000)[0]
    assert many[2].power == pytest.approx(without[2].power, abs=0.06)


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
    for regime in (until.Regime(2, margin=2.0), until.Regime(2, tracks=4), until.Regime(2, test="pooled")):
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
                adjusted.append(sequential_estimates.median_unbiased(mean, p, bounds, look, bounds.levels[: look + 1]))
                break
    assert np.mean(naive) > truth + 0.05
    assert abs(np.mean(np.array(adjusted) > truth) - 0.5) < 0.06  # 2.4 standard errors
    assert abs(np.mean(adjusted) - truth) < abs(np.mean(naive) - truth)
