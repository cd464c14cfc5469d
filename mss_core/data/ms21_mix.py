"""One song of MS21 from its tracks: which are used, and how they become instruments, stems and a mixture.

The tracks of one instrument are summed, brought to -25 LUFS (pitched) or to a peak of -1 dB (percussive); the
instruments of each of the four stems likewise; the mixture is the sum of the stems. Nothing is equalised or compressed
[Zhang, Sec. 3.1.4].
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mss_core import audio
from mss_core.data import hierarchy
from mss_core.data.loaders import ms21
from mss_core.data.loudness import LOUDNESS, PEAK, gain_to_peak, integrated, ms21_gain
from mss_core.data.ms21_annotation import AMBIENT, UNUSED, Song
from mss_core.errors import choose

INSTRUMENTS = ("in-the-mix", "normalised")
BLEEDING = ("keep", "drop")


@dataclass(frozen=True)
class Rules:
    """How a song is built.

    Attributes:
        instruments: ``"in-the-mix"`` or ``"normalised"``.
        bleeding: ``"keep"`` tracks that hold other instruments too (the thesis), or ``"drop"`` those annotated so.
        vocals: which songs by their vocals: ``"all"``, or ``"clean"`` for those without bleeding into them.
        rate: of the files written, Hz.
        loudness, peak: targets in LUFS and dB re full scale.
    """

    instruments: str = "in-the-mix"
    bleeding: str = "keep"
    vocals: str = "all"
    rate: int = 44_100
    loudness: float = LOUDNESS
    peak: float = PEAK

    def __post_init__(self) -> None:
        choose("'instruments'", self.instruments, INSTRUMENTS)
        choose("'bleeding'", self.bleeding, BLEEDING)
        choose("'vocals'", self.vocals, ("all", "clean"))


@dataclass
class Built:
    """What became of one song."""

    name: str
    split: str
    seconds: float = 0.0
    stems: dict[str, dict[str, Any]] | None = None
    left_out: dict[str, str] | None = None
    silent: tuple[str, ...] = ()
    error: str = ""
    again: bool = False


def stem_of(instrument: str) -> str:
    """One of the four stems.

    >>> stem_of("strings"), stem_of("bass"), stem_of("backing_vocal")
    ('other', 'bass', 'vocals')
    """
    path = hierarchy.load("ms21").paths[instrument]
    return next(node for node in path if node in ms21.STEMS)


def selected(song: Song, rules: Rules) -> tuple[dict[str, str], dict[str, str]]:
    """The instrument of each file that is used, and why each other file is not."""
    left_out = {
        file: {UNUSED: "unused", AMBIENT: "ambient microphone"}[label]
        for file, label in song.tracks.items()
        if label in (UNUSED, AMBIENT)
    }
    used = song.used()
    if rules.bleeding == "drop":
        left_out |= {
            file: f"bleeding ({song.bleeding[file] or 'of what, nobody says'})"
            for file in used
            if file in song.bleeding
        }
    return {file: instrument for file, instrument in used.items() if file not in left_out}, left_out


def mix(song: Song, files: Mapping[str, Path], rules: Rules) -> tuple[dict[str, np.ndarray], Built]:
    """Waveforms (2, time) of the mixture, the stems and the instruments, at ``rules.rate``.

    Tracks are aligned at their start and padded to the longest; mono tracks go to both channels. Raises ValueError
    where a file cannot be read, and where nothing is left.
    """
    used, left_out = selected(song, rules)
    left_out |= dict.fromkeys((file for file in used if file not in files), "missing")
    tracks = {file: instrument for file, instrument in used.items() if file in files}
    sums: dict[str, np.ndarray] = {}
    silent = []
    for file, instrument in tracks.items():
        waveform = _stereo(files[file], rules.rate)
        if gain_to_peak(waveform, 0.0) is None:
            silent.append(f"track {file}")
        sums[instrument] = _add(sums.get(instrument), waveform)
    if not sums:
        raise ValueError(f"{song.name}: none of its {len(used)} used tracks is on disk")
    length = max(waveform.shape[1] for waveform in sums.values())
    # Padded before it is measured: silence at the end fills blocks that the loudness of a shorter track has not.
    sums = {instrument: _add(np.zeros((2, length), np.float32), waveform) for instrument, waveform in sums.items()}
    stems: dict[str, dict[str, Any]] = {}
    waveforms: dict[str, np.ndarray] = {}
    for stem in ms21.STEMS:
        parts = {}
        for instrument in (i for i in sums if stem_of(i) == stem):
            gain = _gain(instrument, sums[instrument], rules)
            if gain is None:
                silent.append(f"instrument {instrument}")
                continue
            parts[instrument] = np.float32(gain) * sums[instrument]
        if not parts:
            silent.append(f"stem {stem}")
            continue
        total = np.sum(list(parts.values()), axis=0)
        gain = _gain(stem, total, rules)
        if gain is None:  # instruments that cancel one another
            silent.append(f"stem {stem}")
            continue
        waveforms[stem] = np.float32(gain) * total
        kept = np.float32(gain) if rules.instruments == "in-the-mix" else np.float32(1.0)
        stems[stem] = {
            "instruments": {},
            "lufs": round(integrated(waveforms[stem], rules.rate), 2),
            "peak_db": _db(waveforms[stem]),
        }
        for instrument, part in parts.items():
            if instrument != stem:
                waveforms[instrument] = kept * part
            stems[stem]["instruments"][instrument] = {
                "tracks": sorted(file for file, i in tracks.items() if i == instrument),
                "gain_in_stem": round(float(gain), 5),
            }
    if not stems:
        raise ValueError(f"{song.name}: all of its {len(tracks)} tracks are silent")
    mixture = np.sum([waveforms[stem] for stem in stems], axis=0)
    built = Built(song.name, "", length / rules.rate, stems, left_out, tuple(silent))
    return {"mixture": mixture, **waveforms}, built


def _stereo(path: Path, rate: int) -> np.ndarray:
    waveform, own = audio.load(path)
    if len(waveform) > 2:
        raise ValueError(f"{path}: {len(waveform)} channels")
    waveform = audio.resample(waveform, own, rate)
    return np.broadcast_to(waveform, (2, waveform.shape[1]))


def _add(one: np.ndarray | None, other: np.ndarray) -> np.ndarray:
    if one is None:
        return other.copy()
    length = max(one.shape[1], other.shape[1])
    total = np.zeros((2, length), np.float32)
    for waveform in (one, other):
        total[:, : waveform.shape[1]] += waveform
    return total


def _gain(name: str, waveform: np.ndarray, rules: Rules) -> float | None:
    return ms21_gain(name, waveform, rules.rate, rules.loudness, rules.peak)


def _db(waveform: np.ndarray) -> float:
    return round(20 * math.log10(max(1e-12, float(np.abs(waveform).max()))), 2)
