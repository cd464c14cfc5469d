"""X-UMX and other separators of four stems: the network, its losses, released weights, and Table 8's protocol."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mss_core import models
from mss_core.apply import separate_stems
from mss_core.data.packed import Packed
from mss_core.data.weights import read
from mss_core.disk import checksum
from mss_core.graph import Context
from mss_core.losses import combinations, weighted_sdr
from mss_core.models.released import HDemucs, from_torchaudio
from mss_core.models.unet import UNet
from mss_core.models.wiener import wiener
from mss_core.models.xumx import XUMX, from_released
from mss_core.recipe import override
from mss_core.stages.scoring import Scoring
from mss_core.store import Store, materialize
from mss_core.study.binding import Binder
from mss_core.systems.transfer import STEMS, smoke, transfer
from mss_core.systems.transfer.score import summarise
from mss_core.systems.transfer.stem_places import StemPlaces
from mss_core.systems.transfer.train import StemTraining, statistics, value

SMALL = {"size": 64, "hop": 16, "max_bin": 20, "hidden": 6, "layers": 2}


def small(**changes) -> XUMX:
    torch.manual_seed(0)
    return XUMX(**{**SMALL, **changes}).eval()


# ---- the network


def test_parameters_are_four_open_unmix() -> None:
    """Of the published stereo network: four times 8,893,348 [Open-Unmix, stereo, 1487 bins]."""
    with torch.device("meta"):
        assert sum(p.numel() for p in XUMX().parameters()) == 4 * 8_893_348


def straight_line(net: XUMX, magnitude: torch.Tensor) -> torch.Tensor:
    """The network once more for one item, from its state alone, bridges written out."""
    state = net.state_dict()
    channels, frames, bins = magnitude.shape

    def norm(at: str, x: torch.Tensor) -> torch.Tensor:
        mean, var = state[f"{at}.running_mean"], state[f"{at}.running_var"]
        return (x - mean) / torch.sqrt(var + 1e-5) * state[f"{at}.weight"] + state[f"{at}.bias"]

    encoded = []
    for stem in net.stems:
        x = (magnitude[..., : net.max_bin] + state[f"scaling.{stem}_input_mean"]) * state[f"scaling.{stem}_input_scale"]
        x = torch.cat(list(x), -1)  # (frame, channel and bin)
        encoded.append(torch.tanh(norm(f"enter.{stem}.1", x @ state[f"enter.{stem}.0.weight"].T)))
    average = sum(encoded) / 4
    joined = (
        sum(
            torch.cat([x, net.recurrent[stem](average[None])[0][0]], -1)
            for stem, x in zip(net.stems, encoded, strict=True)
        )
        / 4
    )
    masks = []
    for stem in net.stems:
        x = torch.relu(norm(f"leave.{stem}.1", joined @ state[f"leave.{stem}.0.weight"].T))
        x = norm(f"leave.{stem}.4", x @ state[f"leave.{stem}.3.weight"].T).reshape(frames, channels, bins)
        x = x * state[f"scaling.{stem}_output_scale"] + state[f"scaling.{stem}_output_mean"]
        masks.append(torch.relu(x).transpose(0, 1))
    return torch.stack(masks)


def test_the_network_equals_a_straight_line_computation() -> None:
    net = small()
    for name, buffer in net.named_buffers():
        buffer.uniform_(0.5, 2.0) if name.endswith("var") else buffer.normal_() if name.endswith("mean") else None
    x = torch.rand(2, 2, 7, 33)
    with torch.no_grad():
        torch.testing.assert_close(net(x)[1], straight_line(net, x[1]), rtol=1e-4, atol=1e-5)


def test_bridges_join_the_stems() -> None:
    """A change in one stem's encoder reaches the others over the bridges, and nobody without them."""
    x = torch.rand(1, 2, 7, 33)
    for bridges in (True, False):
        net = small(bridges=bridges)
        with torch.no_grad():
            before = net(x)
            net.enter["bass"][0].weight.mul_(-3)
            moved = (net(x) - before).abs().amax((0, 2, 3, 4)) > 1e-6
        assert moved.tolist() == [True] + 3 * [bridges]


def test_a_mask_of_ones_returns_the_mixture() -> None:
    for channels in (1, 2):
        net = small(channels=channels)
        with torch.no_grad():
            for stem in net.stems:
                net.leave[stem][-1].weight.zero_()
                net.leave[stem][-1].bias.zero_()
            x = torch.randn(2, 1000)
            torch.testing.assert_close(net.separate_stems(x), x.expand(4, -1, -1), rtol=0, atol=1e-4)


