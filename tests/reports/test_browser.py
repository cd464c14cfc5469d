"""The page in a real browser, where one is installed: no script error, tables sort, audio plays,
phone width fits.
"""

from pathlib import Path

import pytest

import reports
from tests.reports.browser import CHROMIUM, left
from tests.reports.store import NULL, WIN, add

# What a reader would do, done by a script that leaves its findings in the page.
PROBE = """
<script>
window.problems = [];
window.addEventListener("error", (event) => window.problems.push(String(event.message)));
</script>
"""
ACT = """
<script>
(async () => {
  const found = { problems: window.problems, sorted: {}, audio: [] };
  for (const folded of document.querySelectorAll("details")) folded.open = true;
  const table = [...document.querySelectorAll("table.sortable")].find((one) => one.tHead.rows[0].cells.length > 7);
  const column = (k) => [...table.tBodies[0].rows].map((row) => row.cells[k].dataset.v);
  const names = [...table.querySelectorAll("thead th")].map((head) => head.textContent);
  for (const k of [2, 3, 7]) {
    table.querySelectorAll("thead th button")[k].click();
    const up = column(k);
    table.querySelectorAll("thead th button")[k].click();
    found.sorted[names[k]] = [up, column(k)];
  }
  for (const player of document.querySelectorAll("audio")) {
    player.muted = true;
    try { await player.play(); found.audio.push(player.duration); }
    catch (error) { found.audio.push(String(error)); }
  }
  found.external = performance.getEntriesByType("resource")
    .map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
  found.width = [document.documentElement.scrollWidth, window.innerWidth];
  const result = document.createElement("pre");
  result.id = "probe";
  result.textContent = JSON.stringify(found);
  document.body.append(result);
})();
</script>
"""


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 500])
def test_in_a_browser(rendered: dict[str, Path], tmp_path: Path, width: int) -> None:
    page = rendered["html"].read_text()
    page = page.replace("<head>", "<head>" + PROBE).replace("</body>", ACT + "</body>")
    (tmp_path / "page.html").write_text(page)
    seen = left(tmp_path / "page.html", width, seconds=8)
    assert seen["problems"] == [] and seen["external"] == []
    for up, down in seen["sorted"].values():
        numbers = [float(value) for value in up if value]
        assert len(numbers) >= 6 and numbers == sorted(numbers)
        assert [float(value) for value in down if value] == numbers[::-1]
        # Empty cells, the reference's, stay at the end either way.
        assert up[len(numbers) :] == down[len(numbers) :] == [""] * (len(up) - len(numbers))
    assert seen["audio"] == [2.0] * 4
    assert seen["width"][0] <= seen["width"][1]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 500])
def test_the_page_of_a_store_in_a_browser(tmp_path: Path, width: int) -> None:
    """No error, nothing from elsewhere, no wider than the window; every thumbnail has a size."""
    for name, arms in (("win", WIN), ("a-null-with-a-very-long-name-" + "x" * 80, NULL)):
        add(tmp_path, name, arms, question="Does it help? " * 8)
    act = """
<script>
window.addEventListener("load", () => {
  const found = { problems: window.problems, width: [document.documentElement.scrollWidth, window.innerWidth] };
  found.external = performance.getEntriesByType("resource")
    .map((entry) => entry.name).filter((name) => !name.startsWith("data:"));
  found.plots = [...document.querySelectorAll(".thumbnail svg")].map((one) => one.getBoundingClientRect().width);
  const result = document.createElement("pre");
  result.id = "probe";
  result.textContent = JSON.stringify(found);
  document.body.append(result);
});
</script>
"""
    page = reports.index(tmp_path).read_text().replace("<head>", "<head>" + PROBE).replace("</body>", act + "</body>")
    (tmp_path / "page.html").write_text(page)
    seen = left(tmp_path / "page.html", width, seconds=4)
    assert seen["problems"] == [] and seen["external"] == []
    assert seen["width"][0] <= seen["width"][1]
    assert len(seen["plots"]) == 2 and min(seen["plots"]) > 300
