"""Arms that lack targets, tracks or runs: what is compared is what both have, and the others go on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

import reports
from reports import contract, declared, prose
from reports.findings import Comparison
from reports.inputs.tables import Scores
from tests.reports.test_edges import said
from tests.reports.test_edges import study as edge

MEANS = {"base": 5.0, "new": 5.4, "bad": 6.0}
RECIPE = {"loss.name": "l1"}


def table(
    keep: Callable[[str, int, int, str], bool], tracks: int = 20, targets: tuple[str, ...] = ("",), seeds: int = 5
) -> pd.DataFrame:
    """Scores of base, new and bad on the cells (variant, seed, track, target) that `keep` lets through."""
    rng = np.random.default_rng(3)
    songs, offset = rng.normal(0, 1, tracks), {target: 3.0 * k for k, target in enumerate(targets)}
    rows = []
    for name, mean in MEANS.items():
        for seed in range(seeds):
            run = rng.normal(0, 0.1)
            for k in range(tracks):
                for target in targets:
                    score = mean + run + songs[k] + offset[target] + rng.normal(0, 0.3)
                    if keep(name, seed, k, target):
                        rows.append((name, seed, f"t{k:02d}", target, "sdr", score))
    return pd.DataFrame(rows, columns=["variant", "seed", "track", "target", "metric", "score"])


def home(path: Path, scores: pd.DataFrame, **declare: object) -> Path:
    """The table as a study of its own."""
    variants = [{"variant": name, "levels": {"method": name}, "recipe": RECIPE} for name in MEANS]
    declared = {"factors": [], "seeds": list(range(5)), "test": "", **declare}
    written = edge(path, {"base": [1.0]}, variants=variants, declare=declared)
    scores.to_csv(written / "scores.csv", index=False)
    return written


@pytest.mark.parametrize(
    "gone",
    [
        lambda seed, k: 4 * seed <= k < 4 * seed + 4,  # no track is in all five runs
        lambda seed, k: k < 20,  # only tracks of its own
        lambda seed, k: k == 0 or k > 1 and k < 20,  # one track in common
    ],
    ids=["each run lacks others", "disjoint", "one in common"],
)
def test_a_variant_without_common_tracks_is_dropped_from_the_power_and_not_the_study(tmp_path: Path, gone) -> None:
    scores = table(lambda v, s, k, t: not gone(s, k) if v == "bad" else k < 20, tracks=40)
    written = home(tmp_path / "all", scores)
    findings = reports.read(written)
    assert findings.power is not None and findings.power.runs == 5
    assert "80 % power" in said(written)
    alone = reports.read(home(tmp_path / "two", scores[scores["variant"] != "bad"])).main.contrast("new")
    found = findings.main.contrast("new")
    assert found is not None and alone is not None and found.primary == alone.primary


def by_hand(scores: pd.DataFrame, variant: str) -> pd.DataFrame | None:
    """Runs of the variant and of base (rows) by track (columns), over the cells without any gap; None without one."""
    both = scores[scores["variant"].isin([variant, "base"])]
    cells = both.pivot_table(index=["variant", "seed"], columns=["track", "target"], values="score").dropna(axis=1)
    return None if cells.empty else cells.T.groupby(level="track").mean().T


def check_welch(main: Comparison, scores: pd.DataFrame) -> list[str]:
    """Holds every contrast to scipy's test on what is in all runs of both arms; names of those refused."""
    refused = []
    for contrast in main.contrasts:
        expected = by_hand(scores, contrast.variant)
        if expected is None:
            assert contrast.variant in contrast.refused and contrast.reference in contrast.refused
            assert np.isnan([contrast.primary.p, contrast.primary.difference, contrast.effect.g]).all()
            refused.append(contrast.variant)
            continue
        arm, base = (expected.loc[name].mean(axis=1) for name in (contrast.variant, "base"))
        assert contrast.primary.difference == pytest.approx(arm.mean() - base.mean())
        assert contrast.primary.p == pytest.approx(ttest_ind(arm, base, equal_var=False).pvalue, rel=1e-6)
        assert contrast.p_corrected == pytest.approx(min(1.0, 2 * contrast.primary.p))
        row = main.row(contrast.variant)
        assert list(row.runs.values()) == pytest.approx(arm.tolist()) and row.mean == pytest.approx(arm.mean())
        assert contrast.reference_mean == pytest.approx(base.mean())
    return refused


