"""Sections on instruments, gates and their lengths, from a hand-made study."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import reports
from reports.document import Section
from reports.findings import Findings
from reports.papers.iass import claims
from reports.text import MISSING
from tests.reports.fixture import declared_sections

VARIANTS = {"off": "none", "median 3": "3", "median 21": "21"}
SDR = {
    ("vocals", "off"): [4.0, 4.2],
    ("vocals", "median 3"): [4.5, 4.7],
    ("vocals", "median 21"): [5.0, 5.4],
    ("bass", "off"): [2.0, 2.0],
    ("bass", "median 3"): [2.2, 2.4],
    ("bass", "median 21"): [1.0, 1.2],
}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    home = tmp_path / "studies" / "gates"
    home.mkdir(parents=True)
    rows, trials, stages = [], [], {}
    for variant in VARIANTS:
        for seed in (0, 1):
            key = f"{variant}{seed}".replace(" ", "")
            folder = tmp_path / "evaluate_targets" / key
            (folder / "panels").mkdir(parents=True)
            closed = 3 if variant == "median 21" else 0
            pd.DataFrame(
                {
                    "track": ["a", "b"],
                    "target": "vocals",
                    "frames": [10, 8],
                    "dropped": [2 + closed, 1],
                    "silent_reference": [2, 1],
                    "silent_estimate": [closed, 0],
                }
            ).to_csv(folder / "frames.csv", index=False)
            pictures = {"reference": np.full((20, 8), 200, np.uint8), "estimate": np.full((20, 8), 90, np.uint8)}
            np.savez(
                folder / "panels" / "vocals.npz", track=np.array("a"), gate=np.array([1, 1, 1, closed == 0]), **pictures
            )
            trials.append(
                {
                    "trial": f"{variant}/seed{seed}",
                    "variant": variant,
                    "seed": seed,
                    "status": "done",
                    "stages": {"evaluate_targets": key},
                }
            )
            stages[key] = {"stage": "evaluate_targets", "directory": f"evaluate_targets/{key}", "status": "done"}
            front = {"trial": f"{variant}/seed{seed}", "variant": variant, "seed": seed, "track": ""}
            for target in ("vocals", "bass"):
                rows.append(
                    {
                        **front,
                        "target": target,
                        "metric": "sdr",
                        "aggregation": "median over frames",
                        "score": SDR[target, variant][seed],
                    }
                )
                rows += [
                    {**front, "target": target, "metric": metric, "aggregation": "", "score": score}
                    for metric, score in (
                        ("activity_auc_1s", 0.9 + seed / 100),
                        ("activity_auc_1s_energy", 0.6),
                        ("activity_auc", 0.85),
                        ("activation_rate", 0.4),
                    )
                ]
            rows.append(
                {
                    **front,
                    "target": "macro",
                    "metric": "sdr",
                    "aggregation": "",
                    "score": (SDR["vocals", variant][seed] + SDR["bass", variant][seed]) / 2,
                }
            )
    pd.DataFrame(rows).to_csv(home / "scores.csv", index=False)
    (home / "study.json").write_text(
        json.dumps(
            {
                "title": "gates",
                "trials": trials,
                "stages": stages,
                "declaration": {
                    "reference": "off",
                    "seeds": [0, 1],
                    "metric": "sdr",
                    "target": "macro",
                    "sections": [],
                },
                "variants": [{"variant": name, "levels": {"length": length}} for name, length in VARIANTS.items()],
            }
        )
    )
    return home


def made(home: Path, kind: str, **options: object) -> tuple[Section, Findings]:
    raw = json.loads((home / "study.json").read_text())
    raw["declaration"]["sections"] = [{"kind": kind, **options}]
    (home / "study.json").write_text(json.dumps(raw))
    findings = reports.read(home)
    (found,) = declared_sections(home, findings)
    return found, findings


def test_scores_by_target_stand_beside_the_published_ones(study: Path) -> None:
    section, _ = made(
        study,
        "by_target",
        paper="iass",
        table="Table 4",
        metrics=["sdr", "avg"],
        printed={
            "off": ["{target}, train yes, test no", "{metric}"],
            "median 21": ["{target}, train yes, test yes", "{metric}"],
        },
    )
    (table,) = section.tables
    assert table.head == ("target", "variant", "SDR", "published")  # the study has no avg
    rows = {(row[0], row[1]): tuple(row[2:]) for row in table.texts}
    assert rows["vocals", "off"] == ("4.10 ± 0.10", "3.94")
    assert rows["vocals", "median 21"] == ("5.20 ± 0.20", "4.78")
    assert rows["bass", "median 3"] == ("2.30 ± 0.10", "–")
    section, _ = made(
        study,
        "by_target",
        paper="iass",
        table="Table 1",
        metrics=["sdr"],
        by="length",
        within={"length": "21"},
        printed={"21": ["3", "{target}"]},
    )
    assert {tuple(row[:2]): row[3] for row in section.tables[0].texts} == {
        ("vocals", "21"): "6.46",
        ("bass", "21"): "4.18",
    }


def test_a_row_without_a_score_keeps_its_place(study: Path) -> None:
    """Its gate closed everything: beside the printed figure stands a dash, and the row is not lost."""
    scores = pd.read_csv(study / "scores.csv", keep_default_na=False)
    gone = (scores.variant == "median 21") & (scores.target != "macro")
    scores[~gone].to_csv(study / "scores.csv", index=False)
    printed = {"median 21": ["{target}, train yes, test yes", "{metric}"]}
    section, _ = made(study, "by_target", paper="iass", table="Table 4", metrics=["sdr"], printed=printed)
    assert "stand in each other's place" in " ".join(section.paragraphs)
    rows = {tuple(row[:2]): tuple(row[2:]) for row in section.tables[0].texts}
    assert len(rows) == 6 and rows["vocals", "median 21"][0] == MISSING and rows["vocals", "median 21"][1] != MISSING


def test_gains_by_gate_are_differences_within_runs(study: Path) -> None:
    steps = [["median 3", "median 21"], ["off", "median 3"]]
    section, _ = made(study, "gate_gains", metric="sdr", steps=steps)
    assert section.tables[0].rows == (  # (5.0-4.5, 5.4-4.7) and (1.0-2.2, 1.2-2.4) by hand
        ("vocals", "0.60 ± 0.10", "0.50 ± 0.00"),
        ("bass", "−1.20 ± 0.00", "0.30 ± 0.10"),
    )
    assert section.figures[0].svg.count("thick") == 4


def test_left_out_frames_are_counted_by_condition(study: Path) -> None:
    section, _ = made(study, "dropped_frames")
    rows = {row[1]: row for row in section.tables[0].rows}
    assert rows["off"][2:7] == ("18", "3.0", "3.0", "0.0", "16.7")
    assert rows["median 21"][2:7] == ("18", "6.0", "3.0", "3.0", "33.3")
    assert rows["median 21"][7] == "5.20" and section.tables[0].head[7] == "SDR"
    assert "off 0.0, median 3 0.0, median 21 16.7" in section.paragraphs[0]


def test_detection_is_told_once_a_training(study: Path) -> None:
    """Variants that differ in their gate only have equal activities."""
    section, _ = made(study, "activity_detection")
    rows = section.tables[0].rows
    assert [row[:4] for row in rows] == [("vocals", "off", "90.5 ± 0.5", "60.0"), ("bass", "off", "90.5 ± 0.5", "60.0")]
    assert rows[0][4:] == ("85.0", "–", "40.0")
    assert section.figures[0].svg.count("thick clear") == 2


def test_a_sweep_is_drawn_over_its_numbers(study: Path) -> None:
    section, findings = made(study, "sweep", factor="length", metrics=["sdr", "sir"], lines=["off", "oracle"])
    (table,) = section.tables
    assert [row[0] for row in table.rows] == ["off", "3", "21"]
    contrast = findings.main.contrast("median 3")
    assert contrast is not None
    low, high = contrast.primary.low, contrast.primary.high
    assert table.rows[1][1:] == ("3.45 ± 0.10", f"+0.40 [{low:+.2f}, {high:+.2f}]".replace("-", "−"))
    assert "SDR: 3" in section.paragraphs[0]
    (figure,) = section.figures
    assert figure.svg.count("<circle") == 2 and "dashed" in figure.svg
    assert declared_sections(study)


def test_pictures_of_what_gates_leave(study: Path) -> None:
    section, _ = made(study, "masked_spectrograms", variants=["off", "median 21", "nobody"])
    (figure,) = section.figures
    assert figure.image.startswith("data:image/png;base64,")
    assert "vocals of a; top to bottom: reference, off, median 21" in figure.caption
    assert "median 21 closes 25 % of the frames" in figure.caption and "off closes" not in figure.caption
    import base64
    import io

    from PIL import Image

    size = Image.open(io.BytesIO(base64.b64decode(figure.image.split(",")[1]))).size
    assert size == (20, 3 * 8 + 2 * 2)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("dropped_frames", {}),
        ("activity_detection", {}),
        ("masked_spectrograms", {"variants": ["off"]}),
        ("sweep", {"factor": "length", "metrics": ["sdr"]}),
        ("by_target", {"paper": "iass", "table": "Table 1", "metrics": ["sdr"]}),
    ],
)
def test_a_study_without_such_scores_has_no_such_section(tmp_path: Path, kind: str, options: dict) -> None:
    home = tmp_path / "studies" / "plain"
    home.mkdir(parents=True)
    pd.DataFrame(
        [
            {"variant": v, "seed": s, "score": 0.5 + s / 10, "metric": "roc_auc", "target": "macro", "track": ""}
            for v in ("a", "b")
            for s in (0, 1)
        ]
    ).to_csv(home / "scores.csv", index=False)
    (home / "study.json").write_text(
        json.dumps(
            {
                "title": "plain",
                "variants": [{"variant": "a", "levels": {"length": "x"}}, {"variant": "b"}],
                "declaration": {"reference": "a", "metric": "roc_auc", "sections": [{"kind": kind, **options}]},
            }
        )
    )
    assert declared_sections(home) == []


def test_published_names_of_targets_and_metrics() -> None:
    from reports.published import paper

    found = paper("iass")
    assert found.targets["electric_guitar"] == "Elecgtr" and found.metrics["avg"] == "Avg"
    printed = found.table("Table 4").rows
    assert all(f"{name}, train no, test no" in printed for name in set(found.targets.values()) - {"Other"})


def test_iass_averages_and_the_rows_whose_two_are_swapped() -> None:
    means = claims.iass_averages()
    assert len(means) == 18
    off = {row: (printed, ours) for row, printed, ours in means if abs(printed - ours) > 0.0101}
    assert off == {
        "Elecgtr, train no, test no": (2.46, pytest.approx((1.75 + 0.61 + 4.94) / 3)),
        "Elecgtr, train yes, test no": (2.43, pytest.approx((1.82 + 1.27 + 4.29) / 3)),
        "Piano, train no, test no": (2.31, pytest.approx((1.55 + 2.97 + 2.13) / 3)),
        "Piano, train yes, test no": (2.22, pytest.approx((1.70 + 3.16 + 2.06) / 3)),
    }
    for target in ("Elecgtr", "Piano"):  # each is the other's within rounding
        without, with_labels = (off[f"{target}, train {word}, test no"] for word in ("no", "yes"))
        assert without[0] == pytest.approx(with_labels[1], abs=0.0051)
        assert with_labels[0] == pytest.approx(without[1], abs=0.0051)
    cut = {row for row, printed, ours in means if 0.0051 < abs(printed - ours) <= 0.0101}
    assert cut == {"Bass, train no, test no", "Bass, train yes, test yes"}  # cut off, not rounded
    average, repeats = claims.claims()
    assert average.claim == "Table 4: Avg is the mean of SDR, SIR and SAR" and not average.reproduced
    assert average.recomputed == "14 of 18 rows agree"
    assert "of Elecgtr and Piano the averages of two rows are swapped" in average.why
    for row, printed, ours in means:
        assert (f"{row}: {printed:.2f} printed, {ours:.3f} recomputed" in average.why) == (row in off)
    assert repeats.claim == "Table 4: the last row of each target repeats Table 3"
    assert not repeats.reproduced and repeats.recomputed == "5 of 6 agree"
    assert repeats.why == "differs: Bass (5.26 and 4.34)"
