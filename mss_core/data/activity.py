"""When a source sounds: MedleyDB's energy tracking, its published annotations, and saliency of segments."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mss_core.artefact import note, write_notes
from mss_core.audio import down_mix
from mss_core.bad_file import BadFile
from mss_core.data.files import reason
from mss_core.data.items import Reader
from mss_core.data.packed import Packed, PackedItem
from mss_core.graph import Context

WINDOW = 4096
THRESHOLD = 0.5
"""A source is active where its confidence is at least this [Hung and Lerch 2020]."""


def confidence(stems: Mapping[str, np.ndarray], window: int = WINDOW) -> dict[str, np.ndarray]:
    """Activation confidence of each stem in [0, 1], a value every ``window // 2`` samples [Bittner et al. 2014].

    Each stem's square-root-compressed, half-wave-rectified envelope is scaled by the loudest frame of all stems
    together and by their number, set to zero where all are quiet, low-pass filtered and put through a logistic curve.
    Made for 44.1 kHz.

    Shape: {source: (time,)} -> {source: (frame,)}, all of one length.
    """
    from scipy import signal  # slow to import, and every process of a study imports this module

    envelopes = np.stack([_envelope(np.asarray(stem, np.float64), window) for stem in stems.values()])
    total = envelopes.sum(0)
    if total.max(initial=0.0) <= 0:
        return {name: np.zeros(envelopes.shape[1]) for name in stems}
    scaled = len(stems) * envelopes / total.max()
    scaled[:, total < 0.01] = 0.0
    b, a = signal.butter(2, 0.075, "low")
    smooth = signal.filtfilt(b, a, scaled, axis=1, padlen=min(9, scaled.shape[1] - 1))
    return dict(zip(stems, 1.0 / (1.0 + np.exp(-20.0 * (smooth - 0.15))), strict=True))


def _envelope(wave: np.ndarray, window: int) -> np.ndarray:
    from scipy.signal.windows import hann

    hop = window // 2
    padded = np.concatenate([np.zeros(window - hop), wave])
    length = window * -(-len(padded) // window)
    padded = np.pad(padded, (0, length - len(padded)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    weights = hann(window + 2)[1:-1]
    return np.sqrt(np.maximum(frames, 0.0)) @ weights / window


def active(values: np.ndarray, threshold: float = THRESHOLD) -> np.ndarray:
    """uint8 1 where a confidence reaches the threshold."""
    return (values >= threshold).astype(np.uint8)


def salient(waveform: np.ndarray, length: int, hop: int, threshold_db: float = -30.0) -> np.ndarray:
    """Starts (samples) of those ``length``-sample windows whose RMS level reaches ``threshold_db`` re full scale.

    >>> salient(np.concatenate([np.zeros(8), np.ones(8)]), 4, 4).tolist()
    [8, 12]
    """
    starts, powers = window_powers(waveform, length, hop)
    return starts[powers >= 10 ** (threshold_db / 10)]


def window_powers(waveform: np.ndarray, length: int, hop: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts (samples) and mean squares of the ``length``-sample windows of a waveform (time,), one every ``hop``."""
    power = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    starts = np.arange(0, max(1, len(waveform) - length + 1), hop)
    ends = np.minimum(starts + length, len(waveform))
    return starts, np.maximum(power[ends] - power[starts], 0.0) / length


# ---- confidences of a packed set, kept once for all trainings

CONFIDENCES = "confidence.npz"


def window_of(samplerate: int) -> int:
    """Samples of the energy tracking's window at a rate: as long in seconds as at 44.1 kHz, and even.

    >>> window_of(44_100), window_of(16_000)
    (4096, 1486)
    """
    return 2 * round(WINDOW * samplerate / 88_200)


def track_confidences(packed: Packed, out: Path, ctx: Context, published: Mapping[str, Reader] | None = None) -> None:
    """Write the confidence of every source of every item: the published one where ``published`` has the item, else by
    energy tracking of all its sources that sound. With ``published``, notes.json counts the tracks of each kind and
    names those whose file is of no use.

    A source that is silent throughout is no stem of its track: it neither counts nor is ever active.
    """
    rows = [row for row in packed.rows if row != "mixture"]
    found: dict[str, np.ndarray] = {}
    read, tracked, bad = [], [], []
    for number, item in enumerate(packed.items, start=1):
        sounding = [row for row in rows if row not in item.silent]
        values = None
        try:
            if published and item.name in published:
                values = _on_frames(published[item.name], sounding, item.length, packed.samplerate)
        except BadFile as error:
            bad.append(f"{item.name} ({reason(error)})")
        (tracked if values is None else read).append(item.name)
        if values is None:
            stems = {row: down_mix(packed.read(item, row)) for row in sounding}
            values = confidence(stems, window_of(packed.samplerate)) if stems else {}
        found.update({f"{number - 1} {row}": value.astype(np.float32) for row, value in values.items()})
        if number % 20 == 0 or number == len(packed.items):
            ctx.report(step=number, total=len(packed.items))
    np.savez(out / CONFIDENCES, **found)
    if published is not None:
        told = {
            "tracks labelled by their published activation confidences": read,
            "tracks labelled by energy tracking": tracked,
            "published activation confidences that could not be used": bad,
        }
        write_notes(out, [note("activity", text, names) for text, names in told.items()])


def _on_frames(reader: Reader, rows: list[str], length: int, samplerate: int) -> dict[str, np.ndarray]:
    """Published confidences at the frames of energy tracking; BadFile where they are not of the whole track."""
    times, values = reader()
    if times[-1] + 0.5 < length / samplerate:
        raise BadFile(f"its confidences end at {times[-1]:.1f} of {length / samplerate:.1f} s")
    step = window_of(samplerate) // 2
    frames = np.arange(-(-length // step) + 1) * step / samplerate
    return {row: np.interp(frames, times, values[row]) for row in rows}


class Confidences:
    """What :func:`track_confidences` left, read as labels of STFT frames.

    Attributes:
        threshold: a frame is active where the confidence reaches it.
    """

    def __init__(self, directory: Path, packed: Packed, threshold: float = THRESHOLD) -> None:
        self.threshold = threshold
        self._step = window_of(packed.samplerate) // 2
        self._items = sorted(packed.items, key=lambda item: item.start)
        self._starts = np.array([item.start for item in self._items])
        numbers = {str(index): item.name for index, item in enumerate(packed.items)}
        with np.load(directory / CONFIDENCES) as arrays:
            self._values = {(numbers[key.split(" ", 1)[0]], key.split(" ", 1)[1]): arrays[key] for key in arrays}

    def labels(self, item: PackedItem, row: str, samples: np.ndarray) -> np.ndarray:
        """uint8 1 where a source is active at each of these samples (from the item's start).

        Confidences are read between their frames by linear interpolation.
        """
        values = self._values.get((item.name, row))
        if values is None:
            return np.zeros(len(samples), np.uint8)
        return active(np.interp(samples, self._step * np.arange(len(values)), values), self.threshold)

    def chunks(self, row: str, starts: np.ndarray, samples: np.ndarray) -> np.ndarray:
        """:meth:`labels` of several chunks: ``starts`` (chunk,) lie in the packed rows, ``samples`` (frame,) count from
        each of them. Shape: uint8 (chunk, frame)."""
        items = [self._items[index] for index in np.searchsorted(self._starts, starts, side="right") - 1]
        return np.stack(
            [self.labels(item, row, start - item.start + samples) for item, start in zip(items, starts, strict=True)]
        )
