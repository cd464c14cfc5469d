"""Signals for the tests of BSS Eval: made up, or read from the shared data."""

import os
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import lfilter, resample_poly

HERE = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("MSS_SHARED_DATA", HERE / ".." / "shared" / "data"))


def made_up(seed, sources, channels, seconds=3.0, rate=16000):
    """Coloured noise sources, and estimates with leakage, noise and a filter.

    Shape: two arrays (source, time, channel).
    """
    rng = np.random.default_rng(seed)
    time = int(seconds * rate)
    references = np.empty((sources, time, channels))
    for s in range(sources):
        common = lfilter([1], [1, -0.95 * rng.random()], rng.standard_normal(time))
        for c in range(channels):
            panned = lfilter(rng.standard_normal(8), [1], common)
            references[s, :, c] = 0.03 * (panned + 0.3 * rng.standard_normal(time))
    return references, spoilt(references, seed)


def spoilt(references, seed=0, leakage=0.2, noise=0.1):
    """Estimates of the references: each with a part of the mixture, noise, and an echo."""
    rng = np.random.default_rng(seed + 1000)
    mixture = references.sum(0)
    scale = noise * references.std()
    estimates = references + leakage * rng.random((len(references), 1, 1)) * mixture
    estimates = estimates + scale * rng.standard_normal(references.shape)
    return lfilter([1, 0.3, 0, -0.1], [1], estimates, axis=1)


def read(*paths, start=0.0, seconds=3.0):
    """Stems of the shared data, (source, time, channel), and their rate; skips where absent."""
    import soundfile

    signals, rate = [], 0
    for path in paths:
        file = SHARED / path
        if not file.exists():
            pytest.skip(f"no shared data: {path} is not there; set MSS_SHARED_DATA")
        rate = soundfile.info(file).samplerate
        signal, _ = soundfile.read(file, start=int(start * rate), frames=int(seconds * rate), always_2d=True)
        signals.append(signal)
    return np.stack(signals), rate


def to_16k(signals):
    """44.1 kHz to 16 kHz, (source, time, channel)."""
    return resample_poly(signals, 160, 441, axis=1)


def to_int16(signals):
    """What a 16-bit file holds."""
    return np.round(signals * 32767).clip(-32768, 32767).astype(np.int16)
