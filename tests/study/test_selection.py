"""``--only`` and ``--factor``: a part of a study, and more of it, from the command line."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest

import reports
from mss_core.data.config import TrackSet
from mss_core.graph import Context, Stage
from mss_core.study import Control, Factor, Study, full_factorial, only_listed, run, selection
from reports import ledger
from reports.contract import read_declaration, to_json
from tests.study import toy


def finish(*, number: int, speed: tuple[int, ...], seed: int, out: Path, ctx: Context) -> None:
    score = 0.5 + 0.1 * number + 0.01 * sum(speed) + ((seed * 7919 + number * 104729) % 13) / 1000
    (out / "scores.csv").write_text(f"track,target,metric,aggregation,score\n,macro,roc_auc,,{score}\n")


@dataclass(frozen=True)
class Tape:
    number: int = 0
    speed: tuple[int, ...] = (1, 2)
    seed: int = 0

    def pipeline(self) -> Stage:
        return Stage(finish, number=self.number, speed=self.speed, seed=self.seed)


STUDY = Study(
    name="tapes",
    question="Which tape?",
    baseline=Tape(),
    factors=[Factor("number", {"0": {}, "1": {"number": 1}, "2": {"number": 2}, "3": {"number": 3}})],
    reference={"number": "0"},
    metric="roc_auc",
    smoke=lambda recipe: recipe,
    smoke_levels={"number": ("0", "1")},
    seeded=("seed",),
    seeds=range(3),
    test="half_pooled",
)
CONTROLLED = replace(STUDY, controls=[Control("placebo", "equivalent", fresh=True, margin=0.5)])


@pytest.fixture
def go(monkeypatch, tmp_path):
    """Run a study in this process, without MLflow; returns the folder of its title."""
    monkeypatch.setattr(sys.modules["mss_core.study.run"], "_tracker", lambda *given: None)

    def run_it(study: Study, *flags: str) -> Path:
        before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("studies/*/study.json")}
        run(study, ["--in-process", "--store", str(tmp_path), *flags])
        (made,) = [p for p in tmp_path.glob("studies/*/study.json") if p.stat().st_mtime_ns != before.get(p)]
        return made.parent

    return run_it


def trials(folder: Path) -> dict[str, str]:
    return {trial["trial"]: trial["status"] for trial in json.loads((folder / "study.json").read_text())["trials"]}


def test_only_runs_what_is_named_and_its_reference(go, tmp_path) -> None:
    folder = go(STUDY, "--only", "2")
    assert len(list(tmp_path.glob("finish/*/manifest.json"))) == 6
    assert {name.partition("/")[0] for name, status in trials(folder).items() if status == "done"} == {"0", "2"}
    assert [name.partition("/")[0] for name in trials(folder)] == [v for v in "0123" for _ in range(3)]
    entry = json.loads((folder / "declarations.jsonl").read_text())
    assert entry["only"] == ["0", "2"]
    assert [*entry["declaration"]["factors"][0]["levels"]] == ["0", "1", "2", "3"]
    findings = reports.read(folder)
    assert findings.main.family == 3
    assert findings.deviations == ("1 and 3 were declared and not run (--only: 0 and 2), and count in the family.",)
    assert not any("has no" in text for text in findings.cautions)
    assert ledger.before_the_run(findings.study)


def test_the_rest_comes_later_and_nothing_is_run_twice(go, tmp_path) -> None:
    go(STUDY, "--only", "2")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("finish/*/manifest.json")}
    folder = go(STUDY)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    findings = reports.read(folder)
    assert set(trials(folder).values()) == {"done"} and findings.deviations == ()
    part = go(STUDY, "--only", "3")  # what the store has stays in the tables
    assert part == folder and set(trials(part).values()) == {"done"} and reports.read(part).deviations == ()
    assert len(pd.read_csv(part / "scores.csv")) == 12


def test_a_control_runs_where_it_is_named(go) -> None:
    findings = reports.read(go(CONTROLLED, "--only", "1"))
    assert findings.controls is None and "CONTROL" not in reports.summary(findings)
    assert any("The control placebo was not run (--only)" in text for text in findings.cautions)
    findings = reports.read(go(CONTROLLED, "--only", "1", "placebo"))
    assert findings.controls is not None and findings.controls.judged[0].came_out


def test_all_variants_are_no_selection() -> None:
    assert selection.only(STUDY, []) is None and selection.only(STUDY, ["0", "1", "2", "3"]) is None
    assert selection.only(STUDY, ["3"]) == ("0", "3") == selection.only(STUDY, ["3", "0", "3"])


@dataclass(frozen=True)
class OfMusic:
    data: TrackSet = TrackSet(size=10)
    number: int = 0
    seed: int = 0

    def pipeline(self) -> Stage:
        return Stage(listen, data=self.data, number=self.number, seed=self.seed)


def listen(*, data: TrackSet, number: int, seed: int, out: Path, ctx: Context) -> None:
    finish(number=number, speed=(), seed=seed, out=out, ctx=ctx)


def test_data_of_what_is_not_run_need_not_be_there(go, capsys) -> None:
    levels = {"made up": {}, "other": {"number": 1}, "real": {"data.name": "musdb18hq"}}
    study = replace(STUDY, baseline=OfMusic(), factors=[Factor("data", levels)], reference={}, smoke_levels={})
    with pytest.raises(SystemExit):
        run(study, ["--in-process"])
    assert "musdb18hq" in capsys.readouterr().err
    findings = reports.read(go(study, "--only", "other"))
    assert findings.deviations == (
        "real was declared and not run (--only: made up and other), and counts in the family.",
    )
    assert not any("refused" in text for text in findings.cautions)


def test_what_only_does_not_go_with() -> None:
    searched = toy.study(toy.asha(scope="each_variant"), (Factor("kind", {"a": {}, "b": {"kind": "b"}}),))
    with pytest.raises(ValueError, match="--only goes with no search of each variant"):
        selection.only(searched, ["b"])
    assert selection.only(replace(searched, search=toy.asha()), ["b"]) is None
    with pytest.raises(ValueError, match="study 'toy' has no factors, so no variants to choose from"):
        selection.only(toy.study(toy.asha()), ["b"])


def test_a_rehearsal_of_a_part_is_whole(go, capsys) -> None:
    go(STUDY, "--rehearse", "--only", "3")
    assert "tapes-rehearsal: every table is whole" in capsys.readouterr().err


def test_levels_from_the_command_line_are_declared_and_compared(go) -> None:
    plain = go(STUDY)
    folder = go(STUDY, "--factor", "number=9:number=9", "--factor", "pace=slow:speed=[0,1],number=1")
    assert folder != plain and folder.name.startswith("tapes-")
    told = json.loads((folder / "study.json").read_text())
    factors = {factor["name"]: factor["levels"] for factor in told["declaration"]["factors"]}
    assert factors["number"]["9"] == {"number": 9}
    assert factors["pace"] == {"as given": {}, "slow": {"speed": [0, 1], "number": 1}}
    assert told["declaration"]["added"] == ["number=9:number=9", "pace=slow:speed=[0,1],number=1"]
    findings = reports.read(folder)
    assert findings.main.family == 5 and findings.main.contrast("pace=slow").reference == "baseline"
    (entry,) = map(json.loads, (folder / "declarations.jsonl").read_text().splitlines())
    assert entry["declaration"]["added"] == told["declaration"]["added"]
    assert "added on the command line (--factor): number=9" in (folder / "report.md").read_text()


def test_a_smoke_run_keeps_an_added_level(go) -> None:
    folder = go(STUDY, "--smoke", "--factor", "number=7:number=7")
    assert {name.partition("/")[0] for name in trials(folder)} == {"0", "1", "7"}


def test_a_level_that_a_smoke_run_undoes_is_refused(capsys) -> None:
    cut = replace(STUDY, smoke=lambda recipe: replace(recipe, speed=(1,)))
    with pytest.raises(SystemExit):
        run(cut, ["--smoke", "--dry-run", "--factor", "pace=slow:speed=[0,1]"])
    told = capsys.readouterr().err
    assert "at this size the study sets what the level changes, so 'pace=slow' would be the same as 'baseline'" in told
    selection.check_cut(selection.with_factors(cut, ["number=9:number=9"]))


def test_a_declaration_without_added_levels_has_the_hash_that_it_had() -> None:
    declared = to_json(STUDY.declaration(range(3), False, {}))
    assert "added" not in declared and read_declaration(declared).added == ()
    more = selection.with_factors(STUDY, ["number=9:number=9"])
    assert to_json(more.declaration(range(3), False, {}))["added"] == ["number=9:number=9"]
    assert selection.with_factors(STUDY, []) is STUDY


def test_a_new_factor_of_a_full_factorial_is_crossed_with_the_others() -> None:
    made = selection.with_factors(replace(STUDY, design=full_factorial), ["pace=slow:speed=[1]"])
    assert len(made.variants()) == 8


def test_a_design_that_makes_no_variant_of_a_level_is_refused() -> None:
    listed = replace(
        STUDY,
        design=only_listed,
        factors=[Factor("number", {"1": {"number": 1}, "2": {"number": 2}})],
        reference={"number": "1"},
    )
    with pytest.raises(ValueError, match="the design only_listed of study 'tapes' makes no variant of level 'slow'"):
        selection.with_factors(listed, ["pace=slow:speed=[1]"])
