"""The embedded synthetic music in stereo: ``mss_core.data.synthetic.stereo:survey`` as the name of a track set.

Every source of a track has a place of its own between left and right, at which it is louder on one side and up to
0.6 ms earlier there. The mixture is the sum of the sources, channel by channel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from mss_core.data.config import TrackSet
from mss_core.data.items import Sound, Survey
from mss_core.data.synthetic import loader, synthesis

DELAY = 0.0006
"""Seconds between the ears for a source at one side."""


def survey(config: TrackSet, root: None = None) -> Survey:
    """The tracks of the synthetic set, each source at a place of its own."""
    found = loader.survey(config, root)
    items = tuple(replace(item, read=_Placed(item.read, number)) for number, item in enumerate(found.items))
    return replace(found, items=items)


@dataclass(frozen=True)
class _Placed:
    read: Callable[[], Sound]
    number: int

    def __call__(self) -> Sound:
        sound = self.read()
        sides = np.random.default_rng([self.number, 11]).uniform(-0.8, 0.8, len(synthesis.SOURCES))
        stems = {
            source: placed(sound.rows[source][0], float(side), sound.samplerate)
            for source, side in zip(synthesis.SOURCES, sides, strict=True)
        }
        return replace(sound, rows={"mixture": sum(stems.values()), **stems})  # type: ignore[dict-item]


def placed(waveform: np.ndarray, side: float, samplerate: int) -> np.ndarray:
    """A waveform between left (-1) and right (1), as loud in all as before. Shape: (time,) -> (2, time)."""
    angle = (side + 1) * np.pi / 4
    late = round(abs(side) * DELAY * samplerate)
    delayed = np.concatenate([np.zeros(late, np.float32), waveform[: len(waveform) - late]])
    left, right = (waveform, delayed) if side < 0 else (delayed, waveform)
    return np.stack([np.float32(np.sqrt(2) * np.cos(angle)) * left, np.float32(np.sqrt(2) * np.sin(angle)) * right])
