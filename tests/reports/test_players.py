"""The transport of a listening example in a real browser, in real time: one position for all sounds."""

import asyncio
import base64
import io
import re
from html import unescape
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pandas as pd
import pytest
import soundfile

from tests.reports.browser import CHROMIUM, debugged

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]
ACT = """
(async () => {
  const problems = [];
  window.addEventListener("error", (event) => problems.push(String(event.message)));
  const group = document.querySelector(".players"), player = group.transport, bar = group.previousElementSibling;
  const wait = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));
  const both = () => [player.position(), performance.now() / 1000];
  const key = (name) => group.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  const boxes = {};
  for (const label of bar.querySelectorAll("label")) boxes[label.textContent.trim()] = label.firstChild;
  const names = () => [...bar.querySelectorAll(".choices button")].map((one) => one.textContent);
  const found = { names: names(), switches: [] };
  const told = () => [...bar.querySelectorAll(".choices small")].map((one) => one.textContent);
  found.notes = told();
  await player.play();
  await wait(0.3);
  found.rates = player.sounds().map((sound) => sound.sampleRate);
  for (const place of [2, 3, 1]) {
    const before = both();
    key(String(place));
    const after = both();
    await wait(0.15);
    found.switches.push({ place, before, after, later: both(), gains: player.gains() });
  }
  boxes["equal loudness"].click();
  await wait(0.1);
  found.turned = player.turned();
  found.told = names();
  boxes["error"].click();
  await wait(0.1);
  boxes["equal loudness"].click();
  boxes["equal loudness"].click();
  await wait(0.1);
  found.errors = player.turned();
  boxes["error"].click();
  boxes["equal loudness"].click();
  player.state.region = [0.5, 1.0];
  boxes["loop"].click();
  player.move(0.9);
  found.looped = [];
  for (let k = 0; k < 12; k++) { await wait(0.1); found.looped.push(player.position()); }
  boxes["blind"].click();
  found.blind = names();
  found.hushed = told();
  found.visible = [...group.querySelectorAll("figure")].map((one) => getComputedStyle(one).visibility);
  found.order = [...player.state.order];
  key("2");
  found.chosen = player.state.chosen;
  boxes["blind"].click();
  found.again = names();
  key("p");
  found.stopped = [player.state.playing, bar.querySelector("button").textContent];
  found.problems = problems;
  return found;
})()
"""


async def acted(port: int, page: str) -> dict[str, Any]:
    """What ACT finds in a page."""
    async with aiohttp.ClientSession() as session:
        targets = await (await session.get(f"http://127.0.0.1:{port}/json")).json()
        address = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
        socket = await session.ws_connect(address, max_msg_size=0)

        async def call(number: int, method: str, **options: Any) -> dict[str, Any]:
            await socket.send_json({"id": number, "method": method, "params": options})
            while (answer := (await socket.receive()).json()).get("id") != number:
                pass
            return answer["result"]

        await call(1, "Page.navigate", url=page)
        for number in range(2, 200):
            ready = "document.readyState === 'complete' && !!document.querySelector('.players')?.transport"
            if (await call(number, "Runtime.evaluate", expression=ready))["result"]["value"]:
                break
            await asyncio.sleep(0.1)
        answer = await call(200, "Runtime.evaluate", expression=ACT, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"]["value"]


@pytest.fixture(scope="module")
def seen(rendered: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with debugged(tmp_path_factory.mktemp("profile")) as port:
        return asyncio.run(acted(port, rendered["html"].as_uri()))


@pytest.fixture(scope="module")
def sounds(rendered: dict[str, Path]) -> list[np.ndarray]:
    """What the first example's players hold."""
    page = rendered["html"].read_text()
    group = page[page.index('<div class="players">') :]
    uris = re.findall(r'<audio controls preload="none" data-rate="\d+" src="data:audio/flac;base64,([^"]+)"', group)
    return [soundfile.read(io.BytesIO(base64.b64decode(unescape(uri))))[0] for uri in uris]


def test_a_switch_keeps_the_position(seen: dict[str, Any]) -> None:
    assert seen["problems"] == [] and seen["names"][0] == "1 mixture"
    for each in seen["switches"]:
        for first, second in (("before", "after"), ("after", "later")):
            (at, clock), (then, later) = each[first], each[second]
            assert then - at == pytest.approx(later - clock, abs=0.02)
        assert [round(gain, 3) for gain in each["gains"]] == [
            float(k == each["place"] - 1) for k in range(len(seen["names"]))
        ]


def test_what_the_track_scores_stands_under_each_button(seen: dict[str, Any], study_directory: Path) -> None:
    scores = pd.read_csv(study_directory / "scores.csv", keep_default_na=False)
    here = scores[(scores.track == "track 0") & (scores.target == "vocals") & (scores.seed == 0)]
    by = here.set_index(["variant", "metric"])["score"].astype(float)
    for name, note in zip(seen["names"], seen["notes"], strict=True):
        variant = name.partition("estimate, ")[2]
        metric = "l1" if variant else "l1_mixture" if "mixture" in name else ""
        assert note == (f"L1 {by[variant or 'vocals', metric]:.5f}" if metric else "")
    assert set(seen["hushed"]) == {""} and set(seen["rates"]) == {16_000}


def test_a_part_is_repeated(seen: dict[str, Any]) -> None:
    assert all(0.5 <= at <= 1.0 for at in seen["looped"])
    assert sum(b < a for a, b in zip(seen["looped"], seen["looped"][1:], strict=False)) >= 2


def test_blind_names_nothing_and_ends(seen: dict[str, Any]) -> None:
    many = len(seen["names"])
    assert seen["blind"] == [f"{k + 1} {'ABCDEFGH'[k]}" for k in range(many)]
    assert set(seen["visible"]) == {"hidden"} and sorted(seen["order"]) == list(range(many))
    assert seen["chosen"] == seen["order"][1] and seen["again"] == seen["names"]
    assert seen["stopped"] == [False, "Play"]


def test_loudness_is_matched_to_the_quietest_that_sounds(seen: dict[str, Any], sounds: list[np.ndarray]) -> None:
    many = len(seen["names"])
    levels = [float(np.sqrt(np.mean(sound**2))) for sound in sounds[:many]]
    least = min(level for level in levels if level > 1e-4)
    wanted = [least / level if level > 1e-4 else 1.0 for level in levels]
    assert seen["turned"] == pytest.approx(wanted, rel=0.03)
    assert "0.0 dB" in "".join(seen["told"])


def test_errors_are_what_estimates_differ_by(seen: dict[str, Any], sounds: list[np.ndarray]) -> None:
    labels = [re.sub(r"^\d+ ", "", name) for name in seen["names"]]
    reference = next(k for k, label in enumerate(labels) if label.startswith("reference"))
    heard = [
        s - sounds[reference] if label.startswith("estimate") else s for s, label in zip(sounds, labels, strict=False)
    ]
    levels = [float(np.sqrt(np.mean(sound**2))) for sound in heard]
    least = min(level for level in levels if level > 1e-4)
    assert seen["errors"] == pytest.approx([least / level if level > 1e-4 else 1.0 for level in levels], rel=0.05)