def test_a_variant_with_two_of_four_targets_is_compared_on_these(tmp_path: Path) -> None:
    targets = ("vocals", "drums", "bass", "other")  # each 3 dB easier than the one before
    scores = table(lambda v, s, k, t: v != "bad" or t in targets[2:], tracks=6, targets=targets)
    scores.loc[scores["variant"] == "bad", "score"] -= 2.0
    naive = scores.groupby("variant")["score"].mean()
    written = home(tmp_path, scores, test="welch")
    main = reports.read(written).main
    assert check_welch(main, scores) == []
    assert naive["bad"] - naive["base"] > 1.5 and main.contrasts[1].primary.difference < -0.5
    assert main.contrasts[0].left_out == {} and main.contrasts[1].left_out == {"bad": {"target": ("drums", "vocals")}}
    text = said(written)
    assert "Not every run of bad is scored on 2 targets (drums and vocals), left out of its mean and its" in text
    base = by_hand(scores, "bad").loc["base"].to_numpy().mean()
    assert f"and base {base:.2f} SDR." in text and f"{base:.2f}" not in prose.mean_se(main, "base")


@pytest.mark.parametrize("test", ["welch", ""])
@pytest.mark.parametrize("common", [0, 1, 2])
def test_arms_on_other_tracks_are_refused_by_name_and_the_others_go_on(tmp_path: Path, test: str, common: int) -> None:
    scores = table(lambda v, s, k, t: k >= 10 - common if v == "bad" else k < 10, tracks=20)
    written = home(tmp_path, scores, test=test)
    findings = reports.read(written)
    main, needed = findings.main, 2 if test == "" else 1
    new, bad = main.contrasts
    assert (new.refused == "") and main.family == 2 and len(main.row("bad").runs) == 5
    assert new.primary.p < 0.05 and "new (" in prose.headline(findings)
    if test == "welch":
        assert check_welch(main, scores) == ([] if common else ["bad"])
    text = said(written)
    own = scores[scores["variant"] == "bad"]
    if common < needed:
        assert f"in every run of both bad and base{', and the test needs 2' if common else ''} (in every" in text
        assert f"own, bad has {10 + common} and base has 10)" in text and "Contrast refused: " in text
        assert main.row("bad").mean == pytest.approx(own.groupby("seed")["score"].mean().mean())
        assert "bad" not in findings.by_track and set(main.balanced) == {"base", "new"}
    else:
        assert "Not every run of bad is scored on" in text and "Not every run of base is scored on" in text
        effects = {effect.target: effect for effect in findings.by_track["bad"]}
        tracks = by_hand(scores, "bad")
        assert set(effects) == set(tracks.columns) and len(effects) == common
        for name, effect in effects.items():
            arm, base = tracks.loc["bad", name], tracks.loc["base", name]
            assert effect.p == pytest.approx(ttest_ind(arm, base, equal_var=False).pvalue)


@pytest.mark.parametrize("common, seeds", [(1, 3), (2, 3), (0, 1)])
def test_levels_with_tracks_of_their_own_are_compared_as_two_samples(tmp_path: Path, common: int, seeds: int) -> None:
    scores = table(lambda v, s, k, t: k >= 5 - common if v == "bad" else k < 5, tracks=10, seeds=seeds)
    levels = [{"name": "method", "levels": {name: {"loss.name": "l1"} for name in MEANS}}]
    written = home(tmp_path, scores, factors=levels, own_tracks=["method"])
    main = reports.read(written).main
    new, bad = main.contrasts
    assert not bad.refused and bad.own_tracks == (common < 2) and not new.own_tracks
    assert ("bad and base are scored on other tracks, as declared" in said(written)) == (common < 2)
    assert set(main.balanced) >= {"base", "new"}
    if common == 2:
        assert bad.primary.items == 2
        return
    arms = [scores[scores["variant"] == name]["score"] for name in ("bad", "base")]
    assert bad.primary.difference == pytest.approx(arms[0].mean() - arms[1].mean()) and bad.primary.items == 5
    assert main.row("bad").mean == pytest.approx(arms[0].mean())
    if seeds == 1:
        assert bad.primary.p == pytest.approx(ttest_ind(*arms, equal_var=False).pvalue)


def test_a_test_that_cannot_take_two_samples_of_tracks_is_refused() -> None:
    with pytest.raises(ValueError, match="names 'songs': .* no test but crossed or item_means .* is 'mixed'"):
        contract.check(contract.Declaration(own_tracks=("songs",), test="mixed"))


