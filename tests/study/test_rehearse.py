"""``--rehearse``: what is cut and what is not, what is named before anything runs, and what a rehearsal finds."""

from __future__ import annotations

import json
import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import reports
from mss_core.data.config import ClipSet, TrackSet, read_by
from mss_core.graph import plain, walk
from mss_core.recipe import flatten
from mss_core.study import Study, rehearse
from mss_core.study import run as run_study
from mss_core.study.binding import Binder
from mss_core.study.search.declare import _source, bound
from mss_core.study.search.optuna_storage import probe
from reports import rehearsal
from reports.contract import Entry
from reports.contrasts import covers, differing, excerpted
from tests.conftest import REPOSITORY
from tests.study.test_studies import STUDIES

KEPT = ("name", "sources", "samplerate", "split", "subset", "mixture", "rms_db", "labels", "valid_share")
MODELS = ("separator", "tail", "joint", "network", "autoencoder", "classifier", "vqvae", "models", "xumx", "unet")


def declared(name: str) -> Study:
    return runpy.run_path(str(REPOSITORY / "studies" / f"{name}.py"))["study"]


def same(recipe: Any) -> Any:
    return recipe


@pytest.mark.parametrize("name", STUDIES)
def test_every_variant_is_cut_and_stays_what_it_is(name: str) -> None:
    """Models, data sets and their choices are those of the study; trainings have two steps; no key is shared but those
    of released weights, which are only read, and of a codec that has none."""
    study = declared(name)
    small = rehearse.rehearsed(study)
    assert [variant.name for variant in small.variants()] == [variant.name for variant in study.variants()]
    for variant in study.variants():
        full, cut = (s.recipe(variant, 0, s is small, {}, same) for s in (study, small))
        flat, short = flatten(full), flatten(cut)
        assert set(flat) == set(short)
        for path, value in flat.items():
            if path.split(".")[0] in MODELS:
                assert short[path] == value, path
        read, short_read = (
            [c for c in read_by(recipe.pipeline()) if isinstance(c, TrackSet | ClipSet)] for recipe in (full, cut)
        )
        assert [[getattr(c, k, None) for k in KEPT] for c in read] == [
            [getattr(c, k, None) for k in KEPT] for c in short_read
        ]
        assert all(config.excerpt is not None for config in short_read)
        before, after = (walk([recipe.pipeline()]) for recipe in (full, cut))
        shared = {before[key].name for key in before.keys() & after.keys()}
        assert shared <= {
            "prepare_codec",
            "prepare_published",
            "prepare_separator",
            "prepare_tagger",
            "prepare_vqvae",
            "prepare_weights",
        }
        for stage in after.values():
            train = stage.arguments.get("train")
            if train is not None:
                assert train.epochs() * train.epoch_steps == rehearse.STEPS and train.batch == rehearse.BATCH


@pytest.mark.parametrize("name", STUDIES)
def test_no_contrast_of_a_rehearsal_would_be_refused(name: str) -> None:
    study = rehearse.rehearsed(declared(name))
    references = study.references()
    flat = {
        v.name: {path: plain(value) for path, value in flatten(study.recipe(v, 0, True, {}, same)).items()}
        for v in study.variants()
    }
    for variant in study.variants():
        reference = references[variant.name]
        paths = [
            path
            for factor in study.factors
            for label in (variant.levels.get(factor.name), reference.levels.get(factor.name))
            for path in factor.levels.get(str(label), {})
            if variant.levels.get(factor.name) != reference.levels.get(factor.name)
        ]
        changes = differing(flat[reference.name], flat[variant.name])
        changed = [change.path for change in changes if not excerpted(change.path, changes)]
        assert [path for path in changed if not any(covers(known, path) for known in paths)] == []


def test_what_a_rehearsal_reads_less_of_may_differ_and_nothing_else() -> None:
    both = differing({"a.excerpt": 1, "a.fingerprint": "x"}, {"a.excerpt": 2, "a.fingerprint": "y"})
    assert all(excerpted(change.path, both) for change in both)
    (alone,) = differing({"a.fingerprint": "x"}, {"a.fingerprint": "y"})
    assert not excerpted(alone.path, [alone]) and not excerpted("a.name", both)


