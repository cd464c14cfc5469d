"""Vocals labelled by a detector of speech: the network against NumPy, the labels, and the agreement."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mss_core import audio
from mss_core.data import packaged, weights
from mss_core.data.activity import Confidences, confidence, window_of
from mss_core.data.packed import Packed
from mss_core.data.sets import TrackSet, WeightSet
from mss_core.graph import Context, Stage, walk
from mss_core.stages.prepare import prepare_tracks
from mss_core.store import Store, materialize
from mss_core.systems.iass import iass_musdb, smoke
from mss_core.systems.iass.prepare import prepare_activity
from mss_core.systems.iass.voice import SileroVad, agreement, detected, in_words, load, prepare_voice


def package_state() -> dict[str, torch.Tensor]:
    """Random tensors under the names of the package's file."""
    torch.manual_seed(0)
    return {
        name.replace("lstm.", "lstm_cell.").removesuffix("_l0") if name.startswith("lstm.") else name: value
        for name, value in SileroVad().state_dict().items()
    }


def safetensors(path: Path, state: dict[str, torch.Tensor]) -> Path:
    """The format: a length, a JSON header and the tensors' bytes."""
    header, content = {}, b""
    for name, value in state.items():
        block = value.numpy().astype("<f4").tobytes()
        places = [len(content), len(content) + len(block)]
        header[name] = {"dtype": "F32", "shape": list(value.shape), "data_offsets": places}
        content += block
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return safetensors(tmp_path / "voice" / "silero_vad_16k.safetensors", package_state()).parent


