"""Printed orders of the papers beside what the studies of a store found."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reports.contract import PAPERS, Declaration, Study, Variant, printed_paper
from reports.overview.beside import STATES, absent, claims, repeated, together
from reports.overview.told import Compared, Contrast, Controls, Difference, Findings, Judged, Reported
from reports.published import paper
from reports.text import style
from tests.reports.store import add, edit, page

SETS = {"separation.name": "musdb18", "tagging.name": "mtat", "genre.name": "fma_medium"}
SOURCES = ("no U-Net", "random init", "vocals", "bass", "drums", "other", "multiple")


def ran(name: str = "source_ablation", recipe: dict | None = None, **changes) -> Study:
    variants = tuple(Variant(v, {"source": v}, {}, recipe or SETS) for v in SOURCES)
    return Study(name, name, variants=variants, declaration=Declaration(reference="no U-Net"), **changes)


def found(differences: dict[str, tuple[float, float]], controls: Controls | None = None, **changes) -> Findings:
    contrasts = tuple(Contrast(v, "no U-Net", Difference(d), p) for v, (d, p) in differences.items())
    compared = Compared(
        style("roc_auc"), 0.05, **{"target": "macro", "primary": True, "contrasts": contrasts, **changes}
    )
    return Findings(Reported(), (compared,), controls)


def printed(source: str) -> float:
    """Table I of MSSPT, CNN, tags, ROC-AUC, read from the file by itself."""
    (table,) = [each for each in printed_paper("msspt")["tables"] if each["name"] == "Table I"]
    row = "none (tail)" if source == "no U-Net" else source
    return float(table["rows"][row][table["columns"].index("CNN MTAT ROC")].split("±")[0])


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("p", [0.001, 0.2, float("nan")])
def test_an_order_is_judged_by_sign_and_significance(sign: int, p: float) -> None:
    made = claims(ran(), found({v: (0.01 * sign, p) for v in SOURCES[1:]}))
    unequal = [source for source in SOURCES[1:] if printed(source) != printed("no U-Net")]
    assert len(unequal) == 5 and {claim.paper for claim in made} == {"msspt"}
    for claim, source in zip(made, unequal, strict=True):
        above = printed(source) > printed("no U-Net")
        assert claim.order.startswith(f"{source} {'above' if above else 'below'} no U-Net on ROC-AUC")
        assert claim.state == ("undecided" if not p < 0.05 else "holds" if above == (sign > 0) else "fails")
        assert "points" in claim.ours


@pytest.mark.parametrize(
    "study, why",
    [
        (ran(smoke=True), "a smoke run"),
        (ran(smoke=True, rehearsal=True), "a rehearsal"),
        (ran(recipe=SETS | {"tagging.name": "clips"}), "on other data than the paper's"),
    ],
)
def test_runs_that_decide_nothing_are_not_run(study: Study, why: str) -> None:
    (claim,) = claims(study, found({"vocals": (0.01, 0.001)}))
    assert (claim.state, claim.ours, claim.order) == ("not run", why, "Table I")


def test_nothing_holds_where_a_control_failed() -> None:
    controls = Controls((Judged(True), Judged(False)))
    (claim,) = claims(ran(), found({"vocals": (0.01, 0.001)}, controls))
    assert claim.state == "undecided" and "a control failed" in claim.ours
    (claim,) = claims(ran(), found({"vocals": (0.01, 0.001)}, Controls((Judged(True),))))
    assert claim.state == "holds"


def test_only_what_was_declared_to_be_tested_is_asked() -> None:
    assert claims(ran(), found({"vocals": (0.01, 0.001)}, primary=False)) == ()
    assert claims(ran(), found({"vocals": (0.01, 0.001)}, target="guitar")) == ()
    assert claims(ran("mine"), found({"vocals": (0.01, 0.001)})) == ()
    assert claims(ran(), None)[0].ours == "no report yet"


def test_every_study_of_a_paper_is_judged_or_named() -> None:
    for name in PAPERS:
        every = set(repeated(paper(name)))
        for ours in every:
            missing = absent([ours])
            assert {claim.study for claim in missing} == every - {ours}
            assert {(claim.paper, claim.state) for claim in missing} <= {(name, "not run")}
    assert absent(["mine"]) == []


def test_runs_of_one_study_that_decide_nothing_are_one_line() -> None:
    smoke, other = claims(ran(smoke=True), None), claims(ran(recipe=SETS | {"tagging.name": "clips"}), None)
    (line,) = together([*smoke, *other, *smoke])
    assert line.ours == "a smoke run; on other data than the paper's"
    judged = claims(ran(), found({"vocals": (0.01, 0.001)}))
    assert together([*smoke, *judged]) == list(judged)


def test_the_page_has_them(tmp_path: Path) -> None:
    home = add(
        tmp_path, "source_ablation-0a1b2c3d", {"no U-Net": [1.0, 1.1, 1.3], "vocals": [1.5, 1.8, 1.4]}, report=False
    )
    add(tmp_path, "mine")
    assert "What the papers printed" not in page(tmp_path).text
    variants = [{"variant": v, "levels": {"source": v}, "recipe": SETS} for v in ("no U-Net", "vocals")]
    edit(home / "study.json", name="source_ablation", variants=variants)
    whole = json.loads((tmp_path / "studies/mine/report.json").read_text())
    main = whole["findings"]["comparisons"][0]
    main["contrasts"][0] |= {"variant": "vocals", "reference": "no U-Net"}
    main |= {"target": "macro", "style": main["style"] | {"name": "roc_auc", "label": "ROC-AUC"}}
    (home / "report.json").write_text(json.dumps(whole))
    shown = page(tmp_path)
    assert "MSSPT: 1 printed order: 1 holds, 0 undecided and 0 fail; not run: " in shown.text
    assert f"vocals above no U-Net on ROC-AUC ({printed('vocals')}" in shown.text
    assert [given["class"] for tag, given in shown.tags if tag == "td" and given.get("class")] == ["yes"]
    assert STATES == ("holds", "undecided", "fails", "not run")
