"""Audio of the examples: a few seconds as a WAV data URI, a spectrogram PNG and the frames in
which it sounds.
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
RATE = 16_000
FLOOR = -80.0


@dataclass(frozen=True)
class Clip:
    """One sound, ready for a page.

    Attributes:
        label: what it is.
        audio: WAV data URI, mono 16 bit.
        spectrogram: PNG data URI, 0..8 kHz, 80 dB below the loudest of its example.
        activity: share of the width (start, length) of each sounding stretch.
        seconds: length.
    """

    label: str
    audio: str
    spectrogram: str
    activity: tuple[tuple[float, float], ...]
    seconds: float


def load(path: Path, start: float = 0.0) -> np.ndarray | None:
    """Mono samples at 16 kHz from `start` seconds on, at most 6 s; None where the file cannot be read, or is
    none (a pipe would be waited for).
    """
    if not path.is_file():
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)
            rate, samples = wavfile.read(path)
    except (OSError, ValueError):
        return None
    if samples.size == 0:
        return None
    if samples.dtype.kind == "u":
        samples = samples.astype(float) / 128 - 1
    elif samples.dtype.kind == "i":
        samples = samples / float(np.iinfo(samples.dtype).max)
    mono = samples.astype(float)
    if mono.ndim == 2:
        mono = mono.mean(axis=1)
    mono = mono[int(start * rate) : int((start + SECONDS) * rate)]
    if rate != RATE:
        factor = np.gcd(rate, RATE)
        mono = signal.resample_poly(mono, RATE // factor, rate // factor)
    return mono if mono.size else None


def magnitudes(samples: np.ndarray) -> np.ndarray:
    """Hann STFT magnitudes. Shape: (frequency, frame), 512 samples a frame, hop 256."""
    padded = np.pad(samples, 256, mode="constant")
    _, _, spectrum = signal.stft(padded, RATE, nperseg=512, noverlap=256, boundary=None)
    return np.asarray(np.abs(spectrum))


def clip(label: str, samples: np.ndarray, loudest: float, power: float) -> Clip:
    """A sound as a Clip; `loudest` is the magnitude drawn as 0 dB, `power` the level that activity is measured from."""
    levels = 20 * np.log10(np.maximum(magnitudes(samples), 1e-9) / max(loudest, 1e-9))
    return Clip(label, wav_uri(samples), png_uri(levels), activity(samples, power), len(samples) / RATE)


def levels_of(samples: np.ndarray) -> np.ndarray:
    """Root mean square of each whole frame of 20 ms."""
    frame = RATE // 50
    return np.asarray(np.sqrt((samples[: len(samples) // frame * frame].reshape(-1, frame) ** 2).mean(axis=1)))


def activity(samples: np.ndarray, loudest: float, threshold: float = -40.0) -> tuple[tuple[float, float], ...]:
    """Stretches whose frames are louder than `threshold` dB below `loudest`, as (start, length) shares of the whole.

    `loudest` is that of all sounds of an example: an output that nobody can hear then looks silent.
    """
    power = levels_of(samples)
    if not len(power) or not loudest > 0:
        return ()
    active = np.concatenate([[0], (power > loudest * 10 ** (threshold / 20)).astype(int), [0]])
    edges = np.flatnonzero(np.diff(active))
    return tuple(
        (float(a) / len(power), float(b - a) / len(power)) for a, b in zip(edges[::2], edges[1::2], strict=True)
    )


def wav_uri(samples: np.ndarray) -> str:
    """16-bit WAV of the samples; what would clip is scaled down."""
    peak = max(1.0, float(np.abs(samples).max()))
    stream = io.BytesIO()
    wavfile.write(stream, RATE, (samples / peak * 32767).astype(np.int16))
    return "data:audio/wav;base64," + base64.b64encode(stream.getvalue()).decode()


def png_uri(levels: np.ndarray) -> str:
    """PNG of levels in dB, FLOOR..0, low frequencies at the bottom, in 256 colours."""
    from matplotlib import colormaps
    from PIL import Image

    share = np.clip((levels - FLOOR) / -FLOOR, 0, 1)[::-1]
    image = Image.fromarray((share * 255).astype(np.uint8), mode="L").convert("P")
    colours = colormaps["magma"](np.arange(256))[:, :3] * 255
    image.putpalette(colours.astype(np.uint8).tobytes())
    stream = io.BytesIO()
    image.save(stream, "png", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