def test_a_mono_network_hears_each_channel_alone() -> None:
    net, x = small(channels=1), torch.randn(2, 900)
    with torch.no_grad():
        both = net.separate_stems(x)
        for channel in (0, 1):
            torch.testing.assert_close(
                both[:, channel : channel + 1], net.separate_stems(x[channel : channel + 1]), rtol=1e-4, atol=1e-5
            )


def test_wiener_estimates_add_up_and_separate_by_place() -> None:
    torch.manual_seed(0)
    left, right = torch.randn(2, 5, 9, dtype=torch.complex64)
    sources = torch.stack([torch.stack([left, 0.1 * left]), torch.stack([0.1 * right, right])])
    mixture = sources.sum(0)
    magnitudes = sources.abs() * (0.5 + torch.rand(2, 2, 5, 9))
    plain, filtered = wiener(magnitudes, mixture, 0), wiener(magnitudes, mixture, 3)
    torch.testing.assert_close(plain.abs(), magnitudes)
    torch.testing.assert_close(filtered.sum(0), mixture, rtol=0, atol=2e-2)
    assert (filtered - sources).abs().square().sum() < 0.5 * (plain - sources).abs().square().sum()


# ---- losses


def test_combinations_are_all_sums_but_the_whole() -> None:
    parts = torch.tensor([[1.0, 10.0, 100.0, 1000.0]])
    sums = combinations(parts)[0].tolist()
    assert len(sums) == 14 and sums[:4] == [1, 10, 100, 1000]
    assert sorted(sums) == sorted(float(f"{n:04b}") for n in range(1, 15))
    assert combinations(parts[:, :1])[0].tolist() == [1.0]


def test_weighted_sdr_by_hand_and_at_silence() -> None:
    s, x = torch.tensor([[1.0, 0.0, 0.0]]), torch.tensor([[1.0, 2.0, 0.0]])
    assert weighted_sdr(s, s, x).item() == pytest.approx(-1)
    # The mixture as the estimate: cosine 1 / sqrt(5) with weight 1/5; nothing is left, so the other cosine is 0.
    assert weighted_sdr(x, s, x).item() == pytest.approx(-1 / (5 * math.sqrt(5)), abs=1e-6)
    for e, r, m in ((0, 0, 0), (1, 0, 0), (0, 1, 1), (0, 0, 1)):
        estimate = torch.full((1, 3), float(e), requires_grad=True)
        weighted_sdr(estimate, torch.full((1, 3), float(r)), torch.full((1, 3), float(m))).sum().backward()
        assert torch.isfinite(estimate.grad).all()


def test_the_loss_of_ideal_masks_is_nearly_zero() -> None:
    """Stems that do not overlap in frequency: a network that lets each through alone loses nothing."""
    time = torch.arange(4000) / 16_000
    stems = torch.stack([torch.sin(2 * torch.pi * f * time) for f in (500, 2000, 4000, 6000)])[None, :, None]
    net = XUMX(channels=1, size=512, hop=128, max_bin=200, hidden=4, layers=1).eval()
    spectra = net.spectrum(stems).abs()
    net.forward = lambda magnitude: (spectra / magnitude[:, None].clamp_min(1e-8)).clamp_max(1.0)
    with torch.no_grad():
        for combine in (True, False):
            assert value(net, stems, StemTraining(combine=combine)).item() < 0.15
        net.forward = lambda magnitude: torch.full_like(spectra, 0.25)
        assert value(net, stems, StemTraining()).item() > 1.0


# ---- released weights


def as_released(net: XUMX) -> dict[str, torch.Tensor]:
    """The network's state under the names of the released PyTorch models."""
    names = {"enter": ("layer_enc", "enc."), "recurrent": ("layer_lstm", ""), "leave": ("layer_dec", "dec.")}
    state = {}
    for name, tensor in net.state_dict().items():
        part, _, rest = name.partition(".")
        if part == "scaling":
            stem, _, kind = rest.partition("_")
            state[f"mean_scale.{kind}_{stem}"] = tensor
        else:
            stem, _, rest = rest.partition(".")
            state[f"{names[part][0]}.{stem}.{names[part][1]}{rest}"] = tensor
    state["encoder.0.window"] = torch.hann_window(net.size)
    return state


