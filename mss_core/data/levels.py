"""How loud the rows of a track are, computed in pieces: a track of ten minutes is not copied for it."""

from __future__ import annotations

import numpy as np

FULL_SCALE = 1.0 + 1e-4
"""Peaks above this are named: a decoder of 16-bit samples may round up to 1."""
KEPT = "kept as it is here, but a 16-bit file or a player clips it"
FAINT = "sounds below -75 dB only: a score of it says nothing of a separator"


def power_of(waveform: np.ndarray) -> float:
    """The sum of the squares of a waveform (channel, time)."""
    return float(sum(np.vdot(channel, channel) for channel in waveform))


def level(waveform: np.ndarray, samplerate: int) -> dict[str, float]:
    """``rms_db`` of a waveform (channel, time) re full scale (-inf dB is -120), and its ``active`` share: that of the
    seconds whose own level is above -60 dB."""
    starts = range(0, waveform.shape[-1], samplerate)
    sums = [float(np.square(waveform[:, start : start + samplerate], dtype=np.float64).sum()) for start in starts]
    shares = [total / waveform[:, start : start + samplerate].size for start, total in zip(starts, sums, strict=True)]
    mean = sum(sums) / max(1, waveform.size)
    return {
        "rms_db": round(float(10 * np.log10(max(mean, 1e-12))), 1),
        "active": round(float(np.mean([value > 1e-6 for value in shares])), 3),
    }


def faint(told: dict[str, float]) -> bool:
    """Whether a source sounds, but so faintly that it may be nothing but the residue of a coder."""
    return -120 < told["rms_db"] < -75
