"""The sections of AE-MIC's studies: published figures beside ours, every one of ours against scipy or sklearn."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats as scipy_stats
from sklearn.metrics import roc_auc_score

import reports
from reports.papers.aemic import claims, instruments, separated_stems
from reports.papers.aemic.separated_stems import paired_published
from reports.published import paper
from reports.statistics.auc import hanley_mcneil
from reports.text import MISSING

STEMS = ("base", "raw", "post")
LABELS = ("cel", "cla", "voi")


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A study of 3 stems x 2 ways of stopping, 2 seeds: 8 songs, 60 clips of three instruments of IRMAS."""
    home = tmp_path_factory.mktemp("store") / "studies" / "stem_quality"
    home.mkdir(parents=True)
    rng = np.random.default_rng(0)
    truth = {label: rng.integers(0, 2, 60) for label in LABELS}
    songs = {"raw": rng.normal(8, 2, 8)}
    songs["post"] = songs["raw"] - rng.uniform(0, 1, 8)
    scores, predictions, curves, variants, trials = [], [], [], [], []
    for stem in STEMS:
        for stopped in ("validation", "test (published)"):
            name = f"{stem}, {stopped}"
            variants.append({"variant": name, "levels": {"stem": stem, "stopped on": stopped}})
            for seed in range(2):
                key = f"{stem}{stopped}{seed}"
                trials.append(
                    {
                        "trial": f"{name}/seed{seed}",
                        "variant": name,
                        "seed": seed,
                        "status": "done",
                        "stages": {"train_classifier": key, "train_autoencoder": "separator"},
                    }
                )
                curves += [("train_classifier", key, 5 * e, "valid_auc", 0.5 + 0.02 * e) for e in range(1, 6)]
                front = {"study": "stem_quality", "trial": f"{name}/seed{seed}", "variant": name, "seed": seed}
                each = []
                for label in LABELS:
                    score = truth[label] * STEMS.index(stem) * 0.4 + rng.normal(size=60)
                    each.append(roc_auc_score(truth[label], score))
                    scores.append({**front, "track": "", "target": label, "metric": "roc_auc", "score": each[-1]})
                    predictions += [
                        {**front, "item": f"clip{i}", "target": label, "truth": int(truth[label][i]), "score": score[i]}
                        for i in range(60)
                    ]
                scores.append({**front, "track": "", "target": "macro", "metric": "roc_auc", "score": np.mean(each)})
                mixture = songs["raw"] - 3 if stem == "raw" else []
                for metric, of in (("spectrogram_sdr", songs.get(stem, [])), ("spectrogram_sdr_mixture", mixture)):
                    scores += [
                        {**front, "track": f"song{i}", "target": "vocals+other", "metric": metric, "score": value}
                        for i, value in enumerate(of)
                    ]
    for epoch in range(1, 5):
        curves += [
            ("train_autoencoder", "separator", 10 * epoch, "train_loss", 0.05 / epoch),
            ("train_autoencoder", "separator", 10 * epoch, "valid_mae", 0.06 / epoch if epoch < 4 else 0.05),
        ]
    pd.DataFrame(scores).assign(aggregation="").to_csv(home / "scores.csv", index=False)
    pd.DataFrame(predictions).to_parquet(home / "predictions.parquet")
    pd.DataFrame(curves, columns=["stage", "key", "step", "metric", "value"]).to_csv(home / "curves.csv", index=False)
    (home / "study.json").write_text(
        json.dumps(
            {
                "title": "stem_quality",
                "name": "stem_quality",
                "variants": variants,
                "trials": trials,
                "declaration": {
                    "reference": "base, validation",
                    "within": ["stopped on"],
                    "seeds": [0, 1],
                    "references": {v["variant"]: f"base, {v['levels']['stopped on']}" for v in variants},
                    "factors": [{"name": "stem", "levels": {stem: {} for stem in STEMS}}],
                    "metric": "roc_auc",
                    "target": "macro",
                    "sections": [{"kind": "separated_stems"}, {"kind": "instruments"}],
                },
            }
        )
    )
    return home


def section(kind, home: Path):
    return kind.section(reports.read(home), {}, reports.study_tables(home))


def value(text: str) -> float:
    return float(text.replace("−", "-").split(" ")[0])