def test_released_weights_of_x_umx_load(tmp_path: Path) -> None:
    net = small()
    torch.save({"state_dict": as_released(net), "model_args": {}}, tmp_path / "w.pth")
    described, loaded = from_released(read(tmp_path / "w.pth"), "w", wiener_iterations=0)
    assert described["channels"] == 2 and described["max_bin"] == 20 and described["layers"] == 2
    assert loaded.stems == net.stems and loaded.hop == net.hop
    x = torch.rand(1, 2, 7, 33)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), net(x))
    assert models.build(described).state_dict().keys() == net.state_dict().keys()


def test_other_weights_are_refused_with_a_reason() -> None:
    other = {"conv.weight": torch.zeros(1)}
    with pytest.raises(
        ValueError,
        match=r"w: not X-UMX in the released layout: no tensor "
        r"'layer_enc.<stem>.enc.0.weight' \(it holds conv.weight",
    ):
        from_released(other, "w")
    with pytest.raises(ValueError, match="w, read as torchaudio's Hybrid Demucs: the model has no 'conv.weight'"):
        from_torchaudio(other, "w", nfft=1024, width=4, depth=5)
    state = as_released(small())
    del state["layer_dec.drums.dec.3.weight"]
    with pytest.raises(ValueError, match="w, read as X-UMX: no 'leave.drums.3.weight'"):
        from_released(state, "w")
    state["layer_dec.drums.dec.3.weight"] = torch.zeros(3, 3)
    with pytest.raises(ValueError, match=r"'leave.drums.3.weight' has shape \(3, 3\); the model's is"):
        from_released(state, "w")
    del state["mean_scale.output_mean_bass"]
    with pytest.raises(ValueError, match="X-UMX without 'scaling.bass_output_mean'"):
        from_released(state, "w")


DEMUCS = {"nfft": 1024, "width": 4, "depth": 5}


