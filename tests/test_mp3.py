"""MP3 files of every kind are read to their end: what was encoded, the frames that the encoder itself counted, and what
dr_mp3 decodes are the independent figures; where they are installed, what FFmpeg (PyAV) and mpg123 decode, too."""

from __future__ import annotations

import io
import shutil
import struct
import subprocess
from pathlib import Path

import miniaudio
import numpy as np
import pytest
import soundfile

from mss_core import audio, mp3
from mss_core.bad_file import BadFile

ID3 = b"ID3\x04\x00\x00" + bytes([0, 0, 16, 0]) + bytes(2040) + b"\xff\xfb\x90\x00" + bytes(4)
"""A tag of 2,048 bytes, in which something looks like a frame."""
DELAY = 1105
"""Samples of encoder and decoder delay that a file of LAME's is told to leave out."""


def encoded(rate: int, mode: str, seconds: float = 1.3, channels: int = 1) -> tuple[int, bytes]:
    """Samples encoded (loud at first, so that the first frames are large), and the file."""
    rng = np.random.default_rng(rate)
    samples = 0.02 * rng.standard_normal((int(seconds * rate), channels))
    samples[: len(samples) // 4] *= 15
    file = io.BytesIO()
    soundfile.write(
        file, samples, rate, format="MP3", subtype="MPEG_LAYER_III", bitrate_mode=mode, compression_level=0.5
    )
    return len(samples), file.getvalue()


def counted(data: bytes) -> tuple[int, bytes]:
    """Samples of all frames by LAME's own count, and the file without the frame that holds that count."""
    tag = max(data.find(b"Xing"), data.find(b"Info"))
    size = struct.unpack(">I", data[tag + 12 : tag + 16])[0]  # bytes of the whole file
    frames = struct.unpack(">I", data[tag + 8 : tag + 12])[0]
    first = next(mp3.walk(data))
    assert size == len(data)
    return frames * first.samples, data[first.size :]


def written(path: Path, data: bytes) -> tuple[np.ndarray, int]:
    """What is read of these bytes as a file; header and samples agree."""
    path.write_bytes(data)
    waveform, rate = audio.load(path)
    assert audio.info(path) == (waveform.shape[1], rate, waveform.shape[0])
    return waveform, rate


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (22_050, 2), (44_100, 1), (44_100, 2)])
def test_every_kind_is_read_to_its_end(tmp_path: Path, rate: int, channels: int, mode: str) -> None:
    samples, data = encoded(rate, mode, channels=channels)
    frames, bare = counted(data)
    path = tmp_path / "x.mp3"
    whole, _ = written(path, data)
    assert whole.shape == (channels, samples)
    assert written(path, ID3 + data + b"TAG" + bytes(125))[0].shape[1] == samples
    plain, got_rate = written(path, bare)
    assert plain.shape == (channels, frames) and got_rate == rate
    np.testing.assert_allclose(plain[:, DELAY : DELAY + samples], whole, atol=1e-5)
    junk = bytes(np.random.default_rng(0).integers(0, 255, 700, dtype=np.uint8))
    for changed in (junk + bare, ID3 + bare + b"TAG" + bytes(125), bare + junk, bare + bare[:10]):
        np.testing.assert_array_equal(written(path, changed)[0], plain)
    one = next(mp3.walk(data)).samples
    assert written(path, data + data)[0].shape[1] == samples + frames + one  # mpg123 decodes the second header too
    assert written(path, data + ID3 + bare)[0].shape[1] == samples + frames
    assert written(path, bare + bare)[0].shape[1] == 2 * frames


def by_ffmpeg(path: Path) -> int:
    """Samples per channel that FFmpeg decodes of a file, without what its first header says to leave out."""
    import av

    with av.open(str(path)) as container:
        return sum(frame.samples for frame in container.decode(audio=0))


def frame_by_frame(data: bytes) -> int:
    """Samples per channel of all the frames that FFmpeg's own parser finds, whatever a header says."""
    import av

    decoder = av.CodecContext.create("mp3float", "r")
    total = 0
    for packet in (*decoder.parse(data), *decoder.parse(None)):
        try:
            total += sum(frame.samples for frame in decoder.decode(packet))
        except av.FFmpegError:  # tags and junk between frames
            continue
    return total


KINDS = pytest.mark.parametrize(
    ("rate", "channels", "mode"),
    [
        (rate, channels, mode)
        for rate, channels in ((8000, 1), (16_000, 2), (32_000, 1), (44_100, 2), (48_000, 1))
        for mode in ("CONSTANT", "VARIABLE", "AVERAGE")
    ],
)


