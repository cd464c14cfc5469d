"""Spectrograms in dB and back, against librosa's definitions, torchaudio's Griffin-Lim and the rules written out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch

from mss_core.systems.aemic.decibels import (
    FLOOR,
    SCALE,
    Grid,
    Reconstruction,
    SoftBins,
    amplitudes,
    decibels,
    griffin_lim,
    inverse,
    remove_soft_bins,
    spectrum,
    waveforms,
)

SMALL = Grid(size=256, hop=64, samples=64 * 30)
GOLDEN = Path(__file__).with_name("griffin_lim.npz")


def music(grid: Grid, seed: int = 0) -> torch.Tensor:
    """Two notes with a decay, and a little noise."""
    rng = np.random.default_rng(seed)
    time = np.arange(grid.samples) / grid.samples
    tones = sum(np.sin(2 * np.pi * f * time) * np.exp(-3 * time) for f in (grid.samples / 40, grid.samples / 13.7))
    return torch.from_numpy((0.3 * tones + 0.001 * rng.normal(size=grid.samples)).astype(np.float32))


# ---- shape and definition


def test_three_seconds_give_the_thesis_s_frames() -> None:
    grid = Grid()
    waveform = torch.zeros(132_300)
    assert spectrum(waveform, grid).shape == (2049, 127)
    assert decibels(waveform, grid).shape == (2048, 128) == (grid.bins, grid.frames)
    assert amplitudes(decibels(waveform, grid)).shape == (2049, 127)


@pytest.mark.parametrize("grid", [SMALL, Grid(256, 60, 1_900), Grid(256, 64, 1_920, "reflect")])
def test_the_transform_is_a_centred_hann_stft(grid: Grid) -> None:
    waveform = music(grid)
    mode = "constant" if grid.padding == "constant" else "reflect"
    padded = np.pad(waveform.numpy().astype(float), grid.size // 2, mode=mode)
    window = scipy.signal.get_window("hann", grid.size)
    frames = np.lib.stride_tricks.sliding_window_view(padded, grid.size)[:: grid.hop] * window
    ours = spectrum(waveform, grid).numpy()
    expected = np.fft.rfft(frames).T
    assert ours.shape == expected.shape == (grid.bins + 1, grid.frames - 1)
    np.testing.assert_allclose(ours, expected, atol=2e-5)


def test_decibels_follow_the_recipe_step_by_step() -> None:
    waveform = music(SMALL)
    magnitude = np.abs(spectrum(waveform, SMALL).numpy().astype(complex))
    level = 20 * np.log10(np.maximum(magnitude, 1e-5))
    level = np.maximum(level, level.max() - 80)
    expected = np.concatenate([level[:-1], np.zeros((SMALL.bins, 1))], 1) / 150
    np.testing.assert_allclose(decibels(waveform, SMALL).numpy(), expected, atol=2e-6)


def test_values_lie_where_the_recipe_says() -> None:
    grid = Grid()
    loudest = torch.ones(132_300)  # full scale: the window's sum, 66 dB
    assert decibels(loudest, grid).max() == pytest.approx(20 * np.log10(2048) / 150, abs=1e-4)
    faint = torch.full((132_300,), 1e-9)
    assert decibels(faint, grid).min() == pytest.approx(-100 / 150)
    assert FLOOR == pytest.approx(-100 / 150)


def test_digital_silence_is_all_zeros_and_comes_back_quiet() -> None:
    batch = torch.stack([torch.zeros(SMALL.samples), music(SMALL)])
    values = decibels(batch, SMALL)
    assert not values[0].any() and values[1].any()
    torch.testing.assert_close(amplitudes(values)[0], torch.full((SMALL.bins + 1, SMALL.frames - 1), 1e-3))


# ---- round trips


def test_amplitudes_come_back_where_nothing_was_cut() -> None:
    waveform = music(SMALL)
    magnitude = spectrum(waveform, SMALL).abs()
    kept = magnitude > magnitude.max() * 10 ** (-79.9 / 20)
    back = amplitudes(decibels(waveform, SMALL))
    torch.testing.assert_close(back[:-1][kept[:-1]], magnitude[:-1][kept[:-1]], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(back[-1], back[-2])


@pytest.mark.parametrize("grid", [Grid(), SMALL, Grid(512, 256, 32_256)])
def test_the_inverse_transform_is_exact(grid: Grid) -> None:
    waveform = music(grid)
    torch.testing.assert_close(inverse(spectrum(waveform, grid), grid), waveform, rtol=0, atol=2e-6)


def test_mixture_phase_returns_the_mixture_from_its_own_spectrogram() -> None:
    """Up to the lost top bin and the bins 80 dB down: white noise has neither."""
    waveform = torch.from_numpy(np.random.default_rng(1).normal(0, 0.1, SMALL.samples).astype(np.float32))
    low = scipy.signal.sosfilt(scipy.signal.butter(8, 0.8, output="sos"), waveform.numpy()).astype(np.float32)
    values = decibels(torch.from_numpy(low), SMALL)
    back = waveforms(values, SMALL, Reconstruction("mixture_phase"), torch.from_numpy(low)).numpy()
    assert 20 * np.log10(np.std(back - low) / np.std(low)) < -55


# ---- Griffin-Lim


def test_griffin_lim_is_torchaudio_s() -> None:
    from torchaudio.functional import griffinlim

    grid = Grid(256, 64, 64 * 30, "reflect")  # torchaudio pads so
    magnitude = spectrum(music(grid), grid).abs()
    theirs = griffinlim(
        magnitude,
        torch.hann_window(256),
        256,
        64,
        256,
        power=1.0,
        n_iter=16,
        momentum=0.99,
        length=grid.samples,
        rand_init=False,
    )
    torch.testing.assert_close(griffin_lim(magnitude, grid, 16), theirs, rtol=0, atol=2e-4)


def test_griffin_lim_is_librosa_s() -> None:
    """A waveform that librosa 0.11's griffinlim(init=None) made of this spectrogram, kept beside the test."""
    kept = np.load(GOLDEN)
    grid = Grid(256, 64, len(kept["waveform"]))
    ours = griffin_lim(torch.from_numpy(kept["magnitude"]), grid, int(kept["iterations"])).numpy()
    np.testing.assert_allclose(ours, kept["waveform"], rtol=0, atol=1e-9)


