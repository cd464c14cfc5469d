"""``load(study, trial)``: a trained module in a notebook, with the recipe that made it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from mss_core.artefact import write_trained
from mss_core.graph import Context, Stage
from mss_core.models import build, model
from mss_core.study import Control, Factor, Study, load, run


def warm(*, width: int, out: Path, ctx: Context) -> None:
    torch.save({"bias": torch.full((width,), 9.0)}, out / "weights.pt")


def train(*, warmed: Path, tail: dict[str, Any], seed: int, out: Path, ctx: Context) -> None:
    torch.manual_seed(seed)
    described = {**tail, "classes": 3, "channels": 1} if "classes" in tail else tail
    write_trained(out, described, build(described), {"loss": 1.0})


def score(*, model: Path, out: Path, ctx: Context) -> None:
    (out / "scores.csv").write_text("metric,score\nmae,0.5\n")


@dataclass(frozen=True)
class Net:
    tail: dict[str, Any]
    width: int = 2
    seed: int = 0

    def pipeline(self) -> Stage:
        return Stage(score, model=Stage(train, warmed=Stage(warm, width=self.width), tail=self.tail, seed=self.seed))


TAIL = model("cnn_tail", widths=(2,) * 7, dense=4)
STUDY = Study(
    name="nets",
    question="Which net?",
    baseline=Net(TAIL),
    factors=[Factor("dense", {"4": {}, "8": {"tail.dense": 8}})],
    reference={"dense": "4"},
    metric="mae",
    smoke=lambda recipe: recipe,
    seeded=("seed",),
    seeds=range(2),
    controls=[Control("placebo", "equivalent", fresh=True, margin=9.0)],
)


@pytest.fixture
def store(monkeypatch, tmp_path) -> Path:
    monkeypatch.setattr(sys.modules["mss_core.study.run"], "_tracker", lambda *given: None)
    run(STUDY, ["--in-process", "--store", str(tmp_path)])
    return tmp_path


def test_the_module_of_a_trial_and_its_recipe(store: Path, monkeypatch) -> None:
    trained = load("nets", "8/seed1", store=store)
    torch.manual_seed(1)
    fresh = build({**TAIL, "dense": 8})
    assert all(torch.equal(a, b) for a, b in zip(trained.module.parameters(), fresh.parameters(), strict=True))
    assert not trained.module.training
    assert (trained.study, trained.trial, trained.stage) == ("nets", "8/seed1", "train")
    assert trained.recipe["tail.dense"] == 8 and trained.recipe["seed"] == 1
    assert trained.folder == store / "train" / trained.key
    monkeypatch.setenv("MSS_STORE", str(store))
    assert load("nets", "8/seed1").key == trained.key == load(store / "studies" / "nets", "8/seed1").key
    assert load("nets", "4/seed0").key != trained.key and load("nets", "placebo/seed1").recipe["seed"] == 100_001


def test_another_training_of_the_trial_and_a_module_of_ones_own(store: Path) -> None:
    with pytest.raises(ValueError, match=r"warm \w+ left no model.json .* give load\(\) a module"):
        load("nets", "4/seed0", "warm", store)
    own = nn.Module()
    own.bias = nn.Parameter(torch.zeros(2))
    assert load("nets", "4/seed0", "warm", store, own).module.bias.tolist() == [9.0, 9.0]
    with pytest.raises(ValueError, match="the model has no 'bias'"):
        load("nets", "4/seed0", "warm", store, nn.Linear(2, 2, bias=False))


def test_mistakes(store: Path) -> None:
    for words, message in (
        (("net", "4/seed0"), f"no study 'net' in {store}/studies; did you mean 'nets'?"),
        (("nets", "4/seed9"), "no trial of study 'nets' '4/seed9'; did you mean '4/seed"),
        (("nets", "4/seed0", "trai"), "4/seed0 has no training 'trai'; did you mean 'train'?"),
    ):
        with pytest.raises(ValueError, match=message.replace("?", r"\?")):
            load(*words, store=store)
    folder = load("nets", "4/seed0", store=store).folder
    (folder / "best.json").write_text("{}")
    with pytest.raises(ValueError, match=r"train \w+ is damaged"):
        load("nets", "4/seed0", store=store)
    told = json.loads((store / "studies" / "nets" / "study.json").read_text())
    for stage in told["stages"].values():
        for path in (store / stage["directory"]).glob("weights.pt"):
            path.unlink()
    with pytest.raises(ValueError, match="has no training with a weights.pt"):
        load("nets", "4/seed0", store=store)
