"""The page in a real browser: two made-up listeners rate by key and by number, and what they download comes back."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from reports.inputs.directory import Tables
from reports.listening import page, plan, ratings, result
from tests.reports.browser import CHROMIUM, debugged
from tests.reports.listening.test_ratings import ADA, BOB, said
from tests.reports.test_accessibility import AXE, WIDTHS, violations

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]
ACT = """
(async (listener, marks, kind) => {
  const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
  const by = (id) => document.getElementById(id);
  const found = { titles: [], texts: [], blocked: [], labels: [], order: [] };
  by("listener").value = listener;
  by("start").querySelector("button").click();
  const { state } = window.listening, count = state.order.length;
  for (let k = 0; k < count; k++) {
    const trial = state.order[k];
    found.order.push([trial.id, trial.conditions.map(({ id }) => id)]);
    found.texts.push(document.body.innerText);
    found.titles.push(by("item").querySelector("h2").textContent);
    found.blocked.push(by("next").disabled);
    if (k === 0) {
      const group = document.querySelector(".players"), player = group.transport, bar = group.previousElementSibling;
      found.buttons = [...bar.querySelectorAll(".choices button")].map((one) => one.textContent);
      found.boxes = [...bar.querySelectorAll("label")].map((one) => one.textContent.trim());
      await player.play();
      await wait(0.3);
      const before = [player.position(), performance.now() / 1000];
      bar.dispatchEvent(new KeyboardEvent("keydown", { key: "2", bubbles: true }));
      const after = [player.position(), performance.now() / 1000];
      await wait(0.15);
      found.played = [before, after, player.gains().map((gain) => Math.round(1000 * gain) / 1000)];
      player.stop();
      document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key: "3", bubbles: true, cancelable: true }));
      found.key = [document.activeElement.tagName, player.state.chosen];
    }
    const inputs = [...by("place").querySelectorAll(kind === "ab" ? "input[type=radio]" : "input[type=number]")];
    inputs.forEach((input, place) => {
      const mark = marks[trial.conditions[place].id];
      found.labels.push(input.getAttribute("aria-label") ?? input.parentElement.textContent.trim());
      if (kind === "ab") { if (mark) input.click(); return; }
      input.value = mark;
      input.dispatchEvent(new Event("input", { bubbles: true }));
    });
    if (kind !== "ab") {
      const range = by("place").querySelector("fieldset input[type=range]");
      found.shown = [range.value, inputs[0].value];
      inputs[0].value = "101";
      inputs[0].dispatchEvent(new Event("input", { bubbles: true }));
      found.blocked.push(by("next").disabled);
      range.value = marks[trial.conditions[0].id];
      range.dispatchEvent(new Event("input", { bubbles: true }));
    }
    if (k === 1) { by("back").click(); by("next").click(); }
    by("next").click();
  }
  found.ended = !by("end").hidden;
  by("download").click();
  found.text = by("text").value;
  found.external = performance.getEntriesByType("resource").map(({ name }) => name.slice(0, 60))
    .filter((name) => !/^(data|blob):/.test(name));
  found.width = [document.documentElement.scrollWidth, window.innerWidth];
  return found;
})"""


async def driven(port: int, sessions: list[tuple[str, str, dict, str]], folder: Path) -> list[dict[str, Any]]:
    """What ACT finds for each (page, listener, marks, kind), and whatever the browser asked for or complained of."""
    out: list[dict[str, Any]] = []
    async with aiohttp.ClientSession() as session:
        targets = await (await session.get(f"http://127.0.0.1:{port}/json")).json()
        address = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
        socket = await session.ws_connect(address, max_msg_size=0)
        events: list[dict[str, Any]] = []
        number = 0

        async def call(method: str, **options: Any) -> dict[str, Any]:
            nonlocal number
            number += 1
            await socket.send_json({"id": number, "method": method, "params": options})
            while (answer := (await socket.receive()).json()).get("id") != number:
                events.append(answer)
            return answer["result"]

        for domain in ("Page", "Runtime", "Log", "Network"):
            await call(f"{domain}.enable")
        await call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))
        for where, listener, marks, kind in sessions:
            events.clear()
            await call("Page.navigate", url=where)
            for _ in range(200):
                ready = await call("Runtime.evaluate", expression="!!window.listening && document.readyState")
                if ready["result"].get("value") == "complete":
                    break
                await asyncio.sleep(0.1)
            words = f"{ACT}({json.dumps(listener)}, {json.dumps(marks)}, {json.dumps(kind)})"
            answer = await call("Runtime.evaluate", expression=words, awaitPromise=True, returnByValue=True)
            assert "exceptionDetails" not in answer, answer["exceptionDetails"]
            await asyncio.sleep(0.3)
            await call("Runtime.evaluate", expression="1")
            asked = [
                e["params"]["request"]["url"][:60] for e in events if e.get("method") == "Network.requestWillBeSent"
            ]
            wrong = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
            complaints = [event for event in events if event.get("method") in wrong]
            out.append({**answer["result"]["value"], "asked": asked, "complaints": complaints})
    return out


def marks_of(made: plan.Plan, rate: Any) -> dict[str, int]:
    return {each.id: rate(trial, each) for trial in made.trials for each in trial.conditions}


@pytest.fixture(scope="module")
def seen(tables: Tables, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("listening")
    tests = {kind: plan.make(tables, kind) for kind in plan.TESTS}
    where = {kind: page.write(made, folder)[0].as_uri() for kind, made in tests.items()}
    rated, pairs = tests["mushra"].plan, tests["ab"].plan
    choice = marks_of(pairs, lambda trial, each: int(each == trial.conditions[0]))
    sessions = [(where["mushra"], name, marks_of(rated, said(gains)), "mushra") for name, gains in TWO.items()]
    sessions.append((where["ab"], "", choice, "ab"))
    with debugged(folder / "profile") as port:
        found = asyncio.run(driven(port, sessions, folder))
    return {"found": found, "folder": folder, "rated": rated, "pairs": pairs, "choice": choice}


TWO = {"ada": ADA, "bob": BOB}


def seed_of(text: str) -> int:
    """FNV-1a, 32 bits."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 % 2**32
    return value


