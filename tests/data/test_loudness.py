"""Loudness against the standard's own figures, torchaudio, and a computation from first principles."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import signal

from mss_core.data.loudness import gain_to_loudness, gain_to_peak, integrated, k_weighting


def sine(seconds: float, db: float, rate: int = 48_000, frequency: float = 997.0) -> np.ndarray:
    return 10 ** (db / 20) * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def test_the_filters_are_those_printed_in_the_standard() -> None:
    """ITU-R BS.1770-4, Tables 1 and 2 (48 kHz)."""
    printed = [
        [1.53512485958697, -2.69169618940638, 1.19839281085285, 1.0, -1.69065929318241, 0.73248077421585],
        [1.0, -2.0, 1.0, 1.0, -1.99004745483398, 0.99007225036621],
    ]
    np.testing.assert_allclose(k_weighting(48_000), printed, rtol=0, atol=1e-10)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000, 96_000])
def test_a_full_scale_sine_in_one_channel_reads_minus_three(rate: int) -> None:
    """BS.1770-4: 0 dB FS, 997 Hz, one channel: -3.01 LUFS."""
    one = sine(2, 0, rate)
    assert integrated(one[None], rate) == pytest.approx(-3.01, abs=0.05 if rate < 44_100 else 0.02)
    assert integrated(np.stack([one, one]), rate) == pytest.approx(0.0, abs=0.05 if rate < 44_100 else 0.02)


@pytest.mark.parametrize(
    "levels",
    [
        [(-23, 20)],
        [(-33, 20)],
        [(-36, 10), (-23, 60), (-36, 10)],
        [(-72, 10), (-36, 10), (-23, 60), (-36, 10), (-72, 10)],
    ],
)
def test_the_broadcasters_sequences(levels: list[tuple[int, int]]) -> None:
    """EBU Tech 3341, cases 1 to 4: stereo sines; quiet passages are gated."""
    wave = np.concatenate([sine(seconds, db, frequency=1000.0) for db, seconds in levels])
    expected = -33 if levels == [(-33, 20)] else -23
    assert integrated(np.stack([wave, wave]), 48_000) == pytest.approx(expected, abs=0.1)


def first_principles(waveform: np.ndarray, rate: int) -> float:
    """Block by block, filter by filter, gates in a loop."""
    shelf, high_pass = k_weighting(rate)
    blocks = []
    for start in range(0, waveform.shape[1] - round(0.4 * rate) + 1, round(0.1 * rate)):
        energy = 0.0
        for channel in waveform:
            y = signal.lfilter(shelf[:3], shelf[3:], channel)
            y = signal.lfilter(high_pass[:3], high_pass[3:], y)
            piece = y[start : start + round(0.4 * rate)]
            energy += float(np.mean(piece * piece))
        blocks.append(energy)
    loud = [e for e in blocks if e > 0 and -0.691 + 10 * math.log10(e) > -70]
    gate = -0.691 + 10 * math.log10(sum(loud) / len(loud)) - 10
    kept = [e for e in loud if -0.691 + 10 * math.log10(e) > gate]
    return -0.691 + 10 * math.log10(sum(kept) / len(kept))


@pytest.mark.parametrize("seed", [0, 1])
def test_noise_with_pauses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rate = 8000
    envelope = np.repeat(10 ** rng.uniform(-4, 0, 6), rate)
    wave = 0.3 * rng.standard_normal((2, 6 * rate)) * envelope
    ours = integrated(wave, rate)
    assert ours == pytest.approx(first_principles(wave, rate), abs=1e-9)
    from torchaudio.functional import loudness  # other filters at 8 kHz, made from rounded prototypes

    assert ours == pytest.approx(float(loudness(torch.from_numpy(wave), rate)), abs=0.3)


def test_music_against_torchaudio(shared_data) -> None:
    from torchaudio.functional import loudness

    from mss_core import audio

    for name in ("vocals", "drums", "mixture"):
        waveform, rate = audio.load(shared_data / "everything_is_free" / "multitrack" / "Lithium" / f"{name}.flac")
        assert integrated(waveform, rate) == pytest.approx(float(loudness(torch.from_numpy(waveform), rate)), abs=0.1)


def test_gains() -> None:
    wave = np.stack([sine(2, -10), sine(2, -20)])
    gain = gain_to_loudness(wave, 48_000, -25.0)
    assert gain is not None and integrated(gain * wave, 48_000) == pytest.approx(-25.0, abs=1e-6)
    peak = gain_to_peak(wave, -1.0)
    assert peak is not None and np.abs(peak * wave).max() == pytest.approx(10 ** (-1 / 20))
    for silent in (np.zeros((2, 48_000)), np.full((1, 48_000), 1e-5), np.zeros((2, 100))):
        assert gain_to_loudness(silent, 48_000, -25.0) is None and gain_to_peak(silent, -1.0) is None
    with pytest.raises(ValueError, match=r"1 to 5 channels, not \(6, 10\)"):
        integrated(np.zeros((6, 10)), 48_000)
