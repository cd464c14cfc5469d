"""Loaders on small trees of the real layouts: what is read, what is skipped by name, what is refused."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mss_core.artefact import read_notes
from mss_core.data.config import CLIPS, TRACKS
from mss_core.data.packed import Packed
from mss_core.data.packing import pack
from mss_core.data.sets import CLIP_SETS, TRACK_SETS, ClipSet, TrackSet, survey
from mss_core.graph import Context
from tests.conftest import write_clips, write_track
from tests.data import trees
from tests.data.conftest import SEGMENT, packed_tracks


def packed_clips(root: Path, out: Path) -> Packed:
    out.mkdir()
    pack(survey(ClipSet("clips"), {"clips": root}), ("mixture",), 16_000, SEGMENT, out, Context(out=out))
    return Packed(out)


def test_every_name_has_a_reader() -> None:
    assert set(TRACK_SETS) == set(TRACKS) and set(CLIP_SETS) == set(CLIPS)


@pytest.mark.parametrize("name", ["slakh2100", "irmas", "mtat"])
def test_what_was_skipped_is_told_where_too_little_is_left(tmp_path: Path, name: str) -> None:
    root = getattr(trees, name)(tmp_path / "t")
    bad = [
        path
        for path in root.rglob("*")
        if path.suffix in (".flac", ".mp3", ".wav")
        and any(part in ("train", "0", "1", "a", "IRMAS-TrainingData", "Part2") for part in path.parts)
    ]
    for path in bad:
        path.write_bytes(b"")
    config = TrackSet(name, sources=("bass",)) if name in TRACKS else ClipSet(name, labels="label")
    with pytest.raises(ValueError, match="(no train item|too few).*; skipped: .*0 bytes"):
        survey(config, {name: root})


# ---- stems


def test_stems_are_packed_as_they_are(stems_packed: Packed, shared_stems: Path) -> None:
    packed = stems_packed
    assert [(i.name, i.split) for i in packed.items] == [
        ("a", "train"),
        ("b", "train"),
        ("c", "train"),
        ("d", "train"),
        ("e", "valid"),
        ("f", "test"),
        ("g", "test"),
    ]
    for item in packed.items:
        samples, rate = soundfile.read(shared_stems / item.split / item.name / "bass.wav", dtype="float32")
        assert rate == packed.samplerate
        np.testing.assert_allclose(packed.read(item, "bass"), samples.mean(1), rtol=0, atol=1.1 / 32767)
    assert packed.read(packed.items[0], "mixture", start=packed.items[0].length - 3, length=5).tolist()[3:] == [0, 0]


def test_a_set_without_validation_gets_a_named_one(stems_tree: Path) -> None:
    shutil.rmtree(stems_tree / "valid")
    found = [survey(TrackSet("stems", split_seed=seed), {"stems": stems_tree}) for seed in (0, 0, 1, 2, 3)]
    held = [[item.name for item in f.items if item.split == "valid"] for f in found]
    assert held[0] == held[1] and len(held[0]) == 1 and len({tuple(h) for h in held}) > 1
    assert "1 of 4 training items held out (seed 0)" in found[0].notes[0].text
    assert found[0].notes[0].items == tuple(held[0])


def test_only_training_items_are_held_out(tmp_path: Path) -> None:
    """Folders often number their tracks anew in each split: a test track must stay one."""
    for place in ("train/01", "train/02", "test/01", "test/02"):
        write_track(tmp_path / place, seconds=1.0)
    found = survey(TrackSet("stems"), {"stems": tmp_path})
    assert sorted(item.split for item in found.items) == ["test", "test", "train", "valid"]


def test_a_silent_source_is_named(stems_tree: Path, tmp_path: Path) -> None:
    write_track(stems_tree / "test" / "f", seed=5)
    folder = stems_tree / "test" / "f"
    mixture, rate = soundfile.read(folder / "mixture.wav")
    soundfile.write(folder / "bass.wav", np.zeros_like(mixture), rate, subtype="PCM_16")
    packed = packed_tracks(stems_tree, tmp_path / "out")
    assert [item.silent for item in packed.split("test")] == [("bass",), ()]
    silent = [note for note in read_notes(tmp_path / "out") if note["kind"] == "silent"]
    assert silent[0]["items"] == ["f: bass"]


@pytest.mark.parametrize("harm", ["text", "empty", "cut flac", "cut wav", "nan"])
def test_a_bad_file_is_a_named_skip(stems_tree: Path, tmp_path: Path, harm: str) -> None:
    folder = stems_tree / "train" / "b"
    if harm == "text":
        (folder / "bass.wav").write_text("no audio")
    elif harm == "empty":
        (folder / "bass.wav").write_bytes(b"")
    elif harm == "cut wav":
        content = (folder / "bass.wav").read_bytes()
        (folder / "bass.wav").write_bytes(content[: len(content) // 2])
    elif harm == "nan":
        samples, rate = soundfile.read(folder / "bass.wav")
        samples[100] = np.nan
        soundfile.write(folder / "bass.wav", samples, rate, subtype="FLOAT")
    else:
        samples, rate = soundfile.read(folder / "bass.wav")
        (folder / "bass.wav").unlink()
        noise = samples + np.random.default_rng(0).normal(0, 0.01, samples.shape)
        soundfile.write(folder / "bass.flac", noise, rate)
        content = (folder / "bass.flac").read_bytes()
        (folder / "bass.flac").write_bytes(content[: len(content) // 2])
    packed = packed_tracks(stems_tree, tmp_path / "out")
    assert [item.name for item in packed.split("train")] == ["a", "c", "d"]
    skipped = [note for note in read_notes(tmp_path / "out") if note["kind"] == "skipped"]
    assert len(skipped) == 1 and skipped[0]["count"] == 1 and "b (" in skipped[0]["items"][0]


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("length", "b (bass.wav has 111999 frames, mixture.wav 112000)"),
        ("rate", "b (bass.wav has 8000 Hz, mixture.wav 16000 Hz)"),
        ("missing", "train/b (no 'bass'; "),
        ("twice", "train/b (two files for 'bass', bass.flac and bass.wav; remove one)"),
        ("empty", "train/b (no audio in it)"),
    ],
)
def test_one_odd_track_is_left_out_by_name(stems_tree: Path, harm: str, message: str) -> None:
    folder = stems_tree / "train" / "b"
    samples, rate = soundfile.read(folder / "bass.wav")
    if harm == "length":
        soundfile.write(folder / "bass.wav", samples[:-1], rate, subtype="PCM_16")
    elif harm == "rate":
        soundfile.write(folder / "bass.wav", samples, 8000, subtype="PCM_16")
    elif harm == "missing":
        (folder / "bass.wav").unlink()
    elif harm == "twice":
        soundfile.write(folder / "bass.flac", samples, rate)
    else:
        shutil.rmtree(folder)
        folder.mkdir()
    found = survey(TrackSet("stems"), {"stems": stems_tree})
    assert [item.name for item in found.items] == ["a", "c", "d", "e", "f", "g"]
    assert [note.kind for note in found.notes] == ["skipped", *(["lengths"] if harm == "length" else [])]
    assert found.notes[0].items[0].startswith(message)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        ("all", "no 'bass' in 7 of 7 tracks, such as train/a; "),
        ("no test", "no test item"),
        ("empty", "holds no train/, valid/ or test/ folder"),
        ("validation", "valid/ and validation/ are both the valid split"),
        ("dev", "dev/ may be any split; rename it to one of train/, valid/, test/"),
    ],
)
def test_a_wrong_set_is_refused(stems_tree: Path, harm: str, message: str) -> None:
    if harm == "all":
        for bass in stems_tree.glob("*/*/bass.wav"):
            bass.unlink()
    elif harm in ("validation", "dev"):
        (stems_tree / harm).mkdir()
    elif harm == "no test":
        shutil.rmtree(stems_tree / "test")
    else:
        shutil.rmtree(stems_tree)
        stems_tree.mkdir()
    with pytest.raises(ValueError, match=message):
        survey(TrackSet("stems"), {"stems": stems_tree})


def test_a_wrong_source_name_is_refused(shared_stems: Path) -> None:
    with pytest.raises(ValueError, match="no 'vocal'.*did you mean 'vocals'"):
        survey(TrackSet("stems", sources=("vocal",)), {"stems": shared_stems})
    with pytest.raises(ValueError, match="no source of the synthetic set 'vocal'; did you mean 'vocals'"):
        survey(TrackSet(sources=("vocal",)), {})


def test_roots_must_be_known(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no folder for data set 'stems': pass --data stems=PATH"):
        survey(TrackSet("stems"), {})
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        survey(TrackSet("stems"), {"stems": tmp_path / "nowhere"})


def test_set_names_and_sizes_are_checked() -> None:
    with pytest.raises(ValueError, match="no track data set 'stem'; did you mean 'stems'"):
        TrackSet("stem")
    with pytest.raises(ValueError, match="no clip data set 'clip'; did you mean 'clips'"):
        ClipSet("clip")
    with pytest.raises(ValueError, match="'size' must be at least 10"):
        TrackSet(size=3)
    with pytest.raises(ValueError, match="each once"):
        TrackSet(sources=("bass", "bass"))


# ---- clips


def test_clips_are_packed_with_labels(clips_tree: Path, tmp_path: Path) -> None:
    packed = packed_clips(clips_tree, tmp_path / "out")
    assert packed.labels == ("flute", "violin") and packed.single_label
    assert packed.truth(packed.split("valid")).tolist() == [[1, 0], [0, 1]]
    padded = [note for note in read_notes(tmp_path / "out") if note["kind"] == "padded"]
    assert padded[0]["items"] == ["train0.wav"]


def test_several_labels_make_it_a_tagging(clips_tree: Path, tmp_path: Path) -> None:
    text = (clips_tree / "clips.csv").read_text().replace("train1.wav,violin", "train1.wav,violin; flute")
    (clips_tree / "clips.csv").write_text(text)
    packed = packed_clips(clips_tree, tmp_path / "out")
    assert not packed.single_label
    assert packed.truth(packed.split("train"))[1].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("path,label,split", "file,label,split", "no column 'path'"),
        ("train0.wav,flute,train", "train0.wav,flute,trian", r"line 2: no split 'trian'; did you mean 'train'"),
        ("train0.wav,flute,train", "train0.wav,,train", "line 2: 'train0.wav' has no label"),
        ("train1.wav,violin", "train0.wav,violin", "line 3: 'train0.wav' stands already in line 2"),
        ("train1.wav,violin", "./train0.wav,violin", "line 3: 'train0.wav' stands already in line 2"),
        ("train1.wav,violin", "../x.wav,violin", "line 3: '../x.wav' is not a path below the folder"),
        ("train1.wav,violin", "/x.wav,violin", "line 3: '/x.wav' is not a path below the folder"),
        ("train1.wav,violin", ",violin", "line 3: '' is not a path below the folder"),
        ("train1.wav,violin", "train1.wav,macro", "'macro' is what the mean over labels is called"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(clips_tree: Path, old: str, new: str, message: str) -> None:
    table = clips_tree / "clips.csv"
    assert old in table.read_text()
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(ValueError, match=message):
        survey(ClipSet("clips"), {"clips": clips_tree})


def test_a_table_in_another_encoding_is_refused_by_name(clips_tree: Path) -> None:
    table = clips_tree / "clips.csv"
    table.write_bytes(table.read_text().replace("flute", "flûte").encode("latin-1"))
    with pytest.raises(ValueError, match="clips.csv: not a CSV file in UTF-8"):
        survey(ClipSet("clips"), {"clips": clips_tree})


def test_a_cut_wav_is_no_shorter_clip(clips_tree: Path) -> None:
    content = (clips_tree / "train1.wav").read_bytes()
    (clips_tree / "train1.wav").write_bytes(content[:-20_000])
    found = survey(ClipSet("clips"), {"clips": clips_tree})
    assert found.notes[0].items == ("train1.wav (holds less audio than its header says (truncated))",)


def test_missing_and_unreadable_clips_are_named(clips_tree: Path) -> None:
    (clips_tree / "train2.wav").unlink()
    (clips_tree / "train3.wav").write_text("text")
    soundfile.write(clips_tree / "test0.wav", np.zeros(0), 16_000)
    found = survey(ClipSet("clips"), {"clips": clips_tree})
    assert [item.split("(")[0].strip() for item in found.notes[0].items] == ["train2.wav", "train3.wav", "test0.wav"]
    assert len(found.items) == 6


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no clips.csv in"):
        survey(ClipSet("clips"), {"clips": tmp_path})


# ---- fingerprints


# ---- real music


def test_real_stems(shared_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "songs"
    for song in ("Sodium", "Hydrogen"):  # ten of their sixty seconds
        (root / "train" / song).mkdir(parents=True)
        for path in (shared_data / "everything_is_free" / "train" / song).glob("*.flac"):
            samples, rate = soundfile.read(path, frames=441_000, dtype="int16")
            soundfile.write(root / "train" / song / path.name, samples, rate)
    (root / "test").mkdir()
    (root / "test" / "Rubidium").symlink_to(shared_data / "everything_is_free" / "test" / "Rubidium")
    packed = packed_tracks(root, tmp_path / "out")
    rubidium = packed.split("test")[0]
    assert rubidium.silent == ("bass",) and rubidium.length == 160_000
    stems = sum(packed.read(rubidium, source) for source in packed.rows[1:])
    np.testing.assert_allclose(stems, packed.read(rubidium), atol=3 / 32767)


def test_real_clips(shared_data: Path) -> None:
    found = survey(ClipSet("clips"), {"clips": shared_data / "medley_solos"})
    assert len(found.items) == 80 and len(found.labels) == 8 and found.single_label and not found.notes
    with open(shared_data / "medley_solos" / "clips.csv", newline="") as file:
        assert {row["label"] for row in csv.DictReader(file)} == set(found.labels)


def test_musdb_excerpt_is_read(shared_data: Path, tmp_path: Path) -> None:
    root = tmp_path / "musdb"
    track = shared_data / "musdb18_excerpt" / "hq_train" / "Music Delta - 80s Rock"
    for place in ("train/x", "train/y", "test/z"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).symlink_to(track)
    packed = packed_tracks(root, tmp_path / "out")
    item = packed.items[0]
    stems = sum(packed.read(item, source) for source in packed.rows[1:])
    error = 10 * np.log10((packed.read(item) ** 2).sum() / ((packed.read(item) - stems) ** 2).sum())
    assert 25 < error < 40  # mastered: the mixture is not the sum


def test_write_clips_helper_covers_every_split(tmp_path: Path) -> None:
    root = write_clips(
        tmp_path / "c", [("a.wav", "x", "train", 1.0), ("b.wav", "y", "test", 1.0), ("c.wav", "x", "train", 1.0)]
    )
    found = survey(ClipSet("clips"), {"clips": root})
    assert sorted(item.split for item in found.items) == ["test", "train", "valid"]
