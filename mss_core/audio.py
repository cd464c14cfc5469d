"""Reading, writing and resampling audio, and the short-time spectra the systems use.

torchaudio and soundfile are imported inside the functions that need them, so that everything else works where they
are missing (``models/released.py`` does the same for a network). Waveforms are float32 ``(..., time)``; spectra are
``(..., frame, frequency)``, time first, the layout of the MSSPT tables.
"""

from __future__ import annotations

import contextlib
import functools
import io
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from mss_core import mp3
from mss_core.bad_file import BadFile

if TYPE_CHECKING:
    import soundfile

HOP = 160
"""Samples between STFT frames of the MSSPT transform, at 16 kHz."""

UNKNOWN = 1 << 62
"""Frames that libsndfile says of a file whose header leaves them out."""
PLACEHOLDERS = (range(1), range(0x7FFF0000, 0x80000100), range(0xFFFF0000, 1 << 32))
"""Bytes of data that a WAV's header says where its writer could not know them."""

EPSILON = 1e-4
"""Added to magnitudes before the logarithm [Garoufis et al.; code: 10e-5]."""


def load(path: Path | str) -> tuple[np.ndarray, int]:
    """A whole audio file as float32 (channel, time) and its sample rate in Hz.

    Raises BadFile naming the file where it is not audio, or holds fewer frames than its header says.
    """
    samples, rate = read(path)
    return samples.T, rate


def read(path: Path | str, dtype: str = "float32") -> tuple[np.ndarray, int]:
    """As :func:`load`, but (time, channel) and, where asked for, ``"float64"``."""
    import soundfile

    path = Path(path)
    try:
        with _opened(path) as file:
            frames, rate = file.frames, file.samplerate
            slack = mp3.SLACK if file.format == "MP3" else 0
            if parts := _parts(path, file):
                return mp3.decode(parts).astype(dtype, copy=False), rate
            samples = file.read(dtype=dtype, always_2d=True)
    except soundfile.LibsndfileError as error:
        raise _unreadable(path, error) from None
    if len(samples) < frames - slack:
        raise BadFile(f"{path}: stops after {len(samples)} of {frames} frames (truncated)")
    return samples, rate


def reaches(path: Path, level: float, frames: int = 1 << 16) -> bool:
    """Whether a sample of a file is as great as ``level``, read no further than the first; BadFile where it is not
    audio."""
    import soundfile

    try:
        with _opened(path) as file:
            while len(block := file.read(frames, dtype="float32", always_2d=True)):
                if np.abs(block).max() >= level:
                    return True
    except soundfile.LibsndfileError as error:
        raise _unreadable(path, error) from None
    return False


def info(path: Path | str, exact: bool = True) -> tuple[int, int, int]:
    """``(frames, sample rate in Hz, channels)`` of a file, without decoding it: the frames that :func:`load` gives, or
    libsndfile's guess of them where ``exact`` is false, which saves reading an MP3 whole.

    Raises BadFile where it is not audio, or its header says more than it holds.
    """
    import soundfile

    path = Path(path)
    try:
        with _opened(path) as file:
            if _cut(file.extra_info) and not _from_pipe(path):
                raise BadFile(f"{path}: holds less audio than its header says (truncated)")
            parts = _parts(path, file) if exact else None
            return mp3.length(parts) if parts else file.frames, file.samplerate, file.channels
    except soundfile.LibsndfileError as error:
        raise _unreadable(path, error) from None


def _opened(path: Path) -> soundfile.SoundFile:
    """A file, opened for reading. BadFile where nothing tells what it is, or how long a FLAC is."""
    import soundfile

    data = _from_pipe(path)
    try:
        with _apart(path) as name:
            file = soundfile.SoundFile(io.BytesIO(data) if data else os.fsencode(name))
    except TypeError:  # headerless formats
        raise BadFile(f"{path}: not a readable audio file (no header)") from None
    if file.frames >= UNKNOWN:
        file.close()
        raise BadFile(
            f"{path}: its header does not say how long it is, as in a {file.format} from a pipe; encode it again"
        )
    return file


