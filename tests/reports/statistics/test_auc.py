"""AUC tests against scikit-learn, DeLong by its definition, and published examples."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as oracle
from sklearn.metrics import roc_auc_score, roc_curve

from reports.statistics import auc, tagging
from tests.reports.fixture import delong


def sample(seed: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = np.concatenate([[0, 0, 1, 1], rng.integers(0, 2, rng.integers(6, 40))])
    common = rng.normal(size=len(truth))
    a, b = (truth * g + common + rng.normal(0, 0.7, len(truth)) for g in (1.5, 1.0))
    return (truth, np.round(a), np.round(b)) if ties else (truth, a, b)


def one_run(v: str, seed: int, tag: str, truth: np.ndarray, score: np.ndarray) -> pd.DataFrame:
    items = np.arange(len(truth))
    columns = {"variant": v, "seed": seed, "item": items, "target": tag}
    return pd.DataFrame(columns | {"truth": truth, "score": score})


@pytest.mark.parametrize("seed", range(50))
def test_area_and_curve_are_sklearns(seed: int) -> None:
    truth, a, _ = sample(seed, ties=seed % 2 == 0)
    assert auc.auc(truth, a) == pytest.approx(roc_auc_score(truth, a))
    false, hits, _ = roc_curve(truth, a, drop_intermediate=False)
    grid = np.linspace(0, 1, 11)
    assert np.trapezoid(auc.curve(truth, a, np.linspace(0, 1, 5001)), dx=1 / 5000) == pytest.approx(
        roc_auc_score(truth, a), abs=2e-3
    )
    inside = auc.curve(truth, a, grid)
    assert inside[-1] == 1 and np.all(np.diff(inside) >= 0)


@pytest.mark.parametrize("seed", range(50))
def test_of_one_tag_and_seed_it_is_delong_by_its_definition(seed: int) -> None:
    truth, a, b = sample(seed, ties=seed % 2 == 0)
    rows = [one_run(v, 0, "guitar", truth, s) for v, s in (("new", a), ("old", b))]
    areas = tagging.influences(pd.concat(rows))
    ours, (difference, se) = tagging.delong(areas["new"], areas["old"], 0.05), delong(truth, a, b)
    assert ours.difference == pytest.approx(roc_auc_score(truth, a) - roc_auc_score(truth, b))
    if se**2 > 1e-15:
        assert ours.se == pytest.approx(se)
        assert ours.p == pytest.approx(2 * oracle.norm.sf(abs(difference / se)))


def test_macro_delong_matches_a_bootstrap_of_clips() -> None:
    rng = np.random.default_rng(0)
    clips, rows = 150, []
    for tag in ("x", "y"):
        truth = (rng.random(clips) < 0.4).astype(int)
        ease = rng.normal(size=clips)
        for v, gain in (("new", 1.4), ("old", 1.0)):
            for seed in (0, 1):
                score = truth * gain + ease + rng.normal(0, 0.5, clips)
                rows.append(one_run(v, seed, tag, truth, score))
    table = pd.concat(rows)
    found = tagging.delong(*(tagging.influences(table)[v] for v in ("new", "old")), 0.05)
    groups = [(v, g.sort_values("item")) for (v, _, _), g in table.groupby(["variant", "seed", "target"])]
    draws = []
    for _ in range(600):
        pick = rng.integers(0, clips, clips)
        areas = {"new": [], "old": []}
        for v, g in groups:
            areas[v].append(auc.auc(g["truth"].to_numpy()[pick], g["score"].to_numpy()[pick]))
        draws.append(np.mean(areas["new"]) - np.mean(areas["old"]))
    assert found.se == pytest.approx(np.std(draws), rel=0.12)


def test_hanley_mcneil_published_example() -> None:
    # Hanley and McNeil 1982, table III: theta 0.893, 51 abnormal, 58 normal, SE 0.032.
    assert auc.hanley_mcneil(0.893, 51, 58) == pytest.approx(0.032, abs=6e-4)


def test_no_positive_example() -> None:
    truth, score = np.zeros(5, int), np.arange(5.0)
    assert math.isnan(auc.auc(truth, score))
    assert np.isnan(auc.curve(truth, score, np.linspace(0, 1, 3))).all()


def test_tag_rows_are_delong_hanley_mcneil_and_d() -> None:
    truth, a, b = sample(7)
    rows = [one_run(v, 0, "guitar", truth, s) for v, s in (("new", a), ("old", b))]
    areas = tagging.influences(pd.concat(rows))
    (row,) = tagging.by_tag(areas["new"], areas["old"], 0.05)
    half = 1.959964 * auc.hanley_mcneil(row.variant, int(truth.sum()), int((1 - truth).sum()))
    assert row.variant == pytest.approx(roc_auc_score(truth, a))
    assert row.variant_half == pytest.approx(half, rel=1e-6)
    assert row.d == pytest.approx(row.variant - row.reference - row.variant_half - row.reference_half)
    difference, se = delong(truth, a, b)
    assert row.p == pytest.approx(2 * oracle.norm.sf(abs(difference / se)))
