"""One contract: what `Study.check` accepts, the report reads and renders; what the report refuses, it has refused."""

from __future__ import annotations

import json
import runpy
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

import reports
from mss_core.graph import Context, Stage, plain
from mss_core.study import Factor, Metric, Study, run
from reports import contract
from tests.conftest import REPOSITORY
from tests.study import toy

METRICS = ("sdr", "si_sdr", "roc_auc")
STUDIES = sorted(path.stem for path in (REPOSITORY / "studies").glob("*.py"))
SWEEP = {"kind": "sweep", "factor": "length", "metrics": ["sdr"]}
TARGETED = {"kind": "by_target", "paper": "iass", "table": "Table 4", "metrics": ["sdr"]}


def targets(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    return ("vocals", "drums")


def score(*, width: int, version: int = 1, out: Path, ctx: Context) -> None:
    """Two tracks and two targets, and their means, in every metric."""
    draw = np.random.default_rng([width])
    rows = [
        (track, target, metric, "", draw.normal(width / 10))
        for metric in METRICS
        for target in ("vocals", "drums", "macro")
        for track in ("song 0", "song 1", "")
    ]
    pd.DataFrame(rows, columns=["track", "target", "metric", "aggregation", "score"]).to_csv(
        out / "scores.csv", index=False
    )


class Recipe(toy.Toy):
    def pipeline(self) -> Stage:
        return Stage(score, width=self.train.width + self.train.seed)


LEVELS = {"1": {}, "2": {"train.width": 5}}


def study(**changes: Any) -> Study:
    return toy.study(None, (Factor("length", LEVELS),), baseline=Recipe(), **{"metric": "sdr", **changes})


def refusal(given: Study) -> str:
    try:
        given.check()
    except ValueError as error:
        return str(error)
    return ""


def reported(given: Study, home: Path) -> str:
    """The refusal of the report of such a study that has run; empty where all formats are written."""
    home.mkdir(parents=True, exist_ok=True)
    declaration = contract.to_json(given.declaration(given.seeds, False, {}))
    tables = []
    for trial in given.trials(given.seeds, False, {}, lambda recipe: recipe):
        trial.root.function(**trial.root.arguments, out=home, ctx=None)
        table = pd.read_csv(home / "scores.csv", keep_default_na=False)
        tables.append(table.assign(variant=trial.variant.name, seed=trial.seed, length=trial.variant.levels["length"]))
    pd.concat(tables).to_csv(home / "scores.csv", index=False)
    variants = [{"variant": v.name, "levels": v.levels, "departures": v.departures} for v in given.variants()]
    document = {"title": "toy", "declaration": declaration, "variants": variants}
    (home / "study.json").write_text(json.dumps(document), encoding="utf-8")
    try:
        reports.render(home)
    except ValueError as error:
        return str(error)
    return ""


SECTIONS = st.fixed_dictionaries(
    {"kind": st.sampled_from(["sweep", "swep", "by_target", "published_columns", "steering", "a_paper.report"])},
    optional={
        "factor": st.sampled_from(["length", "lenght", 3]),
        "metrics": st.sampled_from([["sdr"], ["sdr", "si_sdr"], ["sdrr"], "sdr"]),
        "lines": st.sampled_from([["1"], ["5"], []]),
        "paper": st.sampled_from(["iass", "iasss"]),
        "table": st.sampled_from(["Table 1", "Table 4", "Table 44"]),
        "many": st.sampled_from([0, 3]),
    },
)
DECLARED = {
    "test": st.sampled_from(["", *contract.TESTS, "welsh", "t"]),
    "correction": st.sampled_from([*contract.CORRECTIONS, *contract.SPELLINGS, "bonferoni", ""]),
    "alpha": st.one_of(st.floats(-1, 1), st.sampled_from([0.05, 5, 1e-12, 0.5, "five", True, float("nan")])),
    "metric": st.sampled_from([*METRICS, "sdrr", "roc_acu", ""]),
    "target": st.sampled_from(["", "macro", "vocals", "vocal", "macrro"]),
    "metrics": st.dictionaries(st.sampled_from(["1", "2"]), st.sampled_from([*METRICS, "sir"]), max_size=2),
    "margin": st.one_of(st.none(), st.floats(), st.sampled_from(["wide", 1])),
    "exclude": st.lists(st.sampled_from(["song 0", "drums", "macro", "", "2/seed1", "3/seed1"]), max_size=2),
    "higher_is_better": st.sampled_from([None, True, False, "yes"]),
    "sections": st.lists(st.one_of(st.just(SWEEP), st.just(TARGETED), SECTIONS), max_size=2),
}
CHANGES = st.lists(st.sampled_from(list(DECLARED)), min_size=1, max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: DECLARED[name] for name in names})
)