@contextlib.contextmanager
def _apart(path: Path) -> Iterator[str]:
    """A name of a file beside which no file of macOS lies: libsndfile would take the head of some MP3s from it."""
    if not any((path.parent / beside).exists() for beside in (f"._{path.name}", f".AppleDouble/{path.name}")):
        yield str(path)
        return
    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, f"x{path.suffix}")
        os.symlink(path.absolute(), link)
        yield link


def _parts(path: Path, file: soundfile.SoundFile) -> mp3.Layout | None:
    return mp3.layout(path) if file.format == "MP3" else None


def _unreadable(path: Path, error: soundfile.LibsndfileError) -> BadFile:
    why = error.error_string.rstrip(".") or "damaged"
    if path.is_file() and why.startswith("File does not exist"):  # what libmpg123 says where it finds no frame
        why = "no audio in it"
    return BadFile(f"{path}: not a readable audio file ({why})")


def _from_pipe(path: Path) -> bytes:
    """A WAV file that was written into a pipe, with the length of its data in its header, where its writer had to leave
    a placeholder (0, or a number of 2 GiB or more); of any other file nothing."""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        if file.read(4) != b"RIFF" or file.read(8)[4:] != b"WAVE":
            return b""
        while len(head := file.read(8)) == 8:
            size, start = int.from_bytes(head[4:], "little"), file.tell()
            if head[:4] == b"data":
                held = path.stat().st_size - start
                placeholder = any(size in values for values in PLACEHOLDERS)
                if not placeholder or held == 0 or held >= size > 0 or _chunk(file.read(8), held):
                    return b""
                data = bytearray(path.read_bytes())
                data[start - 4 : start] = min(held, 0xFFFFFFFF).to_bytes(4, "little")
                return bytes(data)
            file.seek(size + size % 2, os.SEEK_CUR)
    return b""


def _chunk(head: bytes, held: int) -> bool:
    """Whether what lies behind empty data is another chunk, and the file therefore empty."""
    return head[:4].strip().isalnum() and int.from_bytes(head[4:8], "little") == held - 8


def _cut(log: str) -> bool:
    """Whether libsndfile's log says that a WAV's data chunk is longer than the file; it reads on as if it were not.

    >>> _cut("  data : 640000 (should be 319956)"), _cut("data : 640000")
    (True, False)
    """
    return any(line.strip().startswith("data") and "should be" in line for line in log.splitlines())


def save(path: Path | str, waveform: np.ndarray | torch.Tensor, samplerate: int) -> None:
    """Write a 16-bit file; ``waveform`` is (time,) or (channel, time), clipped to [-1, 1]."""
    import soundfile

    samples = np.clip(np.asarray(waveform, dtype=np.float32), -1.0, 1.0)
    soundfile.write(str(path), samples.T, samplerate, subtype="PCM_16")


def save_float(path: Path | str, waveform: np.ndarray, samplerate: int) -> None:
    """Write a 32-bit float WAV, which may exceed full scale; ``waveform`` is (channel, time)."""
    import soundfile

    soundfile.write(str(path), np.asarray(waveform, dtype=np.float32).T, samplerate, subtype="FLOAT")


