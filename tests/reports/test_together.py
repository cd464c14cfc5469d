"""All systems at once, factorial effects, the probability of improvement: against scipy and statsmodels."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs as posthocs
from scipy import stats as oracle
from statsmodels.formula.api import ols
from statsmodels.stats.multitest import multipletests

from reports import prose
from reports.__main__ import main as command
from reports.ablation import analyse
from reports.contract import Declaration, Factor, Study, Variant
from reports.inputs.tables import Scores, bare_study
from reports.statistics import crossed, factorial, seed_paired, systems
from reports.statistics.improvement import improvement
from tests.reports.fixture import alone

# ---- many systems


@pytest.mark.parametrize("seed", range(3))
def test_all_pairs_and_friedman_are_those_of_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    track = rng.normal(0, 1, 30)
    scores = {f"s{k}": track + rng.normal(0.15 * k, 0.5, 30) for k in range(6)}
    found = systems.compare(scores, seed % 2 == 0, 0.05, "track")
    assert found is not None
    table = np.array(list(scores.values()))
    assert (found.statistic, found.p) == pytest.approx(tuple(oracle.friedmanchisquare(*table)))
    ranks = pd.DataFrame(scores).rank(axis=1, ascending=seed % 2 == 1).mean()
    assert found.ranks == pytest.approx(ranks.to_dict()) and list(found.ranks.values()) == sorted(found.ranks.values())
    raw = [oracle.wilcoxon(scores[a], scores[b], method="approx").pvalue for a, b in found.pairs]
    assert list(found.pairs.values()) == pytest.approx(list(multipletests(raw, method="holm")[1]))
    names = list(found.ranks)
    for group in found.cliques:  # side by side, alike, and not part of a larger one
        first, last = names.index(group[0]), names.index(group[-1])
        assert tuple(names[first : last + 1]) == group
        assert all(found.apart(a, b) >= 0.05 for a in group for b in group if a != b)
        for more in (names[max(first - 1, 0) : last + 1], names[first : last + 2]):
            assert len(more) == len(group) or any(found.apart(a, b) < 0.05 for a in more for b in more if a != b)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(10))
def test_all_pairs_are_those_of_scikit_posthocs(seed: int) -> None:
    """Wilcoxon's p after Holm, exact for few tracks; Nemenyi's pairs are those whose mean ranks are further apart."""
    rng = np.random.default_rng(seed)
    items, many = (12, 5) if seed % 2 else (40, 8)
    track = rng.normal(0, 1, items)
    scores = {f"s{k}": track + rng.normal(0.2 * k, 0.5, items) for k in range(many)}
    found = systems.compare(scores, True, 0.05, "track")
    assert found is not None
    long = pd.DataFrame(scores).melt(var_name="system", value_name="score")
    method = "exact" if items <= 16 else "approx"
    pairs = posthocs.posthoc_wilcoxon(long, "score", "system", method, p_adjust="holm")
    assert found.pairs == pytest.approx({(a, b): pairs.loc[a, b] for a, b in found.pairs})
    nemenyi = posthocs.posthoc_nemenyi_friedman(np.array(list(scores.values())).T)
    for a, b in found.pairs:
        p = nemenyi.loc[list(scores).index(a), list(scores).index(b)]
        assert (p < 0.05) == (abs(found.ranks[a] - found.ranks[b]) > found.critical)


def test_critical_differences_are_the_printed_ones() -> None:
    """Critical values of the two-tailed Nemenyi test, Table 5(a) of Demsar, JMLR 7, 2006."""
    for k, q in {2: 1.960, 3: 2.343, 4: 2.569, 5: 2.728, 6: 2.850, 7: 2.949, 8: 3.031, 9: 3.102, 10: 3.164}.items():
        assert systems.critical_difference(k, 14, 0.05) == pytest.approx(q * math.sqrt(k * (k + 1) / 84), abs=0.002)


def test_a_table_of_many_systems_is_compared_all_with_all(tmp_path: Path, capsys) -> None:
    rng = np.random.default_rng(0)
    track = rng.normal(0, 2, 20)
    lines = ["model,seed,track,metric,score"]
    for k in range(12):
        lines += [f"s{k:02d},0,t{i},sdr,{track[i] + 0.3 * k + rng.normal(0, 0.5)}" for i in range(20)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert command([str(tmp_path / "t.csv"), "--factor", "model", "--reference", "s00", "--out", str(tmp_path)]) == 0
    page = " ".join((tmp_path / "report.md").read_text().split())
    assert "Over the 20 tracks that all 12 systems have, they differ (Friedman, χ²(11)" in page and "66 pairs" in page
    assert "Naive p" not in page and "critical difference" in (tmp_path / "report.html").read_text()


def test_the_spread_that_overturns_a_finding_makes_its_corrected_p_alpha() -> None:
    rng = np.random.default_rng(1)
    track = rng.normal(0, 1, 40)
    rows = [
        (name, 0, f"t{k}", "", "sdr", "", track[k] + gain + rng.normal(0, 0.4))
        for name, gain in (("reference", 0.0), ("a", 0.8), ("b", 0.5), ("c", 0.02))
        for k in range(40)
    ]
    frame = pd.DataFrame(rows, columns=["variant", "seed", "track", "target", "metric", "aggregation", "score"])
    main = analyse(
        Scores(frame, frame[:0]), bare_study(Scores(frame, frame[:0]), "t", "m", "reference", "sdr", "")
    ).main
    for contrast in main.contrasts:
        sd, result = prose.overturning(main, contrast), contrast.primary
        assert math.isnan(sd) == (contrast.variant == "c")
        if not math.isnan(sd):  # one training of each arm: the difference of two has variance 2 sd²
            t = result.difference / math.hypot(result.se, sd * math.sqrt(2))
            assert 3 * 2 * oracle.t.sf(t, 39) == pytest.approx(0.05)


# ---- factorials

FACTORS = {"loss": ("l1", "l2"), "mask": ("soft", "hard")}
CELLS = {f"{a}, {b}": {"loss": a, "mask": b} for a in FACTORS["loss"] for b in FACTORS["mask"]}
REFERENCE = {"loss": "l1", "mask": "soft"}


def test_effects_of_a_factorial_are_those_of_least_squares() -> None:
    """With equal runs per cell the variances of the cells add up to the pooled one of the linear model."""
    rng = np.random.default_rng(2)
    arms = {name: rng.normal(k, 1, 4) for k, name in enumerate(CELLS)}
    found = factorial.effects(factorial.plan(CELLS, REFERENCE), arms, "half_pooled", 0.05)
    assert [each.name for each in found] == ["loss: l2 − l1", "mask: hard − soft", "loss: l2 − l1 × mask: hard − soft"]
    rows = [(score, levels["loss"], levels["mask"]) for name, levels in CELLS.items() for score in arms[name]]
    frame = pd.DataFrame(rows, columns=["y", "loss", "mask"])
    fit = ols("y ~ C(loss, Sum) * C(mask, Sum)", frame).fit()
    for each, (size, sign) in zip(found, ((2, -1), (2, 1), (4, -1)), strict=True):
        name = {0: "C(loss, Sum)[S.l1]", 1: "C(mask, Sum)[S.hard]", 2: "C(loss, Sum)[S.l1]:C(mask, Sum)[S.hard]"}
        term = name[found.index(each)]
        assert each.result.difference == pytest.approx(sign * size * fit.params[term])
        assert each.result.se == pytest.approx(size * fit.bse[term])
        assert each.result.df <= 12 and each.p_corrected == pytest.approx(min(1, 3 * each.result.p))
        half = oracle.t.ppf(1 - 0.05 / 6, each.result.df) * each.result.se
        assert (each.low, each.high) == pytest.approx((each.result.difference - half, each.result.difference + half))


@pytest.mark.parametrize("seed", range(3))
def test_a_sum_of_two_arms_is_their_contrast(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (pd.DataFrame(rng.normal(0, 1, (4, 9))) for _ in range(2))
    arms, weights = {"a": a.to_numpy(), "b": b.to_numpy()}, {"a": 1.0, "b": -1.0}
    for test, on_two in (
        ("crossed", alone(crossed.family)),
        ("paired_crossed", alone(seed_paired.family)),
        ("item_means", crossed.item_means),
    ):
        ours, theirs = factorial.linear(arms, weights, test, 0.05, None), on_two(a, b)
        assert (ours.difference, ours.se, ours.df) == pytest.approx((theirs.difference, theirs.se, theirs.df))


def test_effects_over_tracks_keep_their_level() -> None:
    rng = np.random.default_rng(3)
    plan, fooled, studies = factorial.plan(CELLS, REFERENCE), 0, 150
    for _ in range(studies):
        arms = {
            name: rng.normal(0, 0.2, 8) + rng.normal(0, 0.15, (3, 1)) + rng.normal(0, 0.5, (3, 8)) for name in CELLS
        }
        fooled += any(each.p_corrected < 0.05 for each in factorial.effects(plan, arms, "crossed", 0.05))
    assert fooled <= 0.05 * studies + 3 * (0.0475 * studies) ** 0.5


def test_a_study_tells_its_factors_only_where_it_is_a_full_factorial() -> None:
    rng = np.random.default_rng(4)
    rows = [
        (name, seed, f"t{k}", "", "sdr", "", (levels["loss"] == "l2") + rng.normal(0, 0.3))
        for name, levels in CELLS.items()
        for seed in range(3)
        for k in range(8)
    ]
    frame = pd.DataFrame(rows, columns=["variant", "seed", "track", "target", "metric", "aggregation", "score"])
    declaration = Declaration(
        factors=tuple(Factor(name, {level: {} for level in levels}) for name, levels in FACTORS.items()),
        reference="l1, soft",
        metric="sdr",
    )
    study = Study("t", "t", declaration=declaration, variants=tuple(Variant(n, levels) for n, levels in CELLS.items()))
    effects = analyse(Scores(frame, frame[:0]), study).effects
    assert [each.p_corrected < 0.05 for each in effects] == [True, False, False] and effects[0].result.items == 8
    assert effects[0].result.difference == pytest.approx(1, abs=0.2)
    part = frame[frame["variant"] != "l2, hard"]
    assert analyse(Scores(part, frame[:0]), study).effects == ()
    assert factorial.plan({"a": {"f": "x"}, "b": {"f": "y"}}, {"f": "x"}) == {}


# ---- probability of improvement


@pytest.mark.parametrize("seed", range(5))
def test_over_runs_it_is_the_relative_effect_of_brunner_and_munzel(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(0.5, 1, 7).round(1), rng.normal(0, 2, 9).round(1)
    found = improvement(a, b)
    assert found.p == pytest.approx(oracle.mannwhitneyu(a, b).statistic / 63)
    p = oracle.brunnermunzel(a, b).pvalue
    for alpha in (0.99 * p, 1.01 * p):
        wide = improvement(a, b, alpha=alpha)
        assert (wide.low <= 0.5 <= wide.high) == (alpha < p)
    assert improvement(a, b, higher_is_better=False).p == pytest.approx(1 - found.p)


def test_its_interval_covers_over_runs_and_tracks() -> None:
    rng, studies = np.random.default_rng(0), 400
    truth = oracle.norm.cdf(0.4 / math.sqrt(2 * (0.2**2 + 0.3**2 + 0.5**2)))
    covered = 0
    for _ in range(studies):
        a, b = (
            gain + rng.normal(0, 0.2, (4, 1)) + rng.normal(0, 0.3, 20) + rng.normal(0, 0.5, (4, 20))
            for gain in (0.4, 0.0)
        )
        found = improvement(a, b)
        covered += found.low <= truth <= found.high
    assert covered / studies >= 0.93


# ---- many metrics


def test_how_many_metrics_were_looked_at_and_the_chance_of_a_star_are_told(tmp_path: Path, capsys) -> None:
    """Finding D: with 4 independent metrics some star stands in 12 % of null reports, with 8 in 24 %."""
    rng = np.random.default_rng(0)
    lines = ["model,seed,metric,score"]
    lines += [
        f"{model},{seed},{metric},{rng.normal(5, 1)}"
        for model in "AB"
        for seed in range(5)
        for metric in ("sdr", "sir", "sar", "isr", "si_sdr")
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    flags = ["--factor", "model", "--reference", "A", "--metric", "sdr", "--out", str(tmp_path)]
    assert command([str(tmp_path / "t.csv"), *flags]) == 0
    page = " ".join((tmp_path / "report.md").read_text().split())
    assert "Beside the primary metric 4 others were looked at" in page
    assert "at least one star among them is up to 19 % if they are independent" in page  # 1 - .95⁴ = 18.5 %
    lines = [lines[0], *(line for line in lines if ",sdr," in line or ",sir," in line)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    assert command([str(tmp_path / "t.csv"), *flags]) == 0
    page = " ".join((tmp_path / "report.md").read_text().split())
    assert "1 other was looked at, a family of its own." in page
    assert "the chance of a star there is up to 5 %: it is a hint" in page
