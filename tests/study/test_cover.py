"""Which variants of a long rehearsal run: nothing that the study calls is left out, and every cell has a score."""

from __future__ import annotations

import functools
import runpy
from collections.abc import Hashable
from dataclasses import replace

import numpy as np
import pytest

from mss_core.graph import Stage, walk
from mss_core.study import Study, cover, rehearse
from mss_core.study.study import Trial
from tests.conftest import REPOSITORY
from tests.study.test_studies import STUDIES

LONG = ("label_weight", "source_ablation", "source_ablation_replicated", "tagger_ablation")
"""Studies of which a rehearsal runs only some variants."""


@functools.cache
def small(name: str) -> Study:
    return rehearse.rehearsed(runpy.run_path(str(REPOSITORY / "studies" / f"{name}.py"))["study"])


def trials_of(study: Study) -> list[Trial]:
    return study.trials(study.seeds, True, {}, lambda recipe: recipe)


def whole(study: Study) -> list[Trial]:
    return trials_of(replace(study, lends=False))


def all_covered(trials: list[Trial]) -> set[Hashable]:
    return set[Hashable]().union(*(cover.covered(trial.root) for trial in trials))


@pytest.mark.parametrize("name", LONG)
def test_every_call_and_meeting_and_level_and_reference_is_rehearsed(name: str) -> None:
    study = small(name)
    trials = trials_of(study)
    run = [trial for trial in trials if not trial.shows]
    assert all_covered(run) == all_covered(whole(study))
    for factor in study.factors:
        assert {trial.variant.levels[factor.name] for trial in run} == set(factor.levels)
    assert {variant.name for variant in study.references().values()} <= {trial.variant.name for trial in run}
    assert [trial.root.key for trial in run] == [t.root.key for t in whole(study) if t.name in {x.name for x in run}]


@pytest.mark.parametrize("name", LONG)
def test_a_variant_that_shows_another_has_its_metrics_and_targets_and_reference(name: str) -> None:
    study = small(name)
    references = study.references()
    before, after = ({trial.name: trial for trial in trials} for trials in (whole(study), trials_of(study)))
    shown = {name: trial for name, trial in after.items() if trial.shows}
    assert list(before) == list(after) and shown
    for name, trial in shown.items():
        lender = after[f"{trial.shows}/seed{trial.seed}"]
        assert not lender.shows and lender.root.key == trial.root.key and trial.recipe == before[name].recipe
        assert cover.call(trial.root) == cover.call(before[name].root)
        assert references[trial.variant.name] == references[trial.shows]
    saved = walk(t.root for t in before.values()).keys() - walk(t.root for t in after.values()).keys()
    for name in shown:  # more than its last stage
        assert len(walk([before[name].root]).keys() & saved) > 1


@pytest.mark.parametrize("name", sorted(set(STUDIES) - set(LONG)))
def test_every_variant_of_a_shorter_study_runs_as_it_is(name: str) -> None:
    assert not any(trial.shows for trial in trials_of(small(name)))


def test_variants_that_are_named_run_as_they_are() -> None:
    study = small("source_ablation")
    named = ("AST, tags, no U-Net", "AST, tags, bass")
    trials = study.trials([0], True, {}, lambda recipe: recipe, named)
    assert [(trial.variant.name, trial.shows) for trial in trials] == [(name, "") for name in named]


def test_seeds_show_their_own() -> None:
    study = small("source_ablation_replicated")
    trials = study.trials([0, 1], True, {}, lambda recipe: recipe)
    roots = {trial.name: trial.root.key for trial in trials}
    for trial in trials:
        if trial.shows:
            assert roots[trial.name] == roots[f"{trial.shows}/seed{trial.seed}"]
    assert roots["CNN, tags, drums/seed0"] != roots["CNN, tags, drums/seed1"]


def test_what_was_not_run_by_itself_is_told() -> None:
    study = small("source_ablation")
    (told,) = (line for line in rehearse.untried(study, trials_of(study), False) if "in the place of" in line)
    assert "AST, genre, multiple" in told and "AST, genre, no U-Net" not in told
    assert not any("in the place of" in line for line in rehearse.untried(study, whole(study), False))


@pytest.mark.parametrize("seed", range(30))
def test_the_fewest_hold_everything_and_begin_with_the_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    sets = {str(n): set(rng.integers(0, 20, rng.integers(1, 9)).tolist()) for n in range(rng.integers(1, 15))}
    first = sorted(sets)[: rng.integers(0, 2)]
    chosen = cover.fewest(sets, first)
    assert chosen[: len(first)] == first and len(set(chosen)) == len(chosen)
    held = [sets[name] for name in chosen]
    assert set().union(*held) == set().union(*sets.values())
    for place in range(len(first), len(chosen)):  # none of them for nothing
        assert held[place] - set().union(*held[:place])


def one(*, x: int, version: int = 1) -> None: ...


def two(*, read: tuple[str, ...], also: str | None, y: int, version: int = 1) -> None: ...


def test_a_call_is_a_function_with_its_own_arguments_and_a_meeting_says_who_reads_what() -> None:
    a, b = Stage(one, x=1), Stage(one, x=2)
    ab, ba = (Stage(two, read=pair, also=None, y=1) for pair in ((a, b), (b, a)))
    assert cover.call(ab) == cover.call(ba) != cover.call(Stage(two, read=(a,), also=None, y=1))
    assert cover.call(ab) != cover.call(Stage(two, read=(a, b), also=None, y=2))
    assert cover.call(ab) != cover.call(Stage(two, read=(a, b), also=a, y=1))  # a stage where another has none
    assert cover.call(a) != cover.call(b) and cover.covered(ab) != cover.covered(ba)
    assert cover.covered(ab) == {
        *map(cover.call, (a, b, ab)),
        (*cover.call(ab)[:2], "read.0", cover.call(a)),
        (*cover.call(ab)[:2], "read.1", cover.call(b)),
    }
