"""MoisesDB in its published layout: four stems of eleven, files of several lengths, a split without an artist twice."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mss_core.data.config import TrackSet
from mss_core.data.files import facts
from mss_core.data.items import Survey
from mss_core.data.loaders.moisesdb import STEMS, published
from mss_core.data.sets import survey
from tests.data import trees

FOUR = ("vocals", "drums", "bass", "other")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trees.moisesdb(tmp_path_factory.mktemp("shared") / "moisesdb")


@pytest.fixture
def root(shared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared, tmp_path / "moisesdb"))


def read(root: Path, **choices: object) -> Survey:
    return survey(TrackSet("moisesdb", **choices), {"moisesdb": root})  # type: ignore[arg-type]


def song(root: Path, fold: str, index: int) -> Path:
    return root / "moisesdb_v0.1" / facts()["moisesdb"]["folds"][fold][index]


def relabel(folder: Path, artist: str) -> None:
    about = json.loads((folder / "data.json").read_text())
    (folder / "data.json").write_text(json.dumps({**about, "artist": artist}))


def test_the_pinned_split_is_the_published_one() -> None:
    folds = facts()["moisesdb"]["folds"]
    assert [len(songs) for songs in folds.values()] == [48] * 5 and len(published()) == 240
    counts = {split: sum(of == split for of in published().values()) for split in ("train", "valid", "test")}
    assert counts == {"train": 144, "valid": 48, "test": 48}
    assert folds["1"][0] == "014f3712-293b-42af-9f29-0ed1785be792"  # the first line of splits.csv


def test_eleven_stems_are_reduced_to_four(shared: Path) -> None:
    found = read(shared)
    item = next(item for item in found.items if item.name == song(shared, "1", 0).name)
    sound = item.read()
    folder = song(shared, "1", 0)

    def files(*stems: str) -> np.ndarray:
        paths = [path for stem in stems for path in sorted((folder / stem).glob("*.wav"))]
        return sum(soundfile.read(path, dtype="float32")[0].T for path in paths)

    np.testing.assert_allclose(sound.rows["vocals"], files("vocals"), atol=1e-6)
    np.testing.assert_allclose(sound.rows["other"], files("guitar", "wind"), atol=1e-6)
    np.testing.assert_allclose(sound.rows["mixture"], files(*trees.MOISES), atol=1e-6)
    np.testing.assert_allclose(sum(sound.rows[row] for row in FOUR), sound.rows["mixture"], atol=1e-5)
    six = next(item for item in read(shared, sources=(*FOUR, "guitar", "piano")).items if item.name == folder.name)
    rows = six.read().rows
    np.testing.assert_allclose(rows["other"], files("wind"), atol=1e-6)
    assert not rows["piano"].any()
    one = next(item for item in read(shared, sources=("bass",)).items if item.name == folder.name)
    np.testing.assert_allclose(one.read().rows["mixture"], files(*trees.MOISES), atol=1e-6)


def test_files_of_another_length_are_cut_and_named(root: Path) -> None:
    found = read(root)
    (note,) = (note for note in found.notes if note.kind == "cut")
    assert len(note.items) == 5 and note.items[0].endswith(f"({32_000 - 37} of 32000 frames)")
    item = next(item for item in found.items if item.name == song(root, "5", 1).name)
    assert {waveform.shape[1] for waveform in item.read().rows.values()} == {32_000 - 37}
    short = next((song(root, "1", 0) / "drums").glob("*.wav"))
    samples, rate = soundfile.read(short)
    soundfile.write(short, samples[:9000], rate)
    (skipped,) = (note for note in read(root).notes if note.kind == "skipped")
    assert skipped.items[0].startswith(f"{song(root, '1', 0).name} (") and "9000" in skipped.items[0]


def test_no_artist_is_on_two_sides(root: Path) -> None:
    for fold, index in (("1", 0), ("1", 1), ("2", 0), ("5", 0)):
        relabel(song(root, fold, index), "The Same")
    splits = {item.name: item.split for item in read(root).items}
    assert splits[song(root, "5", 0).name] == "train"
    assert not [note for note in read(root).notes if note.kind == "leak"]
    found = read(root, split="banquet")
    assert {item.name: item.split for item in found.items} == {name: published()[name] for name in splits}
    (note,) = (note for note in found.notes if note.kind == "leak")
    assert note.items == ("The Same (train, test)",)


def test_damage_is_named(root: Path) -> None:
    first, second = song(root, "1", 0), song(root, "2", 0)
    (first / "data.json").write_text('{"song": "x"}')
    next((second / "bass").glob("*.wav")).unlink()
    shutil.copytree(song(root, "3", 0), root / "moisesdb_v0.1" / "not-of-the-set")
    (root / "__MACOSX").mkdir()
    told = " | ".join(item for note in read(root).notes if note.kind == "skipped" for item in note.items)
    assert f"{first.name} (data.json names no stems)" in told
    assert f"{second.name} (" in told and ".wav: missing)" in told
    assert "not-of-the-set (no song of the published list of 240)" in told
    with pytest.raises(ValueError, match="no source of moisesdb 'strings'; did you mean 'bowed_strings'"):
        read(root, sources=("strings",))
    with pytest.raises(ValueError, match="'moisesdb': no folder with a data.json in"):
        read(root / "__MACOSX")
    assert len(STEMS) == 11
