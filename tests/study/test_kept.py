"""Which weights a training kept, as its stage recorded it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mss_core.graph import Context, Stage
from mss_core.store import Store
from mss_core.study.results import _kept
from mss_core.training import Phase, TrainConfig
from reports.contract import Kept


def kept(root: Path, best: dict, select: str | None = "best", epochs: int = 3) -> Kept | None:
    train = TrainConfig((Phase("adam", epochs=epochs),), batch=2, select=select) if select else None
    stage, store = Stage(pretrain, sources=("bass",), train=train), Store(root)
    folder = store.directory(stage)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "best.json").write_text(json.dumps(best))
    rows = [{"step": 50 * (epoch + 1), "total": 150, "train_loss": 1.0} for epoch in range(epochs)]
    (folder / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return _kept(stage, store)


def pretrain(*, sources: tuple[str, ...], train: TrainConfig | None, out: Path, ctx: Context) -> None: ...


@pytest.mark.parametrize(
    ("best", "select", "expected"),
    [
        ({"loss": 0.1, "epoch": 1, "epochs": 3, "steps": 150}, "best", (50, 150, 1, 3, "validation loss")),
        ({"loss": 0.1, "epoch": 2, "epochs": 3, "steps": 150}, "best", (100, 150, 2, 3, "validation loss")),
        ({"loss": 0.1, "epoch": 1, "epochs": 3, "steps": 150}, "last", (150, 150, 3, 3, "")),
        ({"epoch": 3, "epochs": 3, "steps": 150}, "best", (150, 150, 3, 3, "")),
    ],
)
def test_the_step_is_that_of_the_recorded_epoch(tmp_path: Path, best: dict, select: str, expected: tuple) -> None:
    assert kept(tmp_path, best, select) == Kept("pretrain bass", *expected)


def test_what_was_not_recorded_is_not_told(tmp_path: Path) -> None:
    best = {"loss": 0.1, "epoch": 1, "epochs": 3, "steps": 150}
    assert kept(tmp_path, best, None) is None and kept(tmp_path, {"loss": 0.1}) is None
    assert kept(tmp_path, best, epochs=2) == Kept("pretrain bass", 0, 150, 1, 3, "validation loss")
