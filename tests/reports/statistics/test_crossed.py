"""Seeds x items tests against statsmodels and hand computation; rates by simulation."""

import math
import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import stats as oracle
from statsmodels.regression.mixed_linear_model import MixedLM, MixedLMParams

from reports.statistics import crossed, half_pooled, mixed, seed_paired
from tests.reports.fixture import alone

over_tracks = alone(crossed.family)


def arms(
    seed: int, run_sd: float = 0.15, cell_sd: float = 0.25, n: tuple[int, int] = (5, 5), items: int = 20
) -> tuple[pd.DataFrame, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    track = rng.normal(0, 0.6, items)
    out = []
    for k in n:
        cell, run = rng.normal(0, cell_sd, items), rng.normal(0, run_sd, (k, 1))
        table = track + cell + run + rng.normal(0, 0.6, (k, items))
        out.append(pd.DataFrame(table, columns=[f"t{i:02d}" for i in range(items)]))
    return out[0], out[1]


def anova(a: pd.DataFrame, b: pd.DataFrame) -> tuple[float, float, float]:
    """Mean squares by the definition: run, variant x item, residual."""
    cells = {
        (v, r, i): table.iloc[r, i]
        for v, table in enumerate((a, b))
        for r in range(len(table))
        for i in range(table.shape[1])
    }
    items, seeds = a.shape[1], len(a)
    mean_v = {v: np.mean([x for k, x in cells.items() if k[0] == v]) for v in (0, 1)}
    mean_r = {(v, s): np.mean([cells[v, s, i] for i in range(items)]) for v in (0, 1) for s in range(seeds)}
    mean_c = {(v, i): np.mean([cells[v, s, i] for s in range(seeds)]) for v in (0, 1) for i in range(items)}
    mean_i = {i: (mean_c[0, i] + mean_c[1, i]) / 2 for i in range(items)}
    grand = (mean_v[0] + mean_v[1]) / 2
    run = items * sum((m - mean_v[v]) ** 2 for (v, _), m in mean_r.items()) / (2 * (seeds - 1))
    cell = seeds * sum((m - mean_v[v] - mean_i[i] + grand) ** 2 for (v, i), m in mean_c.items()) / (items - 1)
    left = sum((x - mean_r[v, s] - mean_c[v, i] + mean_v[v]) ** 2 for (v, s, i), x in cells.items())
    return run, cell, left / (2 * (seeds - 1) * (items - 1))


@pytest.mark.parametrize("seed", range(20))
def test_mean_squares_are_those_of_an_anova(seed: int) -> None:
    a, b = arms(seed, run_sd=[0.0, 0.3][seed % 2], cell_sd=[0.0, 0.0, 0.5][seed % 3], items=8)
    run, cell, residual = anova(a, b)
    found = half_pooled.of_arms([(a.to_numpy(), b.to_numpy())])
    # Of two arms with 5 runs: what is one mean square there is the mean of both arms' here.
    assert (found.run[0] + found.reference_run[0]) / 2 * 8 == pytest.approx(run)
    assert (found.residual[0] + found.reference_residual[0]) / 2 == pytest.approx(residual)
    assert found.item[0] * 5 / 2 == pytest.approx(cell)
    # Var(difference) = 2/(seeds items) (run MS + cell MS - residual MS) for equal numbers of seeds.
    scale = 2 / (5 * 8)
    result = over_tracks(a, b)
    total = max(scale * (run + cell - residual), scale * residual)
    t = (a.to_numpy().mean() - b.to_numpy().mean()) / math.sqrt(total)
    assert result.statistic == pytest.approx(t)
    assert result.p == pytest.approx(2 * oracle.t.sf(abs(t), result.df))


@pytest.mark.parametrize("seed", range(20))
def test_the_seed_paired_test_is_the_anova_of_the_differences(seed: int) -> None:
    import statsmodels.api as sm
    from statsmodels.formula.api import ols

    a, b = arms(seed, items=9)
    d = (a - b).stack().rename_axis(["seed", "item"]).rename("d").reset_index()
    square = sm.stats.anova_lm(ols("d ~ C(seed) + C(item)", d).fit())["mean_sq"]
    total = max(square.iloc[0] + square.iloc[1] - square.iloc[2], square.iloc[2]) / (5 * 9)
    found = alone(seed_paired.family)(a, b)
    assert found.se == pytest.approx(math.sqrt(total))
    assert found.difference == pytest.approx(d["d"].mean())


@pytest.mark.parametrize("seed", range(20))
def test_without_items_effects_its_error_is_that_of_welch_on_runs(seed: int) -> None:
    rng = np.random.default_rng(seed)
    run = rng.normal(0, 1, (2, 4, 1))
    noise = rng.normal(0, 1e-6, (2, 4, 10))
    a, b = (pd.DataFrame(run[k] + noise[k]) for k in (0, 1))
    theirs = oracle.ttest_ind(a.mean(axis=1), b.mean(axis=1), equal_var=False)
    ours = over_tracks(a, b)
    assert ours.statistic == pytest.approx(theirs.statistic, rel=1e-4)
    assert theirs.df - 1e-3 <= ours.df <= 6 + 1e-3  # between Welch's and Student's


@pytest.mark.parametrize("varies", ["runs", "items"])
@pytest.mark.parametrize("test", ["crossed", "item_means"])
def test_arms_on_items_of_their_own_are_two_samples(varies: str, test: str) -> None:
    """Where only runs, or only items, differ at all, the test is scipy's Welch on their means."""
    rng = np.random.default_rng(5)
    if varies == "runs":
        a, b = (pd.DataFrame(np.repeat(rng.normal(k, 1 + k, (4 + k, 1)), 9 - k, axis=1)) for k in (0, 1))
    else:
        a, b = (pd.DataFrame(np.repeat(rng.normal(k, 1 + k, (1, 9 - k)), 4 + k, axis=0)) for k in (0, 1))
    b.columns = [f"other {name}" for name in b.columns]
    ours = crossed.own_items(a, b, test=test)
    assert ours.test == test and ours.difference == pytest.approx(a.to_numpy().mean() - b.to_numpy().mean())
    if varies == "runs" and test == "item_means":
        assert math.isnan(ours.p)  # items do not differ, and nothing else is a sample
        return
    theirs = oracle.ttest_ind(*(table.mean(axis=1 if varies == "runs" else 0) for table in (a, b)), equal_var=False)
    assert (ours.statistic, ours.df, ours.p) == pytest.approx((theirs.statistic, theirs.df, theirs.pvalue))
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs.confidence_interval()))


