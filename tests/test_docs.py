"""The documentation site builds without a broken link, asks no other machine for anything, and quotes a report that is
made as it says."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

spec = importlib.util.spec_from_file_location("docs_tool", REPOSITORY / "tools" / "docs.py")
assert spec is not None and spec.loader is not None
tool = importlib.util.module_from_spec(spec)
spec.loader.exec_module(tool)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The site, and what its command printed."""
    out, printed = tmp_path_factory.mktemp("docs") / "site", io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert tool.main(["--out", str(out)]) == 0
    return out, printed.getvalue()


def words(text: str) -> str:
    return " ".join(re.sub(r"[│─>|*`]", " ", text).split())


def test_every_page_is_there_and_asks_no_other_machine(site: tuple[Path, str]) -> None:
    out, _ = site
    pages = {path.relative_to(REPOSITORY / "docs").with_suffix(".html") for path in (REPOSITORY / "docs").rglob("*.md")}
    assert {path for path in pages if not (out / path).is_file()} == set()
    for path in out.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe)[^>]*src="(?:https?:)?//[^"]*"', text), path
        assert not re.findall(r'<link[^>]*rel="(?:stylesheet|preconnect|icon)"[^>]*href="(?:https?:)?//', text), path


def test_links_that_mkdocs_does_not_follow_lead_somewhere(site: tuple[Path, str]) -> None:
    out, _ = site
    found = [
        (page, target)
        for page in (REPOSITORY / "docs").glob("*.md")
        for target in re.findall(r'<a href="([^"]+)"', page.read_text(encoding="utf-8"))
    ]
    assert len(found) >= 3
    missing = [target for _, target in found if not (out / target).is_file()]
    assert missing == ["gallery/store/index.html"]  # there with --store alone


def test_the_python_reference_names_what_a_study_imports(site: tuple[Path, str]) -> None:
    text = (site[0] / "api" / "study.html").read_text(encoding="utf-8")
    assert all(f'id="mss_core.study.{name}"' in text for name in ("study.Study", "designs.Factor", "until.Until"))


def test_the_report_that_is_explained_is_the_one_that_is_made(site: tuple[Path, str]) -> None:
    """Each sentence and each row that docs/reading-a-report.md quotes stands in what the command prints."""
    out, printed = site
    page, said = (REPOSITORY / "docs" / "reading-a-report.md").read_text(encoding="utf-8"), words(printed)
    quotes = [words(block) for block in re.findall(r"((?:^> .*\n)+)", page, re.MULTILINE)]
    assert len(quotes) == 2 and all(quote in said for quote in quotes)
    rows = [words(line) for line in page.splitlines() if re.match(r"\| (base|wide|no skip|dropout) \|", line)]
    assert len(rows) == 4 and all(row in said for row in rows)
    html = (out / "gallery" / "example" / "report.html").read_text(encoding="utf-8")
    assert "gallery/example/report.html" in page and re.search(r">\s*\.018\s*<", html)
