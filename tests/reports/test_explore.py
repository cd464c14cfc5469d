"""The panel that takes the primary comparison again: in a real browser its numbers are those of reports/statistics."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import cycle, product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import reports
from reports import controls, explored, prose
from reports.comparison import comparison
from reports.findings import Comparison, Findings
from reports.inputs.tables import without
from reports.sections import result
from reports.writers.html import exploring
from tests.reports.browser import CHROMIUM, left
from tests.reports.test_edges import study

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]

PROBE = """
<script>
window.problems = [];
window.addEventListener("error", (event) => window.problems.push(String(event.message)));
window.addEventListener("unhandledrejection", (event) => window.problems.push(String(event.reason)));
for (const kind of ["error", "warn"]) console[kind] = (...words) => window.problems.push(words.join(" "));
</script>
"""
ACT = """
<script>
window.addEventListener("load", async () => {
  const plain = (key, value) => typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
  const found = await (%s)();
  const left = document.createElement("pre");
  left.id = "probe";
  left.textContent = JSON.stringify(found, plain);
  document.body.append(left);
});
</script>
"""


def seen(page: str, act: str, folder: Path, width: int = 1280) -> Any:
    """What a script, an asynchronous function, finds in a page once it is loaded."""
    page = page.replace("<head>", "<head>" + PROBE).replace("</body>", ACT % act + "</body>")
    (folder / "page.html").write_text(page, encoding="utf-8")
    return left(folder / "page.html", width, seconds=60)


# ---- the distributions


def test_distributions_are_those_of_scipy_to_twelve_digits(tmp_path: Path) -> None:
    dofs = [0.3, 1, 1.7, 2, 3.3, 5, 8.25, 19, 64.1, 250, 4_000, 1e4]
    ts = [0.0, 0.01, 0.3, 1, 2.1, 4, 9.5, 40, 1e3]
    alphas = [0.5, 0.1, 0.05, 0.05 / 7, 1e-4, 1e-8]
    fs, few = [1e-3, 0.2, 1, 2.5, 9, 80], [1, 1.6, 4, 12.8, 60, 900]
    xs = [1e-3, 0.1, 0.5, 1, 2.5, 7, 30, 1e3]
    asked = {
        "tTails": list(product(ts, dofs)),
        "tQuantile": list(product(alphas, dofs)),
        "fTail": list(product(fs, few, few)),
        "polygamma": list(product([0, 1, 2], xs)),
        "inverseTrigamma": [(float(special.polygamma(1, x)),) for x in xs],
    }
    act = f"""async () => Object.fromEntries(Object.entries({json.dumps(asked)}).map(
      ([name, all]) => [name, all.map((given) => exploring[name](...given))]))"""
    found = seen(BARE, act, tmp_path)
    wanted = {
        "tTails": [2 * stats.t.sf(t, df) for t, df in asked["tTails"]],
        "tQuantile": [stats.t.isf(alpha / 2, df) for alpha, df in asked["tQuantile"]],
        "fTail": [stats.f.sf(f, m, n) for f, m, n in asked["fTail"]],
        "polygamma": [special.polygamma(n, x) for n, x in asked["polygamma"]],
        "inverseTrigamma": xs,
    }
    for name, values in wanted.items():
        for given, got, value in zip(asked[name], found[name], values, strict=True):
            assert got == pytest.approx(float(value), rel=1e-12, abs=1e-300), (name, given)


# ---- whole tables

EFFECTS = {"base": 0.0, "wide": 0.5, "deep": -0.4, "slim": 0.05, "far": 0.15, "loud": 0.1, "odd": -0.1}


def drawn(
    home: Path,
    rng: np.random.Generator,
    *,
    variants: int = 4,
    seeds: int = 4,
    tracks: int = 8,
    targets: tuple[str, ...] = ("drums", "vocals"),
    groups: int = 0,
    holes: int = 0,
    noise: float = 0.2,
    **declare: Any,
) -> Path:
    """A study with two metrics of every run, track and target; `holes` scores are empty, the last variant varies more
    than the others."""
    names = list(EFFECTS)[:variants]
    factors = [{"name": "method", "levels": {name: {} if name == "base" else {"loss.name": "l2"} for name in names}}]
    declare = {"factors": factors, "seeds": list(range(seeds)), "target": targets[0], "metric": "sdr"} | declare
    place = study(home, {name: [1.0] for name in names}, declare=declare)
    rows = []
    ease = rng.normal(0, 1, (max(tracks, 1), len(targets)))
    for name in names:
        spread = noise * (4 if name == names[-1] else 1)
        for seed in range(seeds):
            luck = rng.normal(0, spread)
            for k, (j, target) in product(range(max(tracks, 1)), enumerate(targets)):
                for metric, scale in (("sdr", 1.0), ("mae", -0.01)):
                    score = 5 + EFFECTS[name] + luck + ease[k, j] + rng.normal(0, noise)
                    row = {"study": "edge", "trial": f"{name}/seed{seed}", "variant": name, "method": name}
                    row |= {"seed": seed, "track": f"song {k}" if tracks else "", "target": target, "metric": metric}
                    if groups:  # of unequal size
                        row["group"] = f"album {min(k % (groups + 1), groups - 1)}" if k else ""
                    rows.append({**row, "aggregation": "", "score": repr(float(scale * score))})
    for k in rng.choice(len(rows), holes, replace=False):
        rows[k]["score"] = ""
    pd.DataFrame(rows).to_csv(place / "scores.csv", index=False)
    return place


def python_side(found: Findings, choice: dict[str, Any]) -> Comparison:
    """The comparison of a choice, by the functions that make a report."""
    plain = controls.without(found.study)
    test = plain.declaration.test if plain.declaration.test in explored.COMPUTED else ""
    changes = {"metric": choice["metric"], "target": choice["target"], "correction": choice["correction"], "test": test}
    plain = replace(plain, declaration=replace(plain.declaration, metrics={}, **changes))
    scores = without(found.scores, tuple(choice["tracks"]))
    frame = scores.frame[~scores.frame["seed"].isin(choice["seeds"])]
    primary = choice["metric"] == found.main.style.name
    return comparison(replace(scores, frame=frame), plain, choice["metric"], choice["target"], primary, brief=True)


def choices(found: Findings) -> list[dict[str, Any]]:
    """The declared one, each other of one thing alone, and some of several."""
    made = explored.document(found)
    declared = {**made["declared"], "tracks": [], "seeds": []}
    tracks = [name for name in made["tracks"] if name]
    out = [declared, *({**declared, "correction": name} for name in made["corrections"])]
    for metric in made["metrics"]:
        out += [
            {**declared, "metric": metric["name"], "target": target, "correction": correction}
            for target, correction in zip(("", *metric["targets"]), cycle(("holm", "bh", "none")))
        ]
    if len(made["seeds"]) > 1:
        out += [{**declared, "seeds": seeds} for seeds in ([made["seeds"][0]], [made["seeds"][-1]], made["seeds"][1:])]
    out += [{**declared, "tracks": [track]} for track in tracks[:3]]
    out += [{**out[-1], "tracks": tracks[1:4], "correction": "none"}]
    return out


TABLES = """async () => {
  const problems = window.problems, studies = {};
  for (const [name, { packed, asked }] of Object.entries(%s)) {
    const data = await exploring.unpacked(packed);
    studies[name] = asked.map((choice) => {
      const found = exploring.explore(data, choice), scores = found.rows.flatMap((row) => row.scores);
      const style = exploring.styleOf(data.metrics.find(({ name }) => name === choice.metric), scores);
      const words = [exploring.headline(data, found, style), exploring.tableOf(data, found, style)];
      for (const contrast of found.contrasts) delete contrast.arms;
      return { found, words };
    });
  }
  return { problems, studies };
}"""
BARE = f"<!doctype html><html><head></head><body><script>{exploring()}</script></body></html>"


def explored_in_a_browser(found: dict[str, Findings], folder: Path) -> dict[str, list[Any]]:
    """By study, what the page's script makes of each choice."""
    given = {
        name: {"packed": explored.packed(explored.document(each)), "asked": choices(each)}
        for name, each in found.items()
    }
    left = seen(BARE, TABLES % json.dumps(given), folder)
    assert left["problems"] == []
    return left["studies"]


