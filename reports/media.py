"""Sounds of the examples: a few seconds as a FLAC data URI at their own rate and in their own channels, a spectrogram
PNG and the frames in which they sound.
"""

import base64
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import signal
from scipy.io import wavfile

SECONDS = 6.0
FLOOR = -80.0
ROWS = 257
"""Most rows of a spectrogram's picture."""
BITS = 2**15


@dataclass(frozen=True)
class Sound:
    """Samples from -1 to 1, (time, channel), and how many there are a second."""

    samples: np.ndarray
    rate: int

    @property
    def mono(self) -> np.ndarray:
        """The mean of the channels. Shape: (time,)."""
        return np.asarray(self.samples.mean(axis=1))


@dataclass(frozen=True)
class Clip:
    """One sound, ready for a page.

    Attributes:
        label: what it is.
        audio: FLAC data URI, 16 bit.
        rate: samples per second.
        spectrogram: PNG data URI, from 0 Hz to half the rate, 80 dB below the loudest of its example.
        activity: share of the width (start, length) of each sounding stretch.
        seconds: length.
    """

    label: str
    audio: str
    rate: int
    spectrogram: str
    activity: tuple[tuple[float, float], ...]
    seconds: float


def load(path: Path, start: float = 0.0) -> Sound | None:
    """A WAV file from `start` seconds on, at most 6 s; None where the file cannot be read, or is none (a pipe would be
    waited for).
    """
    if not path.is_file():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            rate, samples = wavfile.read(path)
    except (OSError, ValueError):
        return None
    if samples.dtype.kind == "u":
        samples = samples.astype(float) / 128 - 1
    elif samples.dtype.kind == "i":
        samples = samples / -float(np.iinfo(samples.dtype).min)
    part = samples[int(start * rate) : int((start + SECONDS) * rate)].astype(float)
    return Sound(part.reshape(len(part), -1), rate) if part.size else None


def magnitudes(sound: Sound) -> np.ndarray:
    """Hann STFT magnitudes of the mean over channels. Shape: (frequency, frame): every 16 ms a frame of as many samples
    as the greatest power of two that 32 ms hold."""
    size = 2 ** int(np.log2(0.032 * sound.rate))
    hop = min(size, round(0.016 * sound.rate))
    padded = np.pad(sound.mono, size // 2, mode="constant")
    _, _, spectrum = signal.stft(padded, sound.rate, nperseg=size, noverlap=size - hop, boundary=None)
    return np.asarray(np.abs(spectrum))


def clip(label: str, sound: Sound, loudest: float, power: float) -> Clip:
    """A sound as a Clip; `loudest` is the magnitude drawn as 0 dB, `power` the level that activity is measured from."""
    levels = 20 * np.log10(np.maximum(magnitudes(sound), 1e-9) / max(loudest, 1e-9))
    seconds = len(sound.samples) / sound.rate
    return Clip(label, flac_uri(sound), sound.rate, png_uri(levels), activity(sound, power), seconds)


def levels_of(sound: Sound) -> np.ndarray:
    """Root mean square, over all channels, of each whole frame of 20 ms."""
    frame = sound.rate // 50
    power = (sound.samples**2).mean(axis=1)
    return np.asarray(np.sqrt(power[: len(power) // frame * frame].reshape(-1, frame).mean(axis=1)))


def activity(sound: Sound, loudest: float, threshold: float = -40.0) -> tuple[tuple[float, float], ...]:
    """Stretches whose frames are louder than `threshold` dB below `loudest`, as (start, length) shares of the whole.

    `loudest` is that of all sounds of an example: an output that nobody can hear then looks silent.
    """
    power = levels_of(sound)
    if not len(power) or not loudest > 0:
        return ()
    active = np.concatenate([[0], (power > loudest * 10 ** (threshold / 20)).astype(int), [0]])
    edges = np.flatnonzero(np.diff(active))
    return tuple(
        (float(a) / len(power), float(b - a) / len(power)) for a, b in zip(edges[::2], edges[1::2], strict=True)
    )


def flac_uri(sound: Sound) -> str:
    """16-bit FLAC of the samples, bit for bit those of a 16-bit file; what would clip is scaled down."""
    import soundfile

    peak = max(1.0, float(np.abs(sound.samples).max()))
    whole = np.clip(np.rint(sound.samples / peak * BITS), -BITS, BITS - 1).astype(np.int16)
    stream = io.BytesIO()
    soundfile.write(stream, whole, sound.rate, format="FLAC", subtype="PCM_16", compression_level=1.0)
    return "data:audio/flac;base64," + base64.b64encode(stream.getvalue()).decode()


def png_uri(levels: np.ndarray) -> str:
    """PNG of levels in dB, FLOOR..0, low frequencies at the bottom, in 256 colours."""
    from matplotlib import colormaps
    from PIL import Image

    if len(levels) > ROWS:  # no more rows than a page shows: the greatest of neighbours
        several = -(-len(levels) // ROWS)
        filled = np.pad(levels, ((0, -len(levels) % several), (0, 0)), constant_values=-np.inf)
        levels = filled.reshape(-1, several, levels.shape[1]).max(axis=1)
    share = np.clip((levels - FLOOR) / -FLOOR, 0, 1)[::-1]
    image = Image.fromarray((share * 255).astype(np.uint8), mode="L").convert("P")
    colours = colormaps["magma"](np.arange(256))[:, :3] * 255
    image.putpalette(colours.astype(np.uint8).tobytes())
    stream = io.BytesIO()
    image.save(stream, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
