"""Pictures that a stage leaves beside its audio."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from mss_core import audio


def spectrograms(path: Path, waveforms: Mapping[str, np.ndarray], samplerate: int) -> None:
    """Write a PNG of one log-magnitude spectrogram a waveform, side by side on one scale in dB.

    Shape: each waveform (time,).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(waveforms), 3), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(waveforms), sharey=True, squeeze=False)[0]
    levels = {name: 20 * np.log10(audio.stft(torch.from_numpy(np.ascontiguousarray(w))).abs().numpy().T + 1e-5)
              for name, w in waveforms.items()}
    top = max(float(level.max()) for level in levels.values())
    for panel, (name, level) in zip(panels, levels.items(), strict=True):
        seconds = len(waveforms[name]) / samplerate
        image = panel.imshow(level, origin="lower", aspect="auto", cmap="magma", vmin=top - 80, vmax=top,
                             extent=(0, seconds, 0, samplerate / 2000))
        panel.set(title=name, xlabel="s")
    panels[0].set_ylabel("kHz")
    figure.colorbar(image, ax=list(panels), label="dB")
    figure.savefig(path, dpi=90, metadata={"Software": None})


def excerpts(folder: Path, waveforms: Mapping[str, np.ndarray], samplerate: int, seconds: float = 6.0) -> None:
    """The stretch where ``waveforms["reference"]`` is loudest, as short WAV files and one picture, ``<folder>.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    reference = waveforms["reference"]
    length = min(len(reference), round(seconds * samplerate))
    energy = np.cumsum(np.concatenate([[0.0], np.square(reference, dtype=np.float64)]))
    starts = np.arange(0, len(reference) - length + 1, samplerate)
    start = int(starts[np.argmax(energy[starts + length] - energy[starts])]) if len(starts) else 0
    pieces = {name: waveform[start:start + length] for name, waveform in waveforms.items()}
    for name, waveform in pieces.items():
        audio.save(folder / f"{name}.wav", waveform, samplerate)
    spectrograms(folder.with_suffix(".png"), pieces, samplerate)