def test_griffin_lim_is_librosa_s_where_it_is_installed() -> None:
    librosa = pytest.importorskip("librosa")
    magnitude = spectrum(music(SMALL), SMALL).abs().double()
    theirs = librosa.griffinlim(
        magnitude.numpy(),
        n_iter=32,
        hop_length=SMALL.hop,
        n_fft=SMALL.size,
        init=None,
        length=SMALL.samples,
        dtype=np.float64,
    )
    exact = Grid(SMALL.size, SMALL.hop, SMALL.samples)
    np.testing.assert_allclose(griffin_lim(magnitude, exact, 32).numpy(), theirs, rtol=0, atol=1e-9)
    waveform = music(SMALL).double()
    amplitude = np.abs(librosa.stft(waveform.numpy(), n_fft=SMALL.size, hop_length=SMALL.hop))
    theirs_db = librosa.amplitude_to_db(amplitude, ref=1.0, amin=1e-5, top_db=80.0)
    np.testing.assert_allclose(decibels(waveform, SMALL)[:, :-1].numpy() * SCALE, theirs_db[:-1], atol=1e-5)


def test_griffin_lim_approaches_the_amplitudes() -> None:
    waveform = music(SMALL)
    magnitude = spectrum(waveform, SMALL).abs()

    def error(iterations: int) -> float:
        found = spectrum(griffin_lim(magnitude, SMALL, iterations), SMALL).abs()
        return float((found - magnitude).norm() / magnitude.norm())

    assert error(64) < 0.5 * error(1) and error(64) < 0.2


# ---- soft bins


def values_of(*rows: float) -> torch.Tensor:
    """A representation whose columns are all alike but for the padding column of zeros."""
    column = torch.tensor(rows)
    return torch.cat([column[:, None].expand(-1, 3), torch.zeros(len(rows), 1)], 1)


def test_the_relative_gate_counts_from_the_segment_s_loudest_bin() -> None:
    values = torch.stack([values_of(-0.10, -0.49, -0.51), values_of(0.10, -0.29, -0.31)])
    gated = remove_soft_bins(values, SoftBins())
    for item, expected in zip(gated, ([-0.10, -0.49, FLOOR], [0.10, -0.29, FLOOR]), strict=True):
        torch.testing.assert_close(item[:, 0], torch.tensor(expected))
        assert not item[:, -1].any()


def test_the_absolute_gate_counts_from_full_amplitude() -> None:
    gated = remove_soft_bins(values_of(0.2, -0.39, -0.41), SoftBins(reference="absolute"))
    torch.testing.assert_close(gated[:, 1], torch.tensor([0.2, -0.39, FLOOR]))


def test_the_released_expander_doubles_and_cuts() -> None:
    values = torch.linspace(-0.6, 0.3, 2048)[:, None].repeat(1, 4)
    expected = values.clone()
    for row in range(1996):
        for column in range(3):
            x = float(values[row, column])
            x = x / 0.5 if x < -0.05 else x
            expected[row, column] = -0.33 if x < -0.33 else x
    torch.testing.assert_close(remove_soft_bins(values, SoftBins("expander")), expected)


@pytest.mark.parametrize("reference", ["relative", "absolute"])
def test_a_lower_threshold_keeps_more(reference: str) -> None:
    values = decibels(music(SMALL), SMALL)
    kept = [
        int((remove_soft_bins(values, SoftBins("gate", reference, t))[:, :-1] > FLOOR).sum())
        for t in (-20.0, -40.0, -60.0, -199.0)
    ]
    assert kept == sorted(kept) and kept[0] < kept[-1]
    torch.testing.assert_close(remove_soft_bins(values, SoftBins("gate", reference, -199.0)), values)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SoftBins("gates"), "no rule 'gates'; did you mean 'gate'"),
        (lambda: SoftBins(reference="relativ"), "no reference 'relativ'; did you mean 'relative'"),
        (lambda: SoftBins(threshold_db=-300.0), "'threshold_db' lies between -200 and 150 dB, not -300"),
        (lambda: Reconstruction("griffin"), "no reconstruction 'griffin'; did you mean 'griffin_lim'"),
        (lambda: Reconstruction("griffin_lim", 0), "'iterations' must be at least 1, not 0"),
        (lambda: Grid(padding="zero"), "no padding 'zero'; choose from 'constant', 'reflect'"),
        (lambda: Grid(size=5), "an even 'size'"),
    ],
)
def test_mistakes_are_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
