"""The first phase of a study with a search: plan its arms, carry them out, and hand the winners to the second.

The second phase is the study itself, planned from the winners' values: only then is anything scored on the test
split, with seeds that no search has seen.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mss_core.claim import Claim
from mss_core.graph import Context, plain
from mss_core.recipe import override, paths
from mss_core.store import StageFailed, Store, run_stage
from mss_core.study.designs import Factor, Variant
from mss_core.study.plan import Plan, make_plan
from mss_core.study.progress import Board
from mss_core.study.search.declare import Arm, Search, make_arm, overlap, suggestions
from mss_core.study.settings import left_out
from mss_core.study.study import SETTINGS, Study, Trial

STORAGE = "MSS_SEARCH_STORAGE"
"""Environment variable: a database URL for the suggestions instead of journals in the store."""

AS_GIVEN, TUNED = "as given", "tuned"


def wanted(study: Study, scope: str | None, smoke: bool, settings: dict[str, Any], seeds: Sequence[int]) -> Study:
    """The study with its search as the command line has it, or without where none is asked for.

    Takes the ``search.`` paths out of ``settings``. A study without factors always searches. Raises ValueError for a
    scope or a setting that does not fit.
    """
    own = {path.removeprefix("search."): settings.pop(path) for path in list(settings) if path.startswith("search.")}
    if study.search is None:
        if scope or own:
            raise ValueError(f"--search {scope or 'is needed'}: study {study.name!r} declares no search")
        return study
    if scope is None and study.factors:
        if own:
            raise ValueError(f"--set search.{next(iter(own))}: nothing is searched without --search SCOPE")
        return replace(study, search=None)
    declared = study.search
    if smoke:
        declared = replace(declared, trials=declared.smoke_trials, top=2, reruns=min(1, declared.reruns))
    declared = override(declared, own)
    declared = replace(declared, scope=scope or ("baseline" if not study.factors else declared.scope))
    declared.check(seeds)
    if not study.factors and declared.scope != "baseline":
        raise ValueError(f"study {study.name!r} has no factors, so no variants to search one by one: --search baseline")
    return replace(study, search=declared)


def plan_arms(
    study: Study, smoke: bool, settings: Mapping[str, Any], bind: Callable[[Any], Any], store: Store
) -> dict[str, Arm]:
    """The search of every variant (or of the baseline); equal ones share a key."""
    declared = study.search
    assert declared is not None
    taken = dict.fromkeys(settings, "--set") | dict.fromkeys(study.seeded, "--seeds")
    levels = [(f"factor {factor.name!r}", changes) for factor in study.factors for changes in factor.levels.values()]
    variants = study.variants() if declared.scope == "each_variant" else [Variant("baseline", {}, {})]
    warm = [_earlier(store, key) for key in declared.warm_start]
    return {
        variant.name: make_arm(
            variant.name,
            study.recipe(variant, declared.seed, smoke, settings, bind),
            study.seeded,
            declared,
            taken,
            levels,
            warm,
        )
        for variant in variants
    }


def _earlier(store: Store, key: str) -> dict[str, Any]:
    found = sorted((store.root / "search").glob(f"{key}*/winner.json")) if len(key) >= 4 else []
    if len(found) != 1:
        known = ", ".join(path.parent.name[:12] for path in (store.root / "search").glob("*/winner.json"))
        raise ValueError(
            f"'warm_start' names the search {key!r}, of which the store has {len(found)}; finished "
            f"searches: {known or 'none'}"
        )
    return dict(json.loads(found[0].read_text(encoding="utf-8"))["departures"])


def winners(arms: Mapping[str, Arm], store: Store) -> dict[str, dict[str, Any]]:
    """What each finished search chose: its winner.json, by variant."""
    found = {}
    for variant, arm in arms.items():
        directory = store.get(arm.stage)
        if directory is not None:
            found[variant] = json.loads((directory / "winner.json").read_text(encoding="utf-8"))
    return found


def tuned(study: Study, arms: Mapping[str, Arm], store: Store) -> Study:
    """The study of the second phase: its variants with the values chosen for them.

    A study without factors becomes the comparison of the recipe as given with the recipe as tuned. Searches that have
    not finished leave the recipe's own values (a dry run shows those). What was chosen for the baseline leaves alone
    what another variant sets itself.
    """
    assert study.search is not None
    found = {variant: dict(winner["departures"]) for variant, winner in winners(arms, store).items()}
    details = [{"kind": "search", "variant": variant} for variant in arms]
    study = replace(
        study, searched=describe(study.search, arms), sections=(*study.sections, {"kind": "search"}, *details)
    )
    if not study.factors:
        factor = Factor(SETTINGS, {AS_GIVEN: {}, TUNED: found.get("baseline", {})})
        if not factor.levels[TUNED]:
            return study
        return replace(study, factors=[factor], reference={SETTINGS: AS_GIVEN})
    chosen = {}
    each = study.searched["scope"] == "each_variant"
    for variant in study.variants():
        known = paths(override(study.baseline, variant.departures))
        values = found.get(variant.name if each else "baseline", {})
        fixed = () if each else tuple(variant.departures)
        chosen[variant.name] = {
            path: value
            for path, value in values.items()
            if path in known and not left_out(path, variant) and not any(overlap(path, own) for own in fixed)
        }
    return replace(study, chosen=chosen)


def describe(search: Search, arms: Mapping[str, Arm]) -> dict[str, Any]:
    """The search as part of the declaration: plain data."""
    spaces = {arm.trained: arm.stage.arguments["space"] for arm in arms.values()}
    return {
        "scope": search.scope,
        "trials": search.trials,
        "metrics": list(search.metrics),
        "directions": search.directions,
        "sampler": search.sampler,
        "pruner": plain(search.pruner),
        "concurrency": search.concurrency,
        "top": search.top,
        "reruns": search.reruns,
        "seed": search.seed,
        "warm_start": list(search.warm_start),
        "spaces": spaces,
        "paths": sorted({path for space in spaces.values() for path in space}),
    }


# ---- carrying it out


def carry_out(
    arms: Mapping[str, Arm], store: Store, in_process: bool, ctx: Context, say: Callable[[str], None]
) -> None:
    """Finish every search that the store lacks.

    Raises RuntimeError where one gave up: tables of arms with unequal budgets would be worth nothing.
    """
    distinct = {arm.stage.key: arm for arm in arms.values()}
    with contextlib.ExitStack() as claims:
        (store.root / "search").mkdir(parents=True, exist_ok=True)
        for key in sorted(distinct):
            if store.get(distinct[key].stage) is None:
                _have(store.claim(distinct[key].stage), claims, distinct[key].variant, say)
        missing = [arm for arm in distinct.values() if store.get(arm.stage) is None]
        if missing:
            _search(missing, store, in_process, ctx, say)
    for arm in missing:
        try:
            run_stage(arm.stage, store, ctx)
        except StageFailed as failure:
            raise RuntimeError(f"the search of {arm.variant}: {failure.message}") from None
        shutil.rmtree(suggestions(arm.stage.key, store.root / "search"), ignore_errors=True)  # the artefact has a copy


def _have(claim: Claim, claims: contextlib.ExitStack, variant: str, say: Callable[[str], None]) -> None:
    """Hold a search's claim, which another study may have."""
    if claim.acquire_or_refuse():
        claims.callback(claim.release)
        return
    holder = claim.holder()
    say(
        f"process {holder.get('pid')} on {holder.get('host')} carries out the search of {variant} for another study; "
        "waiting for its result"
    )
    claims.enter_context(claim)


