"""Integrated loudness of programme material [ITU-R BS.1770-4], and bringing a waveform to a loudness or a peak.

K-weighting (a high shelf, then a high-pass), mean square of 400 ms blocks every 100 ms, an absolute gate at -70 LUFS
and a relative one 10 LU below what passes it.
"""

from __future__ import annotations

import functools
import math

import numpy as np

BLOCK, OVERLAP = 0.4, 0.75
ABSOLUTE_GATE, RELATIVE_GATE = -70.0, -10.0
LOUDNESS, PEAK = -25.0, -1.0
PERCUSSIVE = ("drums", "drum_set", "nontonal_percussion", "percussion")
WEIGHTS = (1.0, 1.0, 1.0, 1.41, 1.41)
"""Of left, right, centre and the surrounds."""


@functools.cache
def k_weighting(rate: int) -> np.ndarray:
    """Second-order sections of the two filters at any sample rate, (2, 6).

    The standard prints coefficients for 48 kHz only. These come from the analogue filters behind them, by the
    bilinear transform, and are the printed ones at 48 kHz.
    """
    centre, gain, quality = 1681.974450955533, 3.999843853973347, 0.7071752369554196
    k, vh = math.tan(math.pi * centre / rate), 10 ** (gain / 20)
    vb = vh**0.4996667741545416
    a0 = 1 + k / quality + k * k
    shelf = [
        (vh + vb * k / quality + k * k) / a0,
        2 * (k * k - vh) / a0,
        (vh - vb * k / quality + k * k) / a0,
        1.0,
        2 * (k * k - 1) / a0,
        (1 - k / quality + k * k) / a0,
    ]
    centre, quality = 38.13547087602444, 0.5003270373238773
    k = math.tan(math.pi * centre / rate)
    a0 = 1 + k / quality + k * k
    high_pass = [1.0, -2.0, 1.0, 1.0, 2 * (k * k - 1) / a0, (1 - k / quality + k * k) / a0]
    return np.array([shelf, high_pass])


def integrated(waveform: np.ndarray, rate: int) -> float:
    """LUFS of a whole waveform; -inf where no block passes the absolute gate, or where it is shorter than a block.

    Shape: (channel, time), at most five channels.
    """
    from scipy.signal import sosfilt  # slow to import, and every process of a study imports this module

    if waveform.ndim != 2 or not 1 <= len(waveform) <= len(WEIGHTS):
        raise ValueError(f"loudness needs (channel, time) with 1 to {len(WEIGHTS)} channels, not {waveform.shape}")
    power = np.zeros(waveform.shape[1])
    for weight, channel in zip(WEIGHTS, waveform, strict=False):
        power += weight * np.square(sosfilt(k_weighting(rate), channel.astype(np.float64)))
    energy = _gated(power, rate, _energy(ABSOLUTE_GATE))
    return _lufs(energy) if energy else -math.inf


def sounding_rms(waveform: np.ndarray, rate: int) -> float:
    """RMS of the mean over channels, over what sounds: the blocks that pass the standard's two gates (here -70 dB re
    full scale, and 10 dB below the mean of what passes that), unweighted in frequency. 0 where no block does; of a
    waveform shorter than a block, the RMS of all of it. Shape: (channel, time)."""
    power = np.square(waveform.mean(0, dtype=np.float64))
    if 0 < len(power) < round(BLOCK * rate):
        return float(np.sqrt(power.mean()))
    return float(np.sqrt(_gated(power, rate, 10 ** (ABSOLUTE_GATE / 10))))


def _gated(power: np.ndarray, rate: int, least: float) -> float:
    """Mean power of the blocks that pass the absolute gate ``least`` and the relative one; 0 where none does."""
    block, step = round(BLOCK * rate), round(BLOCK * (1 - OVERLAP) * rate)
    total = np.concatenate([[0.0], np.cumsum(power)])
    starts = np.arange(0, len(power) - block + 1, step)
    energy = np.maximum(total[starts + block] - total[starts], 0.0) / block
    loud = energy[energy > least]
    return float(loud[loud > loud.mean() * 10 ** (RELATIVE_GATE / 10)].mean()) if loud.size else 0.0


def _lufs(energy: float) -> float:
    return -0.691 + 10 * math.log10(energy)


def _energy(lufs: float) -> float:
    return 10 ** ((lufs + 0.691) / 10)


def gain_to_loudness(waveform: np.ndarray, rate: int, target: float) -> float | None:
    """The factor that brings a waveform to ``target`` LUFS; None where it is silent. Shape: (channel, time)."""
    loudness = integrated(waveform, rate)
    return None if loudness == -math.inf else 10 ** ((target - loudness) / 20)


def ms21_gain(
    name: str, waveform: np.ndarray, rate: int, loudness: float = LOUDNESS, peak: float = PEAK
) -> float | None:
    """The factor by which MS21 levels a stem or an instrument: to -25 LUFS, or a percussive one to a peak of -1 dB
    [Zhang, Sec. 3.1.4, which prints LUFS as the peak's unit]; None where it is silent. Shape: (channel, time)."""
    if name in PERCUSSIVE:
        return gain_to_peak(waveform, peak)
    return gain_to_loudness(waveform, rate, loudness)


def gain_to_peak(waveform: np.ndarray, target: float) -> float | None:
    """The factor that brings the highest sample to ``target`` dB re full scale; None for a waveform below -70 dB.

    Shape: (channel, time).
    """
    peak = float(np.abs(waveform).max(initial=0.0))
    return None if peak < 10 ** (ABSOLUTE_GATE / 20) else 10 ** (target / 20) / peak
