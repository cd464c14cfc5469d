"""log-WMSE against its released filter and examples, bleedless and fullness against torchaudio's transforms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import signal
from torchaudio import transforms

from mss_core.metrics.perceptual import bleedless_fullness, hearing, log_wmse

RATE = 44_100
GAINS = {
    50: -15.319270896,
    300: 0.989345178,
    500: 2.534208649,
    1500: 2.644217709,
    3000: 4.236006109,
    10000: -1.01496010,
}
"""dB by Hz, of the impulse response that log-wmse-audio-quality 0.1 ships."""


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape)


def test_the_filter_is_the_released_one() -> None:
    taps = hearing()
    gains = np.abs(signal.freqz(taps, 1, 2 * np.pi * np.array(list(GAINS)) / RATE)[1])
    np.testing.assert_allclose(20 * np.log10(gains), list(GAINS.values()), atol=1e-5)
    assert len(taps) == 4000 and taps.argmax() == 1999


def test_log_wmse_has_the_values_of_its_documentation() -> None:
    """A tenth of the mixture where there should be silence; nothing wrong; a silent mixture."""
    sound = noise(1, RATE)
    assert log_wmse(sound, 0 * sound, 0.1 * sound, RATE) == pytest.approx(18.42, abs=0.01)
    assert log_wmse(sound, sound, sound, RATE) == pytest.approx(73.68, abs=0.01)
    assert log_wmse(0 * sound, 0 * sound, 0 * sound, RATE) == pytest.approx(73.68, abs=0.01)


def test_log_wmse_equals_its_definition_and_knows_no_common_gain() -> None:
    mixture, reference = noise(2, 9000), 0.3 * noise(2, 9000, seed=1)
    estimate = reference + [[0.02], [1e-4]] * noise(2, 9000, seed=2)

    def heard(x: np.ndarray) -> np.ndarray:
        return np.stack([signal.oaconvolve(channel, hearing(), "same") for channel in x])

    errors = (heard(estimate) - heard(reference)) / np.sqrt((heard(mixture) ** 2).mean(1))[:, None]
    errors[np.abs(errors) < 10 ** (-68 / 20)] = 0
    expected = (-4 * np.log((errors**2).mean(1) + 1e-8)).mean()
    assert log_wmse(mixture, reference, estimate, RATE) == pytest.approx(expected, rel=1e-9)
    assert log_wmse(9 * mixture, 9 * reference, 9 * estimate, RATE) == pytest.approx(expected, rel=1e-9)


def test_log_wmse_at_another_rate_is_that_of_the_resampled_sound() -> None:
    times = np.arange(16_000) / 16_000
    sound = np.sin(2 * np.pi * 440 * times)[None]
    other = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)[None]
    low, high = (log_wmse(x, 0.5 * x, 0.4 * x, rate) for x, rate in ((sound, 16_000), (other, RATE)))
    assert low == pytest.approx(high, abs=0.02)


@pytest.mark.parametrize("gain, expected", [(2.0, (100 / (1 + 20 * np.log10(2)), 100.0)), (1.0, (100.0, 100.0))])
def test_a_gain_is_all_bleeding_or_all_lost(gain, expected) -> None:
    sound = noise(2, 20_000)
    assert bleedless_fullness(sound, gain * sound, RATE) == pytest.approx(expected, rel=1e-9)
    assert bleedless_fullness(gain * sound, sound, RATE) == pytest.approx(expected[::-1], rel=1e-9)


@pytest.mark.parametrize("rate", [RATE, 16_000])
def test_bleedless_and_fullness_equal_those_of_torchaudio(rate) -> None:
    reference, estimate = (torch.from_numpy(noise(2, 20_000, seed=seed)).float() for seed in (1, 2))
    estimate = 0.5 * estimate + reference * torch.linspace(0, 1, 20_000)
    mel = transforms.MelSpectrogram(
        rate, 4096, hop_length=1024, n_mels=512, power=1.0, norm="slaney", mel_scale="slaney", pad_mode="constant"
    )
    decibels = transforms.AmplitudeToDB("magnitude", 80)
    above = decibels(mel(estimate)) - decibels(mel(reference))
    expected = [100 / (1 + above[above > 0].mean()), 100 / (1 - above[above < 0].mean())]
    assert bleedless_fullness(reference, estimate, rate) == pytest.approx([float(x) for x in expected], rel=1e-4)
