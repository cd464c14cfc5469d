"""``--rehearse``: a study as it stands, on the smallest amount of the user's own data.

Every recipe is cut after its levels are applied, so that models, data sets, splits, sources, sample rates and
released weights stay what they are. What is cut are items and seconds of music (:mod:`mss_core.data.excerpts`), steps,
batches and what is validated. A system's recipe may have a method ``rehearsal()`` for what only it knows. Cut values
are other values, so no artefact of a rehearsal passes for one of the study; released weights that are only read are the
same for both.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mss_core.data.config import ClipSet, TrackSet
from mss_core.graph import walk
from mss_core.recipe import children
from mss_core.study.binding import Binder, sets_of
from mss_core.study.study import Study, Trial
from mss_core.training import TrainConfig

SECONDS = 8.0
"""Of an item: longer than the segments of most recipes. Those whose segments are longer say so in ``rehearsal()``."""
STEPS = 2
BATCH = 2
FEW = {"valid_segments": 2, "valid_items": 2, "test_items": 4}
"""Settings, by name, that say how much is validated or scored."""
SEEDS = 2
"""Replicates: two give a standard error, so that the statistics are rehearsed, too."""
MANY = 40
"""A study of more stages than these has one: it rehearses its stages, and the statistics are those of the others."""
LONG = 100
"""In a study of more stages than these, variants that do nothing new show the scores of others
(:mod:`mss_core.study.cover`)."""
MARK = "A rehearsal, not a result: "


def rehearsed(study: Study) -> Study:
    """What ``--rehearse`` runs: the variants, cut, with two seeds if they are few, and a search of two suggestions. Of
    many, those that do something new."""
    search = study.search and replace(
        study.search, smoke_trials=2, space={stage: _held(space) for stage, space in study.search.space.items()}
    )
    small = replace(
        study,
        question=MARK + study.question,
        smoke=cut,
        smoke_levels={},
        seeds=list(study.seeds)[:SEEDS],
        smoke_seeds=None,
        search=search,
        controls=(),  # two steps train nothing that could be told from anything
        rehearsal=True,
    )
    if _stages(small) <= MANY:
        return small
    one = replace(small, seeds=small.seeds[:1])
    return replace(one, lends=_stages(one) > LONG)


def _stages(study: Study) -> int:
    trials = study.trials(study.seeds, True, {}, lambda recipe: recipe)
    return len(walk(trial.root for trial in trials))


def _held(space: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A search space whose batches are drawn and not taken: those of a rehearsal stay as small as they were cut."""

    @functools.wraps(space)
    def held(*given: Any, **named: Any) -> dict[str, Any]:
        return {path: value for path, value in space(*given, **named).items() if not path.endswith(".batch")}

    return held


def cut(recipe: Any) -> Any:
    """A recipe at the size of a rehearsal."""
    shorter = _cut(recipe)
    return shorter.rehearsal() if hasattr(shorter, "rehearsal") else shorter


def _cut(node: Any) -> Any:
    if isinstance(node, TrainConfig):
        return _training(node)
    if isinstance(node, TrackSet | ClipSet):
        return node if node.name == "synthetic" else replace(node, excerpt=SECONDS)
    if isinstance(node, tuple):
        return tuple(_cut(item) for item in node)
    if not dataclasses.is_dataclass(node) or isinstance(node, type):
        return node
    below = children(node) or {}
    changes = {name: min(FEW[name], value) if name in FEW else _cut(value) for name, value in below.items()}
    return replace(node, **changes)


def _training(train: TrainConfig) -> TrainConfig:
    """Two steps in all, in two phases where there are several, each with a validation after it."""
    epochs = min(2, len(train.phases))
    return replace(
        train,
        phases=tuple(replace(phase, epochs=1) for phase in train.phases),
        batch=BATCH,
        epoch_steps=STEPS // epochs,
        max_epochs=epochs,
    )


# ---- before anything runs


def require_everything(
    study: Study, settings: Mapping[str, Any], binder: Binder, smoke: bool = True, only: Collection[str] | None = None
) -> None:
    """Raise ValueError that names every data set and every file of weights that some variant needs (of some names
    alone, where ``only`` is given) and that is not there, or of no use."""
    problems: dict[str, None] = {}
    variants = [variant for variant in study.variants() if only is None or variant.name in only]
    recipes = (study.recipe(v, study.seeds[0], smoke, settings, lambda recipe: recipe) for v in variants)
    for config in {repr(each): each for recipe in recipes for each in sets_of(recipe)}.values():
        try:
            binder(config)
        except (ValueError, OSError) as error:
            problems[str(error)] = None
    if len(problems) == 1:
        raise ValueError(next(iter(problems)))
    if problems:
        raise ValueError("\n".join([f"{len(problems)} things are not as this study needs them:", *problems]))


def untried(study: Study, trials: Sequence[Trial], searched: bool) -> list[str]:
    """What a rehearsal does not try by its nature, one sentence each."""
    told = [
        "Of each data set a few items were read: python -m mss_core.data check NAME PATH "
        f"--study studies/{study.name}.py goes through all of them.",
        f"Trainings had {STEPS} steps of {BATCH} items: neither the memory of a full batch nor learning was tried.",
    ]
    shown = dict.fromkeys(trial.variant.name for trial in trials if trial.shows)
    if shown:
        told.append(
            "Each stage and each two stages that meet were tried, but not in every variant: the scores of others stand "
            f"in the place of those of {'; '.join(shown)}. With --only a variant runs as it is."
        )
    if len({trial.seed for trial in trials}) == 1:
        told.append("One seed has no statistics: with --seeds 2 they are rehearsed, too.")
    return told if study.search is None or searched else [*told, "No search was rehearsed: add --search each_variant."]
