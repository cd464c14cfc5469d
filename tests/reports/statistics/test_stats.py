"""Tests on runs against scipy, statsmodels and hand computation, over random tables."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats as oracle
from statsmodels.stats.power import TTestIndPower
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from reports.statistics import hypothesis_tests, power
from reports.statistics.corrections import correct, stars

TABLES = range(60)


def arms(seed: int) -> tuple[list[float], list[float]]:
    rng = np.random.default_rng(seed)
    n, m = rng.integers(2, 9, 2)
    return (rng.normal(rng.normal(), rng.uniform(0.1, 2), n).tolist(), rng.normal(0, rng.uniform(0.1, 2), m).tolist())


@pytest.mark.parametrize("seed", TABLES)
def test_welch_and_student_are_scipys(seed: int) -> None:
    a, b = arms(seed)
    for ours, equal in ((hypothesis_tests.welch(a, b), False), (hypothesis_tests.student(a, b), True)):
        theirs = oracle.ttest_ind(a, b, equal_var=equal)
        interval = theirs.confidence_interval(0.95)
        assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-9)
        assert ours.df == pytest.approx(theirs.df, rel=1e-9)
        assert ours.p == pytest.approx(theirs.pvalue, rel=1e-8)
        assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high), rel=1e-8)


@pytest.mark.parametrize("seed", TABLES)
def test_paired_tests_use_common_seeds_only(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a = {int(k): float(rng.normal()) for k in rng.permutation(12)[: rng.integers(8, 12)]}
    b = {int(k): float(rng.normal()) for k in rng.permutation(12)[: rng.integers(8, 12)]}
    seeds = [k for k in range(12) if k in a and k in b]
    x, y = [a[k] for k in seeds], [b[k] for k in seeds]
    t, w = hypothesis_tests.paired(a, b), hypothesis_tests.wilcoxon(a, b)
    theirs = oracle.ttest_rel(x, y)
    assert (t.statistic, t.p) == pytest.approx((theirs.statistic, theirs.pvalue), rel=1e-9)
    # By hand: every sign pattern of the ranks is equally likely.
    d = np.subtract(x, y)
    ranks = oracle.rankdata(np.abs(d))
    observed = abs(ranks[d > 0].sum() - ranks.sum() / 2)
    patterns = np.array(list(itertools.product((0, 1), repeat=len(d)))) @ ranks
    assert w.p == pytest.approx(np.mean(np.abs(patterns - ranks.sum() / 2) >= observed - 1e-9))


@pytest.mark.parametrize("seed", TABLES)
def test_permutation_is_exact(seed: int) -> None:
    a, b = arms(seed)
    theirs = oracle.permutation_test(
        (a, b),
        lambda x, y, axis: np.abs(x.mean(axis) - y.mean(axis)),
        permutation_type="independent",
        n_resamples=np.inf,
        alternative="greater",
        vectorized=True,
    )
    ours = hypothesis_tests.permutation(a, b)
    assert ours.label == "exact permutation"
    assert ours.p == pytest.approx(theirs.pvalue, abs=1e-12)


def test_permutation_of_many_runs_is_random_but_seeded() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.8, 1, 14).tolist(), rng.normal(0, 1, 14).tolist()
    first, again = (hypothesis_tests.permutation(a, b, rng=np.random.default_rng(3)) for _ in range(2))
    assert first == again and "random" in first.label
    assert first.p == pytest.approx(oracle.ttest_ind(a, b).pvalue, abs=0.02)


@pytest.mark.parametrize("seed", TABLES)
def test_hedges_interval_inverts_the_noncentral_t(seed: int) -> None:
    a, b = arms(seed)
    df = len(a) + len(b) - 2
    effect = hypothesis_tests.hedges(a, b)
    pooled = math.sqrt((np.var(a, ddof=1) * (len(a) - 1) + np.var(b, ddof=1) * (len(b) - 1)) / df)
    j = math.gamma(df / 2) / (math.sqrt(df / 2) * math.gamma((df - 1) / 2))
    assert effect.g == pytest.approx(j * (np.mean(a) - np.mean(b)) / pooled)
    scale = math.sqrt(1 / len(a) + 1 / len(b))
    t = oracle.ttest_ind(a, b).statistic
    for bound, level in ((effect.low, 0.975), (effect.high, 0.025)):
        theirs = oracle.nct.cdf(t, df, bound / scale)
        if math.isnan(theirs):  # scipy has holes; draw from the definition there
            rng = np.random.default_rng(seed)
            normal, divisor = rng.normal(size=400_000), rng.chisquare(df, 400_000) / df
            draws = (normal + bound / scale) / np.sqrt(divisor)
            assert np.mean(draws <= t) == pytest.approx(level, abs=2e-3)
        else:
            assert theirs == pytest.approx(level, abs=1e-6)


@pytest.mark.parametrize("seed", TABLES)
def test_equivalence_is_statsmodels(seed: int) -> None:
    a, b = arms(seed)
    means = CompareMeans(DescrStatsW(a), DescrStatsW(b))
    for margin in (0.1, 1.0, 3.0):
        theirs = means.ttost_ind(-margin, margin, usevar="unequal")[0]
        assert hypothesis_tests.tost(hypothesis_tests.welch(a, b), 0.05, margin).p == pytest.approx(theirs, abs=1e-9)
    smallest = hypothesis_tests.tost(hypothesis_tests.welch(a, b)).smallest
    theirs = means.ttost_ind(-smallest, smallest, usevar="unequal")[0]
    assert theirs == pytest.approx(0.05, abs=1e-6)


def corrected_by_definition(p: list[float], method: str) -> list[float]:
    """Bonferroni; Holm's step-down, the largest of what each smaller p asks for; Benjamini-Hochberg of scipy."""
    if method == "bh":
        return oracle.false_discovery_control(p).tolist()
    asks = {k: value * (len(p) if method == "bonferroni" else sum(q >= value for q in p)) for k, value in enumerate(p)}
    smaller = {k: [k] if method == "bonferroni" else [i for i, q in enumerate(p) if q <= p[k]] for k in asks}
    return [min(1.0, max(asks[i] for i in smaller[k])) for k in asks]


