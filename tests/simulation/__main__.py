"""Play schedules until one fails, or one of them again.

python -m tests.simulation --minutes 10 [--first 5000]      new seeds; a failing one is shrunk and printed
python -m tests.simulation --seed 123                       one seed, with its last calls
python -m tests.simulation --case FILE                      a case that was printed, e.g. an entry of kept.json
python -m tests.simulation --keep                           mend kept.json: a short case for each mutation
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from pathlib import Path
from typing import Any

from tests.simulation.mutations import MUTATIONS
from tests.simulation.play import Play
from tests.simulation.watch import play

KEPT = Path(__file__).with_name("kept.json")
BUDGET = 1000
"""Schedules that are played in ``make test``."""

SEARCHED = 3 * BUDGET
"""Schedules among which a case is sought that misses a guard."""

LIKE = {"F1: one file for all attempts": "other bytes"}
"""What the audit saw of its faults, among all that they lead to."""

Decisions = dict[int, list[Any]]


def kind(failure: str) -> str:
    """What failed, without names and numbers."""
    return re.sub(r"[0-9a-f]{6,}|\d+", "#", failure)[:40]


def shrink(seed: int, decisions: Decisions, failure: str, tries: int = 150) -> Decisions:
    """Fewer decisions that still lead to the same failure: parts are left out, ever smaller ones."""
    size = len(decisions)
    while size >= 1:
        keys, smaller = sorted(decisions), False
        for first in range(0, len(keys), size):
            fewer = {key: decisions[key] for key in keys if key not in keys[first : first + size]}
            tries -= 1
            if tries < 0:
                return decisions
            if kind(play(seed, fewer).failure) == kind(failure):
                decisions, smaller = fewer, True
                break
        if not smaller:
            size //= 2
    return decisions


def first_failure(seeds: range, like: str = "") -> Play | None:
    """The first schedule of these seeds that fails, with such words."""
    return next((played for played in map(play, seeds) if played.failure and like in played.failure), None)


def report(played: Play) -> None:
    print(f"seed {played.seed}: {played.failure}")
    print(f"again: python -m tests.simulation --seed {played.seed}")
    short = shrink(played.seed, played.decisions, played.failure)
    print("shrunk:", json.dumps({"seed": played.seed, "decisions": short}))


def shows(case: dict[str, Any]) -> bool:
    """Whether a kept case fails as it did when it was kept."""
    decisions = {int(number): made for number, made in case["decisions"].items()}
    return kind(play(case["seed"], decisions).failure) == case["failure"]


def keep() -> None:
    """Find each mutation that its kept case finds no more, shrink what found it, and write all that down."""
    before, kept = json.loads(KEPT.read_text(encoding="utf-8")), {}
    for name, mutation in MUTATIONS.items():
        with mutation():
            if name in before and shows(before[name]):
                kept[name] = before[name]
                continue
            played = first_failure(range(SEARCHED), LIKE.get(name, ""))
            if played is None:
                print(f"{name} was not found in {SEARCHED} schedules")
                continue
            short = shrink(played.seed, played.decisions, played.failure)
        kept[name] = {"seed": played.seed, "failure": kind(played.failure), "decisions": short}
        print(f"{name}: seed {played.seed}, {len(played.decisions)} -> {len(short)} decisions: {played.failure[:100]}")
    lines = (f" {json.dumps(name)}: {json.dumps(case)}" for name, case in kept.items())
    KEPT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--first", type=int, default=BUDGET)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--case", type=Path)
    parser.add_argument("--keep", action="store_true")
    options = parser.parse_args()
    if options.keep:
        keep()
        return 0
    if options.seed is not None or options.case:
        case = json.loads(options.case.read_text(encoding="utf-8")) if options.case else {"seed": options.seed}
        decisions = {int(number): made for number, made in case.get("decisions", {}).items()} or None
        played = play(case["seed"], decisions, tracing=True)
        print("\n".join(played.trace[-60:]), played.failure or "nothing fails", sep="\n")
        return int(bool(played.failure))
    begun, begun_cpu, seed, failures, faults = time.monotonic(), time.process_time(), options.first, 0, 0
    while time.monotonic() - begun < 60 * options.minutes:
        played = play(seed)
        faults += played.faults
        if played.failure:
            failures += 1
            report(played)
        seed += 1
        if seed % 1000 == 0:
            print(f"{seed - options.first} schedules, {faults} faults, {failures} failures", flush=True)
    rate = 60 * faults / (time.process_time() - begun_cpu)
    print(f"{seed - options.first} schedules from seed {options.first}, {faults} faults, {failures} failures")
    print(f"{rate:.0f} faults per minute of one core")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(main())