def test_everything_that_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "imagenet").mkdir()
    study = rehearse.rehearsed(declared("source_ablation"))
    binder = Binder({"imagenet": tmp_path / "imagenet"}, tmp_path / "store")
    with pytest.raises(ValueError) as error:
        rehearse.require_everything(study, {}, binder)
    first, *lines = str(error.value).splitlines()
    assert first == "4 things are not as this study needs them:"
    for name in ("musdb18", "mtat", "fma_medium_minus_small"):
        assert sum(f"no folder for data set {name!r}" in line for line in lines) == 1
    assert sum("must hold one file" in line for line in lines) == 1


# ---- what it finds, on tables made by hand


def table(
    tmp_path: Path, rows: list[tuple[str, str, str, object]], trained: str = "ab", **declaration: Any
) -> tuple[Any, Any]:
    """Findings and tables of variants a (the reference) and b, of scores (variant, target, metric, score); which of
    them have a network that was trained."""
    folder = tmp_path / "studies" / "s-rehearsal"
    folder.mkdir(parents=True)
    curves = [("train_one", f"key{v}{k}", 2, "train_loss", 0.5) for v in trained for k in (0, 1)]
    pd.DataFrame(curves, columns=["stage", "key", "step", "metric", "value"]).to_csv(folder / "curves.csv", index=False)
    scores = [("s", f"{v}/seed{k}", v, k, "", t, m, "", s) for v, t, m, s in rows for k in (0, 1)]
    columns = ["study", "trial", "variant", "seed", "track", "target", "metric", "aggregation", "score"]
    pd.DataFrame(scores, columns=columns).to_csv(folder / "scores.csv", index=False)
    study = {
        "title": "s-rehearsal",
        "name": "s",
        "smoke": True,
        "rehearsal": True,
        "declaration": {
            "reference": "a",
            "metric": "sdr",
            "target": "macro",
            "seeds": [0, 1],
            "factors": [{"name": "f", "levels": {"b": {"x": 2}}}],
            **declaration,
        },
        "variants": [{"variant": v, "levels": {"f": v}, "recipe": {"x": n}} for n, v in enumerate("ab", 1)],
        "trials": [
            {"trial": f"{v}/seed{k}", "variant": v, "seed": k, "status": "done", "stages": {"train_one": f"key{v}{k}"}}
            for v in "ab"
            for k in (0, 1)
        ],
    }
    (folder / "study.json").write_text(json.dumps(study))
    tables = reports.study_tables(folder)
    return reports.read(tables), tables


def test_a_whole_table_has_no_faults(tmp_path: Path) -> None:
    found, tables = table(tmp_path, [("a", "macro", "sdr", 1.0), ("b", "macro", "sdr", 2.0)])
    assert rehearsal.faults(found, tables) == [] and rehearsal.untrained(found, tables) == []


BOTH = [("a", "macro", "sdr", 1.0), ("b", "macro", "sdr", 2.0)]
CLOSED = [*BOTH, ("a", "bass", "sdr", 1.0), ("b", "bass", "sdr", "")]
"""A gate that closed, of an estimate that there is."""
WHY = "that is defined, and training is not what it lacks"


def test_what_no_variant_has_is_a_fault_and_what_one_has_needs_training(tmp_path: Path) -> None:
    rows = [*CLOSED, ("b", "bass", "usdr", 0.0), ("a", "drums", "sdr", ""), ("b", "drums", "sdr", "")]
    found, tables = table(tmp_path, rows)
    assert rehearsal.faults(found, tables) == ["no variant has a sdr of drums that is defined"]
    assert rehearsal.untrained(found, tables) == [("sdr", "bass", "b")]


def test_every_score_that_needs_training_is_named(tmp_path: Path) -> None:
    targets = [f"source {number}" for number in range(12)]
    rows = [row for t in targets for row in (("a", t, "sdr", 1.0), ("b", t, "sdr", ""), ("b", t, "usdr", 0.0))]
    found, tables = table(tmp_path, [*BOTH, *rows])
    assert rehearsal.faults(found, tables) == []
    (told,) = (text for text in rehearsal.uncovered(found, tables) if "without training" in text)
    assert told.startswith("12 scores undefined") and all(f"sdr of {target} of b" in told for target in targets)