def added(waveforms: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of waveforms (channel, time) of any numbers of channels: one channel goes into all of the others'; where
    more than one differ, their means are added, so that the mean over channels is that of the sum in every case."""
    waveforms = list(waveforms)
    if len({len(waveform) for waveform in waveforms} - {1}) > 1:
        waveforms = [waveform.mean(0, keepdims=True) for waveform in waveforms]
    return sum(waveforms[1:], waveforms[0])


def down_mix(waveform: np.ndarray) -> np.ndarray:
    """The mean over channels where there are any. Shape: (time,) or (channel, time) -> (time,)."""
    return waveform if waveform.ndim == 1 else waveform.mean(0)


def resample(waveform: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    """``waveform`` (..., time) at another sample rate (windowed sinc, torchaudio's default)."""
    if rate == new_rate:
        return waveform
    return resample_tensor(torch.from_numpy(np.ascontiguousarray(waveform)), rate, new_rate).numpy()


def resample_tensor(waveform: torch.Tensor, rate: int, new_rate: int) -> torch.Tensor:
    """As :func:`resample`, for a tensor on any device; gradients pass through it."""
    if rate == new_rate:
        return waveform
    from torchaudio.functional import resample as convert

    return convert(waveform, rate, new_rate)


# ---- the uncentred 512/160 transform of MSSPT


@functools.lru_cache(maxsize=8)
def _window(size: int, device: str) -> torch.Tensor:
    return torch.hann_window(size, periodic=True, device=device)


def frames_of(samples: int, size: int = 512, hop: int = 160) -> int:
    """How many whole frames an uncentred transform of ``samples`` samples has.

    >>> frames_of(61_792)
    384
    """
    return 1 + (samples - size) // hop if samples >= size else 0


def samples_of(frames: int, size: int = 512, hop: int = 160) -> int:
    """How many samples ``frames`` frames span.

    >>> samples_of(384)
    61792
    """
    return size + (frames - 1) * hop


def stft(waveform: torch.Tensor, size: int = 512, hop: int = 160) -> torch.Tensor:
    """Periodic Hann, no centring, no padding.

    Shape: (..., time) -> complex (..., frame, size // 2 + 1).
    """
    frames = waveform.unfold(-1, size, hop)
    return torch.fft.rfft(frames * _window(size, str(waveform.device)))


def istft(spectrum: torch.Tensor, size: int = 512, hop: int = 160) -> torch.Tensor:
    """Overlap-add with the dual window of *full* overlap, as TensorFlow's ``inverse_stft_window_fn`` builds it.

    Exact wherever every sample is covered by all its frames; the first and last ``size - hop`` samples, which have
    fewer, come out attenuated (mean gain over 61,792 samples 0.9943). Pad before the transform where that matters.

    Shape: complex (..., frame, size // 2 + 1) -> (..., time), time = size + (frame - 1) * hop.
    """
    frames = torch.fft.irfft(spectrum, n=size) * _dual_window(size, hop, str(spectrum.device))
    *lead, count, _ = frames.shape
    length = samples_of(count, size, hop)
    columns = frames.reshape(-1, count, size).transpose(1, 2)
    waveform = torch.nn.functional.fold(columns, (1, length), (1, size), stride=(1, hop))
    return waveform.reshape(*lead, length)


@functools.lru_cache(maxsize=8)
def _dual_window(size: int, hop: int, device: str) -> torch.Tensor:
    window = torch.hann_window(size, periodic=True, dtype=torch.float64)
    steps = -(-size // hop)
    padded = torch.nn.functional.pad(window.square(), (0, steps * hop - size))
    overlap = padded.reshape(steps, hop).sum(0).repeat(steps)[:size]
    return (window / overlap).float().to(device)


# ---- the centred sqrt-Hann transform of the hierarchical separation system


@functools.lru_cache(maxsize=8)
def _sqrt_window(size: int, device: str) -> torch.Tensor:
    return torch.hann_window(size, periodic=True, dtype=torch.float64).sqrt().float().to(device)


def sqrt_hann_stft(waveform: torch.Tensor, size: int = 1024) -> torch.Tensor:
    """Square root of a periodic Hann window, half overlapping, un-normalised, a hop of zeros before [released HMSS
    code]. Behind the signal stand as many zeros as make ``ceil(time / hop) + 1`` hops: 314 frames for 10 s at 16 kHz.

    Shape: (..., time) -> complex (..., frame, size // 2 + 1).
    """
    time, hop = waveform.shape[-1], size // 2
    after = -(-time // hop) * hop + hop - time
    padded = torch.nn.functional.pad(waveform, (hop, after))
    return torch.fft.rfft(padded.unfold(-1, size, hop) * _sqrt_window(size, str(waveform.device)))


def sqrt_hann_istft(spectrum: torch.Tensor, size: int = 1024) -> torch.Tensor:
    """Windowed overlap-add, a hop cut from each end; inverts :func:`sqrt_hann_stft` up to the zeros it appends
    (160,256 samples for 10 s at 16 kHz). The squared windows sum to 1.

    Shape: complex (..., frame, size // 2 + 1) -> (..., (frame - 1) * size // 2).
    """
    halves = torch.fft.irfft(spectrum, n=size) * _sqrt_window(size, str(spectrum.device))
    halves = halves.unflatten(-1, (2, size // 2))  # (..., frame, half, hop)
    return (halves[..., 1:, 0, :] + halves[..., :-1, 1, :]).flatten(-2)


# ---- mel


@functools.lru_cache(maxsize=8)
def slaney_mel(bands: int, fft_size: int, samplerate: int) -> torch.Tensor:
    """Triangles of area one on Slaney's mel scale from 0 to half the sample rate, as librosa's; (band, bin)."""
    from torchaudio.functional import melscale_fbanks

    bins = fft_size // 2 + 1
    return melscale_fbanks(bins, 0.0, samplerate / 2, bands, samplerate, norm="slaney", mel_scale="slaney").T


@functools.lru_cache(maxsize=8)
def mel_matrix(
    bands: int = 128, bins: int = 256, samplerate: int = 16_000, low: float = 100.0, high: float = 7_800.0
) -> torch.Tensor:
    """Triangles linear in HTK mel with peak 1 and no area norm; the DC row is zero.

    Bin frequencies are taken as ``linspace(0, samplerate / 2, bins)``, as the reference code does although its 256
    bins have lost the Nyquist bin (a misalignment of at most 31 Hz at the top).

    Shape: (bins, bands).
    """
    mel = 1127.0 * np.log1p(np.linspace(0.0, samplerate / 2, bins) / 700.0)
    edges = np.linspace(1127.0 * np.log1p(low / 700.0), 1127.0 * np.log1p(high / 700.0), bands + 2)
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    rising = (mel[:, None] - lower) / (centre - lower)
    falling = (upper - mel[:, None]) / (upper - centre)
    matrix = np.maximum(0.0, np.minimum(rising, falling))
    matrix[0] = 0.0
    return torch.from_numpy(matrix.astype(np.float32))


def moments(magnitudes: Iterable[torch.Tensor]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each bin over all frames of all spectra, float64.

    Shape: (frame, bin) each -> (bin,), (bin,).
    """
    count, first, second = 0, np.zeros(()), np.zeros(())
    for magnitude in magnitudes:
        values = magnitude.double()
        count += len(values)
        first = first + values.sum(0).cpu().numpy()
        second = second + values.square().sum(0).cpu().numpy()
    mean = first / count
    return mean, np.sqrt(np.maximum(second / count - mean**2, 0.0))


# ---- the centred transform of Open-Unmix and the IASS system


def reflected(waveform: torch.Tensor, count: int) -> torch.Tensor:
    """A waveform with ``count`` samples mirrored at either end, as a centred transform reads it.

    Torch's own padding gives the same values, but its gradient has no deterministic kernel on a GPU.
    Shape: (..., time) -> (..., count + time + count). Raises ValueError where there are not so many.
    """
    if waveform.shape[-1] <= count:
        raise ValueError(f"{waveform.shape[-1]} samples are too few to mirror {count} of them")
    before, after = waveform[..., 1 : count + 1].flip(-1), waveform[..., -count - 1 : -1].flip(-1)
    return torch.cat([before, waveform, after], -1)


def centred_stft(waveform: torch.Tensor, size: int, hop: int) -> torch.Tensor:
    """Periodic Hann, frame ``i`` centred on sample ``i * hop``, the ends reflected.

    Shape: (..., time) -> complex (..., frame, size // 2 + 1), 1 + time // hop frames.
    """
    flat = waveform.reshape(-1, waveform.shape[-1])
    if flat.shape[-1] <= size // 2:
        raise ValueError(f"{flat.shape[-1]} samples are too few for a centred transform of {size}")
    window = _window(size, str(waveform.device))
    found = torch.stft(reflected(flat, size // 2), size, hop, window=window, center=False, return_complex=True)
    return found.transpose(1, 2).reshape(*waveform.shape[:-1], -1, size // 2 + 1)


def centred_istft(spectrum: torch.Tensor, size: int, hop: int, length: int) -> torch.Tensor:
    """The inverse of :func:`centred_stft`, exact for an unchanged spectrum.

    Shape: complex (..., frame, size // 2 + 1) -> (..., length).
    """
    flat = spectrum.reshape(-1, *spectrum.shape[-2:]).transpose(1, 2)
    found = torch.istft(flat, size, hop, window=_window(size, str(spectrum.device)), length=length)
    return found.reshape(*spectrum.shape[:-2], length)
