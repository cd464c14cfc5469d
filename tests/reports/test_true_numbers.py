"""Every format shows the numbers of the tables, says what kind of run they are of, and sorts by what it shows."""

import csv
import html as entities
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import reports
from reports import media, prose
from reports.document import Cell, Table
from reports.drawing import figures
from reports.sections import listen, result, separation
from reports.separation import Separation
from reports.text import style
from reports.writers.latex import to_latex
from reports.writers.terminal import to_text
from tests.reports.fixture import EFFECTS

ROW = re.compile(r"<tr[^>]*>(.*?)</tr>", re.S)
CELL = re.compile(r"<t[dh][^>]*>(.*?)</t[dh]>", re.S)


def page_rows(page: str) -> dict[str, list[str]]:
    """Cells of the result's table by variant, as a reader of the page sees them."""
    found = {}
    for row in ROW.findall(page.split('id="result"')[1].split("</table>")[0]):
        cells = [entities.unescape(re.sub("<[^>]+>", "", cell)) for cell in CELL.findall(row)]
        found[cells[0]] = cells
    return found


def test_every_format_shows_the_means_and_differences_of_the_score_table(
    rendered: dict[str, Path], study_directory: Path
) -> None:
    """Against means taken here from scores.csv, in percent with two decimals."""
    import pandas as pd

    scores = pd.read_csv(study_directory / "scores.csv", keep_default_na=False)
    rows = scores[(scores["metric"] == "roc_auc") & (scores["target"] == "macro") & (scores["track"] == "")]
    means = (100 * rows.assign(score=rows["score"].astype(float)).groupby("variant")["score"].mean()).to_dict()
    page = page_rows(rendered["html"].read_text())
    table = {row["variant"]: row for row in csv.DictReader(rendered["csv"].open()) if row["metric"] == "roc_auc"}
    contrasts = {
        one["variant"]: one["difference"]
        for one in json.loads(rendered["json"].read_text())["contrasts"]
        if one["metric"] == "roc_auc"
    }
    tex, text, terminal = rendered["tex"].read_text(), rendered["md"].read_text(), reports.summary(study_directory)
    assert set(page) >= set(EFFECTS)
    for name, mean in means.items():
        shown = f"{mean:.2f}"
        assert page[name][4].startswith(shown)
        assert float(table[name]["mean"]) == pytest.approx(mean / 100, abs=1e-12)
        assert re.search(rf"^\| {re.escape(name)} \|.*\| {shown} ±", text, re.M)
        assert re.search(rf"^{re.escape(name)}\s+{shown} ±", terminal, re.M)
        assert any(line.startswith(name) and shown in line for line in tex.splitlines())
        if name != "no U-Net":
            difference = mean - means["no U-Net"]
            assert contrasts[name] == pytest.approx(difference / 100, abs=1e-12)
            assert float(table[name]["difference"]) == pytest.approx(difference / 100, abs=1e-12)
            signed = f"{difference:+.2f}".replace("-", "−")
            assert page[name][1] == signed and re.search(rf"^{re.escape(name)} .*{re.escape(signed)} ", terminal, re.M)


def test_the_kind_of_run_is_said_in_every_format(findings) -> None:
    small, whole = (replace(findings, study=replace(findings.study, smoke=smoke)) for smoke in (True, False))
    caveat = small.study.no_result
    assert caveat.startswith("This is a smoke run")
    told = " ".join(to_text(result.summary(small)).split())
    assert caveat in told and caveat in to_latex(result.matrix(small), "x")
    assert caveat not in to_latex(result.matrix(whole), "x")


