"""Small trees in the published layout of every data set, played by the synthetic set."""

from __future__ import annotations

import csv
import functools
import io
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import yaml

from mss_core.data.files import facts
from mss_core.data.synthetic import synthesis

RATE = 16_000
SECONDS = 2.0


@functools.cache
def song(index: int) -> dict[str, np.ndarray]:
    """Stereo rows (time, 2) of one synthetic track, in which nobody is silent."""
    track = synthesis.render(index, SECONDS, RATE)
    stems = {
        name: stem + 1e-3 * np.sin(np.arange(len(stem)) * (0.1 + i)).astype(np.float32)
        for i, (name, stem) in enumerate(track.stems.items())
    }
    rows = {"mixture": sum(stems.values()), **stems}
    return {name: np.stack([0.5 * mono, 0.4 * mono], 1) for name, mono in rows.items()}


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> Path:
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


def write_mp3(path: Path, index: int, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_mp3(index % 5, seconds))


@functools.cache
def _mp3(index: int, seconds: float) -> bytes:
    import soundfile

    with io.BytesIO() as buffer:
        soundfile.write(buffer, clip(index, seconds), RATE, format="MP3")
        return buffer.getvalue()


def clip(index: int, seconds: float, channels: int = 1) -> np.ndarray:
    """A clip of a synthetic mixture, repeated to its length."""
    mixture = song(index % 5)["mixture"][:, :channels]
    return np.resize(mixture, (round(seconds * RATE), channels))


# ---- tracks


def musdb_names() -> list[tuple[str, str]]:
    """Two training songs, two of the published validation songs, two test songs."""
    valid = facts()["musdb18"]["valid"]
    return [
        ("train", "Band A - One"),
        ("train", "Band B - Two"),
        ("train", valid[0]),
        ("train", valid[1]),
        ("test", "Band C - Three"),
        ("test", "Band D - Four"),
    ]


def musdb18hq(root: Path) -> Path:
    for index, (split, name) in enumerate(musdb_names()):
        for row, samples in song(index).items():
            write(root / split / name / f"{row}.wav", samples, 44_100)
    return root


def box(kind: bytes, *content: bytes) -> bytes:
    body = b"".join(content)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def stem_file(frames: int, streams: int = 5) -> bytes:
    """The boxes of a .stem.mp4, without sound in them."""
    handler = box(b"hdlr", bytes(8), b"soun", bytes(12))
    header = box(b"mdhd", bytes(12), struct.pack(">II", 44_100, frames), bytes(4))
    track = box(b"trak", box(b"mdia", header, handler))
    return box(b"ftyp", b"M4A ") + box(b"moov", *[track] * streams) + box(b"mdat", bytes(64))


