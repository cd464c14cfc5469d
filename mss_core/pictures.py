"""Pictures that a stage leaves beside its audio."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from mss_core import audio

EXAMPLE_SECONDS = 6.0


def spectrograms(path: Path, waveforms: Mapping[str, np.ndarray], samplerate: int) -> None:
    """Write a PNG of one log-magnitude spectrogram a waveform, side by side on one scale in dB.

    Shape: each waveform (time,).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(waveforms), 3), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(waveforms), sharey=True, squeeze=False)[0]
    levels = {
        name: 20 * np.log10(audio.stft(torch.from_numpy(np.ascontiguousarray(w))).abs().numpy().T + 1e-5)
        for name, w in waveforms.items()
    }
    top = max(float(level.max()) for level in levels.values())
    for panel, (name, level) in zip(panels, levels.items(), strict=True):
        seconds = len(waveforms[name]) / samplerate
        image = panel.imshow(
            level,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=top - 80,
            vmax=top,
            extent=(0, seconds, 0, samplerate / 2000),
        )
        panel.set(title=name, xlabel="s")
    panels[0].set_ylabel("kHz")
    figure.colorbar(image, ax=list(panels), label="dB")
    figure.savefig(path, dpi=90, metadata={"Software": None})


def loudest(reference: np.ndarray, rate: int) -> slice:
    """The stretch of up to EXAMPLE_SECONDS, from a whole second on, where a waveform (time,) has most energy."""
    length = min(len(reference), round(EXAMPLE_SECONDS * rate))
    energy = np.cumsum(np.concatenate([[0.0], np.square(reference, dtype=np.float64)]))
    starts = np.arange(0, len(reference) - length + 1, rate)
    start = int(starts[np.argmax(energy[starts + length] - energy[starts])]) if len(starts) else 0
    return slice(start, start + length)