def test_bold_and_colour_are_for_what_is_significant(findings) -> None:
    clearly = {"vocals": (0.001, "**"), "bass": (0.01, "*")}
    main = replace(
        findings.main,
        contrasts=tuple(
            replace(c, p_corrected=clearly.get(c.variant, (0.9, ""))[0], stars=clearly.get(c.variant, (0.9, ""))[1])
            for c in findings.main.contrasts
        ),
    )
    findings = replace(findings, comparisons=(main, *findings.comparisons[1:]))
    clear = {c.variant for c in main.contrasts if prose.significant(main, c)}
    better = {c.variant for c in main.contrasts if prose.significant(main, c) and c.primary.difference > 0}
    assert clear == set(clearly)
    bold = {
        line.split("&")[0].strip() for line in to_latex(result.matrix(findings), "x").splitlines() if "textbf" in line
    }
    assert bold >= better and not bold & ({c.variant for c in main.contrasts} - clear - _secondary(findings))
    assert {row[0].text for row in result.table(main).cells if row[0].kind == "clear"} == clear
    assert figures.forest(main).count('class="mark clear"') == len(clear)


def _secondary(findings) -> set[str]:
    return {c.variant for one in findings.comparisons[1:] for c in one.contrasts if prose.significant(one, c)}


def test_a_column_of_numbers_as_text_sorts_by_the_numbers() -> None:
    """Minus signs of print, percentages, intervals and gaps."""
    texts = ("−7.28", "+8.29", "−26.74", "–", "−1.20 ± 3.00", "0.5 to 8.6 %", "")
    cells = [
        row[1].value for row in Table(("tag", "gain"), tuple(("x", t) for t in texts), numeric=(False, True)).cells
    ]
    assert np.array_equal(cells, [-7.28, 8.29, -26.74, np.nan, -1.2, 0.5, np.nan], equal_nan=True)
    assert Table(("a", "b"), (("x", "adam"),), numeric=(False, True)).cells[0][1].value is None
    assert Table(("a", "b"), ((Cell("1"), Cell("2", 3.0)),)).cells[0][1].value == 3.0


def test_variants_that_share_a_row_are_all_named(findings) -> None:
    equal = tuple(f"median {n}" for n in range(3, 33, 2))
    row = Separation("raw", "vocals", style("sdr"), 1.0, 3, {}, None, "", equal)
    made = separation.section(replace(findings, separation=(row,)), {}, None)
    assert (
        all(name in made.tables[0].cells[0][0].text for name in equal) and "more" not in made.tables[0].cells[0][0].text
    )


def test_equal_sounds_are_shown_once() -> None:
    levels = {"mixture": 1.0, "estimate, a": 0.0, "estimate, b": 0.0, "estimate, c": 0.5}
    sounds = {label: media.Sound(np.full((9, 2), level), 8000) for label, level in levels.items()}
    other = media.Sound(sounds["estimate, a"].samples, 16_000)
    found = listen.distinct({**sounds, "estimate, d": other})
    assert list(found) == ["mixture", "estimate, a (equal: b)", "estimate, c", "estimate, d"]


def test_a_headline_names_few_and_says_why_nothing_was_tested(findings) -> None:
    main = findings.main
    many = tuple(replace(c, p_corrected=0.001, variant=f"v{k}") for k, c in enumerate(main.contrasts))
    text = prose._headline(replace(main, contrasts=many))
    assert text.count("corrected p") <= 2 * prose.NAMED + 2
    one = replace(main, rows=tuple(replace(row, runs={0: 0.5}) for row in main.rows))
    untested = tuple(replace(c, p_corrected=float("nan")) for c in main.contrasts)
    assert "every variant has one seed" in prose._headline(replace(one, contrasts=untested))


def test_the_forest_s_words_do_not_meet_where_all_effects_lie_on_one_side(findings) -> None:
    main = findings.main
    worse = tuple(
        replace(c, primary=replace(c.primary, difference=-0.05, low=-0.06, high=-0.04), simultaneous=(-0.07, -0.03))
        for c in main.contrasts
    )
    places = {
        text: float(y)
        for y, text in re.findall(
            r'<text class="tick" x="[-\d.]+" y="([\d.]+)"[^>]*>([^<]*)</text>',
            figures.forest(replace(main, contrasts=worse)),
        )
    }
    assert places["better →"] - places["corrected p"] >= 12
