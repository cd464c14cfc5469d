"""Stages on tiny data: what arrives where, and numbers against independent computations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import soundfile
import torch
from torch import nn

from mss_core import audio, models
from mss_core.apply import equalise, magnitudes, predict_clips, separate_track, slices_of
from mss_core.data.batches import stacked, validation_segments
from mss_core.data.packed import Packed
from mss_core.data.sets import TrackSet, WeightSet
from mss_core.graph import Context, Stage
from mss_core.losses import LOSSES
from mss_core.models.unet import UNet, separate
from mss_core.recipe import override
from mss_core.runtime import seeded
from mss_core.store import StageFailed, Store, materialize
from mss_core.systems.msspt import MSSPT, SOURCES, msspt_cnn, smoke
from mss_core.systems.msspt.score_separator import l1_scalar
from tests.conftest import tiny_settings

SMALL = (2, 2, 2, 2, 2, 2)


class Ones(nn.Module):
    """A separator that lets everything through."""

    def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
        return torch.ones(len(magnitude), 2, *magnitude.shape[1:])


@pytest.mark.parametrize("length", [1, 600, 61_792, 61_793, 100_000, 200_001])
def test_a_mask_of_ones_returns_the_track_to_its_edges(length: int) -> None:
    mixture = np.random.default_rng(length).uniform(-0.5, 0.5, length).astype(np.float32)
    estimates = separate_track(Ones(), mixture, 384, "cpu")
    assert estimates.shape == (2, length)
    np.testing.assert_allclose(estimates, np.stack([mixture, mixture]), rtol=0, atol=2e-6)


def test_a_track_s_mask_is_the_mean_of_its_slices() -> None:
    """A mask that depends on place only must come back as itself where slices agree."""

    class Half(nn.Module):
        def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
            return torch.full((len(magnitude), 1, *magnitude.shape[1:]), 0.5)

    # The Nyquist bin stays unmasked: use a signal without it.
    mixture = np.sin(2 * np.pi * 440 * np.arange(150_000) / 16_000).astype(np.float32)
    np.testing.assert_allclose(separate_track(Half(), mixture, 384, "cpu")[0], 0.5 * mixture, rtol=0, atol=1e-4)


def test_slices_overlap_by_half_and_drop_the_rest() -> None:
    waveform = np.arange(audio.samples_of(2910), dtype=np.float32)  # an MTAT clip
    slices = slices_of(waveform, 384, 192)
    assert len(slices) == 1 + (2910 - 384) // 192 == 14
    assert slices[3][0] == 3 * 192 * 160
    short = slices_of(waveform[:1000], 384, 192)
    assert short.shape == (1, 61_792) and not short[0, 1000:].any()


@pytest.mark.parametrize("aggregate", ["mean", "max"])
def test_clip_scores_join_slices(aggregate: str) -> None:
    class Level(nn.Module):
        def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
            return magnitude.mean((1, 2))[:, None]

    waveform = np.random.default_rng(0).normal(0, np.linspace(0, 1, 150_000)).astype(np.float32)
    (score,) = predict_clips(Level(), iter([waveform]), 384, 192, lambda x: x, aggregate, "cpu", batch=2)
    expected = [magnitudes(torch.from_numpy(s.copy())).mean() for s in slices_of(waveform, 384, 192)]
    assert score[0] == pytest.approx(float(getattr(np, aggregate)(expected)), rel=1e-5)


@pytest.mark.parametrize("seed", range(5))
def test_l1_scalar_is_the_minimum(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mixture = rng.normal(size=200)
    reference = 0.4 * mixture + rng.normal(0, 0.5, 200)
    best = scipy.optimize.minimize_scalar(
        lambda g: np.abs(reference - g * mixture).mean(), bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}
    )
    ours = np.abs(reference - l1_scalar(reference, mixture) * mixture).mean()
    assert ours <= best.fun + 1e-9
    assert l1_scalar(reference, np.zeros(200)) == 0.0


def tiny(**changes: object) -> MSSPT:
    return override(smoke(msspt_cnn()), {**tiny_settings(), **changes})


def stages(recipe: MSSPT) -> dict[str, Stage]:
    from mss_core.graph import walk

    return {stage.name: stage for stage in walk([recipe.pipeline()]).values()}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def test_finetuning_starts_from_the_weights_it_is_given(store: Store) -> None:
    """With a step too small to matter, a joint model is its separator, its tail and adapters at zero."""
    found = stages(tiny(**{"finetune.phases.0.lr": 1e-30, "finetune.select": "last"}))
    joint = models.state(materialize(found["finetune"], store, Context()))
    separator = models.state(materialize(found["pretrain"], store, Context()))
    tail = models.state(materialize(found["train_tail"], store, Context()))
    learned = {name for name in joint if "running" not in name and "num_batches" not in name}
    for name in learned:
        part, _, rest = name.partition(".")
        if part == "separator":
            torch.testing.assert_close(joint[name], separator[rest], msg=name)
        elif name == "tail.blocks.0.0.weight":
            torch.testing.assert_close(joint[name][:, -1:], tail[rest])
            assert joint[name][:, :-1].abs().max() < 1e-20
        elif part == "tail":
            torch.testing.assert_close(joint[name], tail[rest], msg=name)
        elif name.endswith("weight"):
            assert joint[name].abs().max() < 1e-20, name
    assert any(name.startswith("adapters") for name in learned)


def test_an_undefined_score_is_empty_not_zero(store: Store, tmp_path) -> None:
    found = stages(tiny())
    directory = materialize(found["evaluate"], store, Context())
    text = (directory / "scores.csv").read_text().splitlines()
    table = pd.read_csv(directory / "scores.csv", keep_default_na=False)
    predictions = pd.read_parquet(store.directory(found["infer"]) / "predictions.parquet")
    truth = predictions.groupby("target").truth.mean()
    undefined = set(truth[(truth == 0) | (truth == 1)].index)
    assert undefined, "the tiny set should have a tag without both classes"
    auc = table[(table.metric == "roc_auc") & (table.target != "macro")]
    assert set(auc[auc.score == ""].target) == undefined
    macro = table[(table.metric == "roc_auc") & (table.target == "macro")].score.astype(float).item()
    assert macro == pytest.approx(pd.to_numeric(auc.score).mean())
    assert text[0] == "track,target,metric,aggregation,score"


def test_silence_in_a_track_leaves_its_score_out(store: Store) -> None:
    found = stages(tiny(sources=("vocals",)))
    directory = materialize(found["score_separator"], store, Context())
    table = pd.read_csv(directory / "scores.csv")
    from mss_core.data.packed import Packed

    tracks = Packed(store.directory(found["prepare_tracks"])).split("test")
    assert set(table.track) == {track.name for track in tracks if "vocals" not in track.silent}
    assert set(table.metric) == {
        "l1",
        "l1_silence",
        "l1_best_scalar",
        "si_sdr",
        "si_sdr_mixture",
        "si_sdr_wiener",
        "si_sdr_improvement",
    }


def overfit(module: nn.Module, loss, steps: int, lr: float) -> tuple[float, float]:
    """The first loss and the least one, as far as it takes to see a tenth of the first."""
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    values = []
    for _ in range(steps):
        value = loss()
        values.append(value.item())
        if values[-1] < 0.1 * values[0]:
            break
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    return values[0], min(values)


@pytest.mark.slow
@pytest.mark.parametrize("sources", [1, 2])
def test_each_separator_overfits_one_batch(sources: int) -> None:
    torch.manual_seed(0)
    time = torch.arange(audio.samples_of(128)) / 16_000
    low, high = (0.3 * torch.sin(2 * torch.pi * f * time)[None] for f in (300.0, 3000.0))
    mixture = torch.cat([low + high, high - low])
    target = torch.stack([torch.cat([low, -low]), torch.cat([high, high])][:sources], 1)
    unet = UNet(sources, widths=(4, 4, 8, 8, 8, 8), post=4, bn_momentum=0.1)
    first, last = overfit(unet, lambda: LOSSES["l1"](separate(unet, mixture), target).mean(), 80, 1e-2)
    assert last < 0.1 * first


UNET = {"name": "unet", "widths": SMALL, "post": 2}
CNN = {"name": "cnn_tail", "classes": 3, "widths": (4,) * 7, "dense": 8, "dropout": 0.0}
AST_TAIL = {"name": "ast_tail", "classes": 3, "frames": 384, "width": 16, "depth": 2, "heads": 2, "hidden": 32}


@pytest.mark.slow
@pytest.mark.parametrize("task", ["binary_cross_entropy", "cross_entropy"])
@pytest.mark.parametrize(
    "described",
    [
        CNN,
        {"name": "joint_cnn", "separator": UNET, "tail": {**CNN, "channels": 2}},
        {
            "name": "joint_cnn",
            "adapt": "concat",
            "start": "glorot",
            "separator": {**UNET, "sources": 4},
            "tail": {**CNN, "channels": 5},
        },
        AST_TAIL,
        {"name": "joint_ast", "inject": (1, 2), "separator": UNET, "tail": {**AST_TAIL, "channels": 2}},
    ],
    ids=["cnn", "sum", "concat", "ast", "joint_ast"],
)
def test_each_classifier_overfits_one_batch(described, task: str) -> None:
    torch.manual_seed(0)
    time = torch.arange(audio.samples_of(384)) / 16_000
    spectra = magnitudes(torch.cat([0.3 * torch.sin(2 * torch.pi * f * time)[None] for f in (300.0, 3000.0)]))
    labels = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    module = models.build(described)
    first, last = overfit(module, lambda: LOSSES[task](module(spectra), labels).mean(), 120, 2e-2)
    assert last < 0.1 * first


@pytest.fixture(scope="module")
def songs_cut_in_two(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Songs of a CC0 album, in the layout of ``stems``: ten seconds of each, in which all sources sound, held out."""
    root = tmp_path_factory.mktemp("cut")
    for folder in sorted((shared_data / "everything_is_free" / "train").iterdir()):
        for place, start, stop in (
            (f"train/{folder.name}, the beginning", 0, 40),
            (f"train/{folder.name}, the end", 50, 60),
            (f"valid/{folder.name}, between them", 40, 50),
            (f"test/{folder.name}, a piece", 20, 26),
        ):
            (root / place).mkdir(parents=True)
            for path in folder.glob("*.flac"):
                rate = soundfile.info(path).samplerate
                samples, _ = soundfile.read(path, start=start * rate, stop=stop * rate)
                soundfile.write(root / place / f"{path.stem}.wav", samples, rate)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("source", ["vocals", "drums", "bass", "other"])