def test_table_4_1_and_its_tests(home: Path) -> None:
    made = section(separated_stems, home)
    frame = pd.read_csv(home / "scores.csv")
    songs = {
        stem: frame[(frame.metric == "spectrogram_sdr") & frame.variant.str.startswith(stem)]
        .groupby("track")
        .score.mean()
        for stem in ("raw", "post")
    }
    rows = {row[0]: row for row in made.tables[0].rows}
    for stem in ("raw", "post"):
        assert rows[stem][1:3] == tuple(cell.text for cell in paper("aemic").table("Table 4.1").rows[stem].values())
        assert value(rows[stem][3]) == pytest.approx(songs[stem].mean(), abs=0.005)
        assert value(rows[stem][4]) == pytest.approx(songs[stem].std(), abs=0.005)
    tests = {row[0]: row for row in made.tables[1].rows}
    assert tests["Student, as printed"][1:3] == ("t(98) = 2.69", ".008")
    assert tests["Student"][1] == "t = 2.68"
    for name, found in (
        ("Student", scipy_stats.ttest_ind(songs["raw"], songs["post"])),
        ("Welch", scipy_stats.ttest_ind(songs["raw"], songs["post"], equal_var=False)),
        ("paired", scipy_stats.ttest_rel(songs["raw"], songs["post"])),
    ):
        assert float(tests[name][3].split("= ")[1]) == pytest.approx(found.statistic, abs=0.005), name
    best = made.tables[2].rows
    assert best[0] == ("published", "350", "375", "0.01687", "0.03398") and best[1][1:3] == ("3", "4")
    assert sum(bool(figure.svg) for figure in made.figures) == 2


def test_one_song_has_no_test_and_songs_that_are_equal_no_t() -> None:
    for songs, told in (
        ({"a": 5.0}, "needs two songs that both stems have"),
        ({"a": 5.0, "b": 5.0}, "every score is the same in both arms: the difference is exactly zero"),
    ):
        table = separated_stems.tests({stem: pd.Series(songs) for stem in ("raw", "post")})
        assert [row[3] for row in table.texts] == [MISSING, told, told, told]


@pytest.mark.parametrize(("r", "t"), [(0.0, 2.68), (0.5, 3.72), (0.8, 5.59), (0.9, 7.33), (0.95, 9.17)])
def test_the_paired_t_that_the_printed_figures_would_give(r: float, t: float) -> None:
    """The values of the recipe."""
    assert paired_published((9.33, 7.29), (4.29, 3.25), 50, r)[0] == f"t(49) = {t:.2f}"


def test_table_4_2_has_published_and_ours(home: Path) -> None:
    made = section(instruments, home)
    predictions = pd.read_parquet(home / "predictions.parquet")
    assert len(made.tables) == 4  # two blocks, areas and differences
    areas = {row[0]: row for row in made.tables[0].rows}
    assert set(areas) == set(paper("aemic").table("Table 4.2").rows)
    assert areas["cel"][2:5] == ("0.722±0.052", "0.821±0.046", "0.839±0.044")
    assert areas["flu"][5:] == ("–", "–", "–")
    for label in LABELS:
        for column, stem in enumerate(STEMS, 5):
            rows = predictions[(predictions.variant == f"{stem}, validation") & (predictions.target == label)]
            each = [roc_auc_score(run.truth, run.score) for _, run in rows.groupby("seed")]
            assert value(areas[label][column]) == pytest.approx(np.mean(each), abs=0.0005)
    differences = {row[0]: row for row in made.tables[1].rows}
    base, raw = (value(areas["cel"][column]) for column in (5, 6))
    assert value(differences["cel"][2]) == pytest.approx(raw - base, abs=0.0011)
    positives = int(areas["cel"][1].split(" / ")[0])
    halves = sum(1.96 * hanley_mcneil(area, positives, 60 - positives) for area in (base, raw))
    assert value(differences["cel"][4]) == pytest.approx(raw - base - halves, abs=0.002)
    assert "with 3 instruments" in made.tables[1].caption


def test_delong_of_one_run_is_the_textbook_s(home: Path) -> None:
    """Against the definition by placements, item pair by item pair."""
    predictions = pd.read_parquet(home / "predictions.parquet")
    one = predictions[(predictions.seed == 0) & (predictions.target == "cla")]
    found = instruments.influences(one)
    arms = [one[one.variant == f"{stem}, validation"].sort_values("item") for stem in ("base", "post")]
    truth = arms[0].truth.to_numpy().astype(bool)
    place = []
    for arm in arms:
        score = arm.score.to_numpy()
        wins = (score[truth][:, None] > score[~truth][None, :]).astype(float)
        place.append((wins.mean(1), wins.mean(0)))
    parts = [np.var(place[1][k] - place[0][k], ddof=1) / len(place[0][k]) for k in (0, 1)]
    a, b = (found[f"{stem}, validation"].tags["cla"] for stem in ("post", "base"))
    assert math.sqrt(float(((a.influence - b.influence) ** 2).sum())) == pytest.approx(math.sqrt(sum(parts)), rel=1e-9)


@pytest.mark.parametrize(
    ("label", "column"), [(label, stem) for label in ("cel", "cla", "gac", "vio") for stem in STEMS]
)
def test_thesis_intervals_come_back_from_its_figures(label: str, column: str) -> None:
    printed = paper("aemic").table("Table 4.2").rows[label][column]
    positives = paper("aemic").printed["positives_inferred_from_the_half_widths"][label]
    area = instruments.Area((printed.value,), np.zeros(1), positives, 0)
    assert instruments.thesis_half_width(area, 1279) == pytest.approx(printed.spread, abs=0.00055)


