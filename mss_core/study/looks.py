"""Looks of a study: which trials each one needs, which failed ones are replaced, and the record of what was decided.

What a look decides is a function of the scores (``reports.sequential``, which run.py asks). A run that was killed
decides the same again; the record in the study's folder shows that it did.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mss_core.disk import write_atomically
from mss_core.graph import digest, walk
from mss_core.store import Store
from mss_core.store.failures import says_full
from mss_core.study import ledger
from mss_core.study.plan import Plan
from mss_core.study.study import Study, Trial
from mss_core.study.until import Until, extended
from reports import contract

NAME = "looks.json"
REPLACED = "replaced.json"
AHEAD = "ahead.json"
SPARE = 3
"""Seeds per variant beyond those of the last look, for runs that fail."""
NOT_RUN = "it was not executed"
"""The error of a stage that an execution ended without."""


def with_spares(study: Study, seeds: Sequence[int]) -> list[int]:
    """The seeds of a study, with those that take the place of failed runs where its number of seeds is not fixed."""
    return extended(seeds, len(seeds) + SPARE) if isinstance(study.seeds, Until) else list(seeds)


def due(
    study: Study,
    trials: Sequence[Trial],
    replaced: Collection[str],
    wanted: Mapping[str, int] | None = None,
    least: int | None = None,
) -> list[Trial]:
    """The trials of the next look: of each variant as many seeds as wanted, those that were replaced left out.

    All trials where the number of seeds is fixed.

    Args:
        trials: of all seeds, with those in reserve.
        replaced: keys of the last stages of trials that failed and that others stand for.
        least: seeds of a variant that ``wanted`` does not name, default those of the first look.
    """
    if not isinstance(study.seeds, Until):
        return list(trials)
    least, every = least or study.seeds.looks[0], len(study.seeds) + SPARE
    found: list[Trial] = []
    for name, own in _by_variant(trials).items():
        for first in range(0, len(own), every):  # a control may have several runs for each one of the reference
            kept = [trial for trial in own[first : first + every] if trial.root.key not in replaced]
            found += kept[: max(least, (wanted or {}).get(name, 0))]
    return found


def _by_variant(trials: Sequence[Trial]) -> dict[str, list[Trial]]:
    found: dict[str, list[Trial]] = {}
    for trial in trials:
        found.setdefault(trial.variant.name, []).append(trial)
    return found


def replaced(folder: Path) -> dict[str, str]:
    """By the key of its last stage, why a trial failed that another seed stands for: as earlier runs recorded it."""
    path = folder / REPLACED
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}
    except (ValueError, TypeError):
        raise ValueError(
            f"{path} is damaged; move it away and give the same command again: runs that fail again are replaced anew"
        ) from None


def replace_failed(
    study: Study,
    folder: Path,
    trials: Sequence[Trial],
    plan: Plan,
    errors: Mapping[str, str],
    store: Store,
    say: Callable[[str], None],
) -> dict[str, str]:
    """Record the trials of a plan that failed and that a further seed stands for; returns all that ever did.

    No score has a part in it. A trial is replaced where a stage of its own raised (not one that the next seed needs,
    too, nor for want of room on the disk), another seed of its variant has scores, and a seed is in reserve. Once
    replaced it is never counted again, also if somebody else's study computes it after all.
    """
    gone = replaced(folder)
    if not isinstance(study.seeds, Until):
        return gone
    planned, variants = {trial.root.key for trial in plan.trials}, {variant.name for variant in study.variants()}
    for name, own in _by_variant(trials).items():
        if name not in variants or not any(store.manifest(t.root) for t in own if t.root.key in planned):
            continue
        spare = SPARE - sum(trial.root.key in gone for trial in own)
        for trial in own:
            raised = {key: errors[key] for key in walk([trial.root]) if key in errors}
            if trial.root.key not in planned or not raised or not spare:
                continue
            following = next(each for each in own if each.root.key not in planned and each.root.key not in gone)
            text = next(iter(raised.values()))
            if raised.keys() & walk([following.root]).keys() or text == NOT_RUN or says_full(text):
                continue
            gone[trial.root.key], spare = text, spare - 1
            say(f"{trial.name} failed; the next seed stands for it: {text}")
    if gone:
        write_atomically(folder / REPLACED, json.dumps(gone, indent=1, sort_keys=True).encode())
    return gone


def ahead(
    study: Study, trials: Sequence[Trial], plan: Plan, gone: Collection[str], wanted: Mapping[str, int]
) -> list[Trial]:
    """The trials that may run while those of a look do: the seeds of the next look of every variant that takes part.

    Which they are follows from what earlier looks decided. No score of this look has a part in it, and none of theirs.

    Args:
        wanted: seeds that this look takes, by variant; empty for the first.
    """
    if not isinstance(study.seeds, Until):
        return []
    least = study.seeds.looks[0]
    now = max(wanted.values(), default=least)
    going = [variant.name for variant in study.variants() if wanted.get(variant.name, least) == now]
    following = next((seeds for seeds in study.seeds.looks if seeds > now), now)
    planned = {trial.name for trial in plan.trials}
    more = due(study, trials, gone, {**wanted, **dict.fromkeys(going, following)})
    return [trial for trial in more if trial.name not in planned]


def begun_ahead(folder: Path) -> dict[str, str]:
    """By the keys of stages that were allowed to run ahead of their look, the trial they belong to."""
    path = folder / AHEAD
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else {}


def record_ahead(folder: Path, plan: Plan, look: Plan) -> None:
    """Keep which stages may run ahead of their look, before any does: a run that is killed has left some."""
    needed = {*plan.needed} - {*look.stages}
    found = {key: trial.name for trial in plan.trials for key in walk([trial.root]) if key in needed}
    if found:
        write_atomically(folder / AHEAD, json.dumps({**begun_ahead(folder), **found}, indent=1).encode())


def left_over(folder: Path, trials: Sequence[Trial], plan: Plan, store: Store) -> contract.Ahead | None:
    """What ran ahead of a look and that no look has come to need."""
    begun = begun_ahead(folder)
    stages = walk(trial.root for trial in trials) if begun else {}
    made = {key: store.manifest(stages[key]) for key in begun if key in stages and key not in plan.stages}
    found = {key: manifest for key, manifest in made.items() if manifest}
    seconds = sum(float(manifest.get("seconds", 0.0)) for manifest in found.values())
    return contract.Ahead(len({begun[key] for key in found}), seconds) if found else None


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