@example(changes={"alpha": 0.0, "metric": ""})
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=CHANGES)
def test_what_is_accepted_is_rendered_and_what_the_report_refuses_was_refused(changes, tmp_path: Path) -> None:
    declared = study(**changes)
    said = refusal(declared)
    told = reported(declared, tmp_path / "studies" / "toy")
    assert not told or said, (changes, told)
    if len(changes) == 1:  # of two faults they may name another one first
        assert not told or told.endswith(said), (changes, said, told)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("activity_ablation", {"test": "welsh"}, "unknown test 'welsh' in declaration.test; did you mean 'welch'?"),
        (
            "activity_ablation",
            {"test": "delong"},
            "'delong', which compares ROC-AUCs by their clips; the metric is 'avg'",
        ),
        ("activity_ablation", {"test": "seeds_clips"}, "which compares ROC-AUCs by their clips; the metric is 'avg'"),
        ("activity_ablation", {"own_metrics": {"avg": Metric("", "dB", False)}}, "turns the direction of 'avg'"),
        (
            "activity_ablation",
            {"exclude": [f"no, no/seed{seed}" for seed in range(5)]},
            "declaration.exclude leaves no trial of variant 'no, no'",
        ),
        (
            "median_filter",
            {"sections": [{"kind": "result", "leave_out": "yes"}]},
            "option 'leave_out' of report section 'result': it is 'yes'; it must be true or false",
        ),
        ("activity_ablation", {"alpha": 5}, "declaration.alpha is 5; it must lie between 0.000010 and 0.5, e.g. 0.05"),
        ("activity_ablation", {"correction": "bonferoni"}, "did you mean 'bonferroni'?"),
        ("activity_ablation", {"correction": "benjamini"}, "did you mean 'benjamini_hochberg'?"),
        ("source_ablation", {"metric": "roc_acu"}, "the scores have no metric 'roc_acu'; did you mean 'roc_auc'?"),
        ("source_ablation", {"target": "macrro"}, "metric 'roc_auc' has no target 'macrro'; did you mean 'macro'?"),
        ("activity_ablation", {"target": "vocal"}, "metric 'avg' has no target 'vocal'; did you mean 'vocals'?"),
        ("activity_ablation", {"margin": -1}, "declaration.margin is -1; it must be a positive number"),
        ("activity_ablation", {"exclude": ["macro"]}, "'macro', the target that is compared"),
        ("activity_ablation", {"exclude": ["no, on/seed1"]}, "no variant 'no, on'; did you mean 'no, no'?"),
        ("median_filter", {"sections": [{"kind": "swep"}]}, "no report section 'swep'; did you mean 'sweep'?"),
        ("median_filter", {"sections": [{"kind": "sweep"}]}, "report section 'sweep' needs the option 'factor'"),
        (
            "median_filter",
            {"sections": [{"kind": "sweep", "factor": "lenght", "metrics": ["avg"]}]},
            "option 'factor' of report section 'sweep': no factor 'lenght'; did you mean 'length'?",
        ),
        (
            "median_filter",
            {"sections": [{"kind": "sweep", "factor": "length", "metrics": ["avg"], "line": []}]},
            "report section 'sweep' takes no option 'line'; did you mean 'lines'?",
        ),
        ("activity_ablation", {"sections": [TARGETED | {"paper": "iasss"}]}, "did you mean 'iass'?"),
        ("activity_ablation", {"sections": [TARGETED | {"table": "Table 44"}]}, "has no table 'Table 44'"),
        ("activity_ablation", {"sections": [{"kind": "no_such.report"}]}, "No module named 'no_such'"),
    ],
)
def test_a_wrong_declaration_is_answered_before_anything_runs(
    name: str, changes: dict, message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    declared = runpy.run_path(str(REPOSITORY / "studies" / f"{name}.py"))["study"]
    with pytest.raises(SystemExit) as stopped:
        run(replace(declared, **changes), ["--dry-run", "--store", str(tmp_path)])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("correction", [*contract.CORRECTIONS, *contract.SPELLINGS])
def test_every_correction_is_planned_and_rendered(correction: str, tmp_path: Path) -> None:
    declared = study(correction=correction, margin=0.5, exclude=["2/seed1"])
    run(declared, ["--dry-run", "--store", str(tmp_path)])
    assert reported(declared, tmp_path / "studies" / "toy") == ""
    name = contract.CORRECTIONS[contract.SPELLINGS.get(correction, correction)]
    assert name in (tmp_path / "studies" / "toy" / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_accepted_and_a_slip_in_its_metric_is_not(name: str) -> None:
    declared: Study = runpy.run_path(str(REPOSITORY / "studies" / f"{name}.py"))["study"]
    declared.check()
    assert contract.known_metric(declared.metric)
    slip = declared.metric + declared.metric[-1]
    message = refusal(replace(declared, metric=slip))
    assert message == f"the scores have no metric {slip!r}; did you mean {declared.metric!r}?"


def test_a_metric_of_ones_own_is_accepted_with_its_unit_and_direction(tmp_path: Path) -> None:
    own = {"width": Metric("width of the error", "mm", higher_is_better=False)}
    nobody_says = toy.study(None, (Factor("length", LEVELS),), metric="width")
    assert refusal(nobody_says).startswith("the scores have no metric 'width'; ")
    declared = replace(nobody_says, own_metrics=own)
    assert refusal(declared) == "" and not declared.direction()
    read = contract.read_declaration(json.loads(json.dumps(contract.to_json(declared.declaration([0], False, {})))))
    assert read.own_metrics == own and read.higher_is_better is False


def test_a_study_repeats_a_declaration_and_names_where_it_departs() -> None:
    """A field that is added to one of the two is refused here until it is said what it is to the other."""

    def default(each: Field) -> Any:
        return each.default if each.default_factory is MISSING else each.default_factory()

    ours, theirs = ({each.name: default(each) for each in fields(kind)} for kind in (Study, contract.Declaration))
    assert theirs.keys() - ours.keys() == {"shared", "references", "until", "settings"}  # found by Study.declaration
    assert ours.keys() - theirs.keys() == {"name", "question", "chosen", "searched"} | {
        *("smoke", "smoke_levels", "smoke_seeds", "rehearsal", "lends")
    }
    required = {name for name, value in ours.items() if value is MISSING}
    assert required & theirs.keys() == {"baseline", "factors", "reference", "metric", "seeded"}
    differ = {name for name in theirs.keys() & ours.keys() - required if ours[name] != theirs[name]}
    assert differ == {"seeds", "design", "target", "search"}


def test_a_declaration_is_the_same_after_json() -> None:
    declared = study(sections=[SWEEP], margin=0.5, exclude=["song 0"], correction="benjamini_hochberg")
    declaration = declared.declaration(range(2), False, {"train.width": 4})
    read = contract.read_declaration(json.loads(json.dumps(plain(contract.to_json(declaration)))))
    assert contract.to_json(read) == plain(contract.to_json(declaration))
    assert read.correction == "bh" and read.margin == 0.5 and read.exclude == ("song 0",)


@pytest.mark.parametrize("reserved", contract.COLUMNS)
def test_a_factor_cannot_take_a_column_of_the_score_table(reserved: str) -> None:
    declared = toy.study(None, (Factor(reserved, LEVELS),))
    assert refusal(declared) == f"a factor cannot be called {reserved!r}: that is a column of scores.csv"


def test_the_significant_p_is_that_of_the_correction() -> None:
    from reports.statistics.corrections import correct

    for correction in contract.CORRECTIONS:
        largest = contract.significant_p(correction, 0.05, 4)
        assert max(correct([largest] * 4, correction, 4)) <= 0.05 < min(correct([largest * 1.01] * 4, correction, 4))
