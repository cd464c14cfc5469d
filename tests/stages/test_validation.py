"""Validation leaves out what testing leaves out: sources that are silent in a track."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mss_core import audio, models
from mss_core.data.batches import stacked, validation_segments
from mss_core.data.packed import Packed
from mss_core.data.sets import TrackSet
from mss_core.graph import Context
from mss_core.losses import LOSSES
from mss_core.models.unet import separate
from mss_core.recipe import override
from mss_core.stages.pretrain import _losses, _validation_segments
from mss_core.store import Store, materialize
from mss_core.systems.msspt import SOURCES, msspt_cnn, smoke
from tests.conftest import tiny_settings, write_track

CROP = audio.samples_of(128)


def silence(root: Path, place: str, source: str) -> None:
    samples, rate = soundfile.read(root / place / f"{source}.wav")
    soundfile.write(root / place / f"{source}.wav", 0 * samples, rate)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two training, two validation and one test track of half a second; bass is silent in one for validation."""
    for seed, place in enumerate(("train/a", "train/b", "valid/c", "valid/d", "test/e")):
        write_track(tmp_path / "stems" / place, seconds=0.5, rate=16_000, seed=seed)
    silence(tmp_path / "stems", "valid/d", "bass")
    return tmp_path / "stems"


def prepared(root: Path, store: Store, select: str = "best"):  # type: ignore[no-untyped-def]
    settings = {k: v for k, v in tiny_settings().items() if k.split(".")[0] in ("separator", "mixing", "pretrain")}
    recipe = override(
        smoke(msspt_cnn(SOURCES["bass"])),
        {
            **settings,
            "separation": TrackSet("stems"),
            "pretrain.select": select,
            "mixing.valid_segments": 8,
            "pretrain.precision": "float32",
        },
    )
    from tests.stages.test_stages import stages

    found, ctx = stages(recipe), Context(data={"stems": root})
    return materialize(found["prepare_tracks"], store, ctx), lambda: materialize(found["pretrain"], store, ctx)


def test_a_track_without_the_source_has_no_part_in_the_loss(root: Path, tmp_path: Path) -> None:
    data, train = prepared(root, Store(tmp_path / "store"))
    packed = Packed(data)
    assert [item.name for batch in validation_segments(packed, CROP, 8, ("bass",)) for item, _ in batch] == ["c"]
    assert [item.name for batch in validation_segments(packed, CROP, 8) for item, _ in batch] == ["c", "d"]
    directory = train()
    rows = [json.loads(line) for line in (directory / "history.jsonl").read_text().splitlines()]
    module = models.load(directory).eval()
    (item,) = (item for item in packed.split("valid") if item.name == "c")
    mixture, bass = (stacked(packed, [(item, 0)], row, CROP) for row in ("mixture", "bass"))
    with torch.no_grad():
        by_hand = float(LOSSES["l1"](separate(module, mixture), bass[:, None]).mean())
    assert min(row["valid_loss"] for row in rows if "valid_loss" in row) == pytest.approx(by_hand, rel=1e-5)


def test_without_any_track_of_the_source_the_last_weights_are_kept(root: Path, tmp_path: Path) -> None:
    silence(root, "valid/c", "bass")
    kept = {}
    for select in ("best", "last"):
        _, train = prepared(root, Store(tmp_path / "store"), select)
        directory = train()
        kept[select] = models.load(directory).state_dict()
        best = json.loads((directory / "best.json").read_text())
        assert "loss" not in best and best["epoch"] == best["epochs"] == 2
        assert "valid_loss" not in (directory / "history.jsonl").read_text()
    assert all(torch.equal(kept["best"][name], values) for name, values in kept["last"].items())


@pytest.mark.parametrize("loss", ["l1", "mse"])
def test_sources_that_sound_are_judged_alone(root: Path, tmp_path: Path, loss: str) -> None:
    data, _ = prepared(root, Store(tmp_path / "store"))
    packed = Packed(data)
    sources = ("vocals", "bass", "drums")
    batches = _validation_segments(packed, sources, CROP, 8)
    assert [heard for _, _, heard in batches] == [None, [0, 2]]

    class Scaled(torch.nn.Module):
        def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
            return torch.stack([torch.full_like(magnitude, share) for share in (0.2, 0.5, 0.3)], 1)

    mixture, stems, heard = batches[1]
    assert stems.shape[1] == 2
    (value,) = _losses(Scaled(), mixture, stems, loss, heard)
    estimates = separate(Scaled(), mixture)[0]
    parts = [LOSSES[loss](estimates[None, [place]], stems[:, [at]])[0] for at, place in enumerate((0, 2))]
    assert float(value) == pytest.approx(float(np.mean([float(part) for part in parts])), rel=1e-6)


def test_other_sets_are_validated_as_before(root: Path, tmp_path: Path) -> None:
    """Property: where everything sounds, naming the sources changes neither segments nor batches."""
    data, _ = prepared(root, Store(tmp_path / "store"))
    packed = Packed(data)
    packed.items = [replace(item, silent=()) for item in packed.items]
    assert validation_segments(packed, 1000, 9, ("bass", "drums")) == validation_segments(packed, 1000, 9)
