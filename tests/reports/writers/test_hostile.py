"""Texts of others, as levels, tracks and titles are, do nothing in what reports write: they are shown as they are."""

import csv
import io
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from scipy.io import wavfile

import reports
from reports.__main__ import main as command
from reports.contract.tables import guarded, guarded_table, unguarded
from reports.document import Cell, Report, Section, Table
from reports.text import visible
from reports.writers import data, latex, markdown, terminal
from tests.reports.test_edges import ARMS, study

HOSTILE = (
    "<script>alert(1)</script>",
    "`<img src=x onerror=alert(1)>`",
    "[click](javascript:alert(1))",
    "![x][y]\n\n[y]: javascript:alert(1)",
    "x\n\n# Heading\n\n> quote",
    "=HYPERLINK(\"http://a.example\",\"b\")",
    "-2+3+cmd|' /C calc'!A0",
    "\t=1+1",
    "@SUM(A1)",
    "+1+1",
    "\x1b]0;title\x07\x1b[31m",
    "a \u202e b",
    "&lt;b&gt; &amp;",
    "1. one",
    "*a* _b_ ~~c~~ ***",
    "a | b",
    "$x$ \\input{y} %\n\nz",
)  # fmt: skip
WORDS = st.lists(st.sampled_from([*"<>[]()!#*_~`|\\-+=:.&; 1ax\n\t", "javascript:", "&lt;", "<b", "](", "`<x>`"]))
TEXTS = WORDS.map("".join) | st.text(max_size=20)
HARMLESS = {"inline", "text", "code_inline", "softbreak", "text_special"}
BLOCKS = {"paragraph", "bullet_list", "list_item", "heading", "table", "thead", "tbody", "tr", "th", "td"}


def tokens(text: str) -> list:
    """All tokens of a page, as an independent reader of Markdown finds them."""
    found = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    return [token for outer in found for token in (outer, *(outer.children or ()))]


def shown(text: str) -> list[str]:
    """What the lines and cells of a page show."""
    found = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    return [
        "".join("`" + part.content + "`" if part.type == "code_inline" else part.content for part in token.children)
        for token in found
        if token.type == "inline"
    ]


def one_line(text: str) -> str:
    return " ".join(visible(text).split())


@given(TEXTS)
@example("`a`")
@settings(max_examples=120, deadline=None)
def test_markdown_shows_every_text_as_it_is(text: str) -> None:
    section = Section("s", (text,), (Table((text, "n"), ((Cell(text), Cell("1")),)),), points=(text,))
    page = markdown.to_markdown(Report("t", "q", "l", (), (section,)))
    for token in tokens(page):
        assert token.type in HARMLESS or re.sub("_(open|close)$", "", token.type) in BLOCKS, (token.type, page)
    assert sum(token.type == "heading_open" for token in tokens(page)) == 2
    assert not re.search(r"<script|\]\(javascript|<img", page)
    line = one_line(text)
    wanted = ["t", "q", "l", "s", *[line] * (line != ""), line, line, "n", line, "1"]
    assert [" ".join(part.split()) for part in shown(page) if part] == [part for part in wanted if part]


@given(TEXTS)
@settings(max_examples=120, deadline=None)
def test_no_text_is_a_formula_and_every_one_comes_back(text: str) -> None:
    written = guarded(text)
    assert unguarded(written) == text
    if written.strip()[:1] in tuple("=+-@") or written[:1] in tuple("\t\r\n"):
        float(written)  # what a spreadsheet may calculate is a number


@pytest.mark.parametrize("number", ["-0.5", "+3", "-1e-3", "-inf", "0.1"])
def test_numbers_stay_numbers(number: str) -> None:
    assert guarded(number) == number
    assert data.to_csv([{"a": float(number), "b": None}]).splitlines()[1].startswith(str(float(number)))


def test_a_table_of_texts_is_guarded_in_heads_and_cells() -> None:
    table = pd.DataFrame({"=f": ["=1", "x", None], "n": [-1.0, 2.0, float("nan")]})
    assert guarded_table(table).to_csv(index=False).splitlines() == ["'=f,n", "'=1,-1.0", "x,2.0", ","]
    assert table.columns[0] == "=f"


