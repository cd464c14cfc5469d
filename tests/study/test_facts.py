"""What a stage is to the harness follows from its arguments and its place, never from its name."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mss_core import disk
from mss_core.data.config import TrackSet
from mss_core.graph import Context, Stage, plain
from mss_core.store import Store, materialize
from mss_core.study import Factor, Study, run
from mss_core.study.designs import Variant
from mss_core.study.facts import described_data, reads_data, reported, trains
from mss_core.study.plan import make_plan
from mss_core.study.progress import describe
from mss_core.study.study import Trial
from mss_core.training import TrainConfig


def measure(*, data: TrackSet, others: tuple[TrackSet, ...] = (), out: Path, ctx: Context) -> None:
    (out / "notes.json").write_text("[]")


def prepare_nothing(*, data: Path, out: Path, ctx: Context) -> None:
    (out / "x").touch()


def pretrain(*, data: Path, train: TrainConfig, out: Path, ctx: Context) -> None:
    (out / "x").touch()


def look(*, model: Path, out: Path, ctx: Context) -> None:
    (out / "examples.json").write_text("[]")


def last(*, looked: Path, model: Path, out: Path, ctx: Context) -> None:
    (out / "scores.csv").write_text("track,target,metric,aggregation,score\n")


def graph() -> dict[str, Stage]:
    data = Stage(measure, data=TrackSet())
    packed = Stage(prepare_nothing, data=data)
    model = Stage(pretrain, data=packed, train=TrainConfig(seed=7))
    seen = Stage(look, model=model)
    return {stage.name: stage for stage in (data, packed, model, seen, Stage(last, looked=seen, model=model))}


def test_facts_follow_from_arguments() -> None:
    stages = graph()
    assert [name for name, stage in stages.items() if trains(stage)] == ["pretrain"]
    assert [name for name, stage in stages.items() if reads_data(stage)] == ["measure"]
    assert [name for name, stage in stages.items() if described_data(plain(stage.arguments))] == ["measure"]
    several = Stage(measure, data=None, others=(TrackSet(),))
    assert reads_data(several) and described_data(plain(several.arguments))
    assert {stage.name for stage in reported([stages["last"]], stages)} == {"measure", "look", "last"}


def test_what_a_report_reads_is_made_again_and_what_was_trained_is_not(tmp_path: Path) -> None:
    stages, store = graph(), Store(tmp_path)
    materialize(stages["last"], store, Context())
    for stage in stages.values():
        disk.remove(store.directory(stage)) if stage.name != "last" else None
    plan = make_plan([Trial(Variant("one", {}, {}), 0, None, stages["last"])], store)
    # look is wanted, and it needs the model again; a model that only the root read would be left alone
    assert {stages_name(plan, key) for key in plan.needed} == {"measure", "prepare_nothing", "pretrain", "look"}
    materialize(stages["look"], store, Context())
    disk.remove(store.directory(stages["pretrain"]))
    assert make_plan([Trial(Variant("one", {}, {}), 0, None, stages["last"])], store).needed == []


def stages_name(plan, key: str) -> str:
    return plan.stages[key].name


def test_a_pretraining_of_somebody_else_is_described_without_our_arguments() -> None:
    """It raised KeyError: 'sources'."""
    model = graph()["pretrain"]
    assert describe(model) == f"pretrain seed 7 {model.key[:8]}"


def prepare_one(*, number: int, out: Path, ctx: Context) -> None:
    if number <= 0:
        raise ValueError("no such tape")
    (out / "x").touch()


def finish(*, data: Path, out: Path, ctx: Context) -> None:
    (out / "scores.csv").write_text("track,target,metric,aggregation,score\n,macro,roc_auc,,0.5\n")


@dataclass(frozen=True)
class Tape:
    number: int = 0
    seed: int = 0

    def pipeline(self) -> Stage:
        return Stage(finish, data=Stage(prepare_one, number=self.number))


def tapes(*numbers: int) -> Study:
    levels = {str(number): {} if number == 0 else {"number": number} for number in numbers}
    return Study(
        name="tapes",
        question="Which tape?",
        baseline=Tape(),
        factors=[Factor("number", levels)],
        reference={"number": "0"},
        metric="roc_auc",
        smoke=lambda recipe: recipe,
        seeded=("seed",),
        seeds=range(1),
        search=None,
    )


@pytest.fixture
def untracked(monkeypatch) -> None:
    """Without MLflow, whose database takes ten seconds to set up."""
    monkeypatch.setattr(sys.modules["mss_core.study.run"], "_tracker", lambda *given: None)


def test_a_failed_preparation_leaves_the_others_alone(tmp_path: Path, capsys, untracked) -> None:
    """It stopped the whole study, whatever else did not need it."""
    with pytest.raises(SystemExit) as ended:
        run(tapes(0, 1, 2), ["--in-process", "--store", str(tmp_path)])
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "1 stages failed, 1 more could not start" in said
    assert len(list(tmp_path.glob("finish/*/manifest.json"))) == 2 and "report   " in said


def test_where_nothing_was_scored_the_failures_are_listed(tmp_path: Path, capsys, untracked) -> None:
    """It ended with "the score table holds no defined score", status 2."""
    factor = Factor("take", {"a": {}, "b": {"number": -1}})
    broken = replace(tapes(0, 1), factors=[factor], reference={"take": "a"}, seeded=())
    with pytest.raises(SystemExit) as ended:
        run(broken, ["--in-process", "--store", str(tmp_path)])
    said = capsys.readouterr().err
    assert ended.value.code == 1 and "no trial has scores, so there is no report" in said
    assert "prepare_one" in said and "no such tape" in said and "try again with the same command" in said