def test_other_instruments_than_the_thesis_s_stand_apart(home: Path, tmp_path: Path) -> None:
    import shutil

    other = tmp_path / "studies" / "other"
    shutil.copytree(home, other)
    predictions = pd.read_parquet(home / "predictions.parquet")
    predictions["target"] = predictions["target"].replace({"cel": "oud", "cla": "ney", "voi": "tar"})
    predictions.to_parquet(other / "predictions.parquet")
    made = section(instruments, other)
    assert made.tables[0].rows[0][:2] == ("cel", "0.722±0.052") and len(made.tables) == 5
    assert [row[0] for row in made.tables[1].rows] == ["oud", "ney", "tar", "mean"]


def test_the_report_shows_it_all(home: Path) -> None:
    written = reports.render(home, ("html", "md"))
    text = written["md"].read_text()
    for words in (
        "## Separated stems",
        "## Instruments",
        "Table 4.1",
        "Table 4.2",
        "Figure 4.2",
        "Figure 4.4",
        "Figure 4.5",
        "Figures A.1 and A.2",
        "0.722±0.052",
        "chose their epoch by the test clips' AUC",
    ):
        assert words in text, words
    page = written["html"].read_text()
    assert page.count('aria-label="ROC curves by instrument"') == 1 and "AUC by epoch" in page


def test_curves_of_figure_4_1(home: Path, tmp_path: Path) -> None:
    from reports.papers.aemic import regularisation_curves

    levels = ("none", "augmentation", "augmentation, dropout")
    other = tmp_path / "studies" / "reg"
    other.mkdir(parents=True)
    rng = np.random.default_rng(1)
    lows = {level: rng.uniform(0.03, 0.06, 3) for level in levels}
    curves = [
        ("train_autoencoder", f"{level}{seed}", step, metric, lows[level][seed] + 0.01 * (3 - step))
        for level in levels
        for seed in range(3)
        for step in (1, 2, 3)
        for metric in ("train_loss", "valid_mae")
    ]
    pd.DataFrame(curves, columns=["stage", "key", "step", "metric", "value"]).to_csv(other / "curves.csv", index=False)
    pd.DataFrame(
        [
            {
                "trial": f"{level}/seed{seed}",
                "variant": level,
                "seed": seed,
                "track": "a",
                "metric": "s",
                "target": "",
                "score": rng.normal(),
            }
            for level in levels
            for seed in range(3)
        ]
    ).to_csv(other / "scores.csv", index=False)
    (other / "study.json").write_text(
        json.dumps(
            {
                "variants": [{"variant": level, "levels": {"regularisation": level}} for level in levels],
                "trials": [
                    {
                        "trial": f"{level}/seed{seed}",
                        "variant": level,
                        "seed": seed,
                        "stages": {"train_autoencoder": f"{level}{seed}"},
                    }
                    for level in levels
                    for seed in range(3)
                ],
                "declaration": {"reference": "augmentation", "metric": "s"},
            }
        )
    )
    made = section(regularisation_curves, other)
    first, second, *rest = made.tables[0].rows
    found = scipy_stats.ttest_ind(lows["augmentation"], lows["none"], equal_var=False)
    assert value(first[3]) == pytest.approx(np.mean(lows["augmentation"]) - np.mean(lows["none"]), abs=1e-5)
    assert float("0" + first[5]) == pytest.approx(found.pvalue, rel=0.1)
    assert all(row[3] == "–" for row in rest) and "dropout" in second[1]
    assert made.figures[0].svg


def test_aemic_t() -> None:
    tests = claims.aemic_t()
    assert tests["table, Student"] == pytest.approx((2.680, 98, 0.0086), abs=6e-4)
    assert tests["table, Welch"] == pytest.approx((2.680, 91.31, 0.0087), abs=6e-3)
    assert tests["text, Student"] == pytest.approx((2.450, 98, 0.0160), abs=6e-4)
    low, high = claims.rounding_range()
    assert (low, high) == pytest.approx((2.664, 2.697), abs=6e-4)


def test_aemic_d_scores() -> None:
    scores = claims.aemic_d()
    assert len(scores) == 24
    assert all((printed > 0) == (ours > 0) for _, _, printed, ours in scores)
    off = [(row, arm) for row, arm, printed, ours in scores if abs(printed - ours) > 0.0015]
    assert off == [("sax", "post")]
    assert sum(printed == ours for _, _, printed, ours in scores) == 15


def test_aemic_half_widths_are_hanley_mcneil_of_an_inflated_sample() -> None:
    widths = claims.aemic_half_widths()
    assert len(widths) == 33
    assert all(abs(printed - ours) < 0.0011 for _, _, printed, ours in widths)
    assert sum(printed == ours for _, _, printed, ours in widths) == 31
