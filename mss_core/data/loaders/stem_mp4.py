"""Reading the streams of a ``.stem.mp4``: headers by its boxes, samples by an ffmpeg process or PyAV.

Stream 0 is the mixture, then drums, bass, other, vocals.
"""

from __future__ import annotations

import importlib.util
import shutil
import struct
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mss_core.bad_file import BadFile

SAMPLERATE = 44_100
SLACK_MS = 100
"""By how much streams may differ in length, and end before their header says: the coder pads to whole frames."""
INSTALL = "apt-get install ffmpeg"


def info(path: Path) -> list[tuple[int, int]]:
    """``(duration in ticks, ticks a second)`` of each track that holds sound.

    Raises ValueError where the file is empty, cut off or not MP4.
    """
    found: list[tuple[int, int]] = []
    seen = set()
    try:
        size = path.stat().st_size
        if size == 0:
            raise BadFile(f"{path}: 0 bytes")
        with open(path, "rb") as file:
            for kind, start, end in _boxes(file, 0, size, path):
                seen.add(kind)
                if kind == b"moov":
                    found = [
                        _media(file, s, e, path)
                        for k, s, e in _boxes(file, start, end, path)
                        if k == b"trak" and _is_sound(file, s, e, path)
                    ]
    except OSError as error:
        raise BadFile(f"{path}: cannot be opened ({error.strerror or error})") from None
    except struct.error:
        seen.clear()
    if b"moov" not in seen or b"mdat" not in seen or not all(rate for _, rate in found):
        raise BadFile(f"{path}: not a whole MP4 file (cut off, or another format)")
    return found


def _boxes(file: BinaryIO, start: int, end: int, path: Path) -> Iterator[tuple[bytes, int, int]]:
    while start + 8 <= end:
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        body = start + 8
        if size == 1:
            size, body = struct.unpack(">Q", file.read(8))[0], start + 16
        elif size == 0:
            size = end - start
        if size < body - start or start + size > end:
            raise BadFile(f"{path}: not a whole MP4 file (cut off, or another format)")
        yield kind, body, start + size
        start += size


def _inside(file: BinaryIO, start: int, end: int, path: Path, kind: bytes) -> tuple[int, int]:
    for found, body, stop in _boxes(file, start, end, path):
        if found == kind:
            return body, stop
    raise BadFile(f"{path}: MP4 without {kind.decode()}")


def _is_sound(file: BinaryIO, start: int, end: int, path: Path) -> bool:
    body, _ = _inside(file, *_inside(file, start, end, path, b"mdia"), path, b"hdlr")
    file.seek(body + 8)
    return file.read(4) == b"soun"


def _media(file: BinaryIO, start: int, end: int, path: Path) -> tuple[int, int]:
    body, _ = _inside(file, *_inside(file, start, end, path, b"mdia"), path, b"mdhd")
    file.seek(body)
    wide = file.read(4)[0] == 1
    file.seek(body + (20 if wide else 12))
    rate, duration = struct.unpack(">IQ" if wide else ">II", file.read(12 if wide else 8))
    return duration, rate


def require_decoder() -> str:
    """``"ffmpeg"`` or ``"av"``; ValueError with the one command that helps where there is neither."""
    if shutil.which("ffmpeg"):
        return "ffmpeg"
    if importlib.util.find_spec("av"):
        return "av"
    raise ValueError("reading .stem.mp4 needs ffmpeg, which is not on the PATH: " + INSTALL)


def load(path: Path, streams: Iterable[int]) -> list[np.ndarray]:
    """The chosen streams as float32 (channel, time) at 44.1 kHz, cut to the shortest.

    Raises BadFile where a stream cannot be decoded, or ends more than 0.1 s before its header says.
    """
    decode = _ffmpeg if require_decoder() == "ffmpeg" else _av
    expected = info(path)
    decoded = []
    for stream in streams:
        waveform = decode(path, stream)
        ticks, rate = expected[stream]
        seconds = ticks / rate
        if waveform.shape[-1] < (seconds - SLACK_MS / 1000) * SAMPLERATE:
            raise BadFile(
                f"{path}: stream {stream} stops after {waveform.shape[-1] / SAMPLERATE:.2f} of "
                f"{seconds:.2f} s (truncated)"
            )
        decoded.append(waveform)
    length = min(waveform.shape[-1] for waveform in decoded)
    return [waveform[:, :length] for waveform in decoded]


def _ffmpeg(path: Path, stream: int) -> np.ndarray:
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-nostdin",
        "-xerror",
        "-i",
        str(path),
        "-map",
        f"0:a:{stream}",
        "-f",
        "f32le",
        "-ac",
        "2",
        "-ar",
        str(SAMPLERATE),
        "-",
    ]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:  # -xerror makes damage a failure; what else it says of a stream that it decodes is none
        message = done.stderr.decode(errors="replace").strip().splitlines() or ["unknown"]
        raise BadFile(f"{path}: ffmpeg cannot decode stream {stream} ({message[-1]})")
    return np.frombuffer(done.stdout, np.float32).reshape(-1, 2).T


def _av(path: Path, stream: int) -> np.ndarray:
    import av

    try:
        with av.open(str(path)) as container:
            convert = av.AudioResampler(format="fltp", layout="stereo", rate=SAMPLERATE)
            chunks = [
                out.to_ndarray()
                for frame in container.decode(container.streams.audio[stream])
                for out in convert.resample(frame)
            ]
            chunks += [out.to_ndarray() for out in convert.resample(None)]
    except av.FFmpegError as error:
        raise BadFile(f"{path}: stream {stream} cannot be decoded ({error.strerror})") from None
    return np.concatenate(chunks, axis=1) if chunks else np.zeros((2, 0), np.float32)