def straight_down(wave: np.ndarray, state: dict[str, np.ndarray]) -> np.ndarray:
    """Chunk by chunk: 64 samples of the one before, 512 of its own, 64 mirrored; an LSTM cell written out."""

    def convolved(x: np.ndarray, name: str, stride: int, padding: int) -> np.ndarray:
        kernel = state[f"{name}.weight"]
        x = np.pad(x, ((0, 0), (padding, padding)))
        places = range(0, x.shape[1] - kernel.shape[2] + 1, stride)
        found = np.stack([np.tensordot(kernel, x[:, i : i + kernel.shape[2]], 2) for i in places], 1)
        return found + state.get(f"{name}.bias", np.zeros(len(kernel)))[:, None]

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    before, h, c, said = np.zeros(64), np.zeros(128), np.zeros(128), []
    for start in range(0, len(wave), 512):
        chunk = wave[start : start + 512]
        own = np.concatenate([before, chunk, np.zeros(512 - len(chunk))])
        before = own[-64:]
        x = np.concatenate([own, own[-2:-66:-1]])[None]
        both = convolved(x, "stft_conv", 128, 0)
        x = np.hypot(both[:129], both[129:])
        for name, stride in (("conv1", 1), ("conv2", 2), ("conv3", 2), ("conv4", 1)):
            x = np.maximum(convolved(x, name, stride, 1), 0)
        gates = state["lstm_cell.weight_ih"] @ x[:, 0] + state["lstm_cell.bias_ih"]
        gates = gates + state["lstm_cell.weight_hh"] @ h + state["lstm_cell.bias_hh"]
        i, f, g, o = np.split(gates, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        said.append(sigmoid(state["final_conv.weight"][0, :, 0] @ np.maximum(h, 0) + state["final_conv.bias"][0]))
    return np.array(said)


def test_the_detector_is_what_numpy_computes(folder: Path) -> None:
    path = packaged.files("silero_vad", folder)[0]
    _same(path)


def test_the_real_detector_is_what_numpy_computes() -> None:
    place = packaged.installed("silero_vad")
    if place is None:
        pytest.skip(f"the package silero-vad is not installed ({packaged.PACKAGED['silero_vad'].install})")
    _same(packaged.files("silero_vad", place)[0])


def _same(path: Path) -> None:
    module = load(path, "silero_vad")
    assert sum(p.numel() for p in module.parameters()) == 309_633
    wave = 0.1 * np.random.default_rng(0).normal(size=10_000)
    state = {name: value.double().numpy() for name, value in weights.read(path).items()}
    with torch.inference_mode():
        said = module(torch.from_numpy(wave.astype(np.float32))).numpy()
    np.testing.assert_allclose(said, straight_down(wave, state), atol=1e-4)


def test_a_long_track_is_heard_as_in_one_part(folder: Path) -> None:
    """Parts of 512 chunks go through the convolutions at a time, and the LSTM remembers."""
    module = load(folder / "silero_vad_16k.safetensors", "silero_vad")
    wave = 0.1 * torch.randn(700 * 512, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        whole = module(wave)
        assert len(whole) == 700
        torch.testing.assert_close(module(wave[: 600 * 512]), whole[:600], atol=1e-5, rtol=1e-4)


def test_other_weights_are_refused(folder: Path) -> None:
    path = safetensors(folder / "silero_vad_16k.safetensors", {**package_state(), "conv9.bias": torch.zeros(1)})
    with pytest.raises(ValueError, match="the model has no 'conv9.bias'"):
        load(path, "silero_vad")


def test_vocals_are_labelled_anew_and_the_rest_is_left(folder: Path, shared_stems: Path, tmp_path: Path) -> None:
    data = TrackSet("stems")
    roots = {"stems": shared_stems, "silero_vad": folder}
    tracks = Stage(prepare_tracks, data=data, segment=16_000)
    energy = Stage(prepare_activity, data=tracks, tracks=data)
    stage = Stage(prepare_voice, data=tracks, activity=energy, voice=WeightSet("silero_vad"))
    store, context = Store(tmp_path / "store"), Context(data=roots)
    folders = [materialize(s, store, context) for s in (tracks, energy, stage)]
    packed, module = Packed(folders[0]), load(folder / "silero_vad_16k.safetensors", "silero_vad")
    with np.load(folders[1] / "confidence.npz") as old, np.load(folders[2] / "confidence.npz") as new:
        assert set(old) == set(new)
        for key in old:
            number, row = key.split(" ", 1)
            if row != "vocals":
                np.testing.assert_array_equal(old[key], new[key])
            else:
                wave = packed.read(packed.items[int(number)], "vocals")
                expected = detected(module, wave, 16_000, len(old[key]), "cpu")
                np.testing.assert_allclose(new[key], expected, atol=1e-6)
    assert len(Confidences(folders[2], packed).labels(packed.items[0], "vocals", np.arange(0, 16_000, 500))) == 32
    licence, told = json.loads((folders[2] / "notes.json").read_text())
    assert "MIT licence" in licence["text"] and "trained on speech, not on song" in licence["text"]
    assert "agrees with the labels it replaces in" in told["text"] and told["count"] == len(packed.items)


def test_agreement_is_counted() -> None:
    first, second = np.array([1, 1, 1, 0, 0, 0, 0, 0], bool), np.array([1, 1, 0, 1, 0, 0, 0, 0], bool)
    found = agreement(first, second)
    table = np.array([[4, 1], [1, 2]]) / 8
    chance = float(table.sum(0) @ table.sum(1))
    assert found["share"] == 0.75 and found["kappa"] == pytest.approx((0.75 - chance) / (1 - chance))
    assert np.isnan(agreement(first[:2], second[:2])["kappa"])
    assert "in 75.0 % of 8 frames (kappa 0.47), and calls 37.5 % of them active" in in_words(first, second)


def test_it_is_one_more_source_of_labels_by_name() -> None:
    recipe = replace(iass_musdb(), voice=WeightSet("silero_vad"))
    stages = walk([recipe.pipeline()]).values()
    assert sum(stage.name == "prepare_voice" for stage in stages) == 1
    assert {s.arguments["activity"].name for s in stages if s.arguments.get("activity")} == {
        "prepare_activity",
        "prepare_voice",
        "score_activity",
    }
    assert "prepare_voice" in {stage.name for stage in walk([smoke(recipe).pipeline()]).values()}
    others = ("bass", "drums", "other")
    with pytest.raises(ValueError, match="no source that 'voice' labels .* 'vocals'"):
        replace(recipe, data=replace(recipe.data, sources=others), targets=("bass",))


def test_speech_detection_and_energy_on_real_songs(shared_data: Path) -> None:
    """Ten seconds of real vocals: a detector of speech hears some of it, and more of it than of the drums."""
    place = packaged.installed("silero_vad")
    if place is None:
        pytest.skip(f"the package silero-vad is not installed ({packaged.PACKAGED['silero_vad'].install})")
    module = load(packaged.files("silero_vad", place)[0], "silero_vad")
    said = {}
    for stem in ("vocals", "drums"):
        wave, rate = audio.load(shared_data / "everything_is_free" / "train" / "Sodium" / f"{stem}.flac")
        mono = wave.mean(0)[20 * rate : 30 * rate]
        frames = -(-len(mono) // (window_of(rate) // 2)) + 1
        said[stem] = detected(module, mono, rate, frames, "cpu")
    assert said["vocals"].mean() > said["drums"].mean()
    assert len(confidence({"vocals": mono}, window_of(rate))["vocals"]) <= len(said["vocals"]) + 2
