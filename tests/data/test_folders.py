"""Folders as users have them: litter, links, suffixes and accents of other systems change nothing of a set."""

from __future__ import annotations

import math
import os
import shutil
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mss_core.data.__main__ import main
from mss_core.data.config import ClipSet, TrackSet
from mss_core.data.fingerprints import Fingerprints, fingerprint
from mss_core.data.items import Survey
from mss_core.data.sets import survey
from mss_core.folders import stems_in, walk
from tests.conftest import write_clips, write_track
from tests.data import trees

LITTER = ("__MACOSX", "@eaDir", ".ipynb_checkpoints", "Thumbs.db", "desktop.ini", ".DS_Store", ".AppleDouble")


def content(found: Survey, root: Path) -> str:
    """The fingerprint of what is read, without what is told of what is not."""
    notes = tuple(note for note in found.notes if note.kind != "skipped")
    return fingerprint(replace(found, notes=notes), root, Fingerprints(None))


def tidy(root: Path) -> Path:
    for seed, place in enumerate(("train/a é", "train/b", "train/c", "valid/...And d", "test/e")):
        write_track(root / place, seconds=0.3, rate=8000, seed=seed)
    return root


def litter(folder: Path, rng: np.random.Generator) -> None:
    """Left-overs with the content of good files, so that reading one would be seen."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.is_symlink()]
    for name in rng.choice(LITTER, 3, replace=False):
        if (folder / name).exists():
            continue
        if "." in name[1:]:
            (folder / name).write_bytes(b"x")
        else:
            (folder / name / "track").mkdir(parents=True)
            write_track(folder / name / "track", seconds=0.1, rate=8000)
            write_track(folder / name, seconds=0.1, rate=8000)
    for path in files:
        (folder / f"._{path.name}").write_bytes(b"Mac OS X        ")


@pytest.mark.parametrize("seed", range(3))
def test_litter_links_and_spelling_change_nothing_and_one_bad_item_is_named(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    clean, root = tidy(tmp_path / "clean"), tidy(tmp_path / "dirty")
    shutil.rmtree(clean / "train" / "b")
    bass = root / "train" / "b" / "bass.wav"
    samples, rate = soundfile.read(bass)
    soundfile.write(bass, samples[: -1 - seed], rate)
    for folder in [root, *walk_folders(root)]:
        litter(folder, rng)
    for path in list(root.glob("*/*/*.wav")):
        if rng.random() < 0.5 and not path.name.startswith("."):
            path.rename(path.with_suffix(".WAV"))
    away = tmp_path / "elsewhere"
    (root / "train" / "c").rename(away)
    (root / "train" / "c").symlink_to(away)
    (root / "train" / "loop").symlink_to(root)
    (root / "train" / unicodedata.normalize("NFC", "a é")).rename(root / "train" / unicodedata.normalize("NFD", "a é"))
    found = survey(TrackSet("stems"), {"stems": root})
    named = sorted(item.lower() for note in found.notes if note.kind == "skipped" for item in note.items)
    assert [note.items for note in found.notes if note.kind == "lengths"] == [
        (f"b ({math.ceil(12.5 * (1 + seed)) / 100:g} ms)",)
    ]
    assert named == [f"b (bass.wav has {2399 - seed} frames, mixture.wav 2400)", "train/loop (no audio in it)"]
    assert content(found, root) == content(survey(TrackSet("stems"), {"stems": clean}), clean)


def walk_folders(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_dir()]


@pytest.mark.parametrize(
    ("config", "tree"),
    [
        (TrackSet("musdb18hq"), trees.musdb18hq),
        (TrackSet("slakh2100", ("bass",)), trees.slakh2100),
        (TrackSet("ms21", ("bass",)), trees.ms21),
        (TrackSet("mm", ("bass",)), trees.mm),
        (ClipSet("irmas"), trees.irmas),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_litter_in_every_published_layout(tmp_path: Path, config: TrackSet, tree: Callable[[Path], Path]) -> None:
    """AppleDouble files, __MACOSX, a server's and an editor's folders beside the music."""
    root = tree(tmp_path / "set")
    before = survey(config, {config.name: root})
    for folder in [root, *walk_folders(root)]:
        litter(folder, np.random.default_rng(0))
    after = survey(config, {config.name: root})
    assert after.notes == before.notes and content(after, root) == content(before, root)


def test_a_folder_linked_into_itself_is_listed_once(tmp_path: Path) -> None:
    write_track(tmp_path / "a", seconds=0.1, rate=8000, sources=("bass",))
    (tmp_path / "a" / "again").symlink_to(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "a")
    names = [path.relative_to(tmp_path).as_posix() for path in walk(tmp_path, ".wav")]
    assert names == ["a/bass.wav", "a/mixture.wav", "linked/bass.wav", "linked/mixture.wav"]


def test_two_files_of_one_stem_are_named(tmp_path: Path) -> None:
    (tmp_path / "bass.wav").touch()
    (tmp_path / "bass.MP3").touch()
    with pytest.raises(ValueError, match=r"two files for 'bass', bass\.MP3 and bass\.wav"):
        stems_in(tmp_path)


@pytest.mark.parametrize("name", ["validation", "val", "Valid", "VALIDATION"])
def test_a_validation_folder_is_the_validation_split(tmp_path: Path, name: str) -> None:
    """A folder validation/ was passed over, and training songs were held out in its place."""
    root = tidy(tmp_path)
    (root / "valid").rename(root / name)
    found = survey(TrackSet("stems"), {"stems": root})
    assert [item.split for item in found.items] == ["train", "train", "train", "valid", "test"] and not found.notes


def test_an_unknown_folder_with_audio_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = tidy(tmp_path)
    before = content(survey(TrackSet("stems"), {"stems": root}), root)
    (root / "docs").mkdir()
    write_track(root / "vlaid" / "x", seconds=0.1)
    found = survey(TrackSet("stems"), {"stems": root})
    assert [note.items for note in found.notes] == [("vlaid/ (did you mean 'valid'?)",)]
    assert content(found, root) == before
    assert main(["check", "stems", str(root), "--quick"]) == 1
    assert (
        "warning: vlaid/ (did you mean 'valid'?): a folder with audio in it that is no split" in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "spelled", [r"sub\é.wav", unicodedata.normalize("NFD", "sub/é.wav"), "Sub/é.WAV", "sub/./é.wav"]
)
def test_paths_of_other_systems_are_found(tmp_path: Path, spelled: str) -> None:
    (tmp_path / "sub").mkdir()
    rows = [("sub/é.wav", "x", "train", 0.3), ("b.wav", "y", "train", 0.3), ("c.wav", "x", "test", 0.3)]
    write_clips(tmp_path, rows, 8000)
    table = (tmp_path / "clips.csv").read_text(encoding="utf-8")
    (tmp_path / "clips.csv").write_text(table.replace("sub/é.wav", spelled), encoding="utf-8")
    found = survey(ClipSet("clips", valid_share=0.5), {"clips": tmp_path})
    assert len(found.items) == 3 and found.items[0].files[0].samefile(tmp_path / "sub" / "é.wav")
    assert not [note for note in found.notes if note.kind == "skipped"]


def test_the_first_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_text("path,label,split\na/x.wav,rock,train\nb.wav,pop,test\n")
    with pytest.raises(ValueError, match=r"none of its 2 clips can be read; the first: .*a/x.wav \(missing\)"):
        survey(ClipSet("clips"), {"clips": tmp_path})


@pytest.mark.parametrize(
    "name", ["#snapshot", "@Recycle", "~snapshot", "__pycache__", "RECYCLER", "Temporary Items", "FOUND.000", "@tmp"]
)
def test_what_servers_and_disks_leave_is_no_track(tmp_path: Path, name: str) -> None:
    root = tidy(tmp_path)
    before = content(survey(TrackSet("stems"), {"stems": root}), root)
    shutil.copytree(root / "train" / "b", root / "train" / name)
    assert content(survey(TrackSet("stems"), {"stems": root}), root) == before


def wrapped(root: Path) -> Path:
    shutil.move(root / "set", root / "wrap" / "MUSDB18")
    return root / "wrap"


def moved(root: Path, name: str) -> Path:
    for path in list((root / "set").glob("*/*/*.wav")):
        (path.parent / name).mkdir(exist_ok=True)
        path.rename(path.parent / name / path.name)
    return root / "set"


def renamed(root: Path, *names: str) -> Path:
    for path, name in zip(("train", "valid", "test"), names, strict=True):
        (root / "set" / path).rename(root / "set" / name)
    return root / "set"


def converted(root: Path) -> Path:
    for path in (root / "set").glob("*/*/*.wav"):
        path.rename(path.with_suffix(".aiff"))
    return root / "set"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (wrapped, "in it; .*wrap/MUSDB18 does: name that folder"),
        (lambda root: root / "set" / "train", "in it; .*set does: name that folder"),
        (lambda root: renamed(root, "tr", "cv", "tt"), "there are cv/, tr/, tt/: call them train/, valid/ and test/"),
        (lambda root: moved(root, "stems"), "holds stems/: put the stems themselves into the track's folder"),
        (converted, "no .wav, .flac, .ogg, .mp3 in any of its 5 track folders; .* holds bass.aiff, .*: convert them"),
    ],
)
def test_a_set_that_lies_otherwise_is_told_how(tmp_path: Path, change: Callable[[Path], Path], told: str) -> None:
    tidy(tmp_path / "set")
    (tmp_path / "wrap").mkdir()
    with pytest.raises(ValueError, match=told):
        survey(TrackSet("stems"), {"stems": change(tmp_path)})


def test_two_folders_of_one_name_are_one_song(tmp_path: Path) -> None:
    """A disk keeps both forms of an accent apart, and a report could not."""
    root = tidy(tmp_path)
    shutil.copytree(root / "train" / "b", root / "train" / unicodedata.normalize("NFD", "a é"))
    (note,) = survey(TrackSet("stems"), {"stems": root}).notes
    assert note.items == ("train/a é (two folders of one name; rename one)",)


def test_a_name_that_is_no_utf_8_is_read_and_written_out(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = tidy(tmp_path)
    (root / "train" / "b").rename(os.fsdecode(os.fsencode(root / "train") + b"/caf\xe9"))
    found = survey(TrackSet("stems"), {"stems": root})
    item = next(item for item in found.items if item.name.startswith("caf"))
    assert item.name == r"caf\udce9" and item.read().rows["bass"].shape == (2, 2400)
    assert main(["check", "stems", str(root)]) == 0 and r"caf\udce9" in capsys.readouterr().out


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink(path.name, path), Path.mkdir])
def test_what_is_no_file_costs_its_song(tmp_path: Path, make: Callable[[Path], None]) -> None:
    root = tidy(tmp_path)
    (root / "train" / "b" / "bass.wav").unlink()
    make(root / "train" / "b" / "bass.wav")
    found = survey(TrackSet("stems"), {"stems": root})
    (note,) = found.notes
    assert note.kind == "skipped" and note.items[0].split(" ")[0] in ("b", "train/b") and len(found.items) == 4
