"""Tracks of one song, album or artist: the groups are the sample, against linear algebra."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats as oracle
from scipy.linalg import fractional_matrix_power

from reports.inputs.tables import read_scores
from reports.statistics import crossed, groups, seed_paired, tagging
from tests.reports.fixture import alone

UNEQUAL = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 5}


def members(sizes: dict[str, int]) -> dict[str, str]:
    return {f"{name}{k}": name for name, many in sizes.items() for k in range(many)}


@pytest.mark.parametrize("sizes", [UNEQUAL, dict.fromkeys("abcdef", 3)])
def test_the_variance_is_the_bias_reduced_cluster_robust_one(sizes: dict[str, int]) -> None:
    """CR2 of the mean by its definition: residuals of each group times (I - H)^(-1/2) [Bell and McCaffrey 2002]."""
    of = members(sizes)
    rng = np.random.default_rng(0)
    x, y = (pd.DataFrame(rng.normal(0, 1, (3, len(of))), columns=list(of)) for _ in range(2))
    d = (x - y).mean().to_numpy()
    total, start, many = 0.0, 0, len(d)
    for size in sizes.values():
        own = slice(start, start + size)
        adjusted = fractional_matrix_power(np.eye(size) - np.full((size, size), 1 / many), -0.5) @ (d[own] - d.mean())
        total, start = total + adjusted.sum() ** 2 / many**2, start + size
    a, b = (groups.collapse(table, of) for table in (x, y))
    found = crossed.item_means(a, b, item="group", sizes=groups.sizes(list(of), of))
    assert (found.difference, found.se) == pytest.approx((d.mean(), math.sqrt(total)))
    assert found.items == len(sizes) and found.df <= len(sizes) - 1


def test_degrees_of_freedom_are_those_of_bell_and_mccaffrey() -> None:
    share = np.array(list(UNEQUAL.values())) / sum(UNEQUAL.values())
    centre = np.eye(5) - np.outer(np.ones(5), share)
    form = centre.T @ np.diag(share**2 / (1 - share)) @ centre @ np.diag(0.5 + 0.5 / np.arange(1, 6))
    assert groups.degrees(share) == pytest.approx(np.trace(form) ** 2 / np.trace(form @ form))
    assert groups.degrees(np.full(7, 1 / 7)) == 6


def test_groups_of_equal_size_are_tested_as_their_means() -> None:
    of = members(dict.fromkeys("abcdefgh", 3))
    rng = np.random.default_rng(1)
    x, y = (pd.DataFrame(rng.normal(0, 1, (4, 24)), columns=list(of)) for _ in range(2))
    a, b = (table.T.groupby(of).mean().T for table in (x, y))
    ours = (groups.collapse(x, of), groups.collapse(y, of))
    sizes = groups.sizes(list(of), of)
    for test in (alone(crossed.family), alone(seed_paired.family), crossed.item_means):
        plain, grouped = test(a, b), test(*ours, sizes=sizes)
        assert (grouped.difference, grouped.se, grouped.df) == pytest.approx((plain.difference, plain.se, plain.df))
    means = (a - b).mean()
    assert crossed.item_means(*ours, sizes=sizes).p == pytest.approx(oracle.ttest_1samp(means, 0).pvalue)


def test_deviations_of_clips_are_summed_within_groups() -> None:
    """Each clip given five times is one clip: the test over groups is that of the clips alone."""
    rng = np.random.default_rng(3)
    truth = np.arange(40) % 2
    rows = [
        (name, seed, f"c{clip}", "tag", truth[clip], rng.normal(truth[clip], 1))
        for name in ("new", "old")
        for seed in range(3)
        for clip in range(40)
    ]
    once = pd.DataFrame(rows, columns=["variant", "seed", "item", "target", "truth", "score"])
    five = pd.concat([once.assign(item=once["item"] + f"-{k}", group=once["item"]) for k in range(5)])
    single, grouped = (tagging.influences(each) for each in (once, five))
    a, b = (tagging.delong(each["new"], each["old"], 0.05) for each in (single, grouped))
    naive = tagging.delong(*(tagging.influences(five.drop(columns="group"))[v] for v in ("new", "old")), 0.05)
    assert b.se == pytest.approx(a.se, rel=0.05) and naive.se == pytest.approx(a.se / 5**0.5, rel=0.05)
    assert (b.df, b.items) == (39, 40) and "groups of clips" in b.label
    table, sizes = grouped["new"].scores, grouped["new"].sizes
    assert table.shape == (3, 40) and set(sizes.values()) == {5}
    assert table.to_numpy() == pytest.approx(single["new"].scores.to_numpy(), abs=0.03)


def test_a_track_of_two_groups_is_refused(tmp_path) -> None:
    (tmp_path / "t.csv").write_text("model,seed,track,group,score\nA,0,t1,x,1\nB,0,t1,y,2\n")
    with pytest.raises(ValueError, match=r"'t1' is of the groups 'x' and 'y'.*give it another name"):
        read_scores(tmp_path / "t.csv", "model")
    (tmp_path / "t.csv").write_text("group,seed,track,score\nA,0,t1,1\nB,0,t1,2\n")
    assert read_scores(tmp_path / "t.csv", "group").variants() == ["A", "B"]
