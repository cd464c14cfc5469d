"""The generic system: one network, loss and mixer by name, trained and scored in mono and in stereo."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from torch import Tensor, nn

from mss_core import disk, models
from mss_core.apply import WINDOWS, separate_waveform
from mss_core.artefact import read_examples, read_scores
from mss_core.augment import Augment
from mss_core.data.channels import Sided
from mss_core.data.packed import Packed
from mss_core.data.sets import TrackSet
from mss_core.graph import Context, Stopped, read_history, walk
from mss_core.losses import l1
from mss_core.metrics.museval_io import museval_bss_eval
from mss_core.metrics.perceptual import bleedless_fullness, log_wmse
from mss_core.metrics.separation import si_sdr
from mss_core.models import model
from mss_core.recipe import override
from mss_core.store import StageFailed, Store, materialize, run_stage
from mss_core.study.rehearse import cut
from mss_core.systems.separation import Separation, score, smoke
from mss_core.systems.separation.mask_network import MaskNetwork
from mss_core.systems.separation.recipe import STEREO
from mss_core.systems.separation.score import METRICS, Inference, score_separation
from mss_core.systems.separation.train import Mixtures, criterion
from mss_core.training import Phase, TrainConfig

HERE = __name__
RATE = 8000


class Filters(nn.Module):
    """One short filter a source and pair of channels."""

    def __init__(self, taps: int = 9, sources: int = 1, channels: int = 1, samplerate: int = 0) -> None:
        super().__init__()
        self.shape, self.samplerate = (sources, channels), samplerate
        self.filter = nn.Conv1d(channels, sources * channels, taps, padding="same", bias=False)

    def forward(self, mixtures: Tensor) -> Tensor:
        return self.filter(mixtures).unflatten(1, self.shape)


class OneChannel(Filters):
    def forward(self, mixtures: Tensor) -> Tensor:
        return super().forward(mixtures)[:, :, :1]


def heavy(estimates: Tensor, references: Tensor, mixtures: Tensor, weight: float = 1.0) -> Tensor:
    return weight * l1(estimates, references) / mixtures.abs().flatten(1).mean(1).clamp_min(1e-3)


def lonely(estimates: Tensor) -> Tensor:
    return estimates


RECIPE = Separation(
    model(f"{HERE}:Filters"),
    data=TrackSet(STEREO, ("bass", "drums"), RATE, size=10),
    mixing=Mixtures(seconds=1.0, valid_segments=4, augment=Augment(channel_swap=0.5, gain=(0.5, 1.0))),
    loss={"name": f"{HERE}:heavy", "weight": 2.0},
    train=TrainConfig(
        (Phase("torch.optim:NAdam", lr=5e-3, epochs=3, warmup=4, cosine=0.1, clip_norm=5.0),),
        batch=2,
        accumulate=2,
        ema=0.9,
        epoch_steps=6,
    ),
    inference=Inference(2.0, 0.5),
)


def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    """Averaged weights, accumulation and clipping, float32; batches of two, an item a process."""
    weights, rows = [], []
    for processes in (1, 2):
        stages = {stage.name: stage for stage in walk([RECIPE.pipeline()]).values()}
        store = Store(tmp_path / str(processes))
        materialize(stages["prepare_channels"], store, Context())
        folder = run_stage(stages["train_separator"], store, Context(processes=processes))
        weights.append(models.state(folder))
        rows.append(read_history(folder))
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=1e-6)
    for one, other in zip(*rows, strict=True):
        assert one == pytest.approx(other, rel=1e-5)


def built(recipe: Separation, root: Path, **context) -> dict[str, Path]:
    store = Store(root)
    stages = {stage.name: stage for stage in walk([recipe.pipeline()]).values()}
    return {name: materialize(stage, store, Context(**context)) for name, stage in stages.items()}


@pytest.fixture(scope="module")
def stereo(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return built(RECIPE, tmp_path_factory.mktemp("separation"))


def test_it_learns_and_leaves_a_model_and_scores(stereo: dict[str, Path]) -> None:
    best = json.loads((stereo["train_separator"] / "best.json").read_text())
    history = [json.loads(line) for line in (stereo["train_separator"] / "history.jsonl").read_text().splitlines()]
    losses = [row["valid_loss"] for row in history]
    assert best["loss"] == min(losses) < losses[0] and best["steps"] == 18
    described = json.loads((stereo["train_separator"] / "model.json").read_text())
    assert described == {"name": f"{HERE}:Filters", "taps": 9, "sources": 2, "channels": 2, "samplerate": RATE}
    scores = read_scores(stereo["score_separation"])
    by_track = scores[(scores.metric == "sdr") & (scores.track != "")]
    for track, rows in by_track.groupby("track"):
        own = rows[rows.target != "macro"].score
        assert float(rows[rows.target == "macro"].score.iloc[0]) == pytest.approx(own.mean()), track
    over = scores[(scores.track == "") & (scores.metric == "sdr") & (scores.target == "bass")]
    assert float(over.score.iloc[0]) == pytest.approx(by_track[by_track.target == "bass"].score.median())


def test_scores_are_museval_s_on_stereo(stereo: dict[str, Path]) -> None:
    """Every frame of both channels, by the released implementation; whole-track ratios by arithmetic."""
    tracks = Sided(Packed(stereo["prepare_channels"]))
    module = models.load(stereo["train_separator"])
    scores = read_scores(stereo["score_separation"]).set_index(["track", "target", "metric"]).score
    track = next(item for item in tracks.split("test") if not item.silent)
    with torch.inference_mode():
        estimates = separate_waveform(module, tracks.read(track), 2 * RATE, 0.5, "triangle", "cpu")
    references = np.stack([tracks.read(track, source) for source in ("bass", "drums")])
    theirs = museval_bss_eval(references.transpose(0, 2, 1), estimates.transpose(0, 2, 1), RATE, 1.0, 1.0)
    for place, source in enumerate(("bass", "drums")):
        expected = float(np.nanmedian(theirs.sdr[place]))
        assert scores[track.name, source, "sdr"] == pytest.approx(expected, abs=1e-6)
        error = ((references[place] - estimates[place]).astype(np.float64) ** 2).sum()
        whole = 10 * np.log10((references[place].astype(np.float64) ** 2).sum() / error)
        assert scores[track.name, source, "usdr"] == pytest.approx(whole, abs=1e-6)
        assert scores[track.name, source, "global_sdr"] == pytest.approx(whole, abs=1e-3)
        of_mel = bleedless_fullness(references[place], estimates[place], RATE)
        own = {metric: scores[track.name, source, metric] for metric in METRICS}
        assert (own["bleedless"], own["fullness"]) == pytest.approx(of_mel)
        parts = 10 ** (-own["si_sir"] / 10) + 10 ** (-own["si_sar"] / 10)
        weighted = log_wmse(tracks.read(track), references[place], estimates[place], RATE)
        assert own["log_wmse"] == pytest.approx(float(weighted))
        assert parts == pytest.approx(10 ** (-own["si_sdr"] / 10))


def test_a_silent_source_has_a_log_wmse_alone(stereo: dict[str, Path], tmp_path, monkeypatch) -> None:
    whole = Sided.split
    monkeypatch.setattr(Sided, "split", lambda self, name: [replace(t, silent=("bass",)) for t in whole(self, name)])
    score_separation(
        data=stereo["prepare_channels"],
        model=stereo["train_separator"],
        sources=("bass", "drums"),
        inference=RECIPE.inference,
        scoring=RECIPE.scoring,
        out=tmp_path,
        ctx=Context(),
    )
    scores = read_scores(tmp_path)
    assert set(scores[scores.target == "bass"].metric) == {"log_wmse"}
    assert set(scores[scores.target == "drums"].metric) == set(METRICS)


def test_examples_have_both_channels(stereo: dict[str, Path]) -> None:
    (line, *_) = read_examples(stereo["score_separation"])
    folder = stereo["score_separation"] / line["folder"]
    samples, rate = soundfile.read(folder / "reference.wav")
    tracks = Sided(Packed(stereo["prepare_channels"]))
    item = next(item for item in tracks.split("test") if item.name == line["track"])
    whole = tracks.read(item, line["target"])
    assert rate == RATE and samples.shape == (6 * RATE, 2) and folder.with_suffix(".png").exists()
    starts = range(0, whole.shape[1] - 6 * RATE + 1, RATE)
    assert min(np.abs(whole[:, s : s + 6 * RATE].T - samples).max() for s in starts) < 2 / 32768


def test_an_interrupted_training_goes_on_to_the_same_bytes(stereo: dict[str, Path]) -> None:
    """Average, warm-up, accumulated batches and augmentation included, and two cuts, one in the middle of an epoch."""
    store = Store(stereo["train_separator"].parents[1])
    root = RECIPE.pipeline()
    trained = root.arguments["model"]
    whole = (store.directory(trained) / "weights.pt").read_bytes()
    for name in ("train_separator", "score_separation"):
        disk.remove(store.directory({stage.name: stage for stage in walk([root]).values()}[name]))
    for steps in (4, 9):
        asked = iter(range(100))
        with pytest.raises(Stopped):
            materialize(trained, store, Context(stop=lambda n=steps, asked=asked: next(asked) >= n))
    materialize(root, store, Context())
    assert (store.directory(trained) / "weights.pt").read_bytes() == whole


def test_mono_is_one_channel_of_the_same(tmp_path: Path) -> None:
    recipe = override(
        RECIPE,
        {
            "channels": 1,
            "data.name": "synthetic",
            "mixing.augment.channel_swap": 0.0,
            "mixing.kind": "coherent",
            "loss": {"name": "weighted_sdr"},
            "train.phases.0.epochs": 1,
            "inference.seconds": None,
            "sources": ("drums",),
        },
    )
    made = built(recipe, tmp_path)
    assert Packed(made["prepare_channels"]).rows == ("mixture", "bass", "drums")
    scores = read_scores(made["score_separation"])
    assert set(scores.target) == {"drums", "macro"} and scores.score.notna().any()


def test_how_a_track_is_cut_is_no_part_of_a_training() -> None:
    other = override(RECIPE, {"inference.overlap": 0.0, "inference.window": "hann", "scoring.frames": "mean"})
    keys, others = ({stage.name: key for key, stage in walk([r.pipeline()]).items()} for r in (RECIPE, other))
    assert [name for name in keys if keys[name] != others[name]] == ["score_separation"]


def test_smoke_and_rehearsal_keep_channels_rate_and_network() -> None:
    full = Separation(model(f"{HERE}:Filters", taps=31))
    small, rehearsed = smoke(full), cut(full)
    assert small.data.name == STEREO and smoke(replace(full, channels=1)).data.name == "synthetic"
    assert small.data.samplerate == full.data.samplerate and small.separator == rehearsed.separator == full.separator
    assert rehearsed.mixing.seconds == 2.0 and rehearsed.data.excerpt and rehearsed.channels == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 3}, "'channels' is 1 or 2, not 3"),
        ({"sources": ("vocal",)}, "no source of the data set 'vocal'; choose from 'bass', 'drums'"),
        ({"channels": 1}, "'mixing.augment.channel_swap' needs 'channels' 2"),
        ({"loss": {"name": "l3"}}, "no loss 'l3'"),
        ({"loss": {"weight": 1}}, "a loss is {'name': ..., and its keyword arguments}"),
        ({"loss": {"name": "l1", "weight": 1}}, "loss 'l1': got an unexpected keyword argument 'weight'"),
        ({"loss": {"name": f"{HERE}:lonely"}}, "takes 1 arguments; it should take"),
        ({"mixing.kind": "remix"}, "no kind of training mixture 'remix'"),
        ({"mixing.seconds": 0.0}, "'seconds' and 'valid_segments' must be positive"),
        ({"inference.window": "han"}, "no window 'han'; did you mean 'hann'"),
        ({"inference.overlap": 1.0}, "'overlap' is a share of a chunk from 0 on and below 1"),
        ({"inference.seconds": 0.0}, "'seconds' is the length of a chunk above 0"),
        ({"scoring.frames": "max"}, "no 'frames' of the scoring 'max'"),
        ({"scoring.hop": 0.0}, "'window' and 'hop' are seconds above 0"),
        ({"separator.taps": "long"}, "is a number"),
    ],
)
def test_mistakes_are_named_before_anything_runs(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(RECIPE, changes)


def test_estimates_of_another_shape_are_named(stereo: dict[str, Path]) -> None:
    recipe = replace(RECIPE, separator=model(f"{HERE}:OneChannel"))
    with pytest.raises(
        StageFailed, match=r"ValueError: the separator returned \(2, 2, 1, 8000\) for mixtures \(2, 2, 8000\)"
    ):
        built(recipe, stereo["train_separator"].parents[1])


def test_a_loss_has_its_keywords() -> None:
    x, y, m = torch.ones(2, 1, 2, 4), torch.zeros(2, 1, 2, 4), torch.ones(2, 1, 2, 4)
    assert criterion({"name": f"{HERE}:heavy", "weight": 3.0})(x, y, m).tolist() == [3.0, 3.0]
    assert criterion({"name": f"{HERE}:heavy"})(x, y, m).tolist() == [1.0, 1.0]
    assert criterion({"name": "l1"})(x, y, m).tolist() == [1.0, 1.0]


# ---- whole tracks in chunks


class Halves(nn.Module):
    """The mixture and its half as sources."""

    def forward(self, mixtures: Tensor) -> Tensor:
        return torch.stack([mixtures, mixtures / 2], 1)


class Fading(nn.Module):
    """What depends on the place in a chunk, as the edges of real networks do."""

    def forward(self, mixtures: Tensor) -> Tensor:
        return (mixtures * torch.linspace(0, 1, mixtures.shape[-1]))[:, None]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("time", "length", "overlap"), [(1000, 100, 0.5), (997, 128, 0.75), (50, 128, 0.3), (7, 3, 0)])
def test_chunks_leave_no_seams(window: str, time: int, length: int, overlap: float) -> None:
    mixture = np.random.default_rng(0).normal(size=(2, time)).astype(np.float32)
    found = separate_waveform(Halves(), mixture, length, overlap, window, "cpu")
    assert found.shape == (2, 2, time)
    np.testing.assert_allclose(found, [mixture, mixture / 2], atol=1e-6)


def test_overlapping_chunks_are_averaged_by_the_window() -> None:
    """Against a plain loop over samples."""
    mixture = np.random.default_rng(1).normal(size=(2, 20)).astype(np.float32)
    found = separate_waveform(Fading(), mixture, 8, 0.5, "triangle", "cpu")
    weight = [min(2 * place, 2 - 2 * place) for place in (np.arange(8) + 0.5) / 8]
    expected = np.zeros((2, 20))
    for time in range(20):
        covering = [start for start in (0, 4, 8, 12) if start <= time < start + 8]
        total = sum(weight[time - start] * (time - start) / 7 for start in covering)
        expected[:, time] = mixture[:, time] * total / sum(weight[time - start] for start in covering)
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_a_whole_track_at_once() -> None:
    mixture = np.ones((1, 30), np.float32)
    found = separate_waveform(Fading(), mixture, None, 0.5, "hann", "cpu")
    np.testing.assert_allclose(found[0, 0], np.linspace(0, 1, 30), atol=1e-6)


def test_channels_of_chunks_do_not_meet() -> None:
    mixture = np.stack([np.ones(500), np.zeros(500)]).astype(np.float32)
    found = separate_waveform(Halves(), mixture, 128, 0.5, "hann", "cpu")
    assert not found[:, 1].any() and (found[:, 0] > 0.4).all()


def test_scoring_in_frames_is_a_table_a_report_reads(stereo: dict[str, Path]) -> None:
    scores = read_scores(stereo["score_separation"])
    assert not pd.DataFrame.duplicated(scores, ["track", "target", "metric"]).any()
    assert set(scores[scores.track == ""].target) == {"bass", "drums", "macro"}


# ---- what needs no training


@pytest.mark.parametrize("method", ["ideal_mask", "attenuated"])
def test_what_needs_no_training_is_scored_as_a_network_is(method: str, tmp_path: Path) -> None:
    recipe = replace(RECIPE, method=method)
    done = built(recipe, tmp_path)
    assert set(done) == {"prepare_channels", "score_untrained"}
    scores = read_scores(done["score_untrained"])
    tracks = Sided(Packed(done["prepare_channels"]))
    by = scores.set_index(["track", "target", "metric"]).score
    for track in tracks.split("test"):
        mixture = tracks.read(track).astype(np.float64)
        for source in {"bass", "drums"} - {*track.silent}:
            true = tracks.read(track, source).astype(np.float64)
            if method == "attenuated":
                whole = 10 * np.log10((true**2).sum() / ((true - mixture / 4) ** 2).sum())
                assert by[track.name, source, "usdr"] == pytest.approx(whole, abs=1e-6)
                assert by[track.name, source, "si_sdr"] == by[track.name, source, "si_sdr_mixture"]
            else:
                assert by[track.name, source, "si_sdr"] > by[track.name, source, "si_sdr_mixture"] + 5
    assert {example["target"] for example in read_examples(done["score_untrained"])} == {"bass", "drums"}


def test_an_ideal_mask_of_one_source_keeps_the_others_out() -> None:
    rng = np.random.default_rng(0)
    time = np.arange(RATE) / RATE
    low, high = np.sin(2 * np.pi * 200 * time), np.sin(2 * np.pi * 2000 * time)
    mixture = np.float32((low + high + 1e-3 * rng.normal(size=RATE))[None])
    (estimate,) = score.ideal(mixture, np.float32(low[None, None]))
    assert float(si_sdr(low, estimate[0])) > 30


def test_a_method_that_is_none_is_named() -> None:
    with pytest.raises(ValueError, match="'ideal_mask'"):
        replace(RECIPE, method="ideal_maks")


def test_masks_that_pass_all_give_the_mixture() -> None:
    network = MaskNetwork(hidden=8, layers=1, size=256, hop=64, sources=3)
    mixtures = torch.randn(2, 2, 1000, generator=torch.Generator().manual_seed(0))
    assert network(mixtures).shape == (2, 3, 2, 1000)
    torch.nn.init.zeros_(network.leave.weight)
    torch.nn.init.constant_(network.leave.bias, 20.0)
    assert torch.allclose(network(mixtures), mixtures[:, None].expand(2, 3, 2, 1000), atol=1e-5)
