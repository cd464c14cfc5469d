"""Designs and studies: which variants there are, and what a study refuses to be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss_core.graph import walk
from mss_core.recipe import flatten
from mss_core.store import Store
from mss_core.study import Factor, Study, cumulative, full_factorial, one_at_a_time, only_listed
from mss_core.study.plan import Binder, descendants, make_plan
from mss_core.study.run import _seeds
from mss_core.systems.msspt import msspt_cnn, smoke

FACTORS = [Factor("a", {"a0": {}, "a1": {"p": 1}, "a2": {"p": 2}}), Factor("b", {"b1": {"q": 1}}),
           Factor("c", {"c0": {}, "c1": {"r": 1, "s": 2}})]


def names(variants) -> list[str]:
    return [variant.name for variant in variants]


def test_one_at_a_time() -> None:
    assert names(one_at_a_time(FACTORS)) == ["baseline", "a=a1", "a=a2", "b=b1", "c=c1"]
    assert one_at_a_time(FACTORS)[3].levels == {"a": "a0", "b": "b1", "c": "c0"}
    assert names(only_listed([FACTORS[1]])) == ["b1"]
    assert names(one_at_a_time([FACTORS[0]])) == ["a0", "a1", "a2"]


def test_full_factorial() -> None:
    variants = full_factorial(FACTORS)
    assert len(variants) == 3 * 1 * 2
    assert variants[-1].departures == {"p": 2, "q": 1, "r": 1, "s": 2}
    assert len({tuple(v.levels.items()) for v in variants}) == 6


def test_cumulative_is_a_ladder() -> None:
    variants = cumulative(FACTORS[1:])
    assert [v.departures for v in variants] == [{}, {"q": 1}, {"q": 1, "r": 1, "s": 2}]
    with pytest.raises(ValueError, match="'a' has 2: a1, a2"):
        cumulative(FACTORS)


def test_two_factors_may_not_set_one_path_to_different_values() -> None:
    with pytest.raises(ValueError, match="'p' is changed by two factors"):
        full_factorial([FACTORS[0], Factor("d", {"d1": {"p": 9}})])


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4))
def test_sizes_of_designs(sizes: list[int]) -> None:
    factors = [Factor(f"f{i}", {"base": {}} | {f"l{j}": {f"p{i}": j} for j in range(1, n)})
               for i, n in enumerate(sizes)]
    product = 1
    for n in sizes:
        product *= n
    assert len(full_factorial(factors)) == product
    assert len(one_at_a_time(factors)) == 1 + sum(n - 1 for n in sizes)


STUDY = Study(
    name="example", question="Does it help?", baseline=msspt_cnn(),
    factors=[Factor("source", {"none": {"pretrain": None, "finetune": None}, "bass": {"sources": ("bass",)},
                               "vocals": {}}),
             Factor("clip score", {"mean": {}, "max": {"infer.aggregate": "max"}})],
    design=full_factorial, seeds=range(2), seeded=("train_tail.seed", "finetune.seed"),
    reference={"source": "none"}, metric="roc_auc", smoke=smoke)


def bind(recipe):
    return recipe


def test_stages_are_shared_and_inference_factors_train_nothing(tmp_path) -> None:
    trials = STUDY.trials([0, 1], True, {}, bind)
    plan = make_plan(trials, Store(tmp_path))
    counts = {name: row["distinct"] for name, row in plan.counts().items()}
    assert len(trials) == 3 * 2 * 2
    assert counts == {"prepare_tracks": 1, "prepare_clips": 1, "pretrain": 2, "score_separator": 2, "train_tail": 2,
                      "finetune": 4, "infer": 12, "evaluate": 12}
    assert plan.needed == list(plan.stages)


def test_a_plan_lists_inputs_first_and_counts_descendants(tmp_path) -> None:
    plan = make_plan(STUDY.trials([0], True, {}, bind), Store(tmp_path))
    position = {key: index for index, key in enumerate(plan.needed)}
    for key, stage in plan.stages.items():
        assert all(position[up.key] < position[key] for up in stage.inputs.values())
    below = descendants(plan.stages, plan.needed)
    for key, stage in plan.stages.items():
        expected = sum(key in walk([other]) for other in plan.stages.values()) - 1
        assert below[key] == expected, stage


def test_seeds_reach_only_what_is_seeded() -> None:
    a, b = (STUDY.trials([seed], False, {}, bind)[-1].recipe for seed in (0, 1))
    changed = {path for path, value in flatten(a).items() if flatten(b)[path] != value}
    assert changed == {"train_tail.seed", "finetune.seed"}
    assert "pretrain" in STUDY.shared() and "train_tail" not in STUDY.shared()
    assert _seeds(STUDY, 4) == [0, 1, 2, 3] and _seeds(STUDY, 1) == [0]


def test_settings_change_the_baseline_and_the_title() -> None:
    trial = STUDY.trials([0], True, {"finetune.batch": 8}, bind)[-1]
    assert trial.recipe.finetune.batch == 8
    assert STUDY.trials([0], True, {"finetune.batch": 8}, bind)[0].recipe.finetune is None
    titles = {STUDY.title(s, c) for s in (True, False) for c in ({}, {"finetune.batch": 8}, {"finetune.batch": 9})}
    assert len(titles) == 6


@pytest.mark.parametrize(("settings", "message"), [
    ({"sources": ("drums",)}, "'sources' is what factor 'source' varies"),
    ({"finetune": None}, "'finetune' is what factor 'source' varies"),
    ({"finetune.seed": 3}, "this seed is set by --seeds"),
    ({"finetune.bach": 3}, "did you mean 'finetune.batch'"),
])
def test_settings_that_make_no_sense(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        STUDY.trials([0], True, settings, bind)


@pytest.mark.parametrize(("changes", "message"), [
    ({"reference": {"source": "vocal"}}, "no level of factor 'source' in 'reference' 'vocal'; did you mean 'vocals'"),
    ({"reference": {"sauce": "vocals"}}, "did you mean 'source'"),
    ({"seeded": ("train_tial.seed",)}, "no seed 'train_tial.seed' in the recipe; did you mean 'train_tail.seed'"),
    ({"factors": [Factor("source", {"none": {"pretrian": None}})]}, "did you mean 'pretrain'"),
    ({"factors": [Factor("source", {"none": {}, "x": {"sources": ("vocal",)}})]},
     "variant 'x' of study 'example': no source to separate .* 'vocal'; did you mean 'vocals'"),
    ({"factors": [Factor("source", {"none": {}, "x": {"finetune": None, "train_tail": None, "pretrain": None}})]},
     "nothing to evaluate"),
    ({"factors": [Factor("source", {"none": {}}), Factor("source", {"x": {}})]}, "distinct names"),
    ({"seeds": []}, "'seeds' must be distinct"),
    ({"correction": "bonferoni"}, "did you mean 'bonferroni'"),
])
def test_a_study_is_checked_before_anything_else(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(STUDY, **changes).check()


def test_each_block_has_its_reference() -> None:
    sources = STUDY.factors[0].levels
    study = replace(STUDY, design=full_factorial, within=("clip score",), factors=[
        Factor("source", sources), Factor("clip score", {"mean": {}, "max": {"infer.aggregate": "max"}})])
    found = study.references()
    assert len(found) == 2 * len(sources) and len(set(v.name for v in found.values())) == 2
    for name, reference in found.items():
        variant = next(v for v in study.variants() if v.name == name)
        assert reference.levels["clip score"] == variant.levels["clip score"]
        assert reference.levels["source"] == STUDY.reference["source"]
    assert study.declaration([0], False, {})["references"][study.reference_variant().name] == \
        study.reference_variant().name
    with pytest.raises(ValueError, match="no factor in 'within' 'clip scor'; did you mean 'clip score'"):
        replace(study, within=("clip scor",)).check()
    # One at a time there is no "max" row without a source: that block would have no reference.
    with pytest.raises(ValueError, match="the design one_at_a_time has no variant"):
        replace(study, design=one_at_a_time).check()


def test_binder_fingerprints_each_set_once(tmp_path, stems_tree, clips_tree) -> None:
    data = {"stems": stems_tree, "clips": clips_tree}
    bound = Binder(data, Store(tmp_path / "s"))(msspt_cnn())
    assert len(bound.separation.fingerprint) == len(bound.tagging.fingerprint) == 64
    assert bound.pipeline().key != msspt_cnn().pipeline().key
    lenient = Binder({}, Store(tmp_path / "s"), lenient=True)
    assert lenient(msspt_cnn()).separation.fingerprint == "absent" and set(lenient.absent) == {"stems", "clips"}
    with pytest.raises(ValueError, match="pass --data stems=PATH"):
        Binder({}, Store(tmp_path / "s"))(msspt_cnn())
