"""Stages on tiny data: what arrives where, and numbers against independent computations."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import torch
from torch import nn

from mss_core import audio, models
from mss_core.apply import magnitudes, predict_clips, separate_track, slices_of
from mss_core.graph import Context, Stage
from mss_core.losses import LOSSES
from mss_core.models.joint import JointCnn
from mss_core.models.unet import UNet, separate
from mss_core.recipe import override
from mss_core.stages.score_separator import l1_scalar
from mss_core.store import Store, materialize
from mss_core.systems.msspt import MSSPT, msspt_cnn, smoke
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
    best = scipy.optimize.minimize_scalar(lambda g: np.abs(reference - g * mixture).mean(), bounds=(-3, 3),
                                          method="bounded", options={"xatol": 1e-9})
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
    assert set(table.metric) == {"l1", "l1_silence", "l1_best_scalar", "si_sdr", "si_sdr_mixture",
                                 "si_sdr_improvement"}


def overfit(module: nn.Module, loss, steps: int, lr: float) -> tuple[float, float]:
    optimizer = torch.optim.Adam(module.parameters(), lr=lr)
    values = []
    for _ in range(steps):
        value = loss()
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        values.append(value.item())
    return values[0], min(values)


@pytest.mark.slow
def test_each_model_overfits_one_batch() -> None:
    torch.manual_seed(0)
    time = torch.arange(61_792) / 16_000
    low, high = (0.3 * torch.sin(2 * torch.pi * f * time)[None] for f in (300.0, 3000.0))
    mixture, target = torch.cat([low + high, high - low]), torch.cat([low, -low])[:, None]
    unet = UNet(widths=(4, 4, 8, 8, 8, 8), post=4, bn_momentum=0.1)
    first, last = overfit(unet, lambda: LOSSES["l1"](separate(unet, mixture), target).mean(), 60, 1e-2)
    assert last < 0.15 * first
    labels = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    spectra = magnitudes(torch.cat([low, high]))
    for joint in (False, True):
        from mss_core.models.cnn_tail import CnnTail

        tail = CnnTail(3, channels=1 + joint, widths=(4,) * 7, dense=8, dropout=0.0)
        module = JointCnn(UNet(widths=SMALL, post=2), tail) if joint else tail
        first, last = overfit(module, lambda m=module: LOSSES["binary_cross_entropy"](m(spectra), labels).mean(),
                              80, 1e-2)
        assert last < 0.1 * first
