"""The frames of an MP3 file, counted one by one, and its samples where its header says too little.

libsndfile takes the length from the Xing or Info frame, or guesses it from the first frame's bit rate: of a file that
two were joined into it reads the first, of one with a variable rate and no such frame as much as was guessed. Here the
frames are walked [ISO 11172-3, 2.4.2.3; ISO 13818-3], and what no header speaks for is decoded to its end. Only layer
III has this: other layers and free formats are left to libsndfile.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mss_core.bad_file import BadFile

KBITS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""Kilobits per second by index, of MPEG 1 and of its halves and quarters of a rate."""
RATES = {3: (44_100, 48_000, 32_000), 2: (22_050, 24_000, 16_000), 0: (11_025, 12_000, 8_000)}
"""Hz by index, for each version's two bits."""
BLOCK = 1 << 16
SLACK = 1152
"""Samples that a header may promise too many: some encoders count the header's own frame."""


@dataclass(frozen=True)
class Frame:
    """Where a frame lies, in bytes, and what it holds: samples per channel, their rate in Hz, channels."""

    start: int
    size: int
    samples: int
    rate: int
    channels: int


@dataclass(frozen=True)
class Layout:
    """A file in two parts: ``headed``, whose frames its Xing or Info frame counts, to be decoded without the encoder's
    delay, and ``bare``, everything behind it (or all, where nothing counts them), of which ``samples`` are decoded."""

    headed: bytes
    bare: bytes
    samples: int
    rate: int
    channels: int


def layout(path: Path) -> Layout | None:
    """The parts of a file, without tags, junk and a last frame that is cut off; None where its header can be trusted,
    or it has no frame of layer III. BadFile where the header counts more frames than are there (but for the
    header's own, which some encoders count), or two files of other rates or channels were joined."""
    data = path.read_bytes()
    frames = list(walk(data))
    if not frames:
        return None
    first = frames[0]
    told, counted = _header(data, first)
    if counted > len(frames):
        raise BadFile(
            f"{path}: stops after {len(frames) - 1} of the {counted} MP3 frames that its header counts (truncated)"
        )
    headed = frames[: 1 + counted] if counted else []
    bare = frames[1 + counted :] if counted else frames[told:]
    if headed and not bare:
        return None
    for frame in bare:
        if (frame.rate, frame.channels) != (first.rate, first.channels):
            raise BadFile(
                f"{path}: joined of parts of {first.rate} Hz, {first.channels} channel(s), and {frame.rate} Hz, "
                f"{frame.channels}; join them at one rate"
            )
    silenced = (_without_header(data, frame) for frame in bare)
    return Layout(
        _bytes(data, headed), b"".join(silenced), sum(frame.samples for frame in bare), first.rate, first.channels
    )


def length(parts: Layout) -> int:
    """Samples per channel that :func:`decode` gives."""
    import soundfile

    return parts.samples + (soundfile.info(io.BytesIO(parts.headed)).frames if parts.headed else 0)


def decode(parts: Layout) -> np.ndarray:
    """All samples, float32 (time, channel)."""
    import soundfile

    blocks = [soundfile.read(io.BytesIO(parts.headed), dtype="float32", always_2d=True)[0]] if parts.headed else []
    out, into = os.pipe()  # a file that cannot be searched is read to its end
    feeding = threading.Thread(target=_feed, args=(into, parts.bare))
    feeding.start()
    try:
        with soundfile.SoundFile(out) as file:
            while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
                blocks.append(block)
    finally:
        feeding.join()
    return np.concatenate(blocks)


def _feed(into: int, data: bytes) -> None:
    try:
        with os.fdopen(into, "wb") as pipe:
            pipe.write(data)
    except BrokenPipeError:
        pass  # the reader gave up, and says why


def walk(data: bytes) -> Iterator[Frame]:
    """The frames of layer III one after the other. Where one does not follow the last, it must be followed by its like
    to be taken for one."""
    at, last = 0, None
    while at + 4 <= len(data):
        if data[at : at + 3] == b"ID3" and len(data) > at + 10:
            at += 10 + sum(
                (byte & 127) << shift for byte, shift in zip(data[at + 6 : at + 10], (21, 14, 7, 0), strict=True)
            )
            continue
        frame = _frame(data, at)
        following = last is not None and frame is not None and frame.rate == last.rate
        if frame is None or not (following or _goes_on(data, frame)):
            last, at = None, data.find(b"\xff", at + 1)
            if at < 0:
                return
            continue
        if at + frame.size > len(data):
            return
        yield frame
        last, at = frame, at + frame.size


def _goes_on(data: bytes, frame: Frame) -> bool:
    end = frame.start + frame.size
    after = _frame(data, end)
    return end == len(data) or (after is not None and after.rate == frame.rate)


def _frame(data: bytes, at: int) -> Frame | None:
    head = data[at : at + 4]
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, head[1] >> 1 & 3
    kbits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or layer != 1 or kbits in (0, 15) or rate == 3:
        return None
    whole, hz = version == 3, RATES[version][rate]
    size = (144 if whole else 72) * 1000 * KBITS[whole][kbits] // hz + (head[2] >> 1 & 1)
    return Frame(at, size, 1152 if whole else 576, hz, 1 if head[3] >> 6 == 3 else 2)


def _tag(data: bytes, frame: Frame) -> int:
    """Where the word Xing or Info stands, behind the side information of a frame; -1 where there is none."""
    side = {(1152, 2): 32, (1152, 1): 17, (576, 2): 17, (576, 1): 9}[frame.samples, frame.channels]
    at = frame.start + 4 + side
    return at if data[at : at + 4] in (b"Xing", b"Info") else -1


def _header(data: bytes, frame: Frame) -> tuple[bool, int]:
    """Whether a frame is a Xing or Info frame, and how many frames it counts behind itself, 0 where it does not say."""
    at = _tag(data, frame)
    says = at > 0 and data[at + 7] & 1
    return at > 0, int.from_bytes(data[at + 8 : at + 12], "big") if says else 0


def _without_header(data: bytes, frame: Frame) -> bytes:
    """A frame's bytes; one that was a header before files were joined is silence."""
    at = _tag(data, frame)
    if at < 0:
        return data[frame.start : frame.start + frame.size]
    return data[frame.start : at] + bytes(4) + data[at + 4 : frame.start + frame.size]


def _bytes(data: bytes, frames: list[Frame]) -> bytes:
    return data[frames[0].start : frames[-1].start + frames[-1].size] if frames else b""
