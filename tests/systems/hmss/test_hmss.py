"""Hierarchical separation: the separator, hierarchies, salient chunks, and the recipe's graph."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from mss_core import losses, models
from mss_core.data import hierarchy
from mss_core.data.batches import Mapped, spread, waveforms
from mss_core.data.packed import Packed
from mss_core.data.packing import pack
from mss_core.data.sets import Item, Sound, Survey
from mss_core.graph import Context, walk
from mss_core.losses import MASK_LOSSES
from mss_core.recipe import override
from mss_core.systems.hmss import HMSS, four_stems, hmss, hmss_ms21, smoke
from mss_core.systems.hmss.levels import LevelSeparator
from mss_core.systems.hmss.saliency import ChunkReader, Sampling, chunks

# ---- the separator


class Fixed(torch.nn.Module):
    def __init__(self, *masks: float) -> None:
        super().__init__()
        self.register_buffer("values", torch.tensor(masks))

    def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
        return self.values[None, :, None, None].expand(len(magnitude), -1, *magnitude.shape[1:])


def test_a_separator_multiplies_the_mixture() -> None:
    x = torch.randn(2, 3000)
    out = LevelSeparator(Fixed(0.5, 0.8, 0.25), "sequential")(x)
    expected = torch.stack([0.1 * x, 0.2 * x, 0.25 * x], 1)
    torch.testing.assert_close(out, expected, rtol=0, atol=1e-5)


# ---- hierarchies


def test_hierarchies_hold_the_published_paths() -> None:
    slakh, ms21 = hierarchy.load("slakh"), hierarchy.load("ms21")
    assert slakh.path("clean_guitars", 3) == ("clean_guitars", "guitars", "strings_guitars_keyboards")
    assert ms21.path("electric_guitar", 3) == ("electric_guitar", "other", "accompaniment")
    assert len(ms21.paths) == 14 and sum(len(names) for names in ms21.labels.values()) == 70
    programs = [p for leaf in slakh.paths for p in slakh.contents[leaf]]
    assert len(programs) == len(set(programs))  # no program has two places
    tops = {path[-1] for path in slakh.paths.values()}
    assert len(tops) == 4


@pytest.mark.parametrize("name", hierarchy.NAMES)
def test_a_parent_is_the_sum_of_its_children(name: str) -> None:
    tree = hierarchy.load(name)
    for node, contents in tree.contents.items():
        leaves = [leaf for leaf, path in tree.paths.items() if node in path]
        assert sorted(map(str, contents)) == sorted(str(c) for leaf in leaves for c in tree.contents[leaf])


def test_four_stems_have_an_accompaniment() -> None:
    assert four_stems("bass").paths() == (("bass", "accompaniment"),)
    assert hierarchy.load("four_stems").rows(("accompaniment",)) == {"accompaniment": ("drums", "bass", "other")}


def test_mistakes_in_hierarchies() -> None:
    with pytest.raises(
        ValueError, match="no leaf of the hierarchy 'slakh' 'clean_guitar'; did you mean 'clean_guitars'"
    ):
        hierarchy.load("slakh").path("clean_guitar", 3)
    with pytest.raises(
        ValueError,
        match=r"'bass' has 2 levels in the hierarchy 'four_stems' \(bass < accompaniment\); "
        "3 are asked for",
    ):
        hierarchy.load("four_stems").path("bass", 3)
    with pytest.raises(ValueError, match="no hierarchy 'slack'; did you mean 'slakh'"):
        hierarchy.load("slack")


# ---- salient chunks

RATE = 1000


@pytest.fixture
def packed(tmp_path) -> Packed:
    """10 s: the leaf sounds in seconds 0-4 and 6-8, its sibling in 2-7, a stranger all the time."""

    def track(level: float, first: int, last: int) -> np.ndarray:
        wave = np.zeros(10 * RATE, np.float32)
        wave[first * RATE : last * RATE] = level
        return wave

    def read(scale: float) -> Sound:
        leaf = scale * (track(0.2, 0, 4) + track(0.2, 6, 8))
        sibling, stranger = track(0.1, 2, 7), track(0.1, 0, 10)
        rows = {"mixture": leaf + sibling + stranger, "leaf": leaf, "parent": leaf + sibling}
        return Sound({row: wave[None] for row, wave in rows.items()}, RATE)

    items = tuple(
        Item(f"{split}{i}", split, lambda i=i: read(1.0 if i else 0.5))
        for split in ("train", "valid", "test")
        for i in range(2)
    )
    (tmp_path / "packed").mkdir()
    pack(Survey(items), ("mixture", "leaf", "parent"), RATE, 100, tmp_path / "packed", Context(out=tmp_path), workers=1)
    return Packed(tmp_path / "packed")


PATH = (("leaf", "parent"),)


def starts(packed: Packed, **changes) -> list[int]:
    sampling = Sampling(**{"seconds": 1.0, "hop_ratio": 1.0, "beside": "sibling", **changes})
    return [chunk.start // RATE for chunk in chunks(packed, "train", PATH, sampling) if chunk.item.name == "train1"]


def test_salient_chunks_have_a_leaf_and_a_sibling(packed: Packed) -> None:
    assert starts(packed) == [2, 3, 6]
    assert starts(packed, beside="anything") == starts(packed, beside="nothing") == [0, 1, 2, 3, 6, 7]
    assert starts(packed, beside="nothing", threshold_db=-10.0 * math.log10(1 / 0.2**2) - 0.1) == [0, 1, 2, 3, 6, 7]


def test_the_threshold_is_an_rms_level(packed: Packed) -> None:
    level = 20 * math.log10(0.1)  # of the sibling, and of the quieter track's leaf
    sampling = Sampling(seconds=1.0, hop_ratio=1.0, beside="sibling", threshold_db=level - 0.1)
    assert len(chunks(packed, "train", PATH, sampling)) == 6
    with pytest.raises(
        ValueError,
        match="no train chunk of 1 s has a salient leaf .leaf. with sibling salient beside "
        "it, at -19.9 dB; lower 'sampling.threshold_db'",
    ):
        chunks(packed, "train", PATH, replace(sampling, threshold_db=level + 0.1))


def test_batches_are_pure_and_true(packed: Packed) -> None:
    found = chunks(packed, "train", PATH, Sampling(seconds=1.0, hop_ratio=0.25, beside="sibling"))
    reader = ChunkReader(packed, found, PATH, RATE, seed=3, leaves=["leaf"])
    mapped = Mapped(packed, reader.rows, RATE)

    def read(step: int) -> tuple[torch.Tensor, ...]:
        return reader.split(waveforms(mapped.read(reader.draw(step, 4)[0])))

    mixtures, references, queries = read(5)
    assert all(torch.equal(a, b) for a, b in zip((mixtures, references, queries), read(5), strict=True))
    assert mixtures.shape == (4, RATE) and references.shape == (4, 2, RATE) and queries.shape == (4, RATE)
    assert not torch.equal(mixtures, read(6)[0])
    rest = mixtures - references[:, 1]  # the stranger, up to quantisation
    assert (rest - 0.1).abs().max() < 1e-3
    assert set(queries.flatten().mul(10).round().tolist()) <= {0, 1, 2}  # the leaf: 0.1 or 0.2 where it sounds
    for chunk in found:
        assert reader.example(chunk, np.random.default_rng(0)).item.name != chunk.item.name
    whole = [batch[0] for batch in reader.batches(5, "cpu")]
    assert len(torch.cat(whole)) == len(found)
    expected = packed.read(found[-1].item, "mixture", found[-1].start, RATE)
    np.testing.assert_array_equal(whole[-1][-1].numpy(), expected)


def test_an_even_choice_of_chunks(packed: Packed) -> None:
    found = list(range(10))
    assert spread(found, 4) == [0, 2, 5, 7] and spread(found, 20) == found


# ---- the recipe


def test_the_thesis_rows_are_recipes() -> None:
    recipe = hmss()
    assert recipe.paths() == (("clean_guitars", "guitars", "strings_guitars_keyboards"),)
    assert recipe.train.batch == 25 and recipe.train.epochs() == 100
    prepare = recipe.pipeline().inputs["data"]
    assert prepare.arguments["data"].sources[:3] == recipe.paths()[0]  # only what is needed is read
    assert set(prepare.arguments["data"].sources[3:]) == set(prepare.arguments["beside"]["clean_guitars"])
    assert recipe.data.sources == hierarchy.load("slakh").everything()  # all of the set is fingerprinted
    assert override(recipe, {"leaves": ("organs",)}).data == recipe.data
    assert hmss_ms21().paths() == (("electric_guitar", "other", "accompaniment"),)
    single = override(recipe, {"joint": False})
    stages = [stage.name for stage in walk([single.pipeline()]).values()]
    assert stages.count("train_levels") == 3 and stages.count("prepare_levels") == 1


def test_a_setting_without_effect_has_no_key_of_its_own() -> None:
    product = override(hmss(), {"objective.judged": "product"})
    assert product.pipeline().key == hmss().pipeline().key
    sequential = override(hmss(), {"mask": "sequential"})
    assert override(sequential, {"objective.judged": "product"}).pipeline().key != sequential.pipeline().key


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": "sequentially"}, "no mask style 'sequentially'; did you mean 'sequential'"),
        ({"objective.loss": "signal_tspa"}, "no separation loss 'signal_tspa'; did you mean 'signal_tpsa'"),
        ({"leaves": ("clean_guitars", "organs")}, "2 leaves and one model: only a query says which"),
        ({"query": True}, "'query' is True, and the network 'mask_inference' reads none"),
        ({"mask": "sequential", "constraint": "max"}, "'constraint' 'max' is for direct masks"),
        ({"mask": "sequential", "joint": False}, "relates levels, and a model has one"),
        ({"levels": 4}, "'clean_guitars' has 3 levels"),
        ({"data.name": "ms21", "data.split": ""}, "no track data set with this hierarchy 'ms21'; .*slakh2100"),
        ({"sampling.beside": "siblings"}, "no 'beside' of the sampling 'siblings'; did you mean 'sibling'"),
        ({"sampling.hop_ratio": 2.0}, r"'hop_ratio' in \(0, 1\]; got 10.0 and 2.0"),
        ({"scored": ("organs",)}, "no leaf to score .* 'organs'"),
        ({"network.hidden": 0}, "in 'network'"),
    ],
)
def test_mistakes(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(hmss(), changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    from mss_core.store import Store

    return Store(tmp_path_factory.mktemp("store"))


TINY = {
    "network.hidden": 4,
    "data.size": 12,
    "train.phases.0.epochs": 1,
    "train.epoch_steps": 2,
    "train.batch": 2,
    "sampling.valid_items": 2,
    "sampling.test_items": 6,
}


@pytest.mark.parametrize("changes", [{}, {"joint": False}, {"mask": "mixed", "objective.loss": "l1"}], ids=str)
def test_scores_are_what_the_chunks_say(store, changes: dict) -> None:
    """Every score once more from the model and the packed rows."""
    import pandas as pd

    from mss_core.metrics.separation import si_sdr
    from mss_core.store import materialize

    recipe = override(smoke(hmss()), {**TINY, **changes})
    root = recipe.pipeline()
    directory = materialize(root, store, Context())
    table = pd.read_csv(directory / "scores.csv", keep_default_na=False)
    packed = Packed(store.directory(root.inputs["data"]))
    length = 2 * packed.samplerate
    found = spread(chunks(packed, "test", recipe.paths(), recipe.sampling), 6)
    trained = [models.load(store.directory(stage)) for name, stage in root.inputs.items() if name != "data"]
    expected = []
    for chunk in found:
        mixture = torch.from_numpy(packed.read(chunk.item, "mixture", chunk.start, length))[None]
        with torch.no_grad():
            estimates = torch.cat([separator(mixture)[0] for separator in trained])
        references = np.stack([packed.read(chunk.item, node, chunk.start, length) for node in recipe.paths()[0]])
        expected.append(
            np.asarray(si_sdr(references, estimates.numpy(), zero_mean=True))
            - np.asarray(si_sdr(references, mixture.numpy(), zero_mean=True))
        )
    overall = table[(table.track == "") & (table.metric == "si_sdr_improvement")].set_index("target").score
    values = np.stack(expected)
    assert not np.isfinite(values).all()  # a track without vocals is its own accompaniment: left out, and named
    by_level = np.nanmean(np.where(np.isfinite(values), values, np.nan), axis=0)
    for level, score in enumerate(by_level, start=1):
        assert overall[f"level {level}"] == pytest.approx(score, abs=1e-4)
    assert overall["macro"] == pytest.approx(by_level.mean(), abs=1e-4)
    assert {example["target"] for example in json.loads((directory / "examples.json").read_text())} == set(
        recipe.paths()[0]
    )
    (note,) = json.loads((directory / "notes.json").read_text())
    assert note["count"] == int((~np.isfinite(values)).sum()) and "level 3" in note["items"][0]


def test_several_leaves_are_told_by_a_query(store) -> None:
    import pandas as pd

    from mss_core.store import materialize

    network = models.model("query_mask_inference")
    recipe = smoke(HMSS(query=True, network=network, leaves=("clean_guitars", "organs")))
    directory = materialize(override(recipe, TINY).pipeline(), store, Context())
    table = pd.read_csv(directory / "scores.csv", keep_default_na=False)
    assert {"level 1", "other", "bass", "macro"} <= set(table.target)


def test_losses_are_open_to_the_other_separators() -> None:
    from mss_core.systems.msspt import msspt_cnn

    assert override(msspt_cnn(), {"separation_loss": "signal_tpsa"}).separation_loss == "signal_tpsa"
    assert set(losses.SEPARATION_LOSSES) >= {*MASK_LOSSES, "l1", "mse", "si_sdr"}
