"""Steered separation beside the published table and what attenuation earns, from a hand-made study."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from reports.document import Section
from reports.published import paper
from tests.reports.fixture import declared_sections

METHODS = {"TagBox": 7.0, "X-UMX": 9.0}


@pytest.fixture
def study(tmp_path: Path) -> Path:
    home = tmp_path / "studies" / "methods"
    home.mkdir(parents=True)
    rows, trials = [], []
    for method, gain in METHODS.items():
        trials.append({"trial": f"{method}/seed0", "variant": method, "seed": 0, "status": "done", "stages": {}})
        for target in ("vocals", "macro"):
            rows += [
                {
                    "trial": f"{method}/seed0",
                    "variant": method,
                    "seed": 0,
                    "track": track,
                    "target": target,
                    "metric": metric,
                    "aggregation": "",
                    "score": score,
                }
                for track in ("a", "b", "")
                for metric, score in (
                    ("sdr_improvement", gain),
                    ("sdr_improvement_best_scalar", 7.0),
                    ("si_sdr_improvement", gain - 7.0),
                    ("mixture_sdr", -6.0),
                )
            ]
    pd.DataFrame(rows).to_csv(home / "scores.csv", index=False)
    (home / "study.json").write_text(
        json.dumps(
            {
                "title": "methods",
                "trials": trials,
                "stages": {},
                "declaration": {
                    "reference": "TagBox",
                    "seeds": [0],
                    "metric": "sdr_improvement",
                    "target": "macro",
                    "sections": [],
                },
                "variants": [{"variant": name, "levels": {"stem": "MUSDB vocals", "method": name}} for name in METHODS],
            }
        )
    )
    return home


def made(home: Path, **options: object) -> Section:
    raw = json.loads((home / "study.json").read_text())
    raw["declaration"]["sections"] = [{"kind": "steering", **options}]
    (home / "study.json").write_text(json.dumps(raw))
    (found,) = declared_sections(home)
    return found


def test_a_published_figure_stands_beside_its_own_method_alone(study: Path) -> None:
    (table,) = made(study, table="Table 1").tables
    place = table.head.index("published SDRi")
    assert {row[0]: row[place] for row in table.rows} == {"TagBox": "7.4", "X-UMX": "–"}


def test_what_table_1_says_wrongly_is_noted_and_shown(study: Path) -> None:
    first, second = (paper("tagbox").table(name) for name in ("Table 1", "Table 2"))
    assert first.rows["TagBox"] == second.rows["MTG, FCN"] != second.rows["MTAT, FCN"]
    assert "MTG, FCN in Table 2" in first.note and not second.note
    assert f"Table 1: {first.note}" in made(study, table="Table 1").paragraphs
    for options in ({"table": "Table 2"}, {}):
        assert not any(first.note in text for text in made(study, **options).paragraphs)


def test_printed_rows_without_a_variant_are_named_and_a_smoke_run_says_so(study: Path) -> None:
    told = made(study, table="Table 1").paragraphs
    assert "Printed rows of Table 1 that no variant repeats: Open-Unmix; Demucs; Cerberus; HPSS; REPET-SIM." in told
    assert not any("smoke run" in text for text in told)
    raw = json.loads((study / "study.json").read_text())
    (study / "study.json").write_text(json.dumps({**raw, "smoke": True}))
    assert any("say nothing about the printed figures" in text for text in made(study, table="Table 1").paragraphs)


def test_printed_figures_stand_beside_the_residual_alone(study: Path) -> None:
    raw = json.loads((study / "study.json").read_text())
    for variant in raw["variants"]:
        variant["recipe"] = {"output": "masked"}
    (study / "study.json").write_text(json.dumps(raw))
    (table,) = made(study, table="Table 1").tables
    assert {row[table.head.index("published SDRi")] for row in table.rows} == {"–"}
