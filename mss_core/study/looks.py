"""Looks of a study: which trials each one needs, and the record of what they decided.

What a look decides is a function of the scores (``reports.sequential``, which run.py asks). A run that was killed
decides the same again; the record in the study's folder shows that it did.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mss_core.disk import write_atomically
from mss_core.graph import digest
from mss_core.study import ledger
from mss_core.study.study import Study, Trial
from mss_core.study.until import Until

NAME = "looks.json"


def due(study: Study, trials: Sequence[Trial], wanted: Mapping[str, int] | None = None) -> list[Trial]:
    """The trials of the next look: of each variant as many seeds as wanted, by default those of the first look.

    All trials where the number of seeds is fixed.
    """
    if not isinstance(study.seeds, Until):
        return list(trials)
    place = {seed: number for number, seed in enumerate(study.seeds.seeds)}
    first = study.seeds.looks[0]
    return [trial for trial in trials if place[trial.seed] < max(first, (wanted or {}).get(trial.variant.name, 0))]


def check(study: Study, folder: Path) -> None:
    """Refuse a last look with fewer seeds than results were seen with: no look of the study would count those.

    Raises:
        ValueError: some variant has scores of more seeds, by the study's folder.
    """
    if isinstance(study.seeds, Until) and (seen := ledger.most_seeds(folder)) > (last := study.seeds.looks[-1]):
        raise ValueError(
            f"results of {seen} seeds per variant were there before, and the last look has {last} seeds: what they "
            f"showed would count as no look. Ask for a last look of at least {seen} seeds (--at-most {seen})"
        )


def record(folder: Path, declared: str, looks: Sequence[int], outcomes: Mapping[str, Mapping[str, Any]]) -> None:
    """Keep what each look decided, by declaration, beside what earlier runs kept.

    Raises:
        RuntimeError: a look that was decided before is decided otherwise now: its scores have changed since.
    """
    path = folder / NAME
    kept: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    key = digest([declared, list(looks)])
    before = kept.get(key, {})
    for seeds, found in outcomes.items():
        for variant, contrast in found.items():
            was = before.get(seeds, {}).get(variant, contrast)["decision"]
            if was != contrast["decision"]:
                raise RuntimeError(
                    f"the look at {seeds} seeds found {variant!r} {_words(was)}; the scores in the store now make it "
                    f"{_words(contrast['decision'])}. They have changed since: remove {path.name} in {folder} to "
                    "decide by them, and say so where you publish the result"
                )
    kept[key] = {**before, **outcomes}
    write_atomically(path, json.dumps(kept, indent=1, sort_keys=True).encode())


def _words(decision: str) -> str:
    return decision or "not decided"