@pytest.mark.parametrize("method", ["bonferroni", "holm", "bh"])
@pytest.mark.parametrize("seed", TABLES)
def test_corrections_are_their_definitions(seed: int, method: str) -> None:
    rng = np.random.default_rng(seed)
    p = (rng.random(rng.integers(1, 12)) ** 2).tolist()
    assert correct(p, method) == pytest.approx(corrected_by_definition(p, method), abs=1e-12)
    # A test that was planned but not possible counts as p = 1 counts.
    padded = corrected_by_definition([*p, 1.0, 1.0], method)[: len(p)]
    *known, absent = correct([*p, math.nan], method, family=len(p) + 2)
    assert known == pytest.approx(padded, abs=1e-12) and math.isnan(absent)
    assert correct(p, "none", family=len(p) + 2) == p and correct([], method) == []


def test_stars_are_of_the_limits() -> None:
    assert [stars(p) for p in (0.0009, 0.009, 0.049, 0.05, math.nan)] == ["***", "**", "*", "", ""]


@pytest.mark.parametrize("df", [1, 2, 5.5, 8, 40, 300])
def test_noncentral_t_is_scipys_where_scipy_has_one(df: float) -> None:
    for t, shift in itertools.product((-3.0, 0.0, 1.0, 4.0, 30.0), (-2.0, 0.0, 0.5, 3.0, 25.0)):
        theirs = oracle.nct.cdf(t, df, shift)
        if not math.isnan(theirs):
            assert hypothesis_tests.noncentral_cdf(t, df, shift) == pytest.approx(theirs, abs=2e-7)


@pytest.mark.parametrize("effect, runs, alpha", [(0.5, 5, 0.05), (2.0, 5, 0.005), (1.5, 10, 0.0083), (0.3, 40, 0.05)])
def test_power_is_statsmodels(effect: float, runs: int, alpha: float) -> None:
    theirs = TTestIndPower().power(effect, runs, alpha)
    design, spread = power.Design("welch", (runs,), runs, 0, alpha), power.Spread(0.7)
    errors = power.expected_errors(design, spread)
    assert power.power(effect * 0.7, *errors, alpha) == pytest.approx(theirs, abs=1e-6)
    least = power.detectable(*errors, alpha)
    assert TTestIndPower().power(least / 0.7, runs, alpha) == pytest.approx(0.8, abs=1e-4)
    needed = power.fewest(least * 0.999, lambda n: power.expected_errors(design.with_runs(n), spread), alpha)
    assert needed == runs + 1