def _search(arms: Sequence[Arm], store: Store, in_process: bool, ctx: Context, say: Callable[[str], None]) -> None:
    from mss_core.study.search import scheduler

    with contextlib.ExitStack() as held:
        if not in_process:  # one cluster for both
            from mss_core.study.execution.joining import connected

            held.enter_context(connected())
        _common(arms, store, in_process, ctx)
        conductor = scheduler.Conductor(arms, store, lambda arm: where(arm, store), say)
        if in_process:
            scheduler.execute(conductor, store, ctx)
        else:
            from mss_core.study.search import on_ray

            on_ray.execute(conductor, store, ctx)
    errors = conductor.errors()
    if errors:
        raise RuntimeError("; ".join(f"the search of {variant} gave up: {error}" for variant, error in errors.items()))
    conductor.keep_facts()
    for arm in arms:
        _keep_journal(arm, store)


def _common(arms: Sequence[Arm], store: Store, in_process: bool, ctx: Context) -> None:
    """What every suggestion reads is made first, like any plan."""
    trials = [
        Trial(Variant(arm.variant, {}, {}), arm.search.seed, arm.recipe, stage) for arm in arms for stage in arm.common
    ]
    plan: Plan = make_plan(trials, store)
    if not plan.needed:
        return
    board = Board({key: plan.stages[key] for key in plan.needed}, store)
    with board:
        if in_process:
            from mss_core.study.execution.in_process import execute
        else:
            from mss_core.study.execution.stages_on_ray import execute
        execute(plan, store, ctx, board)
    if board.errors:
        key, message = next(iter(board.errors.items()))
        raise RuntimeError(f"{plan.stages[key].name} {key[:12]}, which the search reads, failed: {message}")


def where(arm: Arm, store: Store) -> str:
    """The storage of a search's suggestions while it is made."""
    database = os.environ.get(STORAGE)
    if database and "://" not in database:
        raise ValueError(f"{STORAGE}={database} is not the URL of a database, such as sqlite:////shared/optuna.db")
    return database or str(suggestions(arm.stage.key, store.root / "search") / "journal.log")


def _keep_journal(arm: Arm, store: Store) -> None:
    """Put the suggestions into the artefact where they were made in a database."""
    from mss_core.study.search import optuna_storage

    place = where(arm, store)
    if "://" in place:
        optuna_storage.copy(
            place, arm.stage.key, suggestions(arm.stage.key, store.root / "search") / optuna_storage.JOURNAL
        )


# ---- tables


def summary(arms: Mapping[str, Arm], store: Store) -> str:
    """What the searches will do, in a line."""
    distinct = {arm.stage.key: arm for arm in arms.values()}
    done = sum(store.manifest(arm.stage) is not None for arm in distinct.values())
    search = next(iter(arms.values())).search
    count = f"{len(distinct)} arm{'s' if len(distinct) > 1 else ''}"
    again = f", then the best {search.top} with {search.reruns} more seeds" if search.reruns else ""
    names = ", ".join(dict.fromkeys(arm.trained for arm in arms.values()))
    return f"search of {names} by {search.sampler}: {count} of {search.trials} trials each{again}; {done} in the store"
