"""A thousand schedules of a simulated world, and that it finds every guard that is taken away."""

from __future__ import annotations

import json

import pytest

from tests.simulation.__main__ import BUDGET, KEPT, first_failure, shows
from tests.simulation.mutations import MUTATIONS
from tests.simulation.watch import play

PART = 200
CASES = json.loads(KEPT.read_text(encoding="utf-8"))


@pytest.mark.parametrize("first", range(0, BUDGET, PART))
def test_nothing_goes_wrong_whatever_fails(first: int) -> None:
    failed = first_failure(range(first, first + PART))
    assert failed is None, f"python -m tests.simulation --seed {failed.seed}: {failed.failure}"


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_guard_that_is_taken_away_is_missed(name: str) -> None:
    """By the short case that was kept, which does no harm where the guard is there; else by one of the schedules."""
    case = CASES[name]
    assert not play(case["seed"], {int(number): made for number, made in case["decisions"].items()}).failure
    with MUTATIONS[name]():
        assert shows(case) or first_failure(range(BUDGET))


def test_a_seed_is_one_schedule() -> None:
    """Played again, from its seed or from its decisions, it is the same to the last call."""
    once, again = play(17, tracing=True), play(17, tracing=True)
    assert once.trace == again.trace and once.faults == again.faults
    assert play(17, once.decisions, tracing=True).trace == once.trace
