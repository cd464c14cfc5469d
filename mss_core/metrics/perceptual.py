"""Scores that look at spectra as one hears them: log-WMSE, bleedless and fullness.

Conventions are those of separation.py: signals (channel, time), all in float64. None is a ratio of energies, so none
is in dB, and none can be compared with an SDR.
"""

import functools
import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy import fft, signal
from torch import Tensor

from mss_core.audio import resample_tensor, slaney_mel
from mss_core.metrics.separation import _tensors

RATE = 44_100
"""Samples per second at which log-WMSE is defined."""
TAPS, FFT = 4000, 8192
INAUDIBLE = 10 ** (-68 / 20)
FLOOR = 1e-8


def log_wmse(mixture: ArrayLike, reference: ArrayLike, estimate: ArrayLike, rate: float) -> ArrayLike:
    """log-WMSE: -4 ln of the frequency-weighted mean squared error; higher is better [log-wmse-audio-quality 0.1].

    All signals are scaled so that the weighted mixture has an RMS of one, errors below -68 dB count as none, and 1e-8
    is added. So it is defined for a silent reference, where no SDR is, and lies below 73.7. It is the mean over
    channels; a channel in which the mixture is silent has 73.7.

    Args:
        mixture: (channel, time).
        reference, estimate: (..., channel, time).
        rate: samples per second; any but 44,100 are resampled to it.

    Shape: returns (...).
    """
    (m, s, e), back = _tensors(mixture=mixture, reference=reference, estimate=estimate)
    m, s, e = (resample_tensor(x, round(rate), RATE) for x in (m, s, e))
    rms = _weighted(m).square().mean(-1)
    wrong = _weighted(e - s) / rms.sqrt().where(rms > 0, 1.0)[..., None]
    wrong = wrong.where((wrong.abs() >= INAUDIBLE) & (rms > 0)[..., None], 0.0)
    return back((-4 * torch.log(wrong.square().mean(-1) + FLOOR)).mean(-1))


def _weighted(x: Tensor) -> Tensor:
    """Filtered without delay by how well one hears each frequency; of the same length."""
    taps = torch.from_numpy(hearing()).to(x)
    size = fft.next_fast_len(x.shape[-1] + TAPS - 1, real=True)
    whole = torch.fft.irfft(torch.fft.rfft(x, size) * torch.fft.rfft(taps, size), size)
    first = (TAPS - 1) // 2
    return whole[..., first : first + x.shape[-1]]


@functools.cache
def hearing() -> np.ndarray:
    """The linear-phase filter of log-WMSE at 44.1 kHz: (tap,).

    Its gain is that of four filters in a row: a shelf of +5 dB above 1.5 kHz, a high-pass at 120 Hz, a peak of +2.5 dB
    at 500 Hz and a low-pass at 10 kHz; shelf and peak are those of Bristow-Johnson's Audio EQ Cookbook.
    """
    frequencies = np.pi * np.arange(FFT // 2 + 1) / (FFT // 2 + 1)
    gain = np.ones(len(frequencies))
    for b, a in (_shelf(1500, 5.0, math.sqrt(0.5)), _peak(500, 2.5, 1.5 * math.sqrt(0.5))):
        gain *= np.abs(signal.freqz(b, a, frequencies)[1])
    for order, cut, kind, times in ((2, 120, "highpass", 1), (1, 10_000, "lowpass", 2)):
        gain *= np.abs(signal.freqz(*signal.butter(order, cut, kind, fs=RATE), frequencies)[1]) ** times
    response = np.fft.fftshift(np.fft.irfft(gain, FFT))
    first = FFT // 2 + 1 - TAPS // 2
    return response[first : first + TAPS]


def _shelf(frequency: float, decibels: float, q: float) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator of a high shelf."""
    a, w = 10 ** (decibels / 40), 2 * math.pi * frequency / RATE
    cos, more = math.cos(w), 2 * math.sqrt(a) * math.sin(w) / (2 * q)
    up, down = a + 1, a - 1
    b = a * np.array([up + down * cos + more, -2 * (down + up * cos), up + down * cos - more])
    return b, np.array([up - down * cos + more, 2 * (down - up * cos), up - down * cos - more])


def _peak(frequency: float, decibels: float, q: float) -> tuple[np.ndarray, np.ndarray]:
    """Numerator and denominator of a peaking filter."""
    a, w = 10 ** (decibels / 40), 2 * math.pi * frequency / RATE
    alpha = math.sin(w) / (2 * q)
    cos = -2 * math.cos(w)
    return np.array([1 + alpha * a, cos, 1 - alpha * a]), np.array([1 + alpha / a, cos, 1 - alpha / a])


def bleedless_fullness(reference: ArrayLike, estimate: ArrayLike, rate: float) -> tuple[float, float]:
    """Bleedless and fullness, each from 0 to 100, which is perfect [Solovyev's Music-Source-Separation-Training].

    Mel spectrograms (512 bands, Hann window of 4096, hop 1024) in dB, no more than 80 dB below the loudest bin. Each is
    100 / (1 + the mean difference): over the bins in which the estimate is louder than the reference (bleedless), and
    over those in which it is softer (fullness). An estimate that is louder nowhere has a bleedless of 100.

    Args:
        reference, estimate: (channel, time).
        rate: samples per second.
    """
    (s, e), _ = _tensors(reference=reference, estimate=estimate)
    true, made = (_mel_decibels(x, rate) for x in (s, e))
    above = made - true
    louder, softer = above[above > 0], -above[above < 0]
    bleedless, fullness = (100 / (1 + float(part.mean() if part.numel() else 0.0)) for part in (louder, softer))
    return bleedless, fullness


def _mel_decibels(x: Tensor, rate: float) -> Tensor:
    """(channel, time) -> (channel, band, frame)."""
    window = torch.hann_window(4096, dtype=x.dtype, device=x.device)
    spectra = torch.stft(x, 4096, 1024, window=window, pad_mode="constant", return_complex=True).abs()
    bands = slaney_mel(512, 4096, round(rate)).to(x)
    loudness = 20 * torch.log10((bands @ spectra).clamp(min=1e-10))
    return loudness.clamp(min=float(loudness.max()) - 80)
