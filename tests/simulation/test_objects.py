"""Schedules of machines that share an object store alone, and that guards which are taken away are missed."""

from __future__ import annotations

from typing import Any

import pytest

from mss_core import disk
from mss_core.graph import Stage
from mss_core.store.remote.joined import Joined
from tests.simulation import objects


def test_nothing_goes_wrong_whatever_fails() -> None:
    failed = objects.first_failure(range(objects.COUNT))
    assert failed is None, f"python -m tests.simulation.objects {failed.seed}: {failed.failure}"


def _overwrites(self: objects.SimObjects, name: str, content: bytes) -> Any:
    return self.world.ask("put", name, lambda: self.world.write(name, content))


def _commits_first(self: Joined, stage: Stage, claim: Any) -> Any:
    content = disk.read(self.local.directory(stage) / "manifest.json")
    self.objects.create(f"manifests/{stage.name}/{stage.key}.json", content)
    return _whole(self, stage, claim)


_whole = Joined._commit


@pytest.mark.parametrize(
    ("where", "name", "changed", "message"),
    [
        (objects.SimObjects, "create", _overwrites, "was put twice"),
        (Joined, "_commit", _commits_first, "which is not there"),
    ],
)
def test_a_guard_that_is_taken_away_is_missed(
    where: Any, name: str, changed: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects.first_failure(range(0))
    monkeypatch.setattr(where, name, changed)
    failed = objects.first_failure(range(objects.COUNT))
    assert failed is not None and message in failed.failure


def test_a_seed_is_one_schedule() -> None:
    once, again = objects.play(7), objects.play(7)
    assert once.decisions == again.decisions and once.count == again.count and once.faults == again.faults
    replayed = objects.play(7, once.decisions)
    assert replayed.count == once.count
