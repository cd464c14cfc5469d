"""The pages for people who do not see, hear or use a mouse as others do: axe-core's rules in a real browser.

axe-core is no dependency: `pip install axe-core-python`, or name a copy of axe.min.js in AXE_CORE.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

import reports
from tests.reports.browser import CHROMIUM, left
from tests.reports.store import NULL, WIN, add

WIDTHS = (390, 1280, 1920)
SERIOUS = ("serious", "critical")


def axe_core() -> Path | None:
    if named := os.environ.get("AXE_CORE"):
        return Path(named)
    found = importlib.util.find_spec("axe_core_python")
    return Path(found.origin).with_name("axe.min.js") if found and found.origin else None


AXE = axe_core()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine"),
    pytest.mark.skipif(AXE is None, reason="no axe-core on this machine: pip install axe-core-python"),
]


def violations(page: Path, folder: Path, width: int) -> list[dict[str, Any]]:
    """What axe-core finds serious on a page of that width in a frame, folded parts open."""
    assert AXE is not None
    act = """
window.addEventListener("load", async () => {
  for (const folded of document.querySelectorAll("details")) folded.open = true;
  if (await window.exploring?.start()) {  // with the panel open, and marked as explored
    const box = document.querySelector(".explore input");
    if (!box) throw new Error("the panel is not there");
    box.click();
  }
  const { violations } = await axe.run(document, { resultTypes: ["violations"] });
  const shown = (nodes) => nodes.map((node) => node.html.slice(0, 200));
  const found = violations.map(({ id, impact, nodes }) => ({ id, impact, nodes: shown(nodes) }));
  parent.postMessage({ width: window.innerWidth, found }, "*");
});
"""
    listen = """
window.addEventListener("message", ({ data }) => {
  const result = document.createElement("pre");
  result.id = "probe";
  result.textContent = JSON.stringify(data);
  document.body.append(result);
});
"""
    added = f"<script>{AXE.read_text(encoding='utf-8')}</script><script>{act}</script></body>"
    (folder / "inner.html").write_text(page.read_text(encoding="utf-8").replace("</body>", added), encoding="utf-8")
    outer = folder / "outer.html"  # a window is never narrower than 500 pixels, a frame may be
    frame = f'<iframe src="inner.html" style="width: {width}px; height: 1000px; border: 0"></iframe>'
    outer.write_text(f"<!doctype html><body><script>{listen}</script>{frame}</body>", encoding="utf-8")
    seen = left(outer, 2000, seconds=30, height=1100)
    assert seen["width"] == width
    return [one for one in seen["found"] if one["impact"] in SERIOUS]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_report(rendered: dict[str, Path], tmp_path: Path, width: int) -> None:
    assert violations(rendered["html"], tmp_path, width) == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_of_a_store(tmp_path: Path, width: int) -> None:
    for name, arms in (("win", WIN), ("null", NULL)):
        add(tmp_path, name, arms, question="Does it help?")
    assert violations(reports.index(tmp_path), tmp_path, width) == []


def test_a_page_with_a_fault_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text('<!doctype html><html lang="en"><title>t</title><body><img src="data:,"></body></html>')
    assert [one["id"] for one in violations(page, tmp_path, 1280)] == ["image-alt"]