def test_the_separation_loss_falls_on_real_songs(songs_cut_in_two: Path, store: Store, source: str) -> None:
    """After a few steps on most of each song, its held-out part is separated better than by the fresh network."""
    ctx = Context(data={"stems": songs_cut_in_two})
    recipe = override(
        smoke(msspt_cnn(SOURCES[source])),
        {
            "separation": TrackSet("stems"),
            "pretrain.phases.0.epochs": 1,
            "pretrain.epoch_steps": 100,
            "pretrain.batch": 2,
            "pretrain.select": "last",
            "mixing.frames": 384,
            "mixing.valid_segments": 2,
            "separator.widths": (8, 8, 8, 8, 8, 8),
        },
    )
    assert recipe.pretrain is not None
    stage = stages(recipe)["pretrain"]
    trained = models.load(materialize(stage, store, ctx))
    with seeded(recipe.pretrain.seed, "cpu"):
        fresh = models.build({**recipe.separator, "sources": 1}).eval()
    packed = Packed(store.directory(stages(recipe)["prepare_tracks"]))
    crop = audio.samples_of(recipe.mixing.frames)
    segments = [segment for batch in validation_segments(packed, crop, 16) for segment in batch]
    assert len(segments) == 8 and {item.split for item, _ in segments} == {"valid"}
    mixtures, references = (stacked(packed, segments, row, crop) for row in ("mixture", source))
    with torch.no_grad():
        before, after = (
            LOSSES["l1"](separate(module, mixtures), references[:, None]).mean() for module in (fresh, trained)
        )
    assert after < 0.95 * before