def check(found: Findings, tables: list[Any]) -> int:
    """Every number, cell and sentence of each choice; returns how many contrasts were tested."""
    tested = 0
    for choice, table in zip(choices(found), tables, strict=True):
        other, (sentence, cells) = python_side(found, choice), table["words"]
        assert table["found"]["test"] == other.test, choice
        for row, wanted in zip(table["found"]["rows"], other.rows, strict=True):
            assert row["variant"] == wanted.variant and row["runs"] == len(wanted.runs), choice
            for name in ("mean", "se"):
                close(row[name], getattr(wanted, name), (choice, row["variant"], name))
        for got, one in zip(table["found"]["contrasts"], other.contrasts, strict=True):
            assert got["variant"] == one.variant and bool(got["refused"]) == bool(one.refused), (choice, one)
            first = one.primary
            wanted = {"difference": first.difference, "p": first.p, "corrected": one.p_corrected}
            if not np.isnan(first.p):
                tested += 1
                wanted |= {"low": first.low, "high": first.high, "se": first.se, "df": first.df, "t": first.statistic}
                wanted |= dict(zip(("wideLow", "wideHigh"), one.simultaneous, strict=True))
            for name, value in wanted.items():
                close(got[name], value, (choice, one.variant, name))
        whole = result.table(other)
        order = (0, 3, 4, 7, 2, 5, 6)
        for row, wanted in zip([cells["head"], *cells["rows"]], [whole.head, *whole.texts], strict=True):
            assert row[:-1] == [wanted[k] for k in order], choice
        untested, said = "No variant could be tested", prose._headline(other)
        assert sentence == said or (sentence.startswith(untested) and said.startswith(untested)), choice
    return tested


