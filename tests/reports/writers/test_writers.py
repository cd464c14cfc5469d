"""What writers make of sections, tables, figures and cells, whatever these say."""

from reports.document import Cell, Figure, Report, Section, Table
from reports.writers import html, latex, markdown, terminal


def test_a_section_is_in_both_reports() -> None:
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
    assert "## Sweep over &lt;length>" in text and r"| a | b\|c |" in text and "A figure." in text
    assert markdown.blocks(part)[0].startswith("## Sweep")


def test_a_cell_s_value_aligns_and_sorts_and_code_and_stars_are_escaped() -> None:
    rows = ((Cell("`a` <b>", kind="reference"), Cell("9.90 *", 9.9, "better")), (Cell("c"), Cell("–", float("nan"))))
    table = Table(("name", "score"), rows, "A caption.")
    report = Report("t", "q", "l", (), (Section("One", parts=(Section("Two", tables=(table,), kind="fold"),)),))
    page = html.to_html(report)
    assert '<tr class="reference"><td class="reference"><code>a</code> &lt;b&gt;</td>' in page
    assert '<td class="n better" data-v="9.9">9.90 *</td>' in page and '<td class="n" data-v="">–</td>' in page
    assert "<summary>Two</summary>" in page and '<th scope="col" class=n>score</th>' in page
    text = markdown.to_markdown(report)
    assert "### Two" in text and r"| `a` &lt;b> | 9.90 \* |" in text
    assert r"\textbf{9.90$^{*}$} \\" in latex.to_latex(table, "x")
    assert terminal.to_text(Section("", ("Words.",), (table,))).splitlines()[2:] == [
        "`a` <b>  9.90 *",
        "c             –",
        "",
        "Words.",
    ]
