"""Designs and studies: which variants there are, and what a study refuses to be."""

from __future__ import annotations

import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss_core.graph import walk
from mss_core.recipe import flatten, override
from mss_core.store import Store
from mss_core.study import Factor, Study, cumulative, full_factorial, one_at_a_time, only_listed, table_cells
from mss_core.study.binding import Binder
from mss_core.study.plan import descendants, make_plan
from mss_core.systems.aemic import aemic, separator_only
from mss_core.systems.msspt import AST, msspt_cnn, smoke
from tests.conftest import REPOSITORY
from tests.study import toy
from tests.study.test_studies import STUDIES

FACTORS = [
    Factor("a", {"a0": {}, "a1": {"p": 1}, "a2": {"p": 2}}),
    Factor("b", {"b1": {"q": 1}}),
    Factor("c", {"c0": {}, "c1": {"r": 1, "s": 2}}),
]


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


def test_what_one_level_leaves_out_no_other_changes() -> None:
    factors = [Factor("a", {"with": {}, "without": {"stage": None}}), Factor("b", {"b1": {"stage.lr": 1, "q": 2}})]
    assert [v.departures for v in full_factorial(factors)] == [{"stage.lr": 1, "q": 2}, {"stage": None, "q": 2}]


def test_cells_of_a_table_are_named_by_their_labels() -> None:
    assert names(table_cells(FACTORS))[:3] == ["a0, b1, c0", "a0, b1, c1", "a1, b1, c0"]
    assert names(table_cells(FACTORS[:1])) == ["a0", "a1", "a2"]


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
    factors = [
        Factor(f"f{i}", {"base": {}} | {f"l{j}": {f"p{i}": j} for j in range(1, n)}) for i, n in enumerate(sizes)
    ]
    product = 1
    for n in sizes:
        product *= n
    assert len(full_factorial(factors)) == product
    assert len(one_at_a_time(factors)) == 1 + sum(n - 1 for n in sizes)


STUDY = Study(
    name="example",
    question="Does it help?",
    baseline=msspt_cnn(),
    factors=[
        Factor("source", {"none": {"pretrain": None, "finetune": None}, "bass": {"sources": ("bass",)}, "vocals": {}}),
        Factor("clip score", {"mean": {}, "max": {"infer.aggregate": "max"}}),
    ],
    design=full_factorial,
    seeds=range(2),
    seeded=("train_tail.seed", "finetune.seed"),
    reference={"source": "none"},
    metric="roc_auc",
    smoke=smoke,
)


def bind(recipe):
    return recipe


def test_stages_are_shared_and_inference_factors_train_nothing(tmp_path) -> None:
    trials = STUDY.trials([0, 1], True, {}, bind)
    plan = make_plan(trials, Store(tmp_path))
    counts = {name: row["distinct"] for name, row in plan.counts().items()}
    assert len(trials) == 3 * 2 * 2
    assert counts == {
        "prepare_tracks": 1,
        "prepare_clips": 1,
        "pretrain": 2,
        "score_separator": 2,
        "train_tail": 2,
        "finetune": 4,
        "infer": 12,
        "evaluate": 12,
    }
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


@pytest.mark.parametrize(
    ("seeded", "said"),
    [
        (("train.seed",), "other (in two; alone)"),
        (("train.seed", "other.seed"), ""),
        (("other.seed",), "train (not in alone)"),
    ],
)
def test_seeds_are_those_of_all_variants(seeded, said: str) -> None:
    """A level may bring a stage whose seed the baseline has not; unseeded, its five runs are one training."""
    other = {"other": toy.Training()}
    levels = {"one": {}, "two": other, "wide": {"train.width": 8}, "alone": {"train": None, **other}}
    study = toy.study(None, (Factor("stages", levels),), seeded=seeded, seeds=range(5))
    study.check()
    assert study.shared().partition(": each is trained once")[0] == (f"The seeds do not vary {said}" if said else "")
    keys: dict[tuple[str, str], set[str]] = {}  # by stage and variant, over its five runs
    for trial in study.trials(range(5), False, {}, bind):
        for key, stage in walk([trial.root]).items():
            keys.setdefault((stage.name.removeprefix("toy_"), trial.variant.name), set()).add(key)
    once = {stage: [v for s, v in keys if s == stage and len(keys[s, v]) == 1] for stage, _ in keys}
    expected = {"other": ["two", "alone"]} if "other.seed" not in seeded else {}
    expected |= {"train": ["one", "two", "wide"]} if "train.seed" not in seeded else {}
    assert {stage: variants for stage, variants in once.items() if variants and stage != "score"} == expected


