"""Published claims from published summaries: what the papers' own figures give."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from reports import claims, published
from reports.contract import PAPERS, Variant
from reports.inputs.directory import Tables
from reports.papers.hmss.claims import hmss_improvements
from reports.sections.published import section
from tests.conftest import REPOSITORY


@pytest.mark.parametrize("name", PAPERS)
def test_data_files_read(name: str) -> None:
    found = published.paper(name)
    assert found.tables and all(table.rows for table in found.tables)
    assert found.source and found.protocol


def test_each_claim_says_what_does_not_fit() -> None:
    every = claims.all_claims()

    def found(paper: str, start: str) -> published.Claim:
        (claim,) = (c for c in every if c.paper == paper and c.claim.startswith(start))
        return claim

    table = found("MSSPT", "Table I:")
    assert not table.reproduced and "none of 64 settings" in table.why
    assert found("AE-MIC", "Table 4.1").reproduced
    assert "sax post" in found("AE-MIC", "Table 4.2: 24 D scores").why
    assert hmss_improvements() == [
        ("SQ_SSS(Guitar), 3 levels", "level 3", -2.0, -3.2),
        ("SSS(Guitar)-stft, 3 levels", "level 1", 5.0, 4.9),
    ]
    why = found("HMSS", "Tables 6 and 7").why
    assert "SQ_SSS(Guitar), 3 levels, level 3: −2.0 printed, −3.2 recomputed" in why
    assert "SSS(Guitar)-stft, 3 levels, level 1: 5.0 printed, 4.9 recomputed (within the rounding" in why
    text = claims.to_markdown()
    assert text.count("\n| S") == 64


def test_published_rows_stand_beside_ours(findings) -> None:
    beside = published.beside(findings)
    assert beside is not None and beside.table == "Table I"
    vocals = next(r for r in beside.rows if (r.variant, r.metric) == ("vocals", "ROC-AUC"))
    assert vocals.published.text == "91.85±0.03*"
    assert vocals.ours.startswith(findings.main.style.value(findings.main.row("vocals").mean))
    ours = {what: text for what, _, text in beside.protocol}
    assert ours["data"] == "data: synthetic (tiny: a smoke run or a rehearsal)" and ours["runs"] == "2 to 3 a row"
    assert "family of 6" in ours["test"]


@pytest.mark.parametrize(("name", "cells"), [("source_ablation", 42), ("backend_pretraining", 8)])
def test_every_cell_of_a_full_size_table_has_its_printed_one(name: str, cells: int) -> None:
    """Tables I and II: 7 rows of 6 columns, 4 rows of 2; each variant finds the figures of its row and columns."""
    study = runpy.run_path(str(REPOSITORY / "studies" / f"{name}.py"))["study"]
    found = published.paper("msspt")
    table, match = found.table(found.studies[name]["table"]), found.studies[name]
    places = [
        published.row_and_column(match, Variant(v.name, dict(v.levels)), metric)
        for v in study.variants()
        for metric in (("accuracy",) if v.levels.get("task") == "genre" else ("roc_auc", "pr_auc"))
    ]
    assert len(set(places)) == len(places) == cells
    assert all(column in table.rows[row] for row, column in places)


@pytest.mark.parametrize(("name", "study"), [(p, study) for p in PAPERS for study in published.paper(p).studies])
def test_the_protocol_of_every_paper_stands_beside_ours(findings, name: str, study: str) -> None:
    """In the report of each study that reads the sets of the paper's tables."""
    found = published.paper(name)
    sets = {**found.sets, **found.studies[study].get("sets", {})}
    recipes = [
        {f"{part}.name": names[end] for part, names in sets.items()} | {f"{part}.split_seed": 0 for part in sets}
        for end in (0, -1)
    ]
    variants = tuple(replace(v, recipe=recipes[k % 2]) for k, v in enumerate(findings.study.variants))
    real = replace(findings, study=replace(findings.study, name=study, smoke=False, variants=variants))
    shown = section(real, {}, Tables(None, Path()))
    assert shown is not None and found.source in shown.paragraphs[0]
    assert {row[0]: row[1] for row in shown.tables[-1].texts} == dict(found.protocol)
    (ours,) = (row[2] for row in shown.tables[-1].texts if row[0] == "data")
    several = {part: " or ".join(dict.fromkeys((names[0], names[-1]))) for part, names in sets.items()}
    assert ours == "; ".join(f"{part}: {names}" for part, names in several.items())


def test_a_figure_that_cannot_be_read_is_named() -> None:
    with pytest.raises(ValueError, match="'91,85' is no printed figure"):
        published.printed("91,85")


def test_the_tables_and_claims_of_a_package_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "some_paper"
    home.mkdir()
    (home / "__init__.py").write_text("")
    (home / "tables.json").write_text((Path(published.__file__).parent / "papers/iass/tables.json").read_text())
    (home / "claims.py").write_text(
        "from reports.published import Claim, paper\n\ndef claims():\n"
        "    return [Claim(paper('some_paper').short, 'it is so', 'it is', True)]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert published.paper("some_paper").tables == published.paper("iass").tables
    assert "| it is so | it is | yes |" in claims.to_markdown(["some_paper"])
    with pytest.raises(ValueError, match="no paper 'iaas'.*did you mean 'iass'"):
        published.paper("iaas")