@pytest.mark.parametrize(
    ("more", "trained", "metric"),
    [
        ([], "ab", "sdr"),  # no other score of the same estimate: it may be no number throughout
        ([("b", "bass", "usdr_silence", 0.0)], "ab", "sdr"),  # what needs no estimate says nothing of it
        ([("b", "bass", "usdr", 0.0)], "a", "sdr"),  # nothing was trained
        ([("b", "bass", "usdr", 0.0), ("a", "bass", "mae", 1.0), ("b", "bass", "mae", "")], "ab", "mae"),
    ],
)
def test_a_score_that_no_training_gives_is_a_fault(
    tmp_path: Path, more: list[tuple[str, str, str, object]], trained: str, metric: str
) -> None:
    found, tables = table(tmp_path, [*CLOSED, *more], trained)
    assert rehearsal.faults(found, tables) == [f"b has no {metric} of bass {WHY}"]


def test_a_variant_whose_primary_scores_are_all_undefined_is_a_fault(tmp_path: Path) -> None:
    """It counted as one that is not trained yet, and the rehearsal as whole."""
    rows = [("a", "macro", "sdr", 1.0), ("b", "macro", "sdr", ""), ("b", "macro", "usdr", 0.0)]
    found, tables = table(tmp_path, rows)
    assert rehearsal.faults(found, tables) == ["b has no SDR that is defined"]
    said: list[str] = []
    assert not rehearsal.conclude(found, tables, (), said.append)
    assert said[-1] == "s-rehearsal: not as it should be"


def test_what_lies_with_the_little_that_was_read_is_no_fault(tmp_path: Path) -> None:
    """A target that sounds throughout has no area under a curve, and a variant without a classifier has none at all."""
    rows = [("a", "macro", "sdr", 1.0), ("b", "macro", "sdr", 2.0), ("a", "macro", "activity_auc", 0.6)]
    rows += [("a", "drums", "activity_auc", 0.6), ("a", "bass", "activity_auc", "")]
    rows += [("a", target, "activity_auc_1s", "") for target in ("macro", "drums")]
    found, tables = table(tmp_path, rows)
    assert rehearsal.faults(found, tables) == []
    assert any("activity_auc of bass" in text for text in rehearsal.uncovered(found, tables))


def test_a_row_without_any_score_is_a_fault(tmp_path: Path) -> None:
    found, tables = table(tmp_path, [("a", "macro", "sdr", 1.0), ("b", "macro", "sir", 2.0)])
    assert rehearsal.faults(found, tables) == ["b has no SDR that is defined"]


def test_a_refused_contrast_is_a_fault(tmp_path: Path) -> None:
    rows = [("a", "macro", "sdr", 1.0), ("b", "macro", "sdr", 2.0)]
    found, tables = table(tmp_path, rows, factors=[{"name": "f", "levels": {"b": {"y": 2}}}])
    (fault,) = rehearsal.faults(found, tables)
    assert fault.startswith("contrast refused") and "x" in fault


def test_a_printed_table_without_ours_is_a_fault(tmp_path: Path) -> None:
    """The study is none that a paper printed, so the table that it declares cannot be made."""
    rows = [("a", "macro", "sdr", 1.0), ("b", "macro", "sdr", 2.0)]
    found, tables = table(tmp_path, rows, sections=[{"kind": "published_columns"}])
    assert rehearsal.faults(found, tables) == ["the paper's table that s declares (published_columns) is not made"]


@pytest.mark.parametrize("closed", ["", "bass", "drums"])
def test_a_gap_beside_a_printed_figure_is_a_fault_but_where_training_fills_it(tmp_path: Path, closed: str) -> None:
    """Reports of a rehearsal show no printed figures, and so none was missed; and one score that needs training
    silenced all gaps of a study."""
    sections = [
        {
            "kind": "by_target",
            "paper": "iass",
            "table": "Table 3",
            "metrics": ["sdr"],
            "printed": {"a": ["{target}", "IASS"], "b": ["{target}", "Open-Unmix"]},
        }
    ]
    rows = [*BOTH, *((v, t, "sdr", 1.0) for v in "ab" for t in ("bass", "drums") if (v, t) != ("b", "drums"))]
    rows += [("b", "drums", "sdr", "")] if closed == "drums" else []
    rows += [("a", "vocals", "sdr", 1.0), ("b", "vocals", "sdr", ""), ("b", "vocals", "usdr", 0.0)]
    rows += [("b", "drums", "usdr", 0.0)] if closed else []
    found, tables = table(tmp_path, rows, sections=sections)
    faults = rehearsal.faults(found, tables)
    gap = "Table 3, by target: nothing of ours beside drums, b, SDR"
    assert faults == ([] if closed == "drums" else [gap])


