"""Trees for rehearsals: every set in its published layout, rate and channels, with enough in it for every study.

Beside :mod:`tests.data.trees`, whose trees are as small as a loader's test can be: here each split has every source and
label (the test split twice), songs lack sources as published ones do, and the music is 44.1 kHz stereo or MP3.
"""

from __future__ import annotations

import csv
import functools
import io
from pathlib import Path

import numpy as np
import soundfile
import yaml

from mss_core.data import bundles
from mss_core.data.files import facts
from mss_core.data.loaders.irmas import LABELS as IRMAS
from tests.data import bundle_writer
from tests.data.trees import midi, musdb_names, stem_file
from tests.layouts import checkpoint

RATE = 44_100
SECONDS = 16.0
STEMS = ("vocals", "drums", "bass", "other")


@functools.lru_cache(maxsize=64)
def voice(kind: str, song: int, seconds: float = SECONDS, rate: int = RATE) -> np.ndarray:
    """One instrument of one song, float32 (time, 2): a harmonic tone of its own pitch or, for drums, bursts of noise;
    loud enough to count as sounding, a little louder on one side, and silent for one second of six: not all at once,
    and none in the first two of six."""
    rng = np.random.default_rng([song, *kind.encode()])
    time = np.arange(round(seconds * rate)) / rate
    pulse = np.repeat(rng.random(len(time) * 4 // rate + 1) > 0.25, rate // 4)[: len(time)]
    pulse = np.pad(pulse, (0, len(time) - len(pulse)), mode="edge")
    if kind == "drums":
        wave = rng.standard_normal(len(time)) * np.exp(-8 * (time * 2 % 1))
    else:
        pitch = (55.0 if kind == "bass" else 110.0) * 2 ** rng.uniform(0, 1.5)
        turn = (2 * np.pi * (pitch * time % 1)).astype(np.float32)  # whose sines take a quarter of the time
        wave = sum(np.sin(n * turn) / n for n in range(1, 7)) * (0.4 + 0.6 * pulse)
    wave = 0.1 * wave / np.sqrt(np.mean(np.square(wave)))
    wave = wave * ((time.astype(int) + sum(kind.encode()) % 4) % 6 != 5)
    return np.stack([wave, 0.8 * wave], 1).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")


# ---- tracks


def musdb18hq(root: Path) -> Path:
    """WAV folders; the last test song has no singer, and mixtures are not quite the sum, as mastered ones are not."""
    for number, (split, name) in enumerate([*musdb_names(), ("test", "Band E - Five")]):
        rows = {source: voice(source, number) for source in STEMS}
        if split == "test" and name.startswith("Band E"):
            rows["vocals"] = np.zeros_like(rows["vocals"])
        for row, samples in {"mixture": 0.98 * sum(rows.values()), **rows}.items():
            write(root / split / name / f"{row}.wav", samples)
    return root


def musdb18(root: Path) -> Path:
    """Stem files (MP4 with five streams), and ``bin/ffmpeg``, a stand-in that reads the samples from beside them."""
    for number, (split, name) in enumerate(musdb_names()):
        rows = {source: voice(source, number) for source in STEMS}
        rows["mixture"] = sum(rows.values())
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
    return root


MEDLEY = {
    "vocals": "female singer",
    "electric_guitar": "clean electric guitar",
    "acoustic_guitar": "acoustic guitar",
    "piano": "piano",
    "bass": "electric bass",
    "drums": "drum set",
    "other": "violin",
}


def mm(root: Path) -> Path:
    """Songs of MedleyDB and Mixing Secrets, stereo; all but two lack a row, as all but few of the 588 do."""
    songs = [("train", 8), ("test", 5)]
    lacking = ("acoustic_guitar", "piano", "", "vocals", "other", "electric_guitar")
    number = 0
    for split, count in songs:
        for index in range(count):
            name = f"{'AnnBobCatDanEveFayGusHal'[3 * index : 3 * index + 3]}{split.title()}_Song"
            place = "MedleyDB/Audio" if index % 2 else "MixingSecrets"
            folder = root / place / name
            rows = {row: what for row, what in MEDLEY.items() if row != lacking[index % len(lacking)]}
            stems = {
                f"S{n:02d}": (row, what, f"{name}_STEM_{n:02d}.wav") for n, (row, what) in enumerate(rows.items(), 1)
            }
            for row, _, filename in stems.values():
                write(folder / f"{name}_STEMS" / filename, voice(row, 100 + number))
            write(folder / f"{name}_MIX.wav", 0.5 * sum(voice(row, 100 + number) for row in rows))
            metadata = root / "MedleyDB" / "Metadata" if place.startswith("MedleyDB") else folder
            metadata.mkdir(parents=True, exist_ok=True)
            content = {
                "artist": name[:3] + split,
                "stem_dir": f"{name}_STEMS",
                "mix_filename": f"{name}_MIX.wav",
                "stems": {key: {"instrument": what, "filename": file} for key, (_, what, file) in stems.items()},
            }
            (metadata / f"{name}_METADATA.yaml").write_text(yaml.safe_dump(content))
            with open(root / f"{split}.txt", "a", encoding="utf-8") as file:
                file.write(name + "\n")
            number += 1
    return root


MS21 = ("lead_vocal", "drum_set", "bass", "electric_guitar", "acoustic_guitar", "piano", "synthesizer")


def ms21(root: Path) -> Path:
    """Two of the test songs are MUSDB18's, as 33 of the author's 50 are."""
    shared = (f"test/{name}" for split, name in musdb_names() if split == "test")
    for number, place in enumerate(("train/A - 1", "train/B - 2", "val/C - 3", *shared, "test/D - 4")):
        for node in MS21:
            if node == "synthesizer" and number % 2:
                continue
            write(
                root / place / f"{node}.wav", (0.6 if node != "electric_guitar" else 1.2) * voice(_kind(node), number)
            )
    return root


def _kind(node: str) -> str:
    return {"drum_set": "drums"}.get(node, node)


SLAKH = {
    0: ("acoustic_pianos", "piano.nkm"),
    4: ("electric_pianos", "ep.nkm"),
    16: ("organs", "organ.nkm"),
    25: ("acoustic_guitars", "steel.nkm"),
    27: ("clean_guitars", "clean.nkm"),
    29: ("effected_guitars", "overdrive.nkm"),
    33: ("bass", "bass.nkm"),
    40: ("bowed_strings", "violin.nkm"),
    48: ("string_ensemble", "ensemble.nkm"),
    128: ("drums", "kit.nkm"),
}


def slakh2100(root: Path) -> Path:
    """The release's folders: mono FLAC, MIDI and metadata beside; one test song has too few onsets for TagBox."""
    tracks = [("train", 1), ("train", 4), ("validation", 1501), ("validation", 1502)]
    tracks += [("test", number) for number in (1876, 1877, 1881)]
    for song, (folder, number) in enumerate(tracks):
        track = root / folder / f"Track{number:05d}"
        stems, mix = {}, 0.0
        for index, (program, (kind, patch)) in enumerate(SLAKH.items()):
            key = f"S{index:02d}"
            samples = voice(kind, 200 + song).mean(1)
            mix = mix + samples
            path = track / "stems" / f"{key}.flac"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, samples, RATE, subtype="PCM_16")
            (track / "MIDI").mkdir(exist_ok=True)
            (track / "MIDI" / f"{key}.mid").write_bytes(midi(99 if number == 1881 and kind == "bass" else 100))
            stems[key] = {
                "audio_rendered": True,
                "inst_class": kind,
                "is_drum": program == 128,
                "midi_program_name": kind,
                "plugin_name": patch,
                "program_num": program,
            }
        soundfile.write(track / "mix.flac", 0.5 * mix, RATE, subtype="PCM_16")
        (track / "metadata.yaml").write_text(yaml.safe_dump({"UUID": str(number), "stems": stems}))
    return root


# ---- clips


@functools.cache
def mp3(song: int, seconds: float, rate: int = RATE, channels: int = 2) -> bytes:
    with io.BytesIO() as buffer:
        samples = voice("vocals", 300 + song, seconds, rate) + voice("drums", 300 + song, seconds, rate)
        soundfile.write(buffer, samples[:, :channels], rate, format="MP3")
        return buffer.getvalue()


def _mp3(path: Path, song: int, seconds: float, rate: int = RATE, channels: int = 2) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(mp3(song % 3, seconds, rate, channels))


def mtat(root: Path) -> Path:
    """Mono 16-kHz MP3 of 29 s in folders 0 to f; every clip has half of the 50 tags, its neighbour the others."""
    tags = sorted(facts()["mtat"]["tags"])
    root.mkdir(parents=True, exist_ok=True)
    with open(root / "annotations_final.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_ALL)
        writer.writerow(["clip_id", *tags, "mp3_path"])
        for number, folder in enumerate("0123ccdefdefde"):
            path = f"{folder}/artist_{number}-song-01-title-0-29.mp3"
            writer.writerow([number, *((index + number) % 2 for index in range(len(tags))), path])
            _mp3(root / path, number, 29.0, 16_000, 1)
    return root


def fma_medium_minus_small(root: Path) -> Path:
    """tracks.csv with three heading lines; every genre in each split of the medium subset, stereo MP3 of 30 s."""
    genres = list(facts()["fma"]["genres"])
    (root / "fma_metadata").mkdir(parents=True)
    with open(root / "fma_metadata" / "tracks.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["", "artist", "set", "set", "track", "track"])
        writer.writerow(["", "name", "split", "subset", "genre_top", "title"])
        writer.writerow(["track_id", "", "", "", "", ""])
        number = 10
        for split, times in (("training", 1), ("validation", 1), ("test", 2)):
            for genre in genres * times:
                number += 1
                writer.writerow([number, f"artist {number}", split, "medium", genre, "a title, with a comma"])
                _mp3(root / "fma_medium" / f"{number:06d}"[:3] / f"{number:06d}.mp3", number, 30.0)
    return root


def irmas(root: Path) -> Path:
    """Stereo WAV: 3-s training excerpts with one label, longer test excerpts with several in a text file beside."""
    for label in IRMAS:
        for number in range(3):
            name = f"[{label}][nod][pop_roc]{number:04d}__1.wav"
            write(root / "IRMAS-TrainingData" / label / name, voice(label, 400 + number, 3.0))
    for part in (1, 2, 3):
        folder = root / f"IRMAS-TestingData-Part{part}" / f"Part{part}"
        for number in range(6):
            write(folder / f"{number:02d} - A song-{part}.wav", voice(IRMAS[number], 410 + part, 6.0))
            chosen = [label for index, label in enumerate(IRMAS) if (index + number) % 3 == 0]
            (folder / f"{number:02d} - A song-{part}.txt").write_text("".join(f"{label}\t\n" for label in chosen))
    return root


# ---- released weights


def taggers(root: Path) -> None:
    """The four taggers of two releases, each in a folder of its own with its labels."""
    labels = {"mtat": facts()["mtat"]["tags"], "mtg_jamendo": facts()["mtg_jamendo"]["top50"]}
    for name in ("fcn", "harmonic_cnn", "short_chunk_cnn", "musicnn"):
        for release, tags in labels.items():
            checkpoint(f"{name}_mtat", root / f"{name}_{release}", tags)


def stems(root: Path) -> Path:
    """Songs with stems in the layout of any folder of the user's, which is MUSDB18-HQ's."""
    return musdb18hq(root)


def mtt_musicnn(root: Path) -> Path:
    """A bundle of random values in the shapes of the package's musicnn."""
    return bundle_writer.write(root, bundle_writer.arrays_of("published_musicnn"), checksum=bundles.crc32c).parent


def mtt_vgg(root: Path) -> Path:
    """The same of its VGG."""
    return bundle_writer.write(root, bundle_writer.arrays_of("published_vgg"), checksum=bundles.crc32c).parent
