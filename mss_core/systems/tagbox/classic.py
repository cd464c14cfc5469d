"""Separation without any training: median filters and repetition.

Both work on the magnitudes of a centred STFT (periodic Hann, 2048 samples, hop 512) and keep the mixture's phase.
Shape: (time,) -> (time,), float32.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

SIZE, HOP = 2048, 512


def percussive(mixture: np.ndarray, samplerate: int, length: int = 31, power: float = 2.0) -> np.ndarray:
    """The percussive part: what a median over frequency keeps, against one over time [Fitzgerald 2010].

    Args:
        length: of both filters, in bins and in frames.
        power: of the soft mask P^power / (P^power + H^power).
    """
    transform, spectrum = _spectrum(mixture, samplerate)
    magnitude = np.abs(spectrum)
    harmonic = median_filter(magnitude, (1, length), mode="reflect") ** power
    percussion = median_filter(magnitude, (length, 1), mode="reflect") ** power
    total = harmonic + percussion
    mask = np.divide(percussion, total, out=np.zeros_like(total), where=total > 0)
    return transform.istft(mask * spectrum, k1=len(mixture)).astype(np.float32)


def foreground(
    mixture: np.ndarray, samplerate: int, neighbours: int = 100, distance_seconds: float = 1.0, cutoff: float = 100.0
) -> np.ndarray:
    """What does not repeat, taken for the voice: REPET-SIM [Rafii and Pardo 2012].

    A frame's background is the median over its most similar frames (cosine), where it is below the frame.

    Args:
        neighbours: at most so many similar frames.
        distance_seconds: least time between two of them.
        cutoff: Hz; all below belongs to the background.
    """
    transform, spectrum = _spectrum(mixture, samplerate)
    magnitude = np.abs(spectrum)
    columns = magnitude / np.maximum(np.linalg.norm(magnitude, axis=0), 1e-12)
    similarity = columns.T @ columns
    least = max(1, round(distance_seconds * samplerate / HOP))
    background = np.empty_like(magnitude)
    for frame in range(magnitude.shape[1]):
        background[:, frame] = np.median(magnitude[:, peaks(similarity[frame], neighbours, least)], axis=1)
    background = np.minimum(background, magnitude)
    mask = np.divide(background, magnitude, out=np.ones_like(magnitude), where=magnitude > 0)
    mask[transform.f <= cutoff] = 1.0
    return transform.istft((1.0 - mask) * spectrum, k1=len(mixture)).astype(np.float32)


def peaks(values: np.ndarray, most: int, least: int) -> np.ndarray:
    """Indices of the largest values that are the largest within ``least`` places on either side, best first.

    >>> peaks(np.array([1.0, 3.0, 2.0, 0.0, 5.0]), 2, 1).tolist()
    [4, 1]
    """
    padded = np.pad(values, least, constant_values=-np.inf)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * least + 1).max(1)
    found = np.flatnonzero(values >= around)
    return found[np.argsort(-values[found], kind="stable")][:most]


def _spectrum(mixture: np.ndarray, samplerate: int) -> tuple[ShortTimeFFT, np.ndarray]:
    if len(mixture) < SIZE:
        raise ValueError(f"{len(mixture)} samples are shorter than a window of {SIZE}")
    transform = ShortTimeFFT(hann(SIZE, sym=False), HOP, samplerate)
    return transform, transform.stft(mixture.astype(np.float64))
