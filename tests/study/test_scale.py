"""Studies of thousands of trials: planned and reported again in seconds (of this process).

`make test` runs this file by itself: two processes that share caches slow each other down.
"""

from __future__ import annotations

import gc
import json
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from mss_core import disk
from mss_core.store import Store
from mss_core.study import Factor, Study, only_listed, run
from mss_core.study.binding import Binder
from mss_core.study.plan import Plan, make_plan
from mss_core.systems.msspt import msspt_cnn, smoke

pytestmark = pytest.mark.slow
TAGS = tuple(f"tag {number:02}" for number in range(12))


def study(levels: int, seeds: int) -> Study:
    """A study of the tail alone: four stages a trial, of which one is shared."""
    return Study(
        name="large",
        question="Which learning rate?",
        baseline=msspt_cnn(),
        factors=[
            Factor(
                "rate",
                {
                    f"rate {number}": {
                        "pretrain": None,
                        "finetune": None,
                        "train_tail.phases.0.weight_decay": number / 1000,
                    }
                    for number in range(levels)
                },
            )
        ],
        design=only_listed,
        seeds=range(seeds),
        seeded=("train_tail.seed", "finetune.seed"),
        reference={"rate": "rate 0"},
        metric="roc_auc",
        smoke=smoke,
    )


@pytest.fixture
def volatile(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing is forced out to the disk, by the store or by MLflow's database: a preparation would wait long."""

    def unsynced(connection: sqlite3.Connection, record: object) -> None:
        connection.execute("PRAGMA synchronous = OFF")

    for name in ("sync", "force_out"):
        monkeypatch.setattr(disk, name, lambda file: None)
    event.listen(Engine, "connect", unsynced)
    yield
    event.remove(Engine, "connect", unsynced)


def finish(plan: Plan, store: Store) -> None:
    """Commit an artefact with invented content for every stage of a plan."""
    facts = {
        "seconds": 1.5,
        "finished": "2026-01-01T00:00:00Z",
        "device": "cpu",
        "device_name": "cpu",
        "environment": {},
    }
    for number, stage in enumerate(plan.stages.values()):
        out, rng = store.begin(stage), np.random.default_rng(number)
        if stage.name == "evaluate":
            rows = [("", tag, metric, "", rng.random()) for metric in ("roc_auc", "pr_auc") for tag in TAGS]
            rows += [("", "macro", metric, "mean over tags", rng.random()) for metric in ("roc_auc", "pr_auc")]
            table = pd.DataFrame(rows, columns=["track", "target", "metric", "aggregation", "score"])
            table.to_csv(out / "scores.csv", index=False)
        elif stage.name == "infer":
            pd.DataFrame(
                {
                    "item": np.repeat([f"clip {i}" for i in range(45)], len(TAGS)),
                    "target": np.tile(TAGS, 45),
                    "truth": rng.integers(0, 2, 45 * len(TAGS), dtype=np.int8),
                    "score": rng.random(45 * len(TAGS)),
                }
            ).to_parquet(out / "predictions.parquet", index=False)
        else:
            (out / "weights.pt").write_bytes(rng.bytes(200_000))
            (out / "notes.json").write_text("[]")
            (out / "index.json").write_text('{"notes": []}')
            (out / "history.jsonl").write_text(
                "".join(
                    json.dumps({"step": 10 * i, "total": 200, "train_loss": 1 / (i + 1), "valid_loss": 2 / (i + 1)})
                    + "\n"
                    for i in range(20)
                )
            )
        store.commit(stage, facts)


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_ten_thousand_trials_are_planned_and_printed_in_ten_seconds(tmp_path: Path, capsys, flags) -> None:
    start = time.process_time()
    run(study(2000, 5), ["--dry-run", "--store", str(tmp_path), *flags])
    assert time.process_time() - start < 10
    assert gc.isenabled() and not gc.get_freeze_count()
    printed = capsys.readouterr().out
    if flags:
        assert json.loads(printed)["totals"] == {
            "trials": 10_000,
            "calls": 40_000,
            "distinct": 30_001,
            "done": 0,
            "to_run": 30_001,
        }
    else:
        assert "10000 trials, 40000 stage calls, 30001 distinct: 0 in the store, 30001 to run" in printed


@pytest.mark.usefixtures("volatile")
def test_five_hundred_finished_trials_are_reported_again_in_ten_seconds(tmp_path: Path, capsys) -> None:
    large = study(100, 5)
    flags = ["--smoke", "--in-process", "--store", str(tmp_path)]
    store = Store(tmp_path)
    finish(make_plan(large.trials(range(5), True, {}, Binder({}, store.root)), store), store)
    run(large, flags)
    capsys.readouterr()
    start = time.process_time()
    run(large, flags)
    assert time.process_time() - start < 10
    assert "0 stages executed, 1501 found in the store" in capsys.readouterr().err