def test_a_seed_that_no_variant_has_is_named() -> None:
    study = toy.study(None, (Factor("stages", {"one": {}, "two": {"other": toy.Training()}}),), seeded=("othr.seed",))
    with pytest.raises(ValueError, match="no seed 'othr.seed' in the recipe of any variant; did you mean 'other.seed'"):
        study.check()


def test_settings_change_the_baseline_and_the_title() -> None:
    trial = STUDY.trials([0], True, {"finetune.batch": 8}, bind)[-1]
    assert trial.recipe.finetune.batch == 8
    assert STUDY.trials([0], True, {"finetune.batch": 8}, bind)[0].recipe.finetune is None
    titles = {STUDY.title(s, c) for s in (True, False) for c in ({}, {"finetune.batch": 8}, {"finetune.batch": 9})}
    assert len(titles) == 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sources": ("drums",)}, "level 'bass' of factor 'source' sets sources to"),
        ({"finetune": None}, "level 'none' of factor 'source' sets finetune to None"),
        ({"finetune.seed": 3}, "this seed is set by --seeds"),
        ({"finetune.bach": 3}, "did you mean 'finetune.batch'"),
    ],
)
def test_settings_that_make_no_sense(settings, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        STUDY.trials([0], True, settings, bind)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"reference": {"source": "vocal"}},
            "no level of factor 'source' in 'reference' 'vocal'; did you mean 'vocals'",
        ),
        ({"reference": {"sauce": "vocals"}}, "did you mean 'source'"),
        (
            {"seeded": ("train_tial.seed",)},
            "no seed 'train_tial.seed' in the recipe of any variant; did you mean 'train_tail.seed'",
        ),
        ({"factors": [Factor("source", {"none": {"pretrian": None}})]}, "did you mean 'pretrain'"),
        (
            {"factors": [Factor("source", {"none": {}, "x": {"sources": ("vocal",)}})]},
            "variant 'x' of study 'example': no source to separate .* 'vocal'; did you mean 'vocals'",
        ),
        (
            {
                "factors": [
                    Factor("source", {"none": {}, "x": {"finetune": None, "train_tail": None, "pretrain": None}})
                ]
            },
            "nothing to evaluate",
        ),
        ({"factors": [Factor("source", {"none": {}}), Factor("source", {"x": {}})]}, "distinct names"),
        ({"seeds": []}, "'seeds' must be distinct"),
        ({"correction": "bonferoni"}, "did you mean 'bonferroni'"),
        ({"metrics": {"bas": "accuracy"}}, "no level in 'metrics' 'bas'; did you mean 'bass'"),
        ({"smoke_levels": {"sauce": ["bass"]}}, "no factor in 'smoke_levels' 'sauce'; did you mean 'source'"),
        (
            {"smoke_levels": {"source": ["bas"]}},
            "no level of factor 'source' in 'smoke_levels' 'bas'; did you mean 'bass'",
        ),
        ({"smoke_levels": {"source": ["bass"]}}, "no level of factor 'source' in 'reference' 'none'"),
    ],
)
def test_a_study_is_checked_before_anything_else(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(STUDY, **changes).check()


def test_each_block_has_its_reference() -> None:
    sources = STUDY.factors[0].levels
    study = replace(
        STUDY,
        design=full_factorial,
        within=("clip score",),
        factors=[Factor("source", sources), Factor("clip score", {"mean": {}, "max": {"infer.aggregate": "max"}})],
    )
    found = study.references()
    assert len(found) == 2 * len(sources) and len(set(v.name for v in found.values())) == 2
    for name, reference in found.items():
        variant = next(v for v in study.variants() if v.name == name)
        assert reference.levels["clip score"] == variant.levels["clip score"]
        assert reference.levels["source"] == STUDY.reference["source"]
    assert (
        study.declaration([0], False, {}).references[study.reference_variant().name] == study.reference_variant().name
    )
    with pytest.raises(ValueError, match="no factor in 'within' 'clip scor'; did you mean 'clip score'"):
        replace(study, within=("clip scor",)).check()
    # One at a time there is no "max" row without a source: that block would have no reference.
    with pytest.raises(ValueError, match="the design one_at_a_time has no variant"):
        replace(study, design=one_at_a_time).check()


def test_binder_fingerprints_each_set_once(tmp_path, stems_tree, clips_tree) -> None:
    data = {"stems": stems_tree, "clips": clips_tree}
    recipe = msspt_cnn({"separation.name": "stems", "tagging.name": "clips"})
    bound = Binder(data, tmp_path / "s")(recipe)
    assert len(bound.separation.fingerprint) == len(bound.tagging.fingerprint) == 64
    assert bound.pipeline().key != recipe.pipeline().key
    lenient = Binder({}, tmp_path / "s", lenient=True)
    assert lenient(recipe).separation.fingerprint == "absent" and set(lenient.absent) == {"stems", "clips"}
    with pytest.raises(ValueError, match="pass --data stems=PATH"):
        Binder({}, tmp_path / "s")(recipe)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "vit.pth").write_bytes(b"1")
    data["imagenet"] = tmp_path / "weights"
    ast = override(recipe, AST)
    keys = set()
    for content in (b"1", b"2"):
        (tmp_path / "weights" / "vit.pth").write_bytes(content)
        bound = Binder(data, tmp_path / "s")(ast)
        assert bound.imagenet is not None and bound.imagenet.fingerprint and not bound.genre.fingerprint
        keys.add({stage.name: key for key, stage in walk([bound.pipeline()]).items()}["train_tail"])
    assert len(keys) == 2
    with pytest.raises(ValueError, match="no folder for data set 'imagenet': pass --data imagenet=PATH"):
        Binder({k: v for k, v in data.items() if k != "imagenet"}, tmp_path / "s")(ast)