def test_runs_without_a_track_in_common_have_a_mean_but_no_spread(tmp_path: Path) -> None:
    scores = table(lambda v, s, k, t: v != "bad" or k // 4 != s)
    main = reports.read(home(tmp_path, scores)).main
    row, own = main.row("bad"), scores[scores["variant"] == "bad"]
    assert "no track has a score in every run of both bad and base" in main.contrasts[1].refused
    assert list(row.runs.values()) == pytest.approx(own.groupby("seed")["score"].mean().tolist())
    assert np.isnan([row.sd, row.se]).all() and main.test == "crossed"


def test_single_scores_that_are_missing_are_named(tmp_path: Path) -> None:
    gaps = [("new", 1, 3, "bass"), ("base", 0, 5, "bass"), ("bad", 2, 4, "bass"), ("bad", 3, 4, "vocals")]
    scores = table(lambda *cell: cell not in gaps, tracks=7, targets=("vocals", "bass"))
    written = home(tmp_path, scores, test="welch")
    main = reports.read(written).main
    assert check_welch(main, scores) == []
    base = {"base": {"score": ("bass of t05",)}}
    assert [c.left_out for c in main.contrasts] == [
        {"new": {"score": ("bass of t03",)}, **base},
        {"bad": {"track": ("t04",)}, **base},
    ]
    assert (
        "of base is scored on 1 track of one target (bass of t05), left out of the comparison with new and bad"
        in said(written)
    )


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_missing_a_contrast_is_over_what_both_have(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    share = rng.choice([0.0, 0.02, 0.1, 0.4])
    scores = table(lambda *cell: rng.random() >= share, tracks=4, targets=("vocals", "bass"), seeds=3)
    main = reports.read(home(tmp_path, scores, test="welch", seeds=[0, 1, 2])).main
    refused = check_welch(main, scores)
    assert [row.variant for row in main.rows] == list(MEANS)
    compared = scores[~scores["variant"].isin(refused)]
    cells = compared.pivot_table(index=["variant", "seed"], columns=["track", "target"], values="score").dropna(axis=1)
    means = cells.T.groupby(level="track").mean().T.mean(axis=1)
    expected = {(v, s): score for (v, s), score in means.items()} if not cells.empty else {}
    assert {(v, s): x for v, runs in main.balanced.items() for s, x in runs.items()} == pytest.approx(expected)


def test_a_run_and_an_arm_without_a_defined_score_keep_their_row_and_their_reason(tmp_path: Path) -> None:
    scores = table(lambda *cell: True, tracks=6)
    crashed = (scores["variant"] == "bad") | ((scores["variant"] == "new") & (scores["seed"] == 1))
    silent = scores["track"] == "t02"
    partial = (scores["variant"] == "base") & (scores["seed"] == 0) & (scores["track"] == "t04")
    scores["score"] = scores["score"].mask(crashed | silent | partial)
    written = home(tmp_path, scores, test="welch")
    main = reports.read(written).main
    means = scores[~scores["track"].isin(["t02", "t04"])].dropna().groupby(["variant", "seed"])["score"].mean()
    new, bad = main.contrasts
    expected = ttest_ind(means["new"], means["base"], equal_var=False)
    assert new.primary.p == pytest.approx(expected.pvalue) and new.primary.n == (4, 5)
    assert new.p_corrected == pytest.approx(min(1, 2 * expected.pvalue))
    assert [(row.variant, len(row.runs), row.planned) for row in main.rows] == [
        ("base", 5, 5),
        ("new", 4, 5),
        ("bad", 0, 5),
    ]
    assert bad.primary.note == "bad has no defined score (30 scores empty or not finite)" and not bad.refused
    text = said(written)
    runs = "new/seed1, bad/seed0, bad/seed1, bad/seed2, bad/seed3 and bad/seed4"
    assert f"All sdr scores of {runs} undefined (empty or not finite), where other runs have a score; these" in text
    assert "1 sdr score of base/seed0 undefined (empty or not finite), where other runs have a score." in text
    assert "15 sdr scores on t02 undefined and left out: no run has one." in text
    lacking = Scores(scores.dropna(), scores[silent].assign(aggregation=""))
    assert any("a source that is silent in the reference, or an" in one for one in declared._undefined(lacking, True))


def test_what_a_secondary_metric_lacks_is_said_too(tmp_path: Path) -> None:
    scores = table(lambda *cell: True, tracks=6)
    other = table(lambda v, s, k, t: (v != "bad" or k == s) and (v != "new" or k != 3), tracks=6)
    written = home(tmp_path, pd.concat([scores, other.assign(metric="sir")]), test="welch")
    main, second = reports.read(written).comparisons
    assert check_welch(main, scores) == [] and check_welch(second, other) == ["bad"]
    text = said(written)
    assert "new is scored on 1 track (t03), left out of its mean and its comparison with base (SIR)." in text
    assert "Contrast refused on SIR: no track has a score in every run of both bad and base" in text
