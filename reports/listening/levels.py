"""Loudness of a sound [ITU-R BS.1770-4], and the low-passed anchors of MUSHRA [ITU-R BS.1534-3]."""

import math

import numpy as np
from scipy import signal

from reports.media import Sound

ABSOLUTE, RELATIVE = -70.0, -10.0
"""Gates: blocks below -70 LUFS, or 10 LU below the mean of what is left, do not count."""
ANCHORS = {"low anchor": 3_500.0, "mid anchor": 7_000.0}
"""Where the pass band of each anchor ends, in Hz."""
STOP = 8 / 7
"""Where the stop band begins, over the end of the pass band: 4 kHz of 3.5 kHz, at which the standard asks for 25 dB."""
ATTENUATION = 60.0
"""dB in the whole stop band; the standard asks for 50 from 4.5 kHz on. The pass band then ripples by 0.01 dB."""


def k_weighting(rate: int) -> np.ndarray:
    """The high shelf and the high-pass of the standard, by the bilinear transform of its filters. Shape: (2, 6)."""

    def sections(top: tuple[float, float, float], frequency: float, quality: float) -> list[float]:
        k = math.tan(math.pi * frequency / rate)
        high, middle, low = top
        above = (
            high + middle * k / quality + low * k * k,
            2 * (low * k * k - high),
            high - middle * k / quality + low * k * k,
        )
        a0, a1, a2 = 1 + k / quality + k * k, 2 * (k * k - 1), 1 - k / quality + k * k
        return [*(value / a0 for value in above), 1.0, a1 / a0, a2 / a0]

    gain = 10 ** (3.999843853973347 / 20)
    shelf = sections((gain, gain**0.4996667741545416, 1.0), 1681.974450955533, 0.7071752369554196)
    high_pass = sections((1.0, 0.0, 0.0), 38.13547087602444, 0.5003270373238773)
    return np.array([shelf, [1.0, -2.0, 1.0, *high_pass[3:]]])


def loudness(sound: Sound) -> float:
    """Integrated loudness in LUFS of all channels (at most two count fully in the standard; more do here, too); -inf
    where no block of 400 ms passes the gate."""
    power = (signal.sosfilt(k_weighting(sound.rate), sound.samples, axis=0) ** 2).sum(axis=1)
    block, step = round(0.4 * sound.rate), round(0.1 * sound.rate)
    total = np.concatenate([[0.0], np.cumsum(power)])
    starts = np.arange(0, len(power) - block + 1, step)
    energy = np.maximum(total[starts + block] - total[starts], 0.0) / block
    loud = energy[energy > 10 ** ((ABSOLUTE + 0.691) / 10)]
    loud = loud[loud > loud.mean() * 10 ** (RELATIVE / 10)] if loud.size else loud
    return -0.691 + 10 * math.log10(loud.mean()) if loud.size else -math.inf


def low_passed(sound: Sound, edge: float) -> Sound:
    """The sound up to `edge` Hz, without delay: a linear-phase filter with 60 dB from 8/7 of the edge on.

    Raises:
        ValueError: the sound ends below the stop band, so the anchor would be the sound itself.
    """
    if sound.rate < 2 * STOP * edge:
        raise ValueError(f"an anchor of {edge / 1000:g} kHz needs sounds of {2 * STOP * edge / 1000:g} kHz or more")
    width = (STOP - 1) * edge
    taps, beta = signal.kaiserord(ATTENUATION, width / (sound.rate / 2))
    kernel = signal.firwin(taps | 1, edge + width / 2, window=("kaiser", beta), fs=sound.rate)
    half = len(kernel) // 2
    padded = np.pad(sound.samples, ((half, half), (0, 0)))
    return Sound(signal.fftconvolve(padded, kernel[:, None], mode="valid", axes=0), sound.rate)