def test_two_samples_of_items_are_seldom_wrong_where_nothing_differs() -> None:
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(1_000):
        arm = [
            rng.normal(0, 1, (1, items)) + rng.normal(0, 0.2, (3, 1)) + rng.normal(0, 0.5, (3, items))
            for items in (12, 20)
        ]
        wrong += crossed.own_items(*map(pd.DataFrame, arm)).p < 0.05
    assert 25 <= wrong <= 75


@pytest.mark.parametrize("seed", range(50))
def test_mixed_model_is_statsmodels(seed: int) -> None:
    n = [(3, 3), (3, 2), (2, 2), (2, 3)][seed % 4]
    a, b = arms(seed, run_sd=0.3, cell_sd=[0.0, 0.4][seed // 4 % 2], n=n, items=6)
    x, y = a.to_numpy(), b.to_numpy()
    items = x.shape[1]
    frame = pd.DataFrame(
        {
            "score": np.concatenate([x.ravel(), y.ravel()]),
            "arm": np.repeat([1.0, 0.0], [x.size, y.size]),
            "run": np.repeat(np.arange(sum(n)), items),
            "item": np.tile(np.arange(items), sum(n)),
        }
    )
    frame["cell"] = frame["item"] + items * frame["arm"].astype(int)
    formula = {name: f"0 + C({name})" for name in ("run", "item", "cell")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = MixedLM.from_formula(
            "score ~ arm", frame, groups=np.zeros(len(frame)), re_formula="0", vc_formula=formula
        )
        fit = model.fit(reml=True, method=["powell"])
    ours = mixed.mixed(a, b)
    assert ours.difference == pytest.approx(fit.params["arm"], abs=1e-6)
    # statsmodels' likelihood at our variances is no worse than at its own, less well found,
    # optimum.
    residual, run, cell, common = mixed.reml(x, y)
    ratios = np.maximum(np.array([cell, common, run]) / residual, 1e-8)  # zero divides there
    at_ours = MixedLMParams.from_components(fe_params=fit.fe_params.to_numpy(), vcomp=ratios)
    assert model.loglike(at_ours) > fit.llf - 1e-3
    assert ours.se == pytest.approx(fit.bse["arm"], rel=0.03)


@pytest.mark.parametrize("seed", range(50))
def test_naive_tests_are_scipys_paired_t(seed: int) -> None:
    a, b = arms(seed)
    pooled = oracle.ttest_rel(a.to_numpy().ravel(), b.to_numpy().ravel())
    means = oracle.ttest_rel(a.mean(), b.mean())
    assert crossed.naive(a, b).p == pytest.approx(pooled.pvalue)
    assert crossed.item_means(a, b).p == pytest.approx(means.pvalue)


def test_bootstrap_by_explicit_resampling() -> None:
    a, b = arms(3)
    rng = np.random.default_rng(0)
    x, y = a.to_numpy(), b.to_numpy()
    draws = []
    for _ in range(8000):
        items = rng.integers(0, 20, 20)
        draws.append(x[rng.integers(0, 5, 5)][:, items].mean() - y[rng.integers(0, 5, 5)][:, items].mean())
    ours = crossed.bootstrap(a, b, np.random.default_rng(1), resamples=20_000)
    low, high = np.quantile(draws, [0.025, 0.975])
    assert (ours.low, ours.high) == pytest.approx((low, high), abs=0.03)
    assert ours.se == pytest.approx(np.std(draws), rel=0.04)
    assert ours == crossed.bootstrap(a, b, np.random.default_rng(1), resamples=20_000)


def test_items_without_a_score_are_left_out_by_name() -> None:
    a, b = arms(1, items=10)
    b.loc[2, "t04"] = np.nan
    found = over_tracks(a, b)
    assert found.items == 9 and "t04" in found.note
    assert found.p == over_tracks(a.drop(columns="t04"), b.drop(columns="t04")).p


def test_one_seed_says_why() -> None:
    a, b = arms(1, n=(1, 5))
    for test in (over_tracks, mixed.mixed):
        found = test(a, b)
        assert math.isnan(found.p) and "two runs in each arm" in found.note


def test_it_is_honest_where_the_naive_test_is_not() -> None:
    p = {"crossed": [], "naive": []}
    for seed in range(400):
        a, b = arms(seed, run_sd=0.3, cell_sd=0.25, items=50)
        p["crossed"].append(over_tracks(a, b).p)
        p["naive"].append(crossed.naive(a, b).p)
    rates = {name: float(np.mean(np.array(values) < 0.05)) for name, values in p.items()}
    # 400 studies: the standard error of a 5 % rate is 1.1 points.
    assert 0.017 < rates["crossed"] < 0.083
    assert rates["naive"] > 0.4