def close(got: Any, value: float, where: object) -> None:
    assert float(got) == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), where


CASES: dict[str, dict[str, Any]] = {
    "crossed": {},
    "two arms": {"variants": 2, "seeds": 3},
    "many arms": {"variants": 7, "seeds": 3},
    "quiet": {"variants": 7, "seeds": 6, "noise": 1e-3},
    "groups": {"groups": 3, "tracks": 11},
    "holes": {"holes": 12, "seeds": 5},
    "half-pooled": {"tracks": 0, "variants": 7},
    "paired": {"test": "paired_crossed", "variants": 4},
    "paired few": {"test": "paired_crossed", "variants": 3, "seeds": 3, "groups": 3},
    "paired many": {"test": "paired_crossed", "variants": 7, "groups": 3, "tracks": 9},
    "given": {"test": "item_means", "seeds": 2, "groups": 4, "tracks": 9},
    "one run": {"seeds": 1},
    "pooled": {"test": "pooled", "variants": 5},
    "welch": {"test": "welch", "correction": "holm"},
    "student": {"test": "student", "tracks": 0},
    "paired t": {"test": "paired", "holes": 6},
    "other test": {"test": "permutation", "correction": "none"},
    "references": {"variants": 7, "references": {"deep": "wide", "slim": "wide"}, "correction": "bh"},
}


@pytest.fixture(scope="module")
def studies(findings: Findings, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Findings, list[Any]]]:
    """Findings of each case, and what one browser makes of them."""
    found = {"with predictions": findings}
    for seed, (name, options) in enumerate(CASES.items()):
        home = drawn(tmp_path_factory.mktemp("drawn"), np.random.default_rng(seed), **options)
        found[name] = reports.read(home)
    tables = explored_in_a_browser(found, tmp_path_factory.mktemp("browser"))
    return {name: (each, tables[name]) for name, each in found.items()}


@pytest.mark.parametrize("name", [*CASES, "with predictions"])
def test_explored_tables_are_those_of_python(name: str, studies: dict[str, tuple[Findings, list[Any]]]) -> None:
    assert check(*studies[name]) > (10 if name != "one run" else 0)


# ---- the panel

