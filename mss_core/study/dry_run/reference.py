"""What stages took where this project was measured, for a store that has no timing of its own yet.

    python -m mss_core.study.dry_run.reference STORE       write what the store's stages took into reference.json

Only the ratios count: a display scales them by what the first stages of its run take.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path

from mss_core import disk
from mss_core.store import Store
from mss_core.study.dry_run.timings import Timing, estimates, timings
from mss_core.study.plan import Plan

FILE = Path(__file__).with_name("reference.json")


def expected(plan: Plan) -> dict[str, float]:
    """By key, the seconds that stages of a plan took there; those are left out of whose kind none was measured."""
    measured = [Timing(**told) for told in json.loads(FILE.read_text(encoding="utf-8"))]
    found = estimates(plan, measured, lambda stage: "cpu")
    return {key: each.seconds for key, each in found.items() if each.basis == "store"}


def measure(store: Store) -> list[Timing]:
    """One timing per kind of stage in a store: its median."""
    names = [path.name for path in disk.entries(store.root) if disk.is_folder(path)]
    by_kind: dict[str, list[Timing]] = defaultdict(list)
    for each in timings(store, names):
        by_kind[each.kind].append(each)
    return [
        dataclasses.replace(alike[0], seconds=round(statistics.median(each.seconds for each in alike), 2))
        for _, alike in sorted(by_kind.items())
    ]


def main() -> None:
    kept = {told["kind"]: told for told in json.loads(FILE.read_text(encoding="utf-8"))}
    kept |= {each.kind: dataclasses.asdict(each) for each in measure(Store(Path(sys.argv[1])))}
    lines = (json.dumps({**told, "outline": {}}) for _, told in sorted(kept.items(), key=lambda pair: pair[1]["stage"]))
    FILE.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