def test_two_listeners_come_back_as_a_table_with_the_right_test(seen: dict[str, Any], tables: Tables) -> None:
    """The numbers of test_two_listeners_by_hand, through two downloads."""
    made = seen["rated"]
    files = [seen["folder"] / f"listening-{made.page}-{name}.json" for name in TWO]
    assert [json.loads(seen["found"][k]["text"]) for k in (0, 1)] == [json.loads(file.read_text()) for file in files]
    known, sheets = ratings.read(files, made.study, page.plans(seen["folder"]))
    assert known == made and [sheet.listener for sheet in sheets] == ["ada", "bob"]
    louder = result.test(tables, made, ratings.table(made, sheets)).contrasts[0]
    assert (louder.variant, louder.result.difference, louder.result.se, louder.result.df) == (
        *("louder", 25.0, pytest.approx(5.0), 1.0),
    )


def test_nothing_is_asked_of_another_machine_and_nothing_goes_wrong(seen: dict[str, Any]) -> None:
    for each in seen["found"]:
        assert each["external"] == [] and each["complaints"] == [] and each["ended"]
        assert {url.partition(":")[0] for url in each["asked"]} <= {"file", "data", "blob"}
        assert sum(url.startswith("file:") for url in each["asked"]) == 1
        assert each["width"][0] <= each["width"][1]


def test_the_page_shows_letters_alone(seen: dict[str, Any]) -> None:
    rated, other, pairs = seen["found"]
    assert rated["buttons"] == ["1 Reference", *(f"{k + 2} {'ABCDE'[k]}" for k in range(5))]
    assert pairs["buttons"] == ["1 Reference", "2 A", "3 B"] and rated["boxes"] == ["loop"]
    assert rated["labels"][:2] == ["Rating of A as a number", "Rating of B as a number"] and pairs["labels"][:2] == [
        "A",
        "B",
    ]
    for each in (rated, other, pairs):
        text = "\n".join(each["texts"]).lower()
        for word in ("plain", "louder", "noisy", "anchor", "song", "hidden"):
            assert word not in text
    assert all(title.startswith(f"Item {k + 1} of 3: vocals") for k, title in enumerate(rated["titles"]))


def test_a_switch_keeps_the_position(seen: dict[str, Any]) -> None:
    (at, clock), (then, later), gains = seen["found"][0]["played"]
    assert then - at == pytest.approx(later - clock, abs=0.02) and at > 0.1
    assert gains == [0, 1, 0, 0, 0, 0]
    assert seen["found"][0]["key"] == ["H2", 2]  # keys work where the page puts the focus


def test_an_item_is_left_only_when_all_of_it_is_rated(seen: dict[str, Any]) -> None:
    assert set(seen["found"][0]["blocked"]) == {True} and set(seen["found"][2]["blocked"]) == {True}
    assert len(set(seen["found"][0]["shown"])) == 1


def test_the_order_follows_from_the_seed_that_is_shown(seen: dict[str, Any]) -> None:
    made = seen["rated"]
    for each, name in zip(seen["found"], TWO, strict=False):
        content = json.loads(each["text"])
        assert content["seed"] == seed_of(f"{made.page}/{name}") and f"seed {content['seed']}" in each["texts"][0]
    orders = [each["order"] for each in seen["found"][:2]]
    assert orders[0] != orders[1] and sorted(t for t, _ in orders[0]) == sorted(t for t, _ in orders[1])


def test_a_choice_of_two(seen: dict[str, Any], tables: Tables) -> None:
    """A listener who types no name gets one."""
    content, made = json.loads(seen["found"][2]["text"]), seen["pairs"]
    assert len(content["listener"]) == 8 and content["ratings"] == seen["choice"]
    file = seen["folder"] / f"listening-{made.page}-{content['listener']}.json"
    _, sheets = ratings.read([file], made.study, page.plans(seen["folder"]))
    assert ratings.table(made, sheets)["rating"].sum() == len(made.trials)


@pytest.mark.skipif(AXE is None, reason="no axe-core on this machine: pip install axe-core-python")
@pytest.mark.parametrize("kind", plan.TESTS)
@pytest.mark.parametrize("width", WIDTHS)
def test_people_who_do_not_see_or_use_a_mouse_can_listen(tables: Tables, tmp_path: Path, kind: str, width: int) -> None:
    """Before the test and in the middle of it."""
    made = page.write(plan.make(tables, kind), tmp_path)[0]
    begun = tmp_path / "begun.html"
    start = """<script>window.addEventListener("load", () => {
  document.getElementById("listener").value = "ada";
  document.querySelector("#start button").click();
});</script></body>"""
    begun.write_text(made.read_text(encoding="utf-8").replace("</body>", start), encoding="utf-8")
    for each in (made, begun):
        assert violations(each, tmp_path, width) == []