def test_a_set_that_no_stage_reads_is_not_asked_for(tmp_path: Path) -> None:
    """Whatever the recipe: the fields are those of the sets among the arguments of its stages."""
    lenient = Binder({}, tmp_path, lenient=True)
    for recipe, wanted in (
        (separator_only(epochs=1), {"musdb18hq"}),
        (override(aemic(), {"stem": "base"}), {"irmas"}),
        (msspt_cnn({"task": "genre"}), {"musdb18", "fma_medium_minus_small"}),
        (msspt_cnn({"pretrain": None}), {"mtat"}),
    ):
        lenient.absent.clear()
        lenient._known.clear()
        lenient(recipe)
        assert set(lenient.absent) == wanted


# ---- the published tables


def load(name: str) -> Study:
    return runpy.run_path(str(REPOSITORY / "studies" / f"{name}.py"))["study"]


def distinct(study: Study) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for key, stage in walk(trial.root for trial in study.trials(study.seeds, False, {}, bind)).items():
        found.setdefault(stage.name, set()).add(key)
    return found


def test_the_first_table_shares_whatever_is_equal() -> None:
    """140 final models: 20 tails and 120 joint models on 5 separators; with a separator a run 25 of them; the second
    table adds 10 models and no tail."""
    once, each = distinct(replace(load("source_ablation"), controls=())), distinct(load("source_ablation_replicated"))
    sizes = {name: len(keys) for name, keys in once.items()}
    assert sizes == {
        "prepare_tracks": 1,
        "prepare_clips": 4,
        "prepare_weights": 1,
        "pretrain": 5,
        "score_separator": 5,
        "train_tail": 20,
        "finetune": 120,
        "infer": 140,
        "evaluate": 140,
    }
    assert {name: len(keys) for name, keys in each.items()} == {**sizes, "pretrain": 25, "score_separator": 25}
    assert each["train_tail"] == once["train_tail"]
    second = distinct(load("backend_pretraining"))
    added = {name: len(keys - once[name]) for name, keys in second.items()}
    assert added == {**dict.fromkeys(second, 0), "finetune": 10, "infer": 10, "evaluate": 10}
    assert len(second["finetune"]) == 20 and second["train_tail"] < once["train_tail"]