@given(TEXTS)
@settings(max_examples=60, deadline=None)
def test_terminal_and_latex_stay_on_their_lines(text: str) -> None:
    table = Table((text or "h", "n"), ((Cell(text), Cell("1")),), "caption " + text)
    printed = terminal.to_text(Section("", ("x" + text,), (table,)))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e]", printed)
    lines = latex.to_latex(table, text).splitlines()
    assert len(lines) == 13 and not any(line.strip() == "" for line in lines)


def test_a_report_of_a_hostile_table(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Whole, by the command: levels and tracks of these names."""
    file = tmp_path / "t.csv"
    with file.open("w", newline="", encoding="utf-8") as out:
        rows = csv.writer(out)
        rows.writerow(["model", "seed", "track", "target", "metric", "score"])
        for k, level in enumerate(("base", *HOSTILE)):
            for seed in range(3):
                for track in HOSTILE:
                    rows.writerow([level, seed, track, "vocals", "sdr", k / 10 + 0.1 * seed + len(track) / 50])
    assert command([str(file), "--factor", "model", "--reference", "base", "--out", str(tmp_path)]) == 0
    assert "\x1b" not in capsys.readouterr().out
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    kinds = {token.type for token in tokens(text)}
    assert not {kind for kind in kinds if kind.startswith(("html", "link", "image", "em_", "strong", "s_", "hr"))}
    assert "click" in text and "\n# Heading" not in text
    with (tmp_path / "report.csv").open(newline="", encoding="utf-8") as found:
        read = list(csv.reader(found))
    for cell in (cell for row in read for cell in row):
        if cell.strip() and cell.strip()[0] in "=+-@":
            float(cell)
    assert [unguarded(row[0]) for row in read[2 : 2 + len(HOSTILE)]] == list(HOSTILE)
    assert "<script>alert" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_scores_of_hostile_names_come_back_as_they_were(tmp_path: Path) -> None:
    """A study's own table, which a spreadsheet opens and a report reads."""
    names = ["base", *HOSTILE]
    frame = pd.DataFrame(
        {"variant": names, "seed": 0, "track": names, "target": "", "metric": "sdr", "score": np.arange(len(names)) - 1}
    )
    stream = io.StringIO(guarded_table(frame).to_csv(index=False))
    (tmp_path / "scores.csv").write_text(stream.getvalue(), encoding="utf-8", newline="")
    read = reports.inputs.tables.read_scores(tmp_path / "scores.csv").frame
    assert read["variant"].tolist() == names and read["track"].tolist() == names
    assert read["score"].tolist() == frame["score"].tolist()


def test_a_report_embeds_no_sound_from_outside_of_the_store(tmp_path: Path) -> None:
    """An absolute path, one over `..`, a link out of the store; a pipe is not waited for."""
    store = tmp_path / "store"
    home = study(store, ARMS)
    tone = (8000 * np.sin(np.arange(16000))).astype(np.int16)
    outside = tmp_path / "outside.wav"
    for path in (outside, store / "inside.wav"):
        wavfile.write(path, 16000, tone)
    os.symlink(outside, store / "link.wav")
    os.symlink(store / "inside.wav", store / "fine.wav")
    os.mkfifo(store / "pipe.wav")
    (store / "folder.wav").mkdir()
    described = json.loads((home / "study.json").read_text())
    bad = [str(outside), "../outside.wav", "link.wav", "x/../../outside.wav", "pipe.wav", "folder.wav", "no\0.wav"]
    described["examples"] = [
        {"track": f"song {k}", "variant": "base", "mixture": path, "reference": "", "estimate": "inside.wav"}
        for k, path in enumerate(bad)
    ]
    (home / "study.json").write_text(json.dumps(described))
    (page, text) = (reports.render(home, ("html", "md"))[kind].read_text() for kind in ("html", "md"))
    assert page.count("<audio") == 4  # of each of the four examples shown, what lies inside alone
    assert text.count("lies outside of the store and was not read") == 4
    described["examples"] = described["examples"][4:] + [{"track": "t", "variant": "base", "estimate": "fine.wav"}]
    (home / "study.json").write_text(json.dumps(described))
    page = reports.render(home, ("html", "md"))["html"].read_text()
    assert page.count("<audio") == 4 and page.count("could not be read") == 2
    shutil.rmtree(store)