def test_hybrid_demucs_loads_and_separates(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = HDemucs(**DEMUCS).eval()
    torch.save(net.network.state_dict(), tmp_path / "w.pt")
    described, loaded = from_torchaudio(read(tmp_path / "w.pt"), "w", **DEMUCS)
    x = 0.1 * torch.randn(2, 30_000)
    with torch.no_grad():
        mono = x.mean(0)
        expected = net.network(((x - mono.mean()) / (mono.std() + 1e-8))[None])[0] * (mono.std() + 1e-8) + mono.mean()
        torch.testing.assert_close(loaded.separate_stems(x), expected, rtol=1e-3, atol=1e-5)
    assert described["name"] == "hdemucs" and loaded.stems == ("drums", "bass", "other", "vocals")


def test_weights_enter_a_key_by_their_content(tmp_path: Path) -> None:
    folder = tmp_path / "xumx"
    folder.mkdir()
    recipe = override(transfer(), {"released": True, "test": smoke(transfer()).test})
    keys = []
    for hidden in (6, 8):
        torch.save(as_released(small(hidden=hidden)), folder / "w.pth")
        store = Store(tmp_path / f"store{hidden}")
        binder = Binder({"xumx": folder}, store.root)
        stage = binder(recipe).pipeline().inputs["model"]
        assert stage.name == "prepare_separator" and binder.used >= {"xumx"} and "musdb18hq" not in binder.used
        directory = materialize(stage, store, Context(data={"xumx": folder}))
        assert (
            models.load(directory).stems == STEMS
            and checksum(folder / "w.pth") in (directory / "notes.json").read_text()
        )
        keys.append(stage.key)
    assert keys[0] != keys[1]


# ---- any separator on any track


class Halves(torch.nn.Module):
    """Gives the left channel to one stem and the right to the other, at 8 kHz, stereo only."""

    stems, samplerate, channels = ("left", "right"), 8000, 2

    def separate_stems(self, waveform: torch.Tensor) -> torch.Tensor:
        x = waveform.expand(2, -1)
        return torch.stack([x * torch.tensor([[1.0], [0.0]]), x * torch.tensor([[0.0], [1.0]])])


def test_stems_come_back_at_the_track_s_rate_and_length() -> None:
    time = np.arange(16_001) / 16_000
    x = np.stack([np.sin(2 * np.pi * 440 * time), np.sin(2 * np.pi * 880 * time)]).astype(np.float32)
    found = separate_stems(Halves(), x, 16_000, "cpu", ())
    assert set(found) == {"left", "right"} and found["left"].shape == x.shape
    middle = slice(1000, -1000)
    np.testing.assert_allclose(found["left"][0, middle], x[0, middle], atol=5e-3)
    assert not found["left"][1].any()
    assert separate_stems(Halves(), x[:1], 16_000, "cpu", ())["left"].shape == (1, 16_001)


def test_the_u_net_takes_part() -> None:
    torch.manual_seed(0)
    net = UNet(2, widths=(2,) * 6, post=2).eval()
    x = (0.1 * np.random.default_rng(0).normal(size=(2, 30_000))).astype(np.float32)
    with torch.no_grad():
        found = separate_stems(net, x, 22_050, "cpu", ("a", "b"))
    assert set(found) == {"a", "b"} and found["a"].shape == (2, 30_000) and np.isfinite(found["a"]).all()


# ---- Table 8's protocol


def test_medians_over_songs_and_the_mean_over_stems() -> None:
    rows = [
        (track, stem, "global_sdr", "", score)
        for stem, scores in (("bass", [1.0, 2.0, 9.0]), ("drums", [3.0, 5.0, 4.0]))
        for track, score in zip("abc", scores, strict=True)
    ]
    table = summarise(
        pd.DataFrame(rows, columns=["track", "target", "metric", "aggregation", "score"]), Scoring(30.0, 15.0)
    )
    over = table[table.track == ""].set_index("target").score
    assert over["bass"] == 2.0 and over["drums"] == 4.0 and over["macro"] == 3.0
    assert set(table[table.track == ""].aggregation) == {"median over tracks", "median over tracks, mean over stems"}
    assert table[(table.track == "c") & (table.target == "macro")].score.item() == 6.5


TINY = {
    "training.size": 12,
    "test.size": 12,
    "xumx.hidden": 4,
    "train.phases.0.epochs": 1,
    "train.epoch_steps": 2,
    "train.batch": 2,
    "stems.valid_segments": 2,
}


def test_scores_once_more_from_the_model(tmp_path: Path) -> None:
    """Table 8's two measures computed here from waveforms."""
    recipe = override(smoke(transfer()), TINY)
    store = Store(tmp_path)
    root = recipe.pipeline()
    directory = materialize(root, store, Context())
    table = pd.read_csv(directory / "scores.csv", keep_default_na=False)
    module = models.load(store.directory(root.inputs["model"]))
    from mss_core.data.sets import survey

    item = next(i for i in survey(recipe.test, {}).items if i.split == "test")
    sound = item.read()
    with torch.no_grad():
        found = separate_stems(module, sound.rows["mixture"], sound.samplerate, "cpu", STEMS)
    heard = [stem for stem in STEMS if sound.rows[stem].any()]
    for stem in heard:
        s, e = sound.rows[stem].astype(float), found[stem].astype(float)
        expected = 10 * np.log10((np.sum(s * s) + 1e-7) / (np.sum((s - e) ** 2) + 1e-7))
        mine = table[(table.track == item.name) & (table.target == stem)].set_index("metric").score
        assert mine["global_sdr"] == pytest.approx(expected, abs=1e-6)
        m = sound.rows["mixture"].astype(float)
        assert mine["global_sdr_mixture"] == pytest.approx(
            10 * np.log10((np.sum(s * s) + 1e-7) / (np.sum((s - m) ** 2) + 1e-7)), abs=1e-6
        )
        assert mine["global_sdr_ideal_mask"] > mine["global_sdr"]
        frames = []
        for start in range(0, 128_000 - 64_000 + 1, 32_000):  # 8 s at 16 kHz, windows of 4 s every 2 s
            inside = slice(start, start + 64_000)
            if all(sound.rows[other][..., inside].any() for other in heard):
                frames.append(10 * np.log10(np.sum(s[:, inside] ** 2) / np.sum((s - e)[:, inside] ** 2)))
        assert float(mine["sdr"]) == pytest.approx(np.median(frames), abs=1e-6)
    assert json.loads((directory / "examples.json").read_text())[0]["track"] == item.name


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Packed:
    recipe = override(smoke(transfer()), {**TINY, "channels": 2})
    store = Store(tmp_path_factory.mktemp("stems"))
    stage = recipe.pipeline().inputs["model"].inputs["data"]
    return Packed(materialize(stage, store, Context()))


def test_stems_are_drawn_from_tracks_that_hold_them(packed: Packed) -> None:
    assert packed.rows[:2] == ("bass.left", "bass.right") and not packed.split("test")
    places = StemPlaces(packed, STEMS, 2, 16_000, seed=4)
    first = places.draw(3, 6)
    assert first.row.shape == (6, 4, 2)
    for a, b in zip(vars(first).values(), vars(places.draw(3, 6)).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (first.start[..., 0] == first.start[..., 1]).all()  # both channels from one place
    for line in range(6):
        for stem in range(4):
            item = next(i for i in packed.items if i.start <= first.start[line, stem, 0] < i.start + i.length)
            assert item.split == "train" and f"{STEMS[stem]}.left" not in item.silent


def test_validation_leaves_out_stems_that_are_silent_in_a_track(packed: Packed) -> None:
    """One of a valid track's channels may be silent; a stem of which both are has no part in the loss."""
    places = StemPlaces(packed, STEMS, 2, 16_000, seed=4)
    places.valid = [replace(item, silent=()) for item in places.valid]
    before = list(places.held(9))
    assert before and all(sounding == [0, 1, 2, 3] for _, sounding in before)
    first, *others = places.valid
    gone = (f"{STEMS[1]}.left", f"{STEMS[1]}.right", f"{STEMS[3]}.left")
    places.valid = [replace(first, silent=gone), *(replace(item, silent=packed.rows) for item in others)]
    after = list(places.held(9))
    assert after and all(sounding == [0, 2, 3] for _, sounding in after)
    assert all(first.start <= where.start.min() < first.start + first.length for where, _ in after)
    places.valid = [replace(item, silent=packed.rows) for item in places.valid]
    assert list(places.held(9)) == []


@pytest.mark.parametrize(("combine", "weight"), [(True, 10.0), (True, 0.0), (False, 10.0)])
def test_the_loss_of_some_stems_does_not_know_the_others(combine: bool, weight: float) -> None:
    """What a network makes of a stem that is left out has no effect; with all stems the loss is what it was."""
    torch.manual_seed(0)
    net = XUMX(channels=2, size=256, hop=64, max_bin=100, hidden=4, layers=1).eval()
    stems = 0.1 * torch.randn(2, 4, 2, 4000)
    stems[:, 1] = 0.0
    training = StemTraining(combine=combine, time_weight=weight)

    def loss(louder: float, sounding: list[int] | None) -> torch.Tensor:
        class Changed(torch.nn.Module):
            spectrum, waveform = staticmethod(net.spectrum), staticmethod(net.waveform)

            def forward(self, magnitude: torch.Tensor) -> torch.Tensor:
                masks = net(magnitude)
                return torch.cat([masks[:, :1], louder * masks[:, 1:2], masks[:, 2:]], 1)

        return value(Changed(), stems, training, sounding)

    with torch.no_grad():
        torch.testing.assert_close(loss(1.0, [0, 2, 3]), loss(5.0, [0, 2, 3]), rtol=0, atol=0)
        torch.testing.assert_close(loss(1.0, None), loss(1.0, [0, 1, 2, 3]), rtol=0, atol=0)
        assert (loss(1.0, None) != loss(5.0, None)).all()
        assert torch.isfinite(loss(1.0, [2])).all()


def test_input_statistics_are_those_of_the_mixtures(packed: Packed) -> None:
    net = XUMX(channels=2, size=256, hop=64, max_bin=100, hidden=4, layers=1)
    mean, deviation = statistics(packed, net, 16_000, most=2)
    magnitudes = []
    for item in packed.split("train")[:2]:
        stems = sum(packed.read(item, row, 0, 64_000) for row in packed.rows) / 2
        magnitudes.append(net.spectrum(torch.from_numpy(stems)).abs())
    whole = torch.cat(magnitudes)
    torch.testing.assert_close(mean, whole.mean(0), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(deviation[:50], whole.std(0, correction=0)[:50], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"separator": "hdemucs"}, "'hdemucs' is not trained here: set released=true"),
        ({"separator": "umx"}, "no separator 'umx'; did you mean 'xumx'"),
        ({"separator": "unet", "released": True}, "no separator with released weights 'unet'"),
        ({"test.name": "ms21"}, "'test.sources' lacks percussion, which ms21 has for"),
        ({"channels": 3}, "'channels' is 1 or 2, not 3"),
        ({"xumx.hidden": 5}, "must be even, not 5 .in 'xumx'."),
        ({"xumx.max_bin": 3000}, "'max_bin' must lie between 1 and 2049, not 3000"),
        ({"scoring.frames": "medan"}, "no 'frames' of the scoring 'medan'; did you mean 'median'"),
        ({"scoring.window": 0.0}, "'window' and 'hop' are seconds above 0"),
        ({"stems.time_weight": -1.0}, "'time_weight' not negative"),
    ],
)
def test_mistakes(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(transfer(), changes)


def test_a_smoke_run_trains_its_own() -> None:
    with pytest.raises(ValueError, match="leave 'released' out"):
        smoke(override(transfer(), {"released": True}))
