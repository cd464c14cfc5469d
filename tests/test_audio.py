"""Transforms against their defining properties and independent computations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from mss_core import audio
from mss_core.bad_file import BadFile


def test_segment_lengths_of_the_paper() -> None:
    assert audio.frames_of(61_792) == 384 and audio.samples_of(384) == 61_792
    assert audio.frames_of(123_232) == 768 and audio.frames_of(511) == 0


def test_stft_equals_scipy() -> None:
    x = np.random.default_rng(0).standard_normal(4096).astype(np.float32)
    frames = np.stack([x[i : i + 512] for i in range(0, 4096 - 511, 160)])
    expected = np.fft.rfft(frames * scipy.signal.get_window("hann", 512, fftbins=True))
    np.testing.assert_allclose(audio.stft(torch.from_numpy(x)).numpy(), expected, rtol=0, atol=2e-4)


@pytest.mark.parametrize(("size", "hop"), [(512, 160), (512, 128), (1024, 256)])
def test_round_trip_is_exact_in_the_interior(size: int, hop: int) -> None:
    x = torch.randn(2, 3, audio.samples_of(40, size, hop))
    y = audio.istft(audio.stft(x, size, hop), size, hop)
    inside = slice(size - hop, -(size - hop))
    torch.testing.assert_close(y[..., inside], x[..., inside], rtol=0, atol=1e-5)


def test_edges_are_attenuated_as_in_the_reference_code() -> None:
    gain = audio.istft(audio.stft(torch.ones(61_792)))
    assert float(gain.mean()) == pytest.approx(0.9943, abs=5e-5)
    assert float(gain[0]) == 0.0
    assert int((gain < 0.999).sum()) <= 2 * 352


def test_mel_matrix_has_the_recipe_s_properties() -> None:
    mel = audio.mel_matrix().double().numpy()
    assert mel.shape == (256, 128)
    sums = mel.sum(0)
    assert sums.min() == pytest.approx(0.25, abs=0.005) and sums.max() == pytest.approx(4.87, abs=0.005)
    assert (sums < 0.5).sum() == 8
    assert [i for i in range(256) if not mel[i].any()] == [*range(4), *range(249, 256)]


def test_load_names_what_is_wrong(tmp_path: Path) -> None:
    good = tmp_path / "good.wav"
    soundfile.write(good, np.zeros((1600, 2)), 16_000)
    waveform, rate = audio.load(good)
    assert waveform.shape == (2, 1600) and rate == 16_000 and audio.info(good) == (1600, 16_000, 2)
    (tmp_path / "not.wav").write_text("this is text")
    for function in (audio.load, audio.info):
        with pytest.raises(ValueError, match="not.wav: not a readable audio file"):
            function(tmp_path / "not.wav")
    flac = tmp_path / "whole.flac"
    soundfile.write(flac, np.random.default_rng(0).uniform(-0.5, 0.5, 16_000), 16_000)
    cut = tmp_path / "cut.flac"
    cut.write_bytes(flac.read_bytes()[:12_000])
    with pytest.raises(ValueError, match="cut.flac"):
        audio.load(cut)


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF - 36, 0x80000000])
def test_a_wav_from_a_pipe_is_read_to_its_end(tmp_path: Path, size: int) -> None:
    path, samples = tmp_path / "x.wav", np.random.default_rng(0).uniform(-1, 1, (1000, 2))
    soundfile.write(path, samples, 8000, subtype="FLOAT")
    data = path.read_bytes()
    at = data.find(b"data")
    path.write_bytes(data[: at + 4] + size.to_bytes(4, "little") + data[at + 8 :])
    waveform, rate = audio.load(path)
    np.testing.assert_array_equal(waveform, samples.T.astype(np.float32))
    assert audio.info(path) == (1000, 8000, 2) and rate == 8000


def test_what_only_looks_like_a_wav_from_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.zeros((1000, 2)), 8000)
    data = path.read_bytes()
    at = data.find(b"data")
    path.write_bytes(data[: at + 4] + (40_000).to_bytes(4, "little") + data[at + 8 :])
    with pytest.raises(ValueError, match="x.wav: holds less audio than its header says"):
        audio.info(path)
    path.write_bytes(data[: at + 4] + bytes(4) + b"LIST\x04\x00\x00\x00INFO")
    assert audio.info(path)[0] == 0 and audio.load(path)[0].shape == (2, 0)
    soundfile.write(tmp_path / "x.flac", np.zeros(1000), 8000)
    flac = bytearray((tmp_path / "x.flac").read_bytes())
    flac[21] &= 0xF0
    flac[22:26] = bytes(4)
    (tmp_path / "x.flac").write_bytes(flac)
    for read in (audio.load, audio.info):
        with pytest.raises(ValueError, match="x.flac: its header does not say how long it is.*encode it again"):
            read(tmp_path / "x.flac")


def test_resampling_keeps_a_tone_and_removes_what_cannot_be_kept() -> None:
    time = np.arange(44_100) / 44_100
    low, high = (np.sin(2 * np.pi * f * time).astype(np.float32)[None] for f in (1000, 12_000))
    kept = audio.resample(low, 44_100, 16_000)
    assert kept.shape == (1, 16_000)
    expected = np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000)
    assert np.abs(kept[0] - expected)[200:-200].max() < 0.01
    assert np.abs(audio.resample(high, 44_100, 16_000))[0, 200:-200].max() < 0.02


def test_save_clips(tmp_path: Path) -> None:
    audio.save(tmp_path / "x.wav", np.array([2.0, -2.0, 0.5], np.float32), 8000)
    samples, rate = soundfile.read(tmp_path / "x.wav")
    assert rate == 8000
    np.testing.assert_allclose(samples, [1.0, -1.0, 0.5], atol=1e-4)


def test_moments_are_those_of_all_frames_at_once() -> None:
    rng = np.random.default_rng(3)
    spectra = [rng.uniform(0, 5, (frames, 4)).astype(np.float32) for frames in (1, 7, 30)]
    mean, deviation = audio.moments(torch.from_numpy(spectrum) for spectrum in spectra)
    every = np.concatenate(spectra).astype(np.float64)
    np.testing.assert_allclose(mean, every.mean(0), rtol=1e-12)
    np.testing.assert_allclose(deviation, every.std(0), rtol=1e-9)
    assert mean.dtype == deviation.dtype == np.float64


def test_whether_a_file_reaches_a_level(tmp_path: Path) -> None:
    audio.save(tmp_path / "tone.wav", np.array([[0.0, 0.2, -0.5]], np.float32), 8_000)
    assert audio.reaches(tmp_path / "tone.wav", 0.4) and not audio.reaches(tmp_path / "tone.wav", 0.6)
    (tmp_path / "none.wav").write_bytes(b"no sound")
    with pytest.raises(BadFile, match="none.wav"):
        audio.reaches(tmp_path / "none.wav", 0.4)


@pytest.mark.parametrize("beside", ["._x.mp3", ".AppleDouble/x.mp3"])
def test_what_macos_leaves_beside_an_mp3_is_no_part_of_it(tmp_path: Path, beside: str) -> None:
    """libsndfile took the head of an MP3 without a tag from such a file: "bad data offset"."""
    path = tmp_path / "x.mp3"
    noise = 0.1 * np.random.default_rng(0).standard_normal((22_050, 1))
    soundfile.write(path, noise, 22_050, format="MP3")
    alone = audio.load(path)[0]
    (tmp_path / beside).parent.mkdir(exist_ok=True)
    (tmp_path / beside).write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ")
    np.testing.assert_array_equal(audio.load(path)[0], alone)
    assert audio.info(path)[0] == alone.shape[1]
