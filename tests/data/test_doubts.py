"""What is known of a data set before training is said before training."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mss_core.data.__main__ import lines
from mss_core.data.check import check, configure
from mss_core.data.config import ClipSet, TrackSet
from mss_core.data.doubts import cautions, require_labels, spelling
from mss_core.data.fingerprints import Fingerprints
from mss_core.data.items import Item, hold_out
from mss_core.data.sets import Survey, survey
from mss_core.study.binding import Binder
from tests.conftest import write_track

RATE = 8000


def clip_set(root: Path, rows: list[tuple[str, str]], same: tuple[int, int] | None = None) -> Path:
    """Short clips of (labels, split); two of them may hold the same audio."""
    root.mkdir()
    rng = np.random.default_rng(0)
    for index in range(len(rows)):
        soundfile.write(root / f"{index}.wav", rng.uniform(-0.5, 0.5, 800), RATE)
    if same:
        (root / f"{same[1]}.wav").write_bytes((root / f"{same[0]}.wav").read_bytes())
    with open(root / "clips.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "split"), *((f"{i}.wav", *row) for i, row in enumerate(rows))])
    return root


def told(root: Path, name: str = "clips") -> list[str]:
    config = ClipSet(name) if name == "clips" else TrackSet(name)
    return cautions(name, survey(config, {name: root}), Fingerprints(None).of)


PLAIN = [("a", "train"), ("b", "train"), ("a", "valid"), ("b", "valid"), ("a", "test"), ("b", "test")]


def test_labels_that_a_split_lacks_or_always_has_are_named(tmp_path: Path) -> None:
    assert told(clip_set(tmp_path / "plain", PLAIN)) == []
    rows = [("a;all", "train"), ("b;all", "train"), ("a;c", "valid"), ("a;all", "test"), ("b;all", "test")]
    assert told(clip_set(tmp_path / "x", rows)) == [
        "data set clips: labels of no train item: never learned: c",
        "data set clips: labels of every train item: nothing to tell apart: all",
        "data set clips: labels of no valid item: no part in what is kept: all, b",
        "data set clips: labels of every valid item: no part in what is kept: a, c",
        "data set clips: labels of no test item: no score: c",
        "data set clips: labels of every test item: no score: all",
    ]


@pytest.mark.parametrize(("split", "done"), [("train", "learned"), ("test", "scored")])
def test_a_split_of_one_class_is_refused_before_training(tmp_path: Path, split: str, done: str) -> None:
    """A test split of one class was known to have no score after everything had been trained."""
    root = clip_set(tmp_path / "x", [("a" if of == split else label, of) for label, of in PLAIN])
    with pytest.raises(
        ValueError, match=f"data set 'clips': none of its 2 labels can be {done}, as the 2 {split} items"
    ):
        Binder({"clips": root}, tmp_path / "store")(ClipSet("clips"))
    report = check(ClipSet("clips"), root)
    assert report.code == 3 and f"none of its 2 labels can be {done}" in report.errors[0]
    with pytest.raises(ValueError, match="a in 2, b in 0"):
        require_labels("clips", survey(ClipSet("clips"), {"clips": root}).items, ("a", "b"))


def test_the_same_audio_under_two_labels_is_named(tmp_path: Path) -> None:
    root = clip_set(tmp_path / "x", PLAIN, same=(0, 1))
    same = "0.wav (train: a) and 1.wav (train: b)"
    assert told(root) == [f"data set clips: the same audio in more than one split, or under other labels: {same}"]
    assert f"{same}: the same audio" in check(ClipSet("clips"), root).warnings
    said: list[str] = []
    Binder({"clips": root}, tmp_path / "store", say=said.append)(ClipSet("clips"))
    assert said == [f"caution: {told(root)[0]}"]
    assert told(clip_set(tmp_path / "y", PLAIN, same=(0, 4)))[0].endswith("0.wav (train) and 4.wav (test)")


@pytest.mark.parametrize("label", ["rock,pop", "rock|pop", "['rock', 'pop']"])
def test_labels_that_look_joined_are_named(label: str) -> None:
    (note,) = spelling([label, "pop", "rock"])
    assert note.text == "looks like several labels; separate them with ;" and note.items == (repr(label),)


@pytest.mark.parametrize("other", ["ROCK", "rock ", "Ro ck", "ro-ck"])
def test_labels_that_differ_by_spelling_are_named(other: str) -> None:
    (note,) = spelling(["rock", other])
    assert "differ by case, blanks or hyphens" in note.text


def silence(root: Path, place: str, source: str) -> None:
    samples, rate = soundfile.read(root / place / f"{source}.wav")
    soundfile.write(root / place / f"{source}.wav", 0 * samples, rate)


def tracks(root: Path, *places: str) -> Path:
    for seed, place in enumerate(places):
        write_track(root / place, seconds=0.3, rate=RATE, seed=seed)
    return root


def test_a_source_silent_in_all_of_a_split_is_named(tmp_path: Path) -> None:
    root = tracks(tmp_path / "s", "train/a", "valid/b", "test/c", "test/d")
    silence(root, "valid/b", "bass")
    silence(root, "test/c", "drums")
    assert told(root, "stems") == [
        "data set stems: sources silent in every valid item: no loss of theirs selects what is kept: bass"
    ]
    silence(root, "test/d", "drums")
    assert told(root, "stems")[1] == "data set stems: sources silent in every test item: no score: drums"
    assert (
        "bass: sources silent in every valid item: no loss of theirs selects what is kept"
        in check(configure("stems", root), root).warnings
    )


@pytest.mark.parametrize("seed", range(3))
def test_hold_out_takes_tracks_in_which_all_sources_sound(tmp_path: Path, seed: int) -> None:
    root = tracks(tmp_path / "s", *(f"train/{name}" for name in "abcde"), "test/x")
    for name in "abc":
        silence(root, f"train/{name}", "bass")
    found = survey(TrackSet("stems", split_seed=seed, valid_share=0.2), {"stems": root})
    held = [item.name for item in found.items if item.split == "valid"]
    assert len(held) == 1 and held[0] in "de" and told(root, "stems") == []


def items(labels: list[str]) -> list[Item]:
    return [Item(f"{i:02}", "train", lambda: None, (label,)) for i, label in enumerate(labels)]  # type: ignore[arg-type,return-value]


@pytest.mark.parametrize("seed", range(5))
def test_hold_out_takes_of_each_label(seed: int) -> None:
    """Property: each label of two items or more is on both sides, where there is room; what was drawn before is kept
    where it did that already."""
    clips = items(["a"] * 12 + ["b"] * 3 + ["c"] * 2 + ["d"])
    held, (note,) = hold_out(clips, 0.25, seed, "x", things="abcd")
    for label in "abc":
        assert {item.split for item in held if item.labels == (label,)} == {"train", "valid"}
    assert len(note.items) == 4
    plain, _ = hold_out(clips, 0.25, seed, "x", things="a")
    assert plain == hold_out(clips, 0.25, seed, "x")[0]


def test_check_shows_levels_and_what_is_above_full_scale(tmp_path: Path) -> None:
    """Float stems above full scale, of which nothing was said before packing."""
    root = tracks(tmp_path / "s", "train/a", "valid/b", "test/c")
    time = np.arange(4 * RATE) / RATE
    sine = np.sin(2 * np.pi * 440 * time)
    rows = {"vocals": 2 * sine, "drums": 0.1 * sine * (time < 1), "bass": 1e-4 * sine, "other": 0 * sine}
    for row, samples in {**rows, "mixture": sum(rows.values())}.items():
        soundfile.write(root / "train" / "a" / f"{row}.wav", samples, RATE, subtype="FLOAT")
    report = check(configure("stems", root), root)
    assert report.levels["a"] == {
        "vocals": {"rms_db": pytest.approx(3.0, abs=0.1), "active": 1.0},
        "drums": {"rms_db": pytest.approx(-29.0, abs=0.1), "active": 0.25},
        "bass": {"rms_db": pytest.approx(-83.0, abs=0.1), "active": 0.0},
        "other": {"rms_db": -120.0, "active": 0.0},
    }
    warned = [text for text in report.warnings if text.startswith("a: ")]
    assert any(text.startswith("a: vocals is above full scale (") and "peak +6.0 dB" in text for text in warned)
    assert any(text.startswith("a: bass sounds below -75 dB only") for text in warned)
    text = "\n".join(lines(report))
    assert "a: bass -83.0 dB 0 %, drums -29.0 dB 25 %, other silent, vocals 3.0 dB 100 %" in text


def test_labels_that_only_reading_tells_are_no_matter() -> None:
    require_labels("x", [Item("a", "test", lambda: None)], ("a", "b"))  # type: ignore[arg-type,return-value]
    assert not cautions("x", Survey((), labels=("a",)), str)