DRIVE = """async () => {
  const place = exploring.place, wait = () => new Promise((done) => setTimeout(done, 20));
  const before = document.querySelector("#result").parentElement.querySelector("table").textContent;
  place.querySelector("summary").click();
  await wait();
  await place.ready;
  const text = (name) => place.querySelector(name)?.textContent;
  const cells = () => [...place.querySelectorAll("td")].map((one) => one.textContent);
  const state = () => ({ banner: text(".banner"), sentence: text("[role=status] p + p"), caption: text("caption"),
    marked: place.classList.contains("explored"), cells: cells() });
  const found = { first: state() };
  const list = (label) => [...place.querySelectorAll("label")].find((one) => one.textContent.startsWith(label))
    .querySelector("select, input");
  const set = (label, value) => {
    list(label).value = value;
    list(label).dispatchEvent(new Event("change", { bubbles: true }));
  };
  set("Correction", "holm");
  found.holm = state();
  set("Metric", "mae");
  set("Target", "vocals");
  const boxes = [...place.querySelectorAll("input")];
  boxes[0].click();
  boxes.at(-1).click();
  found.all = state();
  found.labels = [...place.querySelectorAll("select, input")].map((one) => one.labels.length);
  [...place.querySelectorAll("button")].at(-1).click();
  found.reset = state();
  found.after = document.querySelector("#result").parentElement.querySelector("table").textContent === before;
  found.problems = window.problems;
  const fetched = performance.getEntriesByType("resource").map((one) => one.name);
  found.external = fetched.filter((one) => !one.startsWith("data:"));
  found.width = [document.documentElement.scrollWidth, window.innerWidth];
  return found;
}"""


@pytest.mark.parametrize("width", [1280, 500])
def test_the_panel(tmp_path: Path, width: int) -> None:
    home = drawn(tmp_path, np.random.default_rng(5))
    found = seen(reports.render(home, ("html",))["html"].read_text(encoding="utf-8"), DRIVE, tmp_path, width)
    assert found["problems"] == [] and found["external"] == [] and found["after"]
    assert found["width"][0] <= found["width"][1]
    assert set(found["labels"]) == {1}
    assert not found["first"]["marked"] and found["first"] | {"banner": ""} == found["reset"] | {"banner": ""}
    assert found["first"]["sentence"] == prose._headline(reports.read(home).main)
    for name in ("holm", "all"):
        assert found[name]["marked"] and found[name]["banner"].startswith("Explored, not declared: ")
        assert found[name]["caption"].startswith("Explored, not declared.")
    assert "Holm in place of Bonferroni" in found["holm"]["banner"]
    for words in ("MAE in place of SDR", "target vocals", "without seed 0", "without song 7", "choices looked at"):
        assert words in found["all"]["banner"]


def test_a_page_of_many_scores_is_small_and_there_at_once(tmp_path: Path) -> None:
    """80,000 scores: under five megabytes, and read within a second; the panel unpacks them when it is opened."""
    home = drawn(tmp_path, np.random.default_rng(6), variants=5, seeds=5, tracks=100, targets=tuple("abcdefghijklmnop"))
    page = reports.render(home, ("html",))["html"]
    assert page.stat().st_size < 5e6
    act = """async () => {
      const loaded = performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd;
      if (exploring.place) await exploring.start();
      return { loaded, cells: document.querySelectorAll(".explore td").length, problems: window.problems };
    }"""
    times = []
    for _ in range(3):
        found = seen(page.read_text(encoding="utf-8"), act, tmp_path)
        assert found["problems"] == [] and found["cells"] == 40
        times.append(found["loaded"])
    assert min(times) < 1000


def test_scores_too_many_for_a_page_and_looks_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = drawn(tmp_path, np.random.default_rng(7), tracks=2)
    monkeypatch.setattr(explored, "LARGEST", 100)
    page, text = (reports.render(home, (kind,))[kind].read_text(encoding="utf-8") for kind in ("html", "md"))
    assert "too many to be held by a page" in page and "exploring" not in page and "Explore" not in text
    found = reports.read(home)
    assert "several looks" in explored.refusal(replace(found, course=object()))
    assert "no contrast" in explored.refusal(replace(found, scores=None))