def musdb18(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stem files, and a stand-in of ffmpeg on the PATH that reads samples from files beside them."""
    for index, (split, name) in enumerate(musdb_names()):
        rows = song(index)
        (root / split).mkdir(parents=True, exist_ok=True)
        (root / split / f"{name}.stem.mp4").write_bytes(stem_file(len(rows["mixture"])))
        for stream, row in enumerate(("mixture", "drums", "bass", "other", "vocals")):
            (root / split / f"{name}.{stream}.f32").write_bytes(rows[row].astype(np.float32).tobytes())
    tool = root / "bin" / "ffmpeg"
    tool.parent.mkdir()
    tool.write_text(
        "#!/bin/sh\nwhile [ $# -gt 0 ]; do case $1 in -i) f=$2;; -map) s=${2##*:};; esac; shift; done\n"
        'cat "${f%.stem.mp4}.$s.f32"\n'
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
    return root


MEDLEY = {
    "S01": ("vocals", "female singer"),
    "S02": ("drums", "drum set"),
    "S03": ("bass", "electric bass"),
    "S04": ("other", ["acoustic guitar", "banjo"]),
}


def mm(root: Path) -> Path:
    """MedleyDB's layout (metadata apart) and Mixing Secrets' (metadata beside); the last song has no singer."""
    places = [
        ("train", "MedleyDB/Audio", "Ann_One"),
        ("train", "MixingSecrets", "Bob_Two"),
        ("train", "MixingSecrets", "Cat_Three"),
        ("train", "MedleyDB/Audio", "Eve_Five"),
        ("test", "MedleyDB/Audio", "Dan_Four"),
    ]
    for index, (split, place, name) in enumerate(places):
        folder, rows = root / place / name, song(index)
        stems = {key: value for key, value in MEDLEY.items() if index != 3 or value[0] != "vocals"}
        mixture = sum(rows[row] for row, _ in stems.values())
        write(folder / f"{name}_MIX.wav", mixture, 44_100)
        for number, (row, _) in enumerate(stems.values(), start=1):
            write(folder / f"{name}_STEMS" / f"{name}_STEM_{number:02d}.wav", rows[row], 44_100)
        metadata = root / "MedleyDB" / "Metadata" if place.startswith("MedleyDB") else folder
        metadata.mkdir(parents=True, exist_ok=True)
        (metadata / f"{name}_METADATA.yaml").write_text(
            yaml.safe_dump(
                {
                    "artist": name.split("_")[0],
                    "stem_dir": f"{name}_STEMS",
                    "mix_filename": f"{name}_MIX.wav",
                    "stems": {
                        key: {"instrument": instrument, "filename": f"{name}_STEM_{number:02d}.wav"}
                        for number, (key, (_, instrument)) in enumerate(stems.items(), start=1)
                    },
                }
            )
        )
        with open(root / f"{split}.txt", "a", encoding="utf-8") as file:
            file.write(name + "\n")
    return root


def ms21(root: Path) -> Path:
    for index, place in enumerate(("train/A - 1", "train/B - 2", "val/C - 3", "test/D - 4")):
        rows = song(index)
        write(root / place / "lead_vocal.wav", 0.75 * rows["vocals"], 44_100)
        write(root / place / "backing_vocal.wav", 0.25 * rows["vocals"], 44_100)
        write(root / place / "drum_set.wav", rows["drums"], 44_100)
        write(root / place / "bass.wav", rows["bass"], 44_100)
        write(root / place / "electric_guitar.wav", rows["other"], 44_100)
    return root


def midi(notes: int) -> bytes:
    """A MIDI file that starts so many notes, half of them by running status, with note-offs of both kinds."""
    events = b"\x00\xff\x03\x04name\x00\xc0\x05"
    for note in range(notes):
        start = b"\x00\x90\x3c\x40" if note % 2 == 0 else b"\x81\x00\x3e\x40"
        stop = b"\x10\x3c\x00" if note % 2 == 0 else b"\x10\x80\x3e\x40\x00\x90\x40\x00"
        events += start + stop
    events += b"\x00\xff\x2f\x00"
    return b"MThd\x00\x00\x00\x06\x00\x01\x00\x01\x01\xe0" + b"MTrk" + struct.pack(">I", len(events)) + events


SLAKH = {
    "S00": ("vocals", 0, "piano.nkm"),
    "S01": ("drums", 128, "kit.nkm"),
    "S02": ("bass", 33, "bass.nkm"),
    "S03": ("other", 25, "steel.nkm"),
    "S04": ("other", 48, "ensemble.nkm"),
}


def slakh2100(root: Path) -> Path:
    """The folders of the release; 1881 has few onsets, 2 is omitted by redux (see its list)."""
    for index, (folder, number) in enumerate(
        (
            ("train", 1),
            ("train", 3),
            ("validation", 1501),
            ("test", 1881),
            ("test", 1876),
            ("omitted", facts()["slakh2100"]["redux_omits"][0]),
        )
    ):
        track = root / folder / f"Track{number:05d}"
        rows = {key: song(index)[row].mean(1) * (0.5 if row == "other" else 1.0) for key, (row, *_) in SLAKH.items()}
        write(track / "mix.flac", sum(rows.values()), 44_100)
        for key, samples in rows.items():
            write(track / "stems" / f"{key}.flac", samples, 44_100)
            (track / "MIDI").mkdir(exist_ok=True)
            (track / "MIDI" / f"{key}.mid").write_bytes(midi(99 if number == 1881 and key == "S02" else 100))
        (track / "metadata.yaml").write_text(
            yaml.safe_dump(
                {
                    "stems": {
                        **{
                            key: {
                                "audio_rendered": True,
                                "is_drum": program == 128,
                                "program_num": program,
                                "plugin_name": patch,
                            }
                            for key, (_, program, patch) in SLAKH.items()
                        },
                        "S05": {
                            "audio_rendered": False,
                            "is_drum": False,
                            "program_num": 73,
                            "plugin_name": "flute.nkm",
                        },
                    }
                }
            )
        )
    return root


MOISES = {
    "vocals": ("vocals", 2),
    "drums": ("drums", 1),
    "bass": ("bass", 1),
    "guitar": ("other", 1),
    "wind": ("other", 1),
}
"""Stems of a song, the synthetic source that plays each, and in how many tracks."""


def moisesdb(root: Path, songs: int = 2) -> Path:
    """Songs of each published fold as the release has them, by two artists of a fold; no mixture; in the last of each
    fold the bass is some frames shorter."""
    for fold, names in facts()["moisesdb"]["folds"].items():
        for index, name in enumerate(names[:songs]):
            folder = root / "moisesdb_v0.1" / name
            stems = []
            for stem, (row, count) in MOISES.items():
                samples = song(index)[row] * (0.5 if row == "other" else 1.0)
                tracks = [f"{name[:8]}-{stem}-{number}" for number in range(count)]
                for track in tracks:
                    end = len(samples) - (37 if stem == "bass" and index == songs - 1 else 0)
                    write(folder / stem / f"{track}.wav", samples[:end] / count, 44_100)
                stems.append(
                    {
                        "stemName": stem,
                        "tracks": [{"id": track, "trackType": "x", "extension": "wav"} for track in tracks],
                    }
                )
            about = {"song": f"Song {index}", "artist": f"Band {fold}{index}", "genre": "rock", "stems": stems}
            (folder / "data.json").write_text(json.dumps(about))
    return root


# ---- clips

MTAT_CLIPS = [
    ("0/ann-song-01-x-0-2.mp3", ("guitar", "slow")),
    ("1/bob-song-01-x-0-2.mp3", ("female voice",)),
    ("a/cat-song-01-x-2-4.mp3", ("metal", "guitar")),
    ("c/dan-song-01-x-0-2.mp3", ("metal", "no vocals")),
    ("d/eve-song-01-x-0-2.mp3", ("female voice", "guitar")),
    ("e/fay-song-01-x-0-2.mp3", ("metal",)),
    ("2/gus-song-01-x-0-2.mp3", ()),
]


def mtat(root: Path) -> Path:
    """annotations_final.csv with its 50 tags in another order than ours, among two that are not of the 50."""
    tags = ["zither", *sorted(facts()["mtat"]["tags"]), "banjo"]
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "annotations_final.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL)
        writer.writerow(["clip_id", *tags, "mp3_path"])
        for number, (path, chosen) in enumerate(MTAT_CLIPS):
            writer.writerow([number, *(int(tag in chosen or tag == "zither") for tag in tags), path])
            write_mp3(root / "mp3" / path, number, 2.0)
    return root


def mtat_lists(root: Path, order: list[str], numbers: bool = True) -> None:
    """Split lists beside it, tags by number in ``order``, rows in another order, .npy as their makers have them."""
    (root / "tags.txt").write_text("\n".join(order) + "\n")
    for split, folders in (("train", "01a"), ("valid", "c"), ("test", "def")):
        rows = [(path, tags) for path, tags in reversed(MTAT_CLIPS) if path[0] in folders and tags]
        text = "path\ttags\n" + "".join(
            f"{path.replace('.mp3', '.npy')}\t{','.join(str(order.index(tag)) if numbers else tag for tag in tags)}\n"
            for path, tags in rows
        )
        (root / f"{split}.tsv").write_text(text)


def fma(root: Path) -> Path:
    """tracks.csv with its three heading lines; 1486 is one of the broken ids, 5 is in the large subset."""
    rows = [
        (2, "training", "small", "Hip-Hop"),
        (3, "training", "medium", "Rock"),
        (7, "training", "medium", "Folk"),
        (10, "validation", "medium", "Rock"),
        (20, "test", "small", "Folk"),
        (21, "test", "medium", "Rock"),
        (1486, "training", "medium", "Rock"),
        (5, "training", "large", ""),
    ]
    (root / "fma_metadata").mkdir(parents=True)
    with open(root / "fma_metadata" / "tracks.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["", "artist", "set", "set", "track", "track"])
        writer.writerow(["", "name", "split", "subset", "genre_top", "title"])
        writer.writerow(["track_id", "", "", "", "", ""])
        for number, split, subset, genre in rows:
            writer.writerow([number, f"artist {number}", split, subset, genre, "a title, with a comma"])
            if number != 5:
                name = f"{number:06d}"
                write_mp3(root / "fma_medium" / name[:3] / f"{name}.mp3", number, 30.0)
    return root


def irmas(root: Path) -> Path:
    for label in ("cel", "voi"):
        for number in range(3):
            write(
                root / "IRMAS-TrainingData" / label / f"[{label}][dru]00{number}{len(label)}__1.wav",
                clip(number, 3.0, 2),
            )
    for part in (1, 2, 3):
        folder = root / f"IRMAS-TestingData-Part{part}" / f"Part{part}"
        for number in range(2):
            write(folder / f"0{number} - A song-{part}.wav", clip(number, 5.0, 2))
            (folder / f"0{number} - A song-{part}.txt").write_text("cel\t\nvoi\t\n" if number else "voi\t\n")
    return root


def jamendo(root: Path) -> Path:
    header = "TRACK_ID\tARTIST_ID\tALBUM_ID\tPATH\tDURATION\tTAGS\n"
    number = 100
    for split in ("train", "validation", "test"):
        for table, tags in (
            ("top50tags", ("genre---rock", "instrument---voice")),
            ("instrument", ("instrument---piano",)),
        ):
            path = root / "data" / "splits" / "split-0" / f"autotagging_{table}-{split}.tsv"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = header
            for _ in range(2):
                number += 1
                name = f"{number % 100:02d}/{number}.mp3"
                chosen = tags[:1] if number % 2 else tags
                text += (
                    "\t".join([f"track_{number:07d}", f"artist_{number:06d}", "album_000001", name, "3.0", *chosen])
                    + "\n"
                )
                write_mp3(root / "audio" / name.replace(".mp3", ".low.mp3" if number % 2 else ".mp3"), number, 3.0)
            path.write_text(text)
    return root
