"""Frozen embeddings and the linear classifier on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mss_core import models
from mss_core.data.packed import Packed
from mss_core.data.sets import ClipSet
from mss_core.graph import Context, Stage, walk
from mss_core.recipe import override
from mss_core.stages.prepare import prepare_clips
from mss_core.store import Store, materialize
from mss_core.systems.msspt import EMBEDDINGS, msspt_cnn, smoke
from mss_core.systems.msspt.embed import Embedding, cross_entropy, embed, fitted, probe


class Layered(nn.Module):
    """Layers that can be computed by hand: the samples in frames of a quarter of a second, and their mean square."""

    seconds = 1.0

    def __init__(self, classes: int = 2) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes))

    def features(self, waveform: torch.Tensor) -> torch.Tensor:
        return waveform

    def layers(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        frames = features.unflatten(1, (4, 4000)).square().mean(2)
        return {"frames": torch.stack([frames, -frames], 1), "whole": features.square().mean(1, keepdim=True)}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = ClipSet("synthetic", labels="tags", size=14)
    return materialize(Stage(prepare_clips, data=data, segment=16_000), Store(tmp_path_factory.mktemp("s")), Context())


def test_embeddings_are_pooled_over_pieces_and_frames(packed: Path, tmp_path: Path) -> None:
    tagger = tmp_path / "tagger"
    tagger.mkdir()
    models.save(tagger, {"name": "tests.systems.msspt.test_embed:Layered", "classes": 2}, Layered())
    embed(data=packed, tagger=tagger, out=tmp_path, ctx=Context())
    clips = Packed(packed)
    with np.load(tmp_path / "embeddings.npz") as found:
        assert set(found) == {"frames mean", "frames max", "whole mean", "whole max"}
        for row, item in enumerate(clips.items):
            wave = clips.read(item)
            filled = np.pad(wave, (0, -len(wave) % 16_000)).reshape(-1, 4, 4000)
            power = np.square(filled, dtype=np.float64).mean(2)
            np.testing.assert_allclose(found["frames mean"][row], [power.mean(), -power.mean()], rtol=1e-4)
            np.testing.assert_allclose(found["frames max"][row], [power.max(), -power.min()], rtol=1e-4, atol=1e-9)
            np.testing.assert_allclose(found["whole max"][row], [power.mean(1).max()], rtol=1e-4)


def test_a_probe_finds_what_a_layer_holds_and_the_validation_clips_choose(packed: Path, tmp_path: Path) -> None:
    """A layer that holds the labels and noise, and one that holds noise alone."""
    clips = Packed(packed)
    truth = clips.truth(clips.items)
    noise = np.random.default_rng(0).normal(size=truth.shape).astype(np.float32)
    arrays = {"told mean": 4 * truth + noise, "noise mean": noise, "told max": truth, "noise max": noise}
    np.savez(tmp_path / "embeddings.npz", **arrays)
    losses = {}
    for layer in ("told", "noise"):
        out = tmp_path / layer
        out.mkdir()
        told = {"data": packed, "embeddings": tmp_path, "layer": layer, "pooling": "both", "strengths": (1e-3, 1.0)}
        probe(**told, out=out, ctx=Context())
        frame = pd.read_parquet(out / "predictions.parquet")
        test = clips.split("test")
        assert list(frame["item"].unique()) == [clip.name for clip in test]
        np.testing.assert_array_equal(frame["truth"], clips.truth(test).astype(int).ravel())
        chosen = json.loads((out / "probe.json").read_text())
        assert chosen["valid_loss"] == min(chosen["losses"])
        losses[layer] = cross_entropy(frame["truth"].to_numpy(), frame["score"].to_numpy())
    assert losses["told"] < losses["noise"]
    with pytest.raises(ValueError, match="no layer of the embeddings 'tld'; did you mean 'told'"):
        probe(**{**told, "layer": "tld"}, out=tmp_path, ctx=Context())


def test_a_class_of_no_clip_has_its_share_and_one_label_a_clip_shares_one() -> None:
    x = np.random.default_rng(1).normal(size=(40, 3))
    y = np.stack([x[:, 0] > 0, np.zeros(40), np.ones(40)], 1).astype(float)
    said = fitted(x, y, 1.0, single_label=False)(x)
    assert (said[:, 1] == 0).all() and (said[:, 2] == 1).all() and ((said[:, 0] > 0.5) == y[:, 0]).mean() > 0.9
    labels = np.eye(4)[np.where(x[:, 0] > 0, 1, 3)]
    said = fitted(x, labels, 1.0, single_label=True)(x)
    np.testing.assert_allclose(said.sum(1), 1.0)
    assert (said[:, [0, 2]] == 0).all()


def test_the_rows_train_nothing_and_share_their_embeddings() -> None:
    recipes = [override(msspt_cnn(), departures) for departures in EMBEDDINGS.values()]
    stages = walk(recipe.pipeline() for recipe in [*recipes, *map(smoke, recipes)]).values()
    assert {stage.name for stage in stages} == {"prepare_clips", "prepare_published", "embed", "probe", "evaluate"}
    assert sum(stage.name == "embed" for stage in stages) == 2
    layers = models.build(models.model("published_musicnn")).eval().layers(torch.zeros(1, 187, 96))
    assert {recipe.embedding.layer for recipe in recipes} <= layers.keys()


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"pooling": "sum"}, "no pooling 'sum'"), ({"strengths": (0.0,)}, "a number above 0|above 0")],
)
def test_wrong_settings_are_named(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Embedding(**changes)
