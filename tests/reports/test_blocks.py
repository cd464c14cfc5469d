"""Studies split into blocks, and sections that a study asks for."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_ind

import reports
from reports.sections import USUAL, Cell, Figure, Report, Section, Table, order

MEANS = {"cnn, none": 0.60, "cnn, vocals": 0.70, "ast, none": 0.80, "ast, vocals": 0.80}


@pytest.fixture
def blocks(tmp_path: Path) -> Path:
    home = tmp_path / "studies" / "blocks"
    home.mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = [
        dict(
            study="blocks",
            trial=f"{name}/seed{k}",
            variant=name,
            seed=k,
            track="",
            target="macro",
            metric="roc_auc",
            aggregation="",
            score=mean + rng.normal(0, 0.01),
        )
        for name, mean in MEANS.items()
        for k in range(5)
    ]
    pd.DataFrame(rows).to_csv(home / "scores.csv", index=False)
    (home / "study.json").write_text(
        json.dumps(
            {
                "title": "blocks",
                "declaration": {
                    "reference": "cnn, none",
                    "within": ["backend"],
                    "seeds": list(range(5)),
                    "metric": "roc_auc",
                    "target": "macro",
                    "references": {name: f"{name[:3]}, none" for name in MEANS},
                    "sections": [],
                },
                "variants": [{"variant": name, "levels": {"backend": name[:3]}} for name in MEANS],
            }
        )
    )
    return home


def test_each_block_has_its_own_reference_and_all_share_a_family(blocks: Path) -> None:
    found = reports.read(blocks).main
    assert found.family == 2
    assert found.references == ("cnn, none", "ast, none")
    assert {c.variant: c.reference for c in found.contrasts} == {"cnn, vocals": "cnn, none", "ast, vocals": "ast, none"}
    table = pd.read_csv(blocks / "scores.csv")
    for contrast in found.contrasts:
        a, b = (table[table["variant"] == n]["score"] for n in (contrast.variant, contrast.reference))
        assert contrast.primary.statistic == pytest.approx(ttest_ind(a, b, equal_var=False).statistic, rel=1e-9)
        assert contrast.p_corrected == pytest.approx(min(1.0, 2 * contrast.primary.p))


def test_what_is_printed_names_the_block(blocks: Path) -> None:
    written = reports.render(blocks)
    for name in ("html", "md", "tex"):
        assert "the reference of the same backend" in written[name].read_text(), name
    assert "cnn, vocals" in written["md"].read_text()
    assert "than cnn, none" not in reports.summary(blocks)
    table = pd.read_csv(written["csv"]).set_index("variant")["reference"]
    assert table["ast, vocals"] == "ast, none" == table["ast, none"]


def test_a_reference_that_does_not_exist_is_named(blocks: Path) -> None:
    raw = json.loads((blocks / "study.json").read_text())
    raw["declaration"]["references"]["ast, vocals"] = "ast, non"
    (blocks / "study.json").write_text(json.dumps(raw))
    with pytest.raises(ValueError, match="'ast, non' of 'ast, vocals' is no variant .* did you mean 'ast, none'"):
        reports.read(blocks)


def test_an_unknown_section_is_named(blocks: Path) -> None:
    raw = json.loads((blocks / "study.json").read_text())
    raw["declaration"]["sections"] = [{"kind": "no_such_section"}]
    (blocks / "study.json").write_text(json.dumps(raw))
    with pytest.raises(ValueError, match="no report section 'no_such_section'"):
        reports.render(blocks)


def test_a_section_of_a_package_elsewhere(blocks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_package").mkdir()
    (tmp_path / "some_package" / "report.py").write_text(
        "from reports.sections import Section\n\n"
        "def section(findings, options, tables):\n    return Section('Mine', (options['words'],))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    raw = json.loads((blocks / "study.json").read_text())
    raw["declaration"]["sections"] = [{"kind": "some_package.report", "words": "Said elsewhere."}]
    (blocks / "study.json").write_text(json.dumps(raw))
    written = reports.render(blocks)
    assert "Said elsewhere." in written["html"].read_text() and "## Mine" in written["md"].read_text()
    for kind, message in (("some_package.reprot", "cannot be imported"), ("json.decoder", "no function `section`")):
        raw["declaration"]["sections"] = [{"kind": kind}]
        (blocks / "study.json").write_text(json.dumps(raw))
        with pytest.raises(ValueError, match=f"{kind}.*{message}"):
            reports.render(blocks)


def test_a_section_is_in_both_reports() -> None:
    from reports.writers import html, markdown

    part = Section(
        "Sweep over <length>",
        ("One line.",),
        (Table(("a", "b|c"), (("x", "1.5"),), "A caption."),),
        (Figure(svg="<svg id='drawn'></svg>", caption="A figure."),),
    )
    report = Report("a title", "A question?", "An answer.", (), (part,))
    page = html.to_html(report)
    assert 'id="sweep-over-length"' in page and "Sweep over &lt;length&gt;" in page and "<svg id='drawn'>" in page
    text = markdown.to_markdown(report)
    assert "## Sweep over <length>" in text and r"| a | b\|c |" in text and "A figure." in text
    assert markdown.blocks(part)[0].startswith("## Sweep")


def test_a_cell_s_value_aligns_and_sorts_and_code_and_stars_are_escaped() -> None:
    from reports.writers import html, latex, markdown, terminal

    rows = ((Cell("`a` <b>", kind="reference"), Cell("9.90 *", 9.9, "better")), (Cell("c"), Cell("–", float("nan"))))
    table = Table(("name", "score"), rows, "A caption.")
    report = Report("t", "q", "l", (), (Section("One", parts=(Section("Two", tables=(table,), kind="fold"),)),))
    page = html.to_html(report)
    assert '<tr class="reference"><td class="reference"><code>a</code> &lt;b&gt;</td>' in page
    assert '<td class="n better" data-v="9.9">9.90 *</td>' in page and '<td class="n" data-v="">–</td>' in page
    assert "<summary>Two</summary>" in page and '<th scope="col" class=n>score</th>' in page
    text = markdown.to_markdown(report)
    assert "### Two" in text and r"| `a` <b> | 9.90 \* |" in text
    assert r"\textbf{9.90$^{*}$} \\" in latex.to_latex(table, "x")
    assert terminal.to_text(Section("", ("Words.",), (table,))).splitlines()[2:] == [
        "`a` <b>  9.90 *",
        "c             –",
        "",
        "Words.",
    ]


def test_usual_sections_are_left_out_moved_and_joined(blocks: Path) -> None:
    raw = json.loads((blocks / "study.json").read_text())

    def titles(*declared: dict) -> list[str]:
        raw["declaration"]["sections"] = list(declared)
        (blocks / "study.json").write_text(json.dumps(raw))
        text = reports.render(blocks, ("md",))["md"].read_text()
        return [line[3:] for line in text.splitlines() if line.startswith("## ")]

    usual = titles()
    assert usual[:3] == ["Result on ROC-AUC", "All tests, contrast by contrast", "Every run"]
    assert titles({"kind": "tests", "leave_out": True}) == [name for name in usual if not name.startswith("All tests")]
    first, second, *others = usual
    assert titles({"kind": "tests"}, {"kind": "result"}) == [second, first, *others]
    assert titles({"kind": "limits"}, {"kind": "result"}, {"kind": "items", "leave_out": True})[1] == "Limits and notes"
    assert order(()) == list(USUAL)
    both = order(({"kind": "items"},))
    assert both[3:5] == [{"kind": "items", "by": "tag"}, {"kind": "items", "by": "track"}] and len(both) == len(USUAL)
    assert order(({"kind": "items", "by": "track"},)).count({"kind": "items", "by": "tag"}) == 0


def test_blocks_have_tracks_of_their_own_and_songs_may_be_the_sample(blocks: Path) -> None:
    from scipy.stats import ttest_rel

    raw = json.loads((blocks / "study.json").read_text())
    raw["declaration"] |= {
        "metric": "si_sdr",
        "test": "item_means",
        "factors": [{"name": "backend", "levels": {}}, {"name": "source", "levels": {}}],
    }
    for variant in raw["variants"]:  # data that only one of the two reads is no difference between them
        variant["recipe"] = {"clips.fingerprint": "" if "none" in variant["variant"] else "abc"}
    (blocks / "study.json").write_text(json.dumps(raw))
    rng = np.random.default_rng(1)
    songs = {"cnn": ["a", "b", "c", "d"], "ast": ["e", "f", "g"]}
    rows = [
        dict(
            variant=name,
            seed=k,
            track=song,
            target="macro",
            metric="si_sdr",
            aggregation="",
            score=MEANS[name] + rng.normal(0, 0.1) * (k == 0),
        )
        for name in MEANS
        for k in range(2)
        for song in songs[name[:3]]
    ]
    table = pd.DataFrame(rows)
    table.to_csv(blocks / "scores.csv", index=False)
    found = reports.read(blocks).main
    assert found.test == "item_means" and not any(c.refused for c in found.contrasts)
    for contrast in found.contrasts:
        a, b = (
            table[table["variant"] == n].groupby("track")["score"].mean()
            for n in (contrast.variant, contrast.reference)
        )
        assert contrast.primary.p == pytest.approx(ttest_rel(a, b).pvalue, rel=1e-9)
    assert "paired t over tracks (models as given)" in reports.render(blocks)["md"].read_text()
