"""Mistakes in a study of somebody's own are told before anything is trained, each with its value and its place."""

from __future__ import annotations

import enum
import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from mss_core.artefact import write_scores
from mss_core.graph import Context, Stage
from mss_core.store import StageFailed, Store, run_stage
from mss_core.study import Factor, Study


class Kind(enum.Enum):
    PLAIN = "plain"


def judge(*, width: int, seed: int, version: int = 1, out: Path, ctx: Context) -> None:
    write_scores(out, [("", "", "mae", "", float(width + seed))])


def leaves(*, width: int, seed: int, version: int = 1, out: Path, ctx: Context) -> None:
    raise SystemExit(3)


def no_folder(*, width: int, seed: int, ctx: Context) -> None: ...


@dataclass(frozen=True)
class Plain:
    width: int = 4
    seed: int = 0
    loss: Literal["sum", "mean"] = "sum"
    unread: float = 0.5

    def pipeline(self) -> Stage:
        return Stage(judge, width=self.width, seed=self.seed)


@dataclass(frozen=True)
class OfKind(Plain):
    kind: Kind = Kind.PLAIN


@dataclass(frozen=True)
class OfPath(Plain):
    file: Path = Path("weights.pt")


@dataclass(frozen=True)
class OfNumpy(Plain):
    rate: Any = np.float32(0.5)


class Nothing(Plain):
    def pipeline(self) -> Stage:
        return None  # type: ignore[return-value]


class Slip(Plain):
    def pipeline(self) -> Stage:
        return Stage(judge, width=self.widht, seed=self.seed)  # type: ignore[attr-defined]


CALLS = itertools.count()


class Drawn(Plain):
    def pipeline(self) -> Stage:
        return Stage(judge, width=next(CALLS), seed=self.seed)


class NoFolder(Plain):
    def pipeline(self) -> Stage:
        return Stage(no_folder, width=self.width, seed=self.seed)


def study(levels: dict[str, dict[str, Any]], baseline: Any = Plain(), **changes: Any) -> Study:
    return Study(
        **{
            **{"name": "mine", "question": "?", "baseline": baseline, "factors": [Factor("width", levels)]},
            **{"reference": {}, "metric": "mae", "seeded": ["seed"], "smoke": lambda recipe: recipe},
            **changes,
        }
    )


LEVELS: dict[str, dict[str, Any]] = {"4": {}, "8": {"width": 8}}


@pytest.mark.parametrize(
    ("levels", "told"),
    [
        ({"a": {}, "b": {"width": 8}, "B": {"width": 9}}, "'b' and 'B' of study 'mine' differ only by"),
        ({"4": {}, "4.0": {"width": 8}}, "'4' and '4.0' of study 'mine' differ only by"),
        ({"4": {}, "same": {"width": 4.0}}, "'4' .* and 'same' .*'width': 4.0.* the same stages"),
        ({"4": {}, "8": {"width": 8}, "eight": {"width": 8.0}}, "'8' .* and 'eight' .* the same stages"),
        ({"4": {}, "other": {"unread": 0.1}}, "pipeline.. does not pass them on"),
        ({"4": {}, "8": {"width": np.int64(8)}}, r"'width' cannot be .*int64\(8\), no plain data.*write its item.., 8"),
        ({"4": {}, "8": {"loss": "men"}}, "'loss' cannot be 'men'; did you mean 'mean'"),
    ],
)
def test_a_level_that_cannot_be_told_apart_or_written_down_is_refused(levels: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        study(levels).check()


@pytest.mark.parametrize(
    ("baseline", "told"),
    [
        (OfKind(), "'kind' of the recipe is <Kind.PLAIN.*no plain data.*write its value, 'plain'"),
        (OfPath(), "'file' of the recipe is .*Path.*write its text, 'weights.pt'"),
        (OfNumpy(), r"'rate' of the recipe is .*float32\(0.5\).*write its item.., 0.5"),
        (Nothing(), "variant '4' of study 'mine': pipeline.. of the recipe must return its last Stage, not None"),
        (Slip(), "variant '4' of study 'mine': AttributeError: .*'widht'.*test_mistakes.py, line"),
        (Drawn(), "pipeline.. returns other stages when it is called again"),
        (NoFolder(), "the stage 'no_folder' takes no argument 'out'"),
        (type("Bare", (), {"pipeline": Plain.pipeline})(), "a recipe, a dataclass with a pipeline"),
    ],
)
def test_a_recipe_that_cannot_be_planned_or_written_down_is_refused(baseline: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        study(LEVELS, baseline).check()


def test_a_seed_is_not_written_over_a_level() -> None:
    with pytest.raises(ValueError, match="'seeded' holds 'width', which variant '8' changes"):
        study(LEVELS, seeded=["seed", "width"]).check()


@pytest.mark.parametrize(
    ("smoke", "told"),
    [(lambda recipe: None, "a smaller Plain, not None"), (lambda recipe: recipe.widht, "AttributeError.*'widht'")],
)
def test_a_smoke_size_that_is_no_recipe_is_refused(smoke: Any, told: str) -> None:
    with pytest.raises(ValueError, match=f"'smoke' of the study: .*{told}"):
        study(LEVELS, smoke=smoke).trials([0], True, {}, lambda recipe: recipe)


def test_a_study_without_mistakes_is_taken() -> None:
    study({"4": {}, "8": {"width": 8}, "mean": {"loss": "mean", "width": 9}}).check()


def test_a_stage_that_ends_its_program_has_failed_and_ends_no_study(tmp_path: Path) -> None:
    stage = Stage(leaves, width=1, seed=0)
    with pytest.raises(StageFailed, match="SystemExit: 3"):
        run_stage(stage, Store(tmp_path), Context())
    assert "SystemExit" in Store(tmp_path).log(stage).read_text()