def with_weights(folder: Path, **sizes: int) -> tuple[MSSPT, Context]:
    """A tiny AST recipe whose published weights lie in ``folder``."""
    from tests.systems.msspt import test_ast_tail

    folder.mkdir(exist_ok=True)
    torch.save(test_ast_tail.vision(8, distilled=False, **sizes), folder / "vit.pth")
    tail = models.model(
        "ast_tail",
        frames=384,
        width=test_ast_tail.WIDTH,
        depth=test_ast_tail.DEPTH,
        heads=test_ast_tail.HEADS,
        hidden=test_ast_tail.HIDDEN,
    )
    recipe = override(
        smoke(msspt_cnn()),
        {
            "tail": tail,
            "joint": models.model("joint_ast", inject=(2, 3, 4, 5, 6)),
            "imagenet": WeightSet(),
            "joining.stage2": False,
            "pretrain": None,
            **{
                path: value for path, value in tiny_settings().items() if path.split(".")[0] not in ("tail", "pretrain")
            },
        },
    )
    return recipe, Context(data={"imagenet": folder})


def test_published_weights_arrive_in_both_stages(store: Store, tmp_path: Path) -> None:
    """With a step too small to matter: the tail alone and the joint model's tail hold what the file held."""
    recipe, ctx = with_weights(tmp_path / "weights")
    small = {
        f"{stage}.{path}": value
        for stage in ("train_tail", "finetune")
        for path, value in (("phases.0.lr", 1e-30), ("select", "last"))
    }
    joint = stages(override(recipe, small))["finetune"]
    alone_settings = {path: value for path, value in small.items() if path.startswith("train_tail")}
    tail = stages(override(recipe, {**alone_settings, "finetune": None}))["train_tail"]
    file = torch.load(tmp_path / "weights" / "vit.pth", weights_only=True)
    alone = models.state(materialize(tail, store, ctx))
    both = models.state(materialize(joint, store, ctx))
    block = "blocks.3.attn.qkv.weight"
    torch.testing.assert_close(alone["blocks.3.qkv.weight"], file[block])
    torch.testing.assert_close(both["tail.blocks.3.qkv.weight"], file[block])
    kernel = file["patch_embed.proj.weight"].sum(1, keepdim=True).transpose(2, 3)
    torch.testing.assert_close(alone["patch.weight"], kernel)
    torch.testing.assert_close(both["tail.patch.weight"][:, -1:], kernel)
    assert both["tail.patch.weight"][:, :-1].abs().max() < 1e-20
    middle = kernel[:, :, 7:9].mean(2, keepdim=True)
    coarse = torch.cat([middle[..., 3:5].mean(3, keepdim=True), middle[..., 11:13].mean(3, keepdim=True)], 3)
    adapter = both["adapters.4.weight"]
    torch.testing.assert_close(adapter, coarse.expand_as(adapter) / adapter.shape[1])
    prepared = stages(recipe)["prepare_weights"]
    (note,) = json.loads((store.directory(prepared) / "notes.json").read_text())
    assert note["items"][0].startswith("vit.pth, ") and len(note["items"][0].split("sha256 ")[1]) == 64


