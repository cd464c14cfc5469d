"""The layouts of HMSS' tables, levels and stems as columns, from hand-made studies."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

import reports
from reports.document import Table
from reports.published import beside, paper
from reports.sections import published_columns
from tests.reports.fixture import declared_sections
from tests.study.test_designs import load

SI_SDR = {
    "direct": (1.0, 2.0, 6.0),
    "single level": (0.0, 1.0, 5.0),
    "sequential": (-1.0, 0.5, 2.0),
    "mixed": (9.0, 9.0, 9.0),
}  # levels 1 to 3
MIXTURE = (-7.0, -6.0, 0.5)


def write(home: Path, name: str, scores: dict[str, dict[tuple[str, str], float]], smoke: bool = False) -> Path:
    """A study of two seeds, of which the second scores 0.2 more: variant -> (metric, target) -> score."""
    home = home / "studies" / name
    home.mkdir(parents=True)
    rows = [
        {
            "trial": f"{variant}/seed{seed}",
            "variant": variant,
            "seed": seed,
            "track": track,
            "target": target,
            "metric": metric,
            "aggregation": "mean over levels" if target == "macro" else "mean over chunks",
            "score": score + 0.2 * seed + (50 if track else 0),
        }
        for variant, cells in scores.items()
        for (metric, target), score in cells.items()
        for seed in (0, 1)
        for track in ("", "a song")
    ]
    pd.DataFrame(rows).to_csv(home / "scores.csv", index=False)
    first = next(iter(scores))
    (home / "study.json").write_text(
        json.dumps(
            {
                "title": name,
                "name": name,
                "smoke": smoke,
                "variants": [{"variant": variant} for variant in scores],
                "declaration": {
                    "reference": first,
                    "seeds": [0, 1],
                    "metric": next(iter(scores[first]))[0],
                    "target": "macro",
                    "sections": [{"kind": "published_columns"}],
                },
            }
        )
    )
    return home


def levels(variant: str) -> dict[tuple[str, str], float]:
    found = {}
    for metric, values in (
        ("si_sdr_improvement", [s - m for s, m in zip(SI_SDR[variant], MIXTURE, strict=True)]),
        ("si_sdr", SI_SDR[variant]),
        ("si_sdr_mixture", MIXTURE),
    ):
        found |= {(metric, f"level {k + 1}"): value for k, value in enumerate(values)}
        found[metric, "macro"] = sum(values) / 3
    return found


def shown(table: Table) -> tuple[tuple[str, ...], ...]:
    """What its cells show."""
    return tuple(map(tuple, table.texts))


def test_levels_stand_beside_table_6(tmp_path: Path) -> None:
    home = write(tmp_path, "mask_style", {variant: levels(variant) for variant in SI_SDR})
    (part,) = declared_sections(home)
    assert part.title == "Tables 6 and 7 as printed"
    assert part.paragraphs[1] == (
        "Printed rows that no variant repeats: SSS(Guitar)-stft, 3 levels; SSS(ElecGTR), MS21, 3 levels."
    )
    mixture, estimate, gain = part.tables
    assert [table.caption for table in part.tables] == [
        f"{label}, dB; mean over chunks; mean over levels."
        for label in ("SI-SDR of the mixture", "SI-SDR", "SI-SDR improvement")
    ]
    assert estimate.head == (
        "variant",
        "row of the table",
        "all",
        "published",
        "level 3",
        "published",
        "level 2",
        "published",
        "level 1",
        "published",
    )
    assert [row[:2] for row in estimate.rows] == [
        ("direct", "SSS(Guitar), 3 levels"),
        ("single level", "SSS(Guitar), 1 level"),
        ("sequential", "SQ_SSS(Guitar), 3 levels"),
    ]  # the table has no mixed masks
    assert shown(estimate)[0][2:] == (
        "3.10 ± 0.10",
        "-0.8",
        "6.10 ± 0.10",
        "4.0",
        "2.10 ± 0.10",
        "-2.7",
        "1.10 ± 0.10",
        "-3.5",
    )
    assert shown(gain)[2][2:6] == ("4.77 ± 0.10", "0.3", "1.60 ± 0.10", "-2.0")
    assert shown(mixture)[1][8:] == ("−6.90 ± 0.10", "-7.6")
    text = reports.render(home)["md"].read_text()
    assert "| direct | SSS(Guitar), 3 levels | 3.10 ± 0.10 | -0.8 |" in text


def test_a_variant_without_a_score_keeps_its_row(tmp_path: Path) -> None:
    home = write(tmp_path, "mask_style", {variant: levels(variant) for variant in SI_SDR})
    scores = pd.read_csv(home / "scores.csv", keep_default_na=False)
    scores[scores.variant != "sequential"].to_csv(home / "scores.csv", index=False)
    (part,) = declared_sections(home)
    row = shown(part.tables[1])[2]
    assert row[:2] == ("sequential", "SQ_SSS(Guitar), 3 levels") and row[2] == "–" and row[3] != "–"


def test_rows_of_table_6_in_the_study_of_losses(tmp_path: Path) -> None:
    names = {
        "mask, direct, LSTM": "direct",
        "mask ratio, sequential, LSTM": "sequential",
        "magnitude L1, direct, LSTM": "mixed",
    }
    home = write(tmp_path, "loss_type", {name: levels(variant) for name, variant in names.items()}, smoke=True)
    findings = reports.read(home)
    (part,) = declared_sections(home, findings)
    assert [row[1] for row in part.tables[1].rows] == ["SSS(Guitar), 3 levels", "SQ_SSS(Guitar), 3 levels"]
    assert shown(part.tables[1])[1][4:6] == ("2.10 ± 0.10", "-2.6")
    assert "smoke" in part.paragraphs[0]
    found = beside(findings)
    assert found is not None and ("mask ratio, sequential, LSTM", "0.3") in [
        (row.variant, row.published.text) for row in found.rows
    ]


def test_stems_stand_beside_table_8(tmp_path: Path) -> None:
    stems = {"bass": 4.0, "drums": 6.0, "vocals": 7.0, "other": 3.0, "macro": 5.0}
    scores = {
        variant: {
            (metric, stem): value + shift
            for metric, shift in (("global_sdr", 0.0), ("sdr", 1.0))
            for stem, value in stems.items()
        }
        for variant in ("MUSDB18", "MUSDB18 at MS21's levels", "MS21")
    }
    scores["MS21"] = {key: value for key, value in scores["MS21"].items() if key[1] != "other"}
    home = write(tmp_path, "separator_transfer", scores)
    (part,) = declared_sections(home)
    whole, frames = part.tables
    assert whole.head[2::2] == ("global avg", "global bass", "global drums", "global vocals", "global other")
    assert shown(whole) == (
        (
            "MUSDB18",
            "MUSDB18",
            "5.10 ± 0.10",
            "5.85",
            "4.10 ± 0.10",
            "4.86",
            "6.10 ± 0.10",
            "6.70",
            "7.10 ± 0.10",
            "7.06",
            "3.10 ± 0.10",
            "4.77",
        ),
        (
            "MS21",
            "MS21",
            "5.10 ± 0.10",
            "5.10",
            "4.10 ± 0.10",
            "6.36",
            "6.10 ± 0.10",
            "5.14",
            "7.10 ± 0.10",
            "5.46",
            "–",
            "3.42",
        ),
    )
    assert frames.head[4] == "framewise bass" and shown(frames)[0][4:6] == ("5.10 ± 0.10", "5.12")
    assert part.paragraphs[1] == "Printed rows that no variant repeats: MDXDB21."


def test_a_study_without_printed_rows_has_no_such_section(tmp_path: Path) -> None:
    for name, variant in (("mask_style", "mixed"), ("my own", "direct")):
        home = write(tmp_path, name, {variant: levels("direct")})
        assert published_columns.section(reports.read(home), {}, reports.study_tables(home)) is None


@pytest.mark.parametrize("name", ["mask_style", "loss_type", "hierarchy_transfer", "separator_transfer"])
def test_the_variants_named_as_printed_rows_are_the_studies_own(name: str) -> None:
    """A renamed level would drop its row from the table without a word."""
    study, match = load(name), paper("hmss").studies[name]
    assert set(match["variants"]) <= {variant.name for variant in study.variants()}
    assert {"kind": "published_columns"} in study.sections
    table = paper("hmss").table(match["table"])
    assert set(match["variants"].values()) <= set(table.rows) and set(match["columns"].values()) <= set(table.columns)
    assert {
        column.format(target=target)
        for column in table.layout["columns"].values()
        for target in table.layout["targets"].values()
    } == set(table.columns)
