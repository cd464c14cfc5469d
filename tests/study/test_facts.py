"""What a stage is to the harness follows from its arguments and its place, never from its name."""

from __future__ import annotations

from pathlib import Path

from mss_core.data.config import TrackSet
from mss_core.graph import Context, Stage, plain
from mss_core.store import Store, materialize
from mss_core.study.execution.progress import describe
from mss_core.study.facts import described_data, reads_data, reported, trains
from mss_core.study.plan import make_plan
from mss_core.study.study import Trial, Variant
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
        store.set_aside(stage) if stage.name != "last" else None
    plan = make_plan([Trial(Variant("one", {}, {}), 0, None, stages["last"])], store)
    # look is wanted, and it needs the model again; a model that only the root read would be left alone
    assert {stages_name(plan, key) for key in plan.needed} == {"measure", "prepare_nothing", "pretrain", "look"}
    materialize(stages["look"], store, Context())
    store.set_aside(stages["pretrain"])
    assert make_plan([Trial(Variant("one", {}, {}), 0, None, stages["last"])], store).needed == []


def stages_name(plan, key: str) -> str:
    return plan.stages[key].name


def test_a_pretraining_of_somebody_else_is_described_without_our_arguments() -> None:
    """It raised KeyError: 'sources'."""
    model = graph()["pretrain"]
    assert describe(model) == f"pretrain seed 7 {model.key[:8]}"
