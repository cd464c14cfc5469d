"""Keys of stages decide what a store can reuse: a change of layout must not change one of them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mss_core.source import same
from tests import golden, sources


@pytest.mark.parametrize("size", ["full", "smoke"])
@pytest.mark.parametrize("name", golden.STUDIES)
def test_keys_are_as_they_were(name: str, size: str) -> None:
    """Where a stage's meaning changes its ``version`` is raised, and ``python -m tests.golden`` writes them anew."""
    recorded = json.loads(golden.FILE.read_text(encoding="utf-8"))
    assert golden.keys(name, size == "smoke") == recorded[f"{name} {size}"]


# ---- what the stages of those keys reach


def test_sources_are_as_they_were() -> None:
    """Where a stage's source changes in meaning its ``version`` is raised, and ``python -m tests.sources`` writes the
    table anew; where it means the same that is shown (``python -m tests.sources same STAGE WHY``)."""
    recorded, now = sources.recorded(), sources.table()
    assert sources.unexplained(recorded, now, same.recorded("mss_core")) == {}
    assert recorded == now, "python -m tests.sources writes tests/golden_sources.json anew"


def row(version: int = 1, **functions: str) -> dict[str, Any]:
    return {"version": version, "functions": functions}


def test_a_change_of_source_needs_a_version_or_a_record_that_it_means_the_same() -> None:
    before = {"train": row(fit="1", loss="1"), "score": row(mean="1")}
    after = {"train": row(fit="2", loss="1", step="1"), "score": row(mean="1"), "new": row(x="1")}
    assert sources.unexplained(before, before) == {}
    assert sources.unexplained(before, after) == {"train": ["fit", "step"]}
    assert sources.unexplained(before, {**after, "train": row(2, fit="2")}) == {}
    shown = sources.entry("train", "a part of it has a name", before, after, {"stage": "train"})
    assert shown["before"] == {"fit": "1"} and shown["after"] == {"fit": "2", "step": "1"}
    assert sources.unexplained(before, after, (shown,)) == {}
    again = {**after, "train": row(fit="3", loss="1", step="1")}
    assert sources.unexplained(before, again, (shown,)) == {"train": ["fit"]}


def test_a_record_is_refused_where_bytes_differ(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before, after = {"train": row(fit="1")}, {"train": row(fit="2")}
    made = {"old": {"weights.pt": "a"}, "now": {"weights.pt": "b"}}
    monkeypatch.setattr(sources, "SAME", tmp_path / "same_meaning.json")
    monkeypatch.setattr(sources, "recorded", lambda: before)
    monkeypatch.setattr(sources, "table", lambda: after)
    monkeypatch.setattr(sources, "committed", lambda: contextlib.nullcontext(("c0ffee", Path("old"))))
    monkeypatch.setattr(sources, "computed", lambda root, name: {name: made["old" if root == Path("old") else "now"]})
    with pytest.raises(ValueError, match="train does not mean the same: weights.pt differ; raise its version"):
        sources.same("train", "faster")
    assert not sources.SAME.exists()
    made["now"] = made["old"]
    sources.same("train", "faster")
    (entry,) = json.loads(sources.SAME.read_text())
    assert entry["before"] == {"fit": "1"} and entry["after"] == {"fit": "2"} and entry["why"] == "faster"
    assert entry["shown"] == {
        "stage": "train",
        "commit": "c0ffee",
        "files": {"weights.pt": "a"},
        "made_on": sources.made_on(),
    }
    monkeypatch.setattr(sources, "table", lambda: {"train": row(2, fit="2")})
    with pytest.raises(ValueError, match="the source of train has not changed, or its version was raised"):
        sources.same("train", "faster")


def why_not(entry: Mapping[str, Any]) -> str:
    """Why the bytes of a record are not to be made again here."""
    now = sources.recorded().get(entry["shown"]["stage"], {"functions": {}})["functions"]
    if not entry["after"].items() <= now.items():
        return "it has changed since, and that change is accounted for by itself"
    return "" if entry["shown"]["made_on"] == sources.made_on() else f"it was shown on {entry['shown']['made_on']}"


@pytest.fixture(scope="module")
def made_again() -> dict[str, dict[str, str]]:
    """What each stage with a record makes now; one process makes them one after another."""
    names = {entry["shown"]["stage"] for entry in same.recorded("mss_core") if not why_not(entry)}
    return sources.computed(sources.ROOT, *sorted(names)) if names else {}


@pytest.mark.slow
@pytest.mark.parametrize(
    "entry", same.recorded("mss_core"), ids=lambda entry: f"{entry['shown']['stage']}: {entry['why']}"
)
def test_what_is_recorded_to_mean_the_same_still_gives_those_bytes(
    entry: Mapping[str, Any], made_again: dict[str, dict[str, str]]
) -> None:
    """On the machine's kind that recorded it: the last bits of a sum depend on the processor."""
    if why := why_not(entry):
        pytest.skip(why)
    assert made_again[entry["shown"]["stage"]] == entry["shown"]["files"]