def test_what_no_difference_of_thousands_of_standard_errors_would_show_has_no_smallest() -> None:
    """Two runs an arm can leave a third of a degree of freedom: a study ended without a report."""
    assert power.power(power.MOST, 1.0, 1 / 3, 0.025) < 0.8
    assert math.isnan(power.detectable(0.1, 1 / 3, 0.025))
    for df in (1.0, 3.0):
        least = power.detectable(0.1, df, 0.025)
        assert power.power(least, 0.1, df, 0.025) == pytest.approx(0.8, abs=1e-6)


def test_power_where_runs_do_not_help() -> None:
    # Variant-by-item variance alone gives a standard error of 0.1, which no number of runs lowers.
    design, spread = power.Design("crossed", (2,), 2, 50, 0.05), power.Spread(0.2, cell=0.5)
    assert power.fewest(0.1, lambda n: power.expected_errors(design.with_runs(n), spread), 0.05) == 0
    assert power.expected_errors(design.with_runs(10**9), spread)[0] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "a, b, part",
    [([1.0], [1.0, 2.0], "two runs"), ([1.0, 1.0], [2.0, 2.0], "no spread"), ([1.0, 1.0], [1.0, 1.0], "exactly zero")],
)
def test_small_samples_say_why(a: list[float], b: list[float], part: str) -> None:
    found = hypothesis_tests.welch(a, b)
    assert part in found.note
    assert found.p == 1.0 if part == "exactly zero" else math.isnan(found.p)


def test_wilcoxon_says_what_it_cannot_reach() -> None:
    five = {k: float(k) + 0.1 * k**2 for k in range(1, 6)}
    found = hypothesis_tests.wilcoxon(five, {k: 0.0 for k in five})
    assert found.p == 0.0625 and "cannot reach 0.05" in found.note


@pytest.mark.parametrize("seed", range(20))
def test_wilcoxon_with_ties_and_zeros_is_every_sign(seed: int) -> None:
    """Five pairs with one tie had p = .042, below the least possible .0625."""
    rng = np.random.default_rng(seed)
    d = rng.integers(-3, 6, 8).astype(float)
    d[0] = 2.0
    found = hypothesis_tests.wilcoxon(dict(enumerate(d)), dict.fromkeys(range(8), 0.0))
    ranks = oracle.rankdata(np.abs(d))[d != 0]  # a zero has a rank and no sign [Pratt 1959]
    observed = abs(ranks[d[d != 0] > 0].sum() - ranks.sum() / 2)
    patterns = np.array(list(itertools.product((0, 1), repeat=len(ranks)))) @ ranks
    assert found.p == pytest.approx(np.mean(np.abs(patterns - ranks.sum() / 2) >= observed - 1e-9))
    assert found.p >= 2.0 ** (1 - np.count_nonzero(d)) - 1e-12


def test_five_equal_differences_have_the_least_p_of_five_pairs() -> None:
    assert hypothesis_tests.wilcoxon(dict.fromkeys(range(5), 1.3), dict.fromkeys(range(5), 1.0)).p == 0.0625


@pytest.mark.parametrize("runs, delta", [(3, 2.5), (5, 2.5), (5, 5.0)])
def test_hedges_interval_covers(runs: int, delta: float) -> None:
    """Times J it covered 88 to 93 %. The standard error of 95 % in 400 studies is 1.1 points."""
    rng = np.random.default_rng(runs)
    covered = []
    for _ in range(400):
        effect = hypothesis_tests.hedges(rng.normal(delta, 1, runs).tolist(), rng.normal(0, 1, runs).tolist())
        covered.append(effect.low <= delta <= effect.high)
    assert np.mean(covered) >= 0.925


def test_permutation_says_that_unequal_spreads_look_like_an_effect() -> None:
    """18 % false positives with 4 noisy and 8 quiet runs."""
    quiet, noisy = [0.0, 0.1, 0.2, 0.1, 0.0, 0.2, 0.1, 0.0], [-2.0, 1.0, 3.0, 0.5]
    assert "spreads differ" in hypothesis_tests.permutation(noisy, quiet).note
    assert "spreads differ" not in hypothesis_tests.permutation(quiet[:4], quiet[4:]).note