def test_variants_that_were_left_out_are_not_missed(tmp_path: Path) -> None:
    found, tables = table(tmp_path, BOTH[:1])
    entry = Entry("2026-01-01T00:00:00+00:00", "", only=("a",))
    for left_out, faults in (((), ["b has no SDR that is defined"]), ((entry,), [])):
        assert rehearsal.faults(replace(found, study=replace(found.study, ledger=left_out)), tables) == faults


def test_a_table_of_what_was_left_out_is_not_missed(tmp_path: Path) -> None:
    """Open-Unmix's comparison on MUSDB18 alone was told that it lacks Table 3, which is of another set."""
    section = {
        "kind": "by_target",
        "paper": "iass",
        "table": "Table 3",
        "metrics": ["sdr"],
        "within": {"f": "b"},
        "printed": {"b": ["{target}", "IASS"]},
    }
    found, tables = table(tmp_path, BOTH[:1], sections=[section])
    missed = "the paper's table that s declares (by_target) is not made"
    assert missed in rehearsal.faults(found, tables)
    entry = Entry("2026-01-01T00:00:00+00:00", "", only=("a",))
    assert rehearsal.faults(replace(found, study=replace(found.study, ledger=(entry,))), tables) == []


# ---- the command


def test_smoke_and_rehearsal_are_two_things(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        run_study(declared("mask_style"), ["--smoke", "--rehearse", "--store", str(tmp_path)])
    assert stopped.value.code == 2 and "--smoke is on synthetic music" in capsys.readouterr().err


def test_a_rehearsal_can_be_planned_without_data(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flags = ["--rehearse", "--dry-run", "--json", "--seeds", "1", "--store", str(tmp_path)]
    run_study(declared("separator_transfer"), [*flags, "--set", "scoring.hop=5"])
    plan = json.loads(capsys.readouterr().out)
    assert plan["title"].startswith("separator_transfer-rehearsal-") and plan["totals"]["trials"] == 3


def test_a_rehearsal_says_so_in_every_format(tmp_path: Path) -> None:
    found, tables = table(tmp_path, [("a", "macro", "sdr", 1.0), ("b", "macro", "sdr", 2.0)])
    found = replace(found, study=replace(found.study, question=rehearse.MARK + "Is b better?"))
    for path in reports.write(found, tables, tmp_path).values():
        assert "rehearsal" in path.read_text(encoding="utf-8").lower(), path.name


@pytest.mark.parametrize(
    "name, path, value, told",
    [
        ("source_ablation", "finetune.batch", 8, "level 'AST' of factor 'backend' sets finetune.batch to 4"),
        (
            "open_unmix_comparison",
            "separator.widths",
            (4, 4, 4),
            "Level 'Open-Unmix' of factor 'method' puts another 'separator' in its place",
        ),
        ("open_unmix_comparison", "separator.hidden", 4, "they have separator.name of it in common"),
        ("blocks_ablation", "separator.widths", (8, 8, 8), "level '4' of factor 'blocks' sets separator.widths"),
        ("blocks_ablation", "separator.hiden", 4, "no 'hiden' in recipe path"),
    ],
)
def test_a_setting_that_a_level_overrules_is_answered_with_that_level(
    name: str, path: str, value: object, told: str
) -> None:
    study = rehearse.rehearsed(declared(name))
    with pytest.raises(ValueError, match=re.escape(told)):
        study.trials([0], True, {path: value}, same)


def test_a_setting_beside_the_levels_is_taken(tmp_path: Path) -> None:
    study = rehearse.rehearsed(declared("source_ablation"))
    trials = study.trials([0], True, {"mixing.valid_segments": 7}, same)
    assert {trial.recipe.mixing.valid_segments for trial in trials} == {7}


@pytest.mark.parametrize("name", ["separator_transfer", "finetune_search"])
def test_no_suggestion_of_a_rehearsed_search_trains_on_more(name: str) -> None:
    """Spaces name the study's batches; of a rehearsal's only the other values are taken, and still some."""
    study = declared(name)
    full, small = study.search, rehearse.rehearsed(study).search
    assert full is not None and small is not None and small.smoke_trials == 2
    for stage, space in small.space.items():
        own, held = (probe(bound(each, rehearse.cut(study.baseline)), 1)[0][0] for each in (full.space[stage], space))
        assert {path for path in own.keys() - held.keys()} == {path for path in own if path.endswith(".batch")} != set()
        assert (
            held
            and all(own[path] == value for path, value in held.items())
            and _source(space) == _source(full.space[stage])
        )