def test_absent_or_other_weights_stop_a_run(store: Store, tmp_path: Path) -> None:
    recipe, ctx = with_weights(tmp_path / "weights", depth=3)
    recipe = override(recipe, {"separation.size": 13})  # keys of its own
    with pytest.raises(StageFailed, match="published weights: no 'blocks.3.*which the model has"):
        materialize(stages(override(recipe, {"imagenet.fingerprint": "1"}))["finetune"], store, ctx)
    with pytest.raises(StageFailed, match="no folder for data set 'imagenet': pass --data imagenet=PATH"):
        materialize(stages(override(recipe, {"imagenet.fingerprint": "2"}))["finetune"], store, Context())


def test_the_joint_separator_may_pool_in_its_own_way(store: Store) -> None:
    recipe = tiny(
        **{
            "separator.pooling": "average",
            "joining.pooling": "max",
            "finetune.phases.0.epochs": 1,
            "pretrain.phases.0.epochs": 1,
        }
    )
    found = stages(recipe)
    described = json.loads((materialize(found["finetune"], store, Context()) / "model.json").read_text())
    assert described["separator"]["pooling"] == "max"
    described = json.loads((store.directory(found["pretrain"]) / "model.json").read_text())
    assert described["pooling"] == "average"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": 768}, "'frames' is 768; the tail 'cnn_tail' reads 384"),
        ({"imagenet": WeightSet()}, "'imagenet' holds a transformer's weights; the tail is 'cnn_tail'"),
        ({"task": "genres"}, "no task 'genres'; did you mean 'genre'"),
        ({"joining.pooling": "maxx"}, "no pooling of the joint model .* 'maxx'; did you mean 'max'"),
        ({"joint.start": "zeros"}, "no start of the adapters 'zeros'; did you mean 'zero'"),
        ({"mixing.summed": 0}, "'summed' and 'copies' count segments from 1; got 0"),
    ],
)
def test_recipes_that_make_no_sense(changes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(msspt_cnn(), changes)


@pytest.mark.parametrize("length", [1, 600, 61_793])
def test_an_equaliser_of_ones_changes_nothing(length: int) -> None:
    mixture = np.random.default_rng(length).uniform(-0.5, 0.5, length).astype(np.float32)
    np.testing.assert_allclose(equalise(mixture, np.ones(257)), mixture, rtol=0, atol=2e-6)