@KINDS
def test_the_number_of_samples_is_that_of_dr_mp3(tmp_path: Path, rate: int, channels: int, mode: str) -> None:
    """A VBR file without a header was read to a fifth, of two joined files the first. dr_mp3 shares no code with
    libsndfile. It leaves out other samples than LAME counted where a tag follows a header, and of what is joined to a
    file with a header: there, what was encoded and LAME's count are the judges (above)."""
    samples, data = encoded(rate, mode, channels=channels)
    _, bare = counted(data)
    junk = bytes(np.random.default_rng(0).integers(0, 255, 700, dtype=np.uint8))
    path = tmp_path / "x.mp3"
    for content in (data, bare, junk + bare, ID3 + bare + b"TAG" + bytes(125), bare + bare, bare + data):
        many = written(path, content)[0].shape[1]
        assert many == miniaudio.mp3_read_file_s16(str(path)).num_frames
    for content in (data, ID3 + data + b"TAG" + bytes(125), data + b"APETAGEX" + bytes(100)):
        assert written(path, content)[0].shape[1] == samples


@KINDS
def test_the_number_of_samples_is_that_of_ffmpeg(tmp_path: Path, rate: int, channels: int, mode: str) -> None:
    """The same of every kind by FFmpeg, and where it is installed by the program mpg123."""
    pytest.importorskip("av")
    samples, data = encoded(rate, mode, channels=channels)
    _, bare = counted(data)
    junk = bytes(np.random.default_rng(0).integers(0, 255, 700, dtype=np.uint8))
    tags = (ID3, b"TAG" + bytes(125), b"APETAGEX" + bytes(100))
    alone = {"header": data, "tags": tags[0] + data + tags[1], "APE": data + tags[2], "none": bare}
    alone |= {"junk before": junk + bare, "tags, none": tags[0] + bare + tags[1]}
    left_out = frame_by_frame(data) - samples
    joined = {data + data: left_out, data + bare: left_out, bare + bare: 0, bare + data: 0}
    path = tmp_path / "x.mp3"
    for kind, content in alone.items():
        assert written(path, content)[0].shape[1] == by_ffmpeg(path) == by_mpg123(path), kind
    for content, less in joined.items():
        assert written(path, content)[0].shape[1] == frame_by_frame(content) - less == by_mpg123(path)


def by_mpg123(path: Path) -> int:
    """Samples per channel that the program mpg123 writes; where there is none, those that we give."""
    if shutil.which("mpg123") is None:
        return audio.info(path)[0]
    wav = path.with_suffix(".wav")
    subprocess.run(["mpg123", "-q", "-w", str(wav), str(path)], check=True, capture_output=True)
    return soundfile.info(wav).frames


def test_a_file_cut_off_is_named(tmp_path: Path) -> None:
    _, data = encoded(44_100, "CONSTANT")
    (tmp_path / "cut.mp3").write_bytes(data[: len(data) // 2])
    for read in (audio.load, audio.info):
        with pytest.raises(BadFile, match=r"cut.mp3: stops after \d+ of the \d+ MP3 frames .*truncated"):
            read(tmp_path / "cut.mp3")
    at = data.find(b"Info") + 8
    more = int.from_bytes(data[at : at + 4], "big") + 1  # an encoder that counts the header too
    (tmp_path / "more.mp3").write_bytes(data[:at] + more.to_bytes(4, "big") + data[at + 4 :])
    assert abs(audio.load(tmp_path / "more.mp3")[0].shape[1] - audio.info(tmp_path / "more.mp3")[0]) <= 1152
    _, other = encoded(22_050, "CONSTANT")
    (tmp_path / "two.mp3").write_bytes(data + other)
    for read in (audio.load, audio.info):
        with pytest.raises(BadFile, match="two.mp3: joined of parts of 44100 Hz, 1 .* and 22050 Hz"):
            read(tmp_path / "two.mp3")


def test_what_is_called_mp3_need_not_be_one(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.mp3", np.zeros(100), 8000, format="WAV")
    assert audio.load(tmp_path / "x.mp3")[0].shape == (1, 100)
    (tmp_path / "x.mp3").write_bytes(b"\xff" * 3000)
    with pytest.raises(BadFile, match="not a readable audio file"):
        audio.load(tmp_path / "x.mp3")
