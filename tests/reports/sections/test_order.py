"""Which sections a report has, in which order, and those of a package elsewhere."""

import json
from pathlib import Path

import pytest

import reports
from reports.assembly import USUAL, order
from tests.reports.test_edges import ARMS, study


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return study(tmp_path, ARMS)


def test_an_unknown_section_is_named(home: Path) -> None:
    raw = json.loads((home / "study.json").read_text())
    raw["declaration"]["sections"] = [{"kind": "no_such_section"}]
    (home / "study.json").write_text(json.dumps(raw))
    with pytest.raises(ValueError, match="no report section 'no_such_section'"):
        reports.render(home)


def test_a_section_of_a_package_elsewhere(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "some_package").mkdir()
    (tmp_path / "some_package" / "report.py").write_text(
        "from reports.sections import Section\n\n"
        "def section(findings, options, tables):\n    return Section('Mine', (options['words'],))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    raw = json.loads((home / "study.json").read_text())
    raw["declaration"]["sections"] = [{"kind": "some_package.report", "words": "Said elsewhere."}]
    (home / "study.json").write_text(json.dumps(raw))
    written = reports.render(home)
    assert "Said elsewhere." in written["html"].read_text() and "## Mine" in written["md"].read_text()
    for kind, message in (("some_package.reprot", "cannot be imported"), ("json.decoder", "no function `section`")):
        raw["declaration"]["sections"] = [{"kind": kind}]
        (home / "study.json").write_text(json.dumps(raw))
        with pytest.raises(ValueError, match=f"{kind}.*{message}"):
            reports.render(home)


def test_usual_sections_are_left_out_moved_and_joined(home: Path) -> None:
    raw = json.loads((home / "study.json").read_text())

    def titles(*declared: dict) -> list[str]:
        raw["declaration"]["sections"] = list(declared)
        (home / "study.json").write_text(json.dumps(raw))
        text = reports.render(home, ("md",))["md"].read_text()
        return [line[3:] for line in text.splitlines() if line.startswith("## ")]

    usual = titles()
    assert usual[:3] == ["Result on SDR", "All tests, contrast by contrast", "Every run"]
    assert titles({"kind": "tests", "leave_out": True}) == [name for name in usual if not name.startswith("All tests")]
    first, second, *others = usual
    assert titles({"kind": "tests"}, {"kind": "result"}) == [second, first, *others]
    assert titles({"kind": "limits"}, {"kind": "result"}, {"kind": "items", "leave_out": True})[1] == "Limits and notes"
    assert order(()) == list(USUAL)
    both = order(({"kind": "items"},))
    assert both[6:8] == [{"kind": "items", "by": "tag"}, {"kind": "items", "by": "track"}] and len(both) == len(USUAL)
    assert order(({"kind": "items", "by": "track"},)).count({"kind": "items", "by": "tag"}) == 0
