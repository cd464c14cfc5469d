"""Primary metrics by level, the paper's own table, and differences by tag: against the score table itself."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

import reports
from reports.papers.msspt import tag_differences
from reports.sections import published_table
from reports.statistics.hypothesis_tests import variance, welch

ROWS = ("no U-Net", "bass", "vocals")
TAGS = ("guitar", "choir", "fast", "slow", "quiet")
TABLE = {"kind": "published_table", "rows": ["source"], "columns": {"backend": "CNN", "task": "tags"}}
FIGURE = {
    "kind": "tag_differences",
    "metric": "pr_auc",
    "factor": "source",
    "level": "vocals",
    "many": 2,
    "where": {"task": "tags"},
}


@pytest.fixture
def tables(tmp_path: Path) -> Path:
    """Two backends, two tasks and three sources with two runs each; the tag `quiet` has no score with the AST."""
    home = tmp_path / "studies" / "source_ablation"
    home.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows, variants = [], []
    for backend in ("CNN", "AST"):
        for task in ("tags", "genre"):
            for source in ROWS:
                name = f"{backend}, {task}, {source}"
                levels = {"backend": backend, "task": task, "source": source}
                variants.append({"variant": name, "levels": levels})
                for seed in range(2):
                    front = dict(study="s", trial=f"{name}/seed{seed}", variant=name, **levels, seed=seed, track="")
                    for metric in ("roc_auc", "pr_auc"):
                        by_tag = rng.uniform(0.3, 0.9, len(TAGS))
                        rows += [
                            dict(front, target=tag, metric=metric, aggregation="", score=value)
                            for tag, value in zip(TAGS, by_tag, strict=True)
                            if (tag, backend) != ("quiet", "AST")
                        ]
                        rows.append(
                            dict(
                                front, target="macro", metric=metric, aggregation="mean over tags", score=by_tag.mean()
                            )
                        )
                    if task == "genre":
                        rows.append(dict(front, target="", metric="accuracy", aggregation="", score=rng.uniform()))
    pd.DataFrame(rows).to_csv(home / "scores.csv", index=False)
    (home / "study.json").write_text(
        json.dumps(
            {
                "title": "source_ablation",
                "name": "source_ablation",
                "smoke": True,
                "variants": variants,
                "declaration": {
                    "factors": [
                        {"name": name, "levels": {level: {} for level in levels}}
                        for name, levels in (("backend", ("CNN", "AST")), ("task", ("tags", "genre")), ("source", ROWS))
                    ],
                    "reference": "CNN, tags, no U-Net",
                    "within": ["backend", "task"],
                    "metric": "roc_auc",
                    "metrics": {"genre": "accuracy"},
                    "target": "macro",
                    "seeds": [0, 1],
                    "sections": [TABLE, FIGURE],
                    "cut": "A smoke run of this study keeps only CNN of backend.",
                    "references": {
                        v["variant"]: ", ".join([*v["variant"].split(", ")[:2], "no U-Net"]) for v in variants
                    },
                },
            }
        )
    )
    return home


def mean(home: Path, variant: str, metric: str, target: str) -> float:
    frame = pd.read_csv(home / "scores.csv", keep_default_na=False)
    chosen = frame[(frame.variant == variant) & (frame.metric == metric) & (frame.target == target)]
    return float(chosen.score.mean())


def test_each_task_is_judged_by_its_metric_in_one_family(tables: Path) -> None:
    found = reports.read(tables)
    primary = [c for c in found.comparisons if c.primary]
    assert [(c.style.name, c.style.label) for c in primary] == [
        ("roc_auc", "ROC-AUC, tags"),
        ("accuracy", "accuracy, genre"),
    ]
    frame = pd.read_csv(tables / "scores.csv", keep_default_na=False)
    for comparison, (metric, target) in zip(primary, (("roc_auc", "macro"), ("accuracy", "")), strict=True):
        assert comparison.family == 8 and len(comparison.contrasts) == 4
        for contrast in comparison.contrasts:
            a, b = (
                frame[(frame.variant == name) & (frame.metric == metric) & (frame.target == target)].score
                for name in (contrast.variant, contrast.reference)
            )
            welch = next(result for result in contrast.tests if result.test == "welch")
            assert welch.p == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue, rel=1e-9)
            assert contrast.p_corrected == pytest.approx(min(1.0, 8 * contrast.primary.p))
            assert contrast.reference.split(", ")[:2] == contrast.variant.split(", ")[:2]
    summary = " ".join(reports.summary(tables).split())
    assert "On ROC-AUC, tags, none of the 4" in summary and "On accuracy, genre, none of the 4" in summary
    assert not found.deviations
    assert "A smoke run of this study keeps only CNN of backend." in found.cautions
    page = reports.render(tables)["html"].read_text()
    assert "accuracy, genre" in page and "primary, too" in page


def test_a_task_without_a_score_is_said(tables: Path) -> None:
    frame = pd.read_csv(tables / "scores.csv", keep_default_na=False)
    frame[frame.task == "tags"].to_csv(tables / "scores.csv", index=False)
    assert "genre: no trial has a score." in reports.read(tables).deviations


def test_scores_stand_beside_the_printed_table(tables: Path) -> None:
    part = published_table.section(reports.read(tables), TABLE, reports.study_tables(tables))
    assert part is not None and part.title == "Table I as printed"
    (table,) = part.tables
    assert table.head[0] == "source"
    assert [name for name in table.head[1:] if name != "published"] == [
        "CNN MTAT ROC",
        "CNN MTAT PR",
        "CNN FMA WA",
        "AST MTAT ROC",
        "AST MTAT PR",
        "AST FMA WA",
    ]
    by_row = {
        row[0]: dict(zip(table.head[1::2], zip(row[1::2], row[2::2], strict=True), strict=True)) for row in table.texts
    }
    assert set(by_row) == {"none (tail)", "bass", "vocals"}
    ours, printed = by_row["vocals"]["AST MTAT PR"]
    assert printed == "47.21±0.34"
    assert ours.startswith(f"{100 * mean(tables, 'AST, tags, vocals', 'pr_auc', 'macro'):.2f}±")
    ours, printed = by_row["bass"]["CNN FMA WA"]
    assert printed == "66.58±0.24"
    assert ours.startswith(f"{100 * mean(tables, 'CNN, genre, bass', 'accuracy', ''):.2f}±")


def test_the_second_table_s_rows_are_pairs_of_levels(tables: Path) -> None:
    raw = json.loads((tables / "study.json").read_text())
    raw["name"] = "backend_pretraining"
    for variant in raw["variants"]:
        source = variant["levels"]["source"]
        variant["levels"] = {
            "backend": variant["levels"]["backend"],
            "stage 2": "with stage 2" if source == "vocals" else "without stage 2",
        }
    raw["variants"] = [v for v in raw["variants"] if "tags" in v["variant"] and "bass" not in v["variant"]]
    raw["declaration"] |= {"metrics": {}, "within": ["backend"], "factors": []}
    (tables / "study.json").write_text(json.dumps(raw))
    options = {"rows": ["backend", "stage 2"], "columns": {}}
    part = published_table.section(reports.read(tables), options, reports.study_tables(tables))
    assert part is not None
    assert [row[0] for row in part.tables[0].rows] == [
        f"{backend}, tail pre-trained: {word}" for backend in ("CNN", "AST") for word in ("no", "yes")
    ]
    assert part.tables[0].rows[3][2] == "91.47±0.08"


def test_differences_by_tag_are_means_over_blocks(tables: Path) -> None:
    found, blocks = tag_differences.differences(reports.read(tables), FIGURE, reports.study_tables(tables))
    assert blocks == 2 and set(found.columns) == {"bass", "vocals"} and set(found.index) == set(TAGS)
    for source in ("bass", "vocals"):
        for tag in TAGS:
            each = [
                mean(tables, f"{b}, tags, {source}", "pr_auc", tag)
                - mean(tables, f"{b}, tags, no U-Net", "pr_auc", tag)
                for b in ("CNN", "AST")
            ]
            assert found.at[tag, source] == pytest.approx(np.nanmean(each), abs=1e-12)
    part = tag_differences.section(reports.read(tables), FIGURE, reports.study_tables(tables))
    assert part is not None
    ranked = found.sort_values("vocals", ascending=False).index
    assert [row[0] for row in part.tables[0].rows] == [*ranked[:2], *ranked[-2:]]
    assert part.figures[0].svg.count("<polygon") == 4 + 1  # four tags and the legend's
    assert "2 largest gains and losses of 5" in part.tables[0].caption


def test_a_spread_of_rounding_errors_is_no_spread() -> None:
    """Runs with equal scores differed in the last bit of a mean: p below .0001 for two constant arms."""
    constant = [0.1 + 0.2, 0.3]
    assert constant[0] != constant[1] and variance(constant) == 0.0
    assert variance([1.0, 1.0 + 1e-9]) > 0
    assert np.isnan(welch([c + 0.1 for c in constant], constant).p)
