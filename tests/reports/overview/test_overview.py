"""The page of a store: a card per study that says what its report says, whatever state the folders are in."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reports
from reports.__main__ import main as report
from reports.drawing import thumbnail
from reports.overview import index
from reports.overview import page as overview
from reports.overview.cards import SAYS
from tests.reports.store import NULL, ONE, WIN, Read, add, edit, page, stage, trial
from tests.reports.writers.test_hostile import HOSTILE

CONTROLS = {
    "comparison": None,
    "judged": [{"name": "placebo", "expected": "equivalent", "came_out": False, "told": ""}],
}


@pytest.mark.parametrize(
    "arms, changes, badges",
    [
        (WIN, {}, ["significant"]),
        (NULL, {}, ["null"]),
        (ONE, {}, ["untested"]),
        (WIN, {"smoke": True}, ["smoke"]),
        (WIN, {"smoke": True, "rehearsal": True}, ["rehearsal"]),
        (WIN, {"trials": [trial("base/seed0"), trial("new/seed0", "missing")]}, ["significant", "interrupted"]),
        (NULL, {"trials": [trial("base/seed0"), trial("new/seed0", "failed")]}, ["null", "failed"]),
    ],
)
def test_badges(tmp_path: Path, arms: dict, changes: dict, badges: list[str]) -> None:
    add(tmp_path, "s", arms, **changes)
    assert page(tmp_path).card("s")["badges"] == badges


@pytest.mark.parametrize("smoke, badges", [(False, ["control failed"]), (True, ["smoke", "control failed"])])
def test_a_failed_control_takes_the_place_of_the_outcome(tmp_path: Path, smoke: bool, badges: list[str]) -> None:
    home = add(tmp_path, "s", smoke=smoke)
    whole = json.loads((home / "report.json").read_text())
    edit(home / "report.json", findings=whole["findings"] | {"controls": CONTROLS})
    assert page(tmp_path).card("s")["badges"] == badges


def test_every_badge_is_explained(tmp_path: Path) -> None:
    add(tmp_path, "a")
    add(tmp_path, "b", ONE, smoke=True, report=False)
    shown = page(tmp_path)
    used = {badge for card in shown.cards for badge in card["badges"]}
    assert used == {"significant", "smoke", "interrupted"} and all(SAYS[badge] in shown.text for badge in used)


def test_cards_say_what_the_reports_say(tmp_path: Path) -> None:
    stages = {"a": stage("2026-01-02T03:04:05Z", 7200), "b": stage("2026-01-02T01:00:00+02:00", 3600 * 12, "cuda")}
    stages |= {"c": stage("", 9e9, status="missing"), "d": stage("2026-01-01", 3600)}
    home = add(tmp_path, "s", NULL, question="Does `new` help?", stages=stages)
    card = page(tmp_path).card("s")
    told = json.loads((home / "report.json").read_text())
    assert told["headline"] in card["text"] and "Does new help?" in card["text"]
    assert "2026-01-02 03:04 UTC · 12.0 h on GPUs and 3.0 h on CPUs" in card["text"]
    assert set(card["links"]) == {
        f"studies/s/{name}" for name in ("report.html", "report.md", "scores.csv", "study.json")
    }


def test_the_newest_study_is_first_and_one_without_a_date_last(tmp_path: Path) -> None:
    for name, when in (("b", "2026-01-02T00:00:00Z"), ("a", ""), ("d", "no date"), ("c", "2026-01-03T00:00:00+12:00")):
        add(tmp_path, name, ONE, report=False, stages={"x": stage(when)})
    assert [card["text"].split()[0] for card in page(tmp_path).cards] == ["c", "b", "a", "d"]  # c was still 2 January
    edit(tmp_path / "studies/a/study.json", stages={"x": stage("2027-01-01T00:00:00Z")})
    assert page(tmp_path).cards[0]["text"].split()[0] == "a"


def test_the_thumbnail_is_drawn_from_the_numbers_of_the_report(tmp_path: Path) -> None:
    arms = {"base": [1.0, 1.1, 1.3, 1.2], **{f"v{k}": [1.0 + k, 1.2 + k, 1.1 + k, 1.15 + k] for k in range(5)}}
    home = add(tmp_path, "s", arms)
    marks = page(tmp_path).card("s")["marks"]
    contrasts = json.loads((home / "report.json").read_text())["contrasts"]
    assert [mark["class"] == "mark clear" for mark in marks] == [c["p_corrected"] < 0.05 for c in contrasts]
    assert {mark["class"] for mark in marks} == {"mark clear", "mark unclear"}
    at = [float(mark["points"].split()[1].split(",")[0]) for mark in marks]
    slopes = [(at[k] - at[0]) / (contrasts[k]["difference"] - contrasts[0]["difference"]) for k in range(1, 5)]
    assert min(slopes) > 0 and max(slopes) / min(slopes) == pytest.approx(1, rel=0.02)


@given(st.lists(st.tuples(st.floats(), st.floats(), st.floats(), st.booleans()), max_size=12))
def test_a_thumbnail_shows_the_clear_ones_of_many(rows: list) -> None:
    lines = [
        thumbnail.Line(f"v{k}", mid, (low, mid), (low, high), clear) for k, (low, mid, high, clear) in enumerate(rows)
    ]
    drawn = thumbnail.forest(lines, "SDR", True)
    finite = [line for line in lines if abs(line.value) < float("inf")]
    assert (drawn == "") == (not finite)
    many = min(len(finite), thumbnail.MOST)
    assert drawn.count("<polygon") == many
    assert drawn.count("mark clear") == min(sum(line.clear for line in finite), many)
    assert ("more</text>" in drawn) == (len(finite) > many)


def test_without_a_report_a_study_is_interrupted(tmp_path: Path) -> None:
    add(tmp_path, "half", report=False, trials=[trial("base/seed0"), trial("new/seed0", "missing")])
    begun = tmp_path / "studies/begun"
    begun.mkdir()
    (begun / "declarations.jsonl").write_text('{"time": "2026-02-03T04:05:06Z", "declared": "x"}\n{"time": "20')
    shown = page(tmp_path)
    assert shown.card("half")["badges"] == shown.card("begun")["badges"] == ["interrupted"]
    assert "1 of 2 trials have scores" in shown.card("half")["text"]
    assert "2026-02-03 04:05 UTC" in shown.card("begun")["text"]


def test_tables_newer_than_the_report_are_said_to_be(tmp_path: Path) -> None:
    home = add(tmp_path, "s", trials=[trial("base/seed0")])
    assert page(tmp_path).card("s")["badges"] == ["significant"]
    edit(home / "study.json", trials=[trial("base/seed0"), trial("new/seed0")])
    assert page(tmp_path).card("s")["badges"] == ["significant", "outdated"]
    assert report([str(home)]) == 0  # which writes the page, too
    assert Read((tmp_path / "index.html").read_text()).card("s")["badges"] == ["significant"]


DAMAGE = {
    "empty": b"",
    "half": b'{"title": "s", "na',
    "a list": b"[1, 2]",
    "null": b"null",
    "not UTF-8": b'{"title": "\xff"}',
    "wrong types": b'{"trials": 3, "headline": [], "findings": {"study": 1}}',
    "deep": b"[" * 200_000,
    "huge": b'{"smoke": false, "stages": {"a": {"seconds": 1' + b"0" * 4000 + b'}}, "headline": 1e999, "findings": 0}',
    "an older version": b'{"headline": "x", "comparisons": []}',
}


@pytest.mark.parametrize("file", ["study.json", "report.json"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_study_is_named_and_the_others_stand(tmp_path: Path, file: str, damage: str) -> None:
    home, other = add(tmp_path, "broken"), add(tmp_path, "whole")
    (home / file).write_bytes(DAMAGE[damage])
    if (file, damage) == ("study.json", "an older version"):
        (home / file).write_text('{"declaration": {"factors": {"source": ["a"]}}}')
    shown = page(tmp_path)
    assert [card["text"].split()[0] for card in shown.cards] == [other.name]
    assert f"broken: {file}" in shown.text.replace("RecursionError: ", f"{file}").replace("OverflowError: ", f"{file}")
    assert "1 study, and 1 folder that cannot be read" in shown.text
    assert all(path.exists() for path in shown.files(tmp_path))
    assert "studies/broken/report.html" in shown.links


def test_what_is_no_file_or_no_study_is_named_too(tmp_path: Path) -> None:
    os.mkfifo(add(tmp_path, "pipe", report=False) / "report.json")  # nobody waits for what it never says
    (add(tmp_path, "folder", report=False) / "report.json").mkdir()
    (tmp_path / "studies/nothing").mkdir()
    (tmp_path / "studies/gone").symlink_to(tmp_path / "away")
    (tmp_path / "studies/.hidden").mkdir()
    (tmp_path / "studies/notes.txt").write_text("")
    shown = page(tmp_path)
    assert {card["text"].split()[0] for card in shown.cards} == {"pipe", "folder"}
    assert "gone: it holds no study.json" in shown.text and "nothing: it holds no study.json" in shown.text
    assert "hidden" not in shown.text and "notes" not in shown.text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = tmp_path_factory.mktemp("fuzzed")
    home = add(store, "s", stages={"a": stage("2026-01-01T00:00:00Z")}, trials=[trial("base/seed0")])
    for name in ("study.json", "report.json"):
        shutil.copy(home / name, store / name)
    return store


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_content_of_the_files_breaks_the_page(fuzzed: Path, data: st.DataObject) -> None:
    """One value anywhere in either file replaced by anything that JSON can say."""
    home = fuzzed / "studies/s"
    for name in ("study.json", "report.json"):
        shutil.copy(fuzzed / name, home / name)
    path = home / data.draw(st.sampled_from(["study.json", "report.json"]))
    whole = json.loads(path.read_text())
    here = whole
    while True:
        key = data.draw(st.sampled_from(sorted(here) if isinstance(here, dict) else range(len(here))))
        if not isinstance(here[key], dict | list) or not here[key] or data.draw(st.integers(0, 3)) == 0:
            here[key] = data.draw(JSON)
            break
        here = here[key]
    path.write_text(json.dumps(whole))
    shown = page(fuzzed)
    assert len(shown.cards) == ("1 folder that cannot be read" not in shown.text)


NAMES = (
    "a#b",
    "50% & more?",
    'it\'s "so"',
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "..  ..",
    "über-ñ",
    "a\nb",
)


def test_links_lead_where_they_should_whatever_the_folders_are_called(tmp_path: Path) -> None:
    add(tmp_path, "s")
    names = [*NAMES, os.fsdecode(b"not-\xff-utf8")]
    for name in names:
        shutil.copytree(tmp_path / "studies/s", tmp_path / "studies" / name)
    shown = page(tmp_path)
    assert len(shown.cards) == len(names) + 1
    found = shown.files(tmp_path)
    assert all(path.is_file() for path in found)
    assert {path.parent.name for path in found} == {"s", *names}


def test_texts_of_others_do_nothing_on_the_page(tmp_path: Path) -> None:
    def tags(text: str) -> list:
        store = tmp_path / "store"
        home = add(store, "s", WIN)
        raw = json.loads((home / "report.json").read_text())
        raw["headline"] = text
        contrast = raw["findings"]["comparisons"][0]
        contrast["style"]["label"] = contrast["style"]["unit"] = contrast["reference"] = text
        for each in contrast["contrasts"]:
            each["variant"] = each["reference"] = text
        (home / "report.json").write_text(json.dumps(raw))
        edit(home / "study.json", question=text, name=text)
        other = add(store, "bad", ONE, report=False)
        (other / "study.json").write_text(json.dumps({"title": "bad", "smoke": text}))
        shown = page(store)
        shutil.rmtree(store)
        assert not any(name.startswith("on") for _, given in shown.tags for name in given)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", shown.text)
        return [tag for tag, _ in shown.tags if tag != "code"]

    plain = tags("plain")
    for text in (*HOSTILE, "\ud800 half", "]]></style></script><script>"):
        assert tags(text) == plain, text


def test_a_page_is_one_file_of_no_network_and_of_equal_bytes(tmp_path: Path) -> None:
    add(tmp_path, "s")
    first = reports.index(tmp_path).read_bytes()
    assert reports.index(tmp_path).read_bytes() == first and [p.name for p in tmp_path.iterdir() if p.suffix] == [
        "index.html"
    ]
    shown = Read(first.decode())
    assert not any("src" in given for _, given in shown.tags)
    assert not re.search(r"url\(|@import|https?://|fetch\(", first.decode())
    assert sum(tag == "script" for tag, _ in shown.tags) == 1


def test_of_two_studies_that_end_at_once_the_last_page_has_both(tmp_path: Path, monkeypatch) -> None:
    """The other study is written after this one has read the folder, and its page before this one's is there."""
    add(tmp_path, "one", ONE)
    calls = []

    def read(store: Path) -> overview.Page:
        calls.append(store)
        found = look(store)
        if len(calls) == 1:
            add(tmp_path, "two", ONE)
            reports.index(tmp_path)
        return found

    look = overview.page
    monkeypatch.setattr(overview, "page", read)
    reports.index(tmp_path)
    assert {card["text"].split()[0] for card in Read((tmp_path / "index.html").read_text()).cards} == {"one", "two"}


def test_the_command(tmp_path: Path, capsys) -> None:
    add(tmp_path, "s", ONE)
    assert index.main([str(tmp_path)]) == 0 and capsys.readouterr().out.strip() == str(tmp_path / "index.html")
    assert index.main([str(tmp_path / "gone")]) == 2
    assert "is no store" in capsys.readouterr().err
    (tmp_path / "index.html").write_text("mine")
    assert index.main([str(tmp_path)]) == 2 and "move it away" in capsys.readouterr().err
    assert (tmp_path / "index.html").read_text() == "mine"
