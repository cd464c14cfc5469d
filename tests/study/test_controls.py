"""Arms whose truth is known: they share the study's stages, stay out of its family, and decide whether it may speak."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from mss_core.graph import walk
from mss_core.store import Store
from mss_core.study import Control, Factor, run
from mss_core.study.study import FRESH
from mss_core.study.view import of_folder
from reports import prose, read, study_tables, summary
from reports.ablation import analyse
from reports.contract import Declaration, Study, Trial, Variant
from reports.contract import Factor as Declared
from reports.inputs.tables import Scores
from reports.sections import controls as panel
from tests.study import toy

CONTROLS = [
    Control("placebo", "equivalent", fresh=True, margin=0.06, why="other seeds"),
    Control("planted loss", "worse", {"train.epochs": 1}),
]
STUDY = toy.study(None, (Factor("kind", {"a": {}, "b": {"kind": "b"}}),), controls=CONTROLS)


def trials(study=STUDY):
    return study.trials(study.seeds, True, {}, lambda recipe: recipe)


def test_controls_are_the_reference_changed_and_no_variants() -> None:
    names = [trial.name for trial in trials()]
    assert names[-4:] == ["placebo/seed0", "placebo/seed1", "planted loss/seed0", "planted loss/seed1"]
    assert [v.name for v in STUDY.variants()] == ["a", "b"] and set(STUDY.references()) == {"a", "b"}
    of = {trial.name: trial.recipe for trial in trials()}
    assert of["placebo/seed1"] == replace(of["a/seed1"], train=replace(of["a/seed1"].train, seed=1 + FRESH))
    assert of["planted loss/seed1"] == replace(of["a/seed1"], train=replace(of["a/seed1"].train, epochs=1))
    plain = replace(STUDY, controls=())
    kept, with_controls = (walk(t.root for t in trials(study)) for study in (plain, STUDY))
    assert kept.keys() < with_controls.keys()  # what the study runs is what it ran without them


def test_a_placebo_may_have_more_runs_than_the_reference() -> None:
    found = trials(replace(STUDY, controls=[replace(CONTROLS[0], times=3)]))
    placebo = [trial for trial in found if trial.variant.name == "placebo"]
    assert [trial.seed for trial in placebo] == [0, 1, FRESH, FRESH + 1, 2 * FRESH, 2 * FRESH + 1]
    assert [trial.recipe.train.seed - FRESH for trial in placebo] == [trial.seed for trial in placebo]
    assert len({trial.root.key for trial in found}) == len(found) == 10


def test_a_control_s_change_comes_after_smoke_size() -> None:
    smoke = replace(STUDY, smoke=lambda recipe: replace(recipe, train=replace(recipe.train, epochs=4)))
    epochs = {trial.variant.name: trial.recipe.train.epochs for trial in trials(smoke)}
    assert epochs == {"a": 4, "b": 4, "placebo": 4, "planted loss": 1}
    assert replace(STUDY, controls=[replace(CONTROLS[0], smoke_margin=0.5)]).at_smoke_size().controls[0].margin == 0.5


@pytest.mark.parametrize(
    ("control", "message"),
    [
        (Control("a", "worse", {"train.epochs": 1}), "control 'a' .* needs a name that no variant"),
        (Control("x", "worst", {"train.epochs": 1}), "unknown expectation 'worst'.*did you mean 'worse'"),
        (Control("x", "worse"), "changes nothing"),
        (Control("x", "equivalent", fresh=True), "a margin belongs to 'equivalent'"),
        (Control("x", "worse", {"train.epochs": 1}, times=2), "times=2 of control 'x'.*above 1 with fresh=True"),
        (Control("x", "equivalent", fresh=True, times=0, margin=1.0), "times=0 of control 'x'"),
        (Control("x", "worse", {"train.epoch": 1}), "control 'x' of study 'toy': .*did you mean 'train.epochs'"),
    ],
)
def test_a_control_that_cannot_be_is_refused_before_anything_runs(control: Control, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(STUDY, controls=[control]).check()


def table(shifts: dict[str, float], seeds: int = 6, sd: float = 0.01, seed: int = 0) -> Scores:
    rng = np.random.default_rng(seed)
    rows = [
        dict(variant=name, seed=k, track="", group="", target="macro", metric="roc_auc", aggregation="", score=score)
        for name, shift in shifts.items()
        for k, score in enumerate(0.8 + shift + rng.normal(0, sd, seeds))
    ]
    return Scores(pd.DataFrame(rows), pd.DataFrame(columns=list(rows[0])))


def findings(shifts: dict[str, float], seed: int = 0, **changes):
    names, controls = (
        ("a", "b"),
        tuple(
            Control("placebo", "equivalent", fresh=True, margin=0.04, why="other seeds")
            if name == "placebo"
            else Control(name, "worse", {"q": 1})
            for name in ("placebo", "planted loss")
        ),
    )
    recipes = {
        "a": {"p": 0, "q": 0},
        "b": {"p": 1, "q": 0},
        "placebo": {"p": 0, "q": 0},
        "planted loss": {"p": 0, "q": 1},
    }
    declaration = Declaration(
        (Declared("kind", {"a": {}, "b": {"p": 1}}),),
        seeds=tuple(range(6)),
        reference="a",
        metric="roc_auc",
        controls=controls,
    )
    made = {
        name: Variant(name, {"kind": name if name in names else "a"}, {}, recipe) for name, recipe in recipes.items()
    }
    study = Study(
        "t",
        "t",
        "Does it help?",
        declaration=declaration,
        variants=tuple(made[n] for n in names),
        controls=tuple(made[c.name] for c in controls),
        trials=tuple(Trial(f"{n}/seed{k}", n, k) for n in made for k in range(6)),
    )
    return analyse(table(shifts, seed=seed), replace(study, **changes))


GOOD = {"a": 0.0, "b": 0.0, "placebo": 0.0, "planted loss": -0.1}


def test_controls_stay_out_of_the_family_and_the_verdict_cites_them() -> None:
    found = findings(GOOD)
    bare = analyse(table({"a": 0.0, "b": 0.0, "placebo": 0.0, "planted loss": -0.1}), _bare(found.study))
    assert found.main == bare.main and found.main.family == 1  # not a digit of the study's own contrasts changes
    compared = found.controls.comparison
    assert compared.family == 2 and {c.variant for c in compared.contrasts} == {"placebo", "planted loss"}
    text = prose.headline(found)
    assert not found.controls.failed and "CONTROL FAILED" not in text
    loss = compared.contrast("planted loss").primary.difference
    assert f"the planted loss of {-100 * loss:.2f} points was found" in text
    assert "the placebo (other seeds) was equivalent within 4.00 points" in text and "80 % power" in text
    assert panel.section(found, {}, None).points[0].startswith("As declared: the placebo")


def _bare(study: Study) -> Study:
    return replace(
        study,
        declaration=replace(study.declaration, controls=()),
        controls=(),
        trials=tuple(t for t in study.trials if t.variant in ("a", "b")),
    )


@pytest.mark.parametrize(
    ("shifts", "told"),
    [
        ({**GOOD, "planted loss": 0.0}, "A CONTROL FAILED: the planted loss was not found"),
        ({**GOOD, "planted loss": 0.1}, "in the other direction"),
        ({**GOOD, "placebo": 0.05}, "A CONTROL FAILED: the placebo (other seeds) was not shown to be equivalent"),
        (
            {"a": 0.0, "b": 0.1, "planted loss": -0.1},
            "A CONTROL FAILED: placebo could not be judged: placebo has no score",
        ),
    ],
)
def test_a_failed_control_is_the_headline(shifts: dict[str, float], told: str) -> None:
    found = findings(shifts)
    assert prose.headline(found).startswith("A CONTROL FAILED") and told in prose.headline(found)
    assert panel.section(found, {}, None).kind == "warn" and any(
        "FAILED" in p for p in panel.section(found, {}, None).points
    )


def test_true_controls_come_out_in_most_draws_and_false_ones_in_few() -> None:
    seeds = range(40)
    good = sum(not findings(GOOD, seed).controls.failed for seed in seeds)
    bad = sum(not findings({**GOOD, "placebo": 0.04}, seed).controls.failed for seed in seeds)
    assert good >= 36 and bad <= 6  # a placebo at its margin is called equivalent in at most 5 %


def test_a_study_with_controls_runs_and_says_what_next(tmp_path, capsys) -> None:
    run(replace(STUDY, name="ctl"), ["--smoke", "--in-process", "--store", str(tmp_path)])
    folder = tmp_path / "studies" / "ctl-smoke"
    said = capsys.readouterr()
    assert "This is a smoke run" in " ".join(said.out.split()) and "CONTROL" in said.out
    steps = said.err.split("next     ")[1]
    assert "report.html" in steps and "--seeds 4" in steps and "--dry-run" in steps
    scores = study_tables(folder).scores.frame
    assert set(scores["variant"]) == {"a", "b", "placebo", "planted loss"}
    assert {row.variant for row in read(folder).main.rows} == {"a", "b"} and "planted loss" in summary(folder)
    assert {t.name for t in of_folder(folder).trials} == {t.name for t in trials()}
    assert Store(tmp_path)