def test_the_replicated_table_declares_what_the_first_does() -> None:
    """Studies stand alone, so the two repeat each other; what they say must not drift apart."""
    once, each = load("source_ablation"), load("source_ablation_replicated")
    assert each.seeded == ("pretrain.seed", *once.seeded)
    own = ("name", "question", "seeded", "smoke_levels", "smoke_seeds", "search", "controls")
    assert replace(each, **{name: getattr(once, name) for name in own}) == once


def test_published_settings_of_the_first_table() -> None:
    study = load("source_ablation")
    recipes = {t.variant.name: t.recipe for t in study.trials([0], False, {}, bind)}
    assert len(recipes) == 28 + 2  # and the controls
    rates = {
        name: recipes[f"CNN, tags, {name}"].pretrain.phases[0].lr
        for name in ("vocals", "bass", "drums", "other", "multiple")
    }
    assert rates == {"vocals": 1e-3, "bass": 1e-4, "drums": 2e-4, "other": 3e-4, "multiple": 3e-4}
    first = recipes["CNN, tags, multiple"]
    assert first.sources == ("vocals", "other", "drums", "bass")
    assert (
        first.pretrain.phases[0].decay,
        first.pretrain.phases[0].decay_steps,
        first.pretrain.batch,
        first.pretrain.epochs() * first.pretrain.epoch_steps,
    ) == (0.9, 15_000, 8, 300_000)
    assert [p.patience for p in first.finetune.phases] == [10] * 4 and first.finetune.batch == 16
    ast = recipes["AST, genre, vocals"]
    assert (ast.frames, ast.infer.hop, ast.finetune.batch, ast.mixing.frames) == (768, 384, 4, 384)
    assert ast.imagenet is not None and not ast.joining.stage2 and ast.task == "genre"
    assert recipes["AST, tags, no U-Net"].finetune is None


def test_a_smoke_run_keeps_what_the_study_says() -> None:
    study = load("source_ablation").at_smoke_size()
    assert [v.name for v in study.variants()] == [
        "no U-Net",
        "random init",
        "bass",
        "drums",
        "other",
        "vocals",
        "multiple",
    ]
    assert list(study.seeds) == [0, 1, 2] and not study.within and not study.metrics
    assert study.cut == "A smoke run of this study keeps only CNN of backend and tags of task."
    assert study.declaration([0], True, {}).cut == study.cut
    whole = load("source_ablation_replicated").at_smoke_size()
    assert len(whole.variants()) == 28 and whole.metrics == {"genre": "accuracy"} and whole.cut == ""


@pytest.mark.parametrize("name", STUDIES)
def test_every_row_of_a_study_has_a_name(name: str) -> None:
    """A full factorial names what departs, and leaves the recipe that the question is about without a name: studies
    whose baseline is a row name it."""
    study = runpy.run_path(str(REPOSITORY / "studies" / f"{name}.py"))["study"]
    if not study.factors:
        return
    for variant in study.variants():
        assert variant.name != "baseline"
        assert "=" not in variant.name or len(study.factors) > 3  # labels that tell their factors stand alone
