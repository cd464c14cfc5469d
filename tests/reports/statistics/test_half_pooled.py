"""The default test of a family: its formula against statsmodels and scipy, its promise by simulation."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats as oracle
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

from reports.ablation import analyse
from reports.contract import Trial
from reports.inputs.study import with_declaration
from reports.inputs.tables import Scores, bare_study
from reports.statistics import calibration, half_pooled, seed_paired
from reports.statistics.power import Design, Spread, detectable, expected_errors, power, reference_runs


def table(runs: dict[str, np.ndarray], metric: str = "si_sdr") -> Scores:
    """A score table of arms, each (run) or (run, track)."""
    rows = [
        (name, seed, f"t{item:03d}" if scores.ndim > 1 else "", "", metric, "", score)
        for name, scores in runs.items()
        for seed, each in enumerate(scores)
        for item, score in enumerate(np.atleast_1d(each))
    ]
    frame = pd.DataFrame(rows, columns=["variant", "seed", "track", "target", "metric", "aggregation", "score"])
    return Scores(frame, frame.iloc[:0])


def analysed(runs: dict[str, np.ndarray], **declared: object):
    scores = table(runs)
    return analyse(scores, with_declaration(bare_study(scores, "t", "model", "reference", "si_sdr", ""), **declared))


def moderated(squares: np.ndarray, dof: int) -> tuple[np.ndarray, float]:
    """Moderated variances and prior degrees of freedom by [Smyth 2004, section 6.2], the pool as prior variance."""
    logs = np.log(squares) - digamma(dof / 2) + math.log(dof / 2)
    spread = np.var(logs, ddof=1) - polygamma(1, dof / 2)
    if spread <= 1e-3:
        return np.full(len(squares), squares.mean()), math.inf
    prior = 2 * brentq(lambda y: polygamma(1, y) - spread, 1e-6, 1e4)
    return (prior * squares.mean() + dof * squares) / (prior + dof), prior


@pytest.mark.parametrize("seed", range(20))
def test_it_moderates_the_variants_and_not_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale = dict(zip("abcd", rng.choice([1.0, 1.5, 3.0], 4), strict=True))
    arms = {name: rng.normal(0, scale.get(name, 1.0), 5) for name in (*"abcd", "reference")}
    found = half_pooled.of_runs({name: (arms[name], arms["reference"]) for name in "abcd"})
    squares = np.array([np.var(arms[name], ddof=1) for name in "abcd"])
    used, prior = moderated(squares, 4)
    last = np.var(arms["reference"], ddof=1) / 5
    for k, name in enumerate("abcd"):
        own = oracle.f.sf(squares[k] / np.delete(squares, k).mean(), 4, 12) < half_pooled.OWN_LEVEL
        mine, df = (squares[k] / 5, 4) if own else (used[k] / 5, min(prior + 4, 16))
        moved = math.sqrt(last * mine)
        parts = np.array([mine, moved]) * (mine + last) / (mine + moved)
        assert found[name].se == pytest.approx(math.sqrt(mine + last))
        assert found[name].df == pytest.approx((mine + last) ** 2 / (parts[0] ** 2 / df + parts[1] ** 2 / 4))
        assert bool(found[name].note) == own


def test_one_variant_alone_is_tested_as_welch_does() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(0, 3, 4), rng.normal(0, 1, 6)
    found, theirs = half_pooled.of_runs({"a": (a, b)})["a"], oracle.ttest_ind(a, b, equal_var=False)
    assert (found.p, found.df) == pytest.approx((theirs.pvalue, theirs.df))


def test_equal_variances_give_the_degrees_of_freedom_of_satterthwaite() -> None:
    base = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    found = half_pooled.of_runs({name: (base + 1, base) for name in "abc"})["a"]
    # (s²/5 + s²/5)² / ((s²/5)²/12 + (s²/5)²/4) = 4 / (1/12 + 1/4)
    assert found.df == pytest.approx(12.0)
    alone = half_pooled.of_runs({"a": (base + 1, base)})["a"]
    theirs = oracle.ttest_ind(base + 1, base)
    assert (alone.df, alone.p) == pytest.approx((8.0, theirs.pvalue))


def test_a_variant_that_varies_more_keeps_its_own_variance() -> None:
    rng = np.random.default_rng(3)
    arms = {name: rng.normal(0, 10 if name == "a" else 1, 6) for name in ("a", "b", "c", "d", "reference")}
    found = half_pooled.of_runs({name: (arms[name], arms["reference"]) for name in "abcd"})
    parts = (np.var(arms["a"], ddof=1) + np.var(arms["reference"], ddof=1)) / 6
    assert found["a"].se == pytest.approx(math.sqrt(parts)) and "differ more" in found["a"].note
    assert not found["b"].note


@pytest.mark.parametrize("n, items, k", [(2, 50, 6), (3, 50, 20), (3, 200, 6), (5, 10, 6)])
def test_few_seeds_keep_the_family_level(n: int, items: int, k: int) -> None:
    """8 to 26 % before. The standard error of a 5 % rate is 0.5 points here."""
    design = Design("crossed", (n,) * k, n, items, 0.05 / k)
    found = calibration.simulate([design], Spread(0.15, 0.25, 0.6), 0.05, math.nan, studies=2000)
    assert found is not None and found.false_positives <= 0.065 and found.family == k


@pytest.mark.parametrize("test", [test for test in calibration.SIMULATED if test != "paired_crossed"])
def test_the_simulated_tests_are_those_of_the_tables(test: str) -> None:
    """The vectorised errors are those that `analyse` prints on the same scores."""
    rng = np.random.default_rng(1)
    arms = {name: rng.normal(0, 1, (4, 6)) for name in ("a", "b", "c", "reference")}
    contrasts = analysed(arms, test=test).main.contrasts
    means = [arm.mean(axis=1)[None] for arm in arms.values()]
    if test == "crossed":
        squares = half_pooled.of_arms([(arms[name], arms["reference"]) for name in "abc"])
    else:
        squares = half_pooled.of_arms([(arms[name].mean(axis=1), arms["reference"].mean(axis=1)) for name in "abc"])
    errors = calibration.errors_of(Design(test, (4,) * 3, 4, 6, 0.05), squares, means)
    assert [c.primary.se for c in contrasts] == pytest.approx(np.broadcast_to(errors.se, (1, 3))[0])
    assert [c.primary.df for c in contrasts] == pytest.approx(np.broadcast_to(errors.df, (1, 3))[0])


def test_what_is_drawn_has_the_mean_squares_of_whole_tables() -> None:
    """The short cut to mean squares draws from the distribution that whole tables have."""
    rng = np.random.default_rng(0)
    spread, n, items = Spread(0.15, 0.25, 0.6), 3, 10
    design = Design("crossed", (n,), n, items, 0.05)
    differences, squares, _ = calibration.draw(design, spread, 20_000, rng)
    whole = []
    for _ in range(4_000):
        arms = [
            rng.normal(0, 0.25, items) + rng.normal(0, 0.15, (n, 1)) + rng.normal(0, 0.6, (n, items)) for _ in range(2)
        ]
        found = half_pooled.of_arms([(arms[0], arms[1])])
        whole.append((arms[0].mean() - arms[1].mean(), found.run[0], found.residual[0], found.item[0]))
    drawn = np.stack([differences[:, 0], squares.run[:, 0], squares.residual[:, 0], squares.item[:, 0]], 1)
    for ours, theirs in zip(drawn.T, np.array(whole).T, strict=True):
        assert oracle.ks_2samp(ours, theirs).pvalue > 0.001
    assert np.corrcoef(drawn[:, 0], drawn[:, 3])[0, 1] == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("variants", [1, 6])
def test_seed_paired_studies_are_drawn_as_their_tables_are(variants: int) -> None:
    rng, level = np.random.default_rng(0), 0.05 / variants
    shape = (2000, variants + 1, 5, 20)
    scores = rng.normal(0, 0.25, (*shape[:2], 1, 20)) + rng.normal(0, 0.15, (*shape[:3], 1)) + rng.normal(0, 0.6, shape)
    means = scores.mean(axis=(2, 3))
    found = seed_paired.errors_of(seed_paired.mean_squares(scores, np.full(20, 0.05)))
    power = np.mean(half_pooled.p_values(means[:, :-1] - means[:, -1:] + 0.5, found) < level)
    design = Design("paired_crossed", (5,) * variants, 5, 20, level)
    drawn = calibration.simulate([design], Spread(0.15, 0.25, 0.6), 0.05, 0.5, studies=2000)
    assert drawn is not None and drawn.power == pytest.approx(power, abs=0.05) and drawn.false_positives < 0.07


def test_power_counts_tracks_and_their_degrees_of_freedom() -> None:
    """93 % was promised where the simulation gives 49 %."""
    spread, effect = Spread(0.15, 0.5, 0.6), 0.6
    design = Design("crossed", (5,), 5, 10, 0.05)
    simulated = calibration.simulate([design], spread, 0.05, effect, studies=4000)
    assert simulated is not None
    assert power(effect, *expected_errors(design, spread), 0.05) == pytest.approx(simulated.power, abs=0.05)
    assert simulated.power < 0.6


def test_five_seeds_find_half_a_decibel() -> None:
    """Welch with Bonferroni has 61 % power here."""
    design = Design("half_pooled", (5,) * 6, 5, 0, 0.05 / 6)
    found = calibration.simulate([design], Spread(0.2), 0.05, 0.5, studies=4000)
    assert found is not None and found.power >= 0.75 and found.false_positives <= 0.06


def test_more_runs_of_the_reference_pay() -> None:
    design = Design("half_pooled", (5,) * 6, 5, 0, 0.05 / 6)
    assert reference_runs(design) == 10  # the audit's optimum at this total: 4 per variant and 10
    spread = Spread(0.2)
    better = Design("half_pooled", (4,) * 6, 10, 0, 0.05 / 6)
    assert sum(better.runs) + better.reference_runs <= sum(design.runs) + design.reference_runs
    assert expected_errors(better, spread)[0] ** 2 / expected_errors(design, spread)[0] ** 2 == pytest.approx(0.875)
    assert detectable(*expected_errors(better, spread), 0.05 / 6) < detectable(
        *expected_errors(design, spread), 0.05 / 6
    )


def test_the_interval_beside_a_corrected_p_agrees_with_it() -> None:
    """36 % of contrasts were not significant beside an interval that leaves out zero."""
    rng = np.random.default_rng(8)
    for correction in ("bonferroni", "holm", "bh", "none"):
        for _ in range(2):
            arms = {
                name: rng.normal(0.35 * (name != "reference"), 0.2, 5) for name in ("a", "b", "c", "d", "reference")
            }
            main = analysed(arms, correction=correction).main
            for contrast in main.contrasts:
                low, high = contrast.simultaneous
                assert (low > 0 or high < 0) == (contrast.p_corrected < 0.05)
    scores = analysed(arms, correction="bonferroni").main.contrasts[0]
    half = oracle.t.ppf(1 - 0.05 / 8, scores.primary.df) * scores.primary.se
    assert scores.simultaneous == pytest.approx((scores.primary.difference - half, scores.primary.difference + half))


def test_a_design_that_cannot_keep_its_level_says_so_in_the_headline() -> None:
    from reports import prose

    rng = np.random.default_rng(0)
    found = analysed({name: rng.normal(0, 0.2, 2) for name in ("a", "b", "reference")})
    assert found.calibration is not None
    assert "2 runs in an arm cannot show whether the arms' runs vary alike. In simulated studies" in prose.headline(
        found
    )
    for runs, warned in ((5, True), (6, False)):  # one contrast
        two = analysed({name: rng.normal(0, 0.2, runs) for name in ("a", "reference")})
        assert ("runs in an arm" in prose.headline(two)) is warned
    for rate, worst, told in ((0.04, 0.09, "and is lost if one arm varies more (9 %)"), (0.1, 0.1, "cannot keep")):
        rates = replace(found.calibration, false_positives=rate, worst=worst, worst_case="one arm varies more")
        assert told in prose.headline(replace(found, calibration=rates))


def test_arms_that_share_trainings_are_paired_by_default() -> None:
    """Trials of equal seeds that have a stage of their own in common; seeds that all share one do not count."""
    rng = np.random.default_rng(0)
    scores = table({name: rng.normal(0, 1, (4, 5)) for name in ("a", "b", "reference")})
    study = bare_study(scores, "t", "model", "reference", "si_sdr", "")

    def default(key: str) -> str:
        trials = [
            Trial(f"{v}{seed}", v, seed, stages={"data": "d", "train": key.format(v=v, seed=seed)})
            for v in ("a", "b", "reference")
            for seed in range(4)
        ]
        return analyse(scores, replace(study, trials=tuple(trials)), brief=True).main.test

    assert default("train {seed}") == "paired_crossed"
    assert (
        default("train {v} {seed}") == "crossed" == default("train") and analyse(scores, study).main.test == "crossed"
    )


def test_one_variance_of_all_arms_is_that_of_dunnetts_test() -> None:
    """scipy's Dunnett test pools over all arms, too; with one variant it is Student's t."""
    rng = np.random.default_rng(4)
    arms = {name: rng.normal(0, 1, many).tolist() for name, many in zip("abcr", (3, 5, 4, 6), strict=True)}
    found = half_pooled.of_runs({name: (arms[name], arms["r"]) for name in "abc"}, test="pooled")
    theirs = oracle.dunnett(*(arms[name] for name in "abc"), control=arms["r"], random_state=np.random.default_rng(0))
    assert [found[name].statistic for name in "abc"] == pytest.approx(theirs.statistic.tolist())
    assert {result.df for result in found.values()} == {3 + 5 + 4 + 6 - 4}
    alone, student = half_pooled.of_runs({"a": (arms["a"], arms["r"])}, test="pooled")["a"], oracle.ttest_ind
    assert alone.p == pytest.approx(student(arms["a"], arms["r"]).pvalue)
    assert half_pooled.of_runs({"a": ([1.0, 1.0], [1.0, 1.0])}, test="pooled")["a"].p == 1


def test_a_report_takes_one_variance_where_that_is_declared_and_names_who_contradicts() -> None:
    rng = np.random.default_rng(8)
    runs = {name: rng.normal(size=5) for name in ("a", "b", "reference")}
    found = analysed(runs, test="pooled")
    theirs = oracle.dunnett(runs["a"], runs["b"], control=runs["reference"])
    assert [c.primary.statistic for c in found.main.contrasts] == pytest.approx(theirs.statistic.tolist())
    assert not any(c.primary.note for c in found.main.contrasts)
    assert "pooled" not in {result.test for c in analysed(runs).main.contrasts for result in c.tests}
    runs["reference"] = 20 * runs["reference"]
    noted = analysed(runs, test="pooled").main.contrasts
    assert all("which this test takes to vary alike" in contrast.primary.note for contrast in noted)
    runs["reference"], runs["b"] = runs["reference"] / 20, 20 * runs["b"]
    notes = {c.variant: bool(c.primary.note) for c in analysed(runs, test="pooled").main.contrasts}
    assert notes == {"a": False, "b": True}


def test_what_one_variance_can_find_and_what_it_risks() -> None:
    design, spread = Design("pooled", (5,) * 6, 5, 0, 0.05 / 6), Spread(0.2)
    se, df = expected_errors(design, spread)
    assert (se, df) == pytest.approx((0.2 * math.sqrt(2 / 5), 7 * 4))
    found = calibration.simulate([design], spread, 0.05, 0.5, studies=4_000)
    assert found.false_positives < 0.055 and found.worst > 0.15 and "reference differ three times" in found.worst_case
    assert found.power == pytest.approx(power(0.5, se, df, 0.05 / 6), abs=0.02)
