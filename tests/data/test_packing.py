"""Packing: equal to decoding, resumable, indifferent to workers."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mss_core import audio
from mss_core.artefact import read_notes
from mss_core.bad_file import BadFile
from mss_core.claim import ClaimLost
from mss_core.data import packing as module
from mss_core.data.packed import Packed
from mss_core.data.packing import pack
from mss_core.data.sets import ClipSet, Item, Sound, Survey, TrackSet, survey
from mss_core.graph import Context, Stage, read_history
from mss_core.stages.prepare import prepare_tracks
from mss_core.store import Store, materialize
from tests.conftest import write_track
from tests.data import trees

ROWS = ("mixture", "vocals", "drums", "bass", "other")


def build(found: Survey, out: Path, workers: int = 1, rows: tuple[str, ...] = ROWS, **context) -> Packed:
    out.mkdir(exist_ok=True)
    pack(found, rows, 16_000, 1000, out, Context(out=out, **context), workers)
    return Packed(out)


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".i16", ".json")}


def found_in(root: Path) -> Survey:
    return survey(TrackSet("stems"), {"stems": root})


def test_workers_do_not_change_a_byte(shared_stems: Path, tmp_path: Path) -> None:
    build(found_in(shared_stems), tmp_path / "one", 1)
    build(found_in(shared_stems), tmp_path / "three", 3)
    assert files(tmp_path / "one") == files(tmp_path / "three")


@pytest.mark.parametrize("torn", [False, True])
def test_an_interrupted_build_goes_on(shared_stems: Path, tmp_path: Path, torn: bool) -> None:
    found = found_in(shared_stems)
    build(found, tmp_path / "whole")
    decoded: list[str] = []

    def noting(item: Item, fail_at: str) -> Item:
        def read() -> Sound:
            if item.name == fail_at:
                raise KeyboardInterrupt
            decoded.append(item.name)
            return item.read()

        return replace(item, read=read)

    out = tmp_path / "parts"
    with pytest.raises(KeyboardInterrupt):
        build(replace(found, items=tuple(noting(item, "d") for item in found.items)), out)
    assert decoded == ["a", "b", "c"]
    if torn:  # the machine stopped: half a line in the journal, samples of "c" lost, of nothing written twice
        (journal,), (bass,) = (out / ".work").glob("packed.*.jsonl"), (out / ".work").glob("bass.*.i16")
        with open(journal, "a") as file:
            file.write('{"name": "d", "le')
        with open(bass, "ab") as file:
            file.truncate(file.tell() - 6)
    decoded.clear()
    build(replace(found, items=tuple(noting(item, "") for item in found.items)), out)
    assert decoded == (["c"] if torn else []) + ["d", "e", "f", "g"]
    assert files(out) == files(tmp_path / "whole")


def test_a_journal_of_another_task_is_not_used(shared_stems: Path, tmp_path: Path) -> None:
    found = found_in(shared_stems)
    out = tmp_path / "out"
    build(replace(found, items=found.items[:0:-1]), out)
    again = build(found, out)
    build(found, tmp_path / "fresh")
    assert [item.name for item in again.items] == list("abcdefg") and files(out) == files(tmp_path / "fresh")


def noise(count: int) -> Survey:
    """Items of different lengths and contents."""

    def read(index: int) -> Sound:
        samples = 0.1 * np.random.default_rng(index).standard_normal((1, 400 + 100 * index))
        return Sound({"mixture": samples.astype(np.float32)}, 16_000)

    return Survey(tuple(Item(f"clip {i}", "train", partial(read, i), ("x",)) for i in range(count)), labels=("x",))


@pytest.mark.parametrize(("paused", "woken"), [(k, j) for k in range(1, 5) for j in range(k, 5)])
def test_a_worker_paused_before_its_write_reaches_no_file_of_its_successor(
    tmp_path: Path, paused: int, woken: int
) -> None:
    """One worker sleeps between its guard and its write of an item; another takes the folder over and has it woken when
    it is itself about to write a later item."""
    found, asleep, go = noise(4), threading.Event(), threading.Event()
    late, new = tmp_path / "late.partial", tmp_path / "new.partial"

    def first() -> None:
        if next(looks) == paused:
            asleep.set()
            assert go.wait(10)
        elif new.exists():
            raise ClaimLost

    def second() -> None:
        if next(items) == woken:
            go.set()
            thread.join(10)

    def work() -> None:
        with contextlib.suppress(ClaimLost, FileNotFoundError):
            build(found, late, rows=("mixture",), claim=SimpleNamespace(check=first))

    looks, items = itertools.count(1), itertools.count(paused)
    thread = threading.Thread(target=work)
    thread.start()
    assert asleep.wait(10)
    late.rename(new)
    build(found, new, rows=("mixture",), claim=SimpleNamespace(check=second))
    assert not thread.is_alive() and not late.exists()
    build(found, tmp_path / "whole", rows=("mixture",))
    assert files(new) == files(tmp_path / "whole")


@pytest.mark.parametrize("finished", [False, True])
def test_samples_that_the_disk_lost_are_noticed_and_decoded_again(tmp_path: Path, finished: bool) -> None:
    """In an interrupted build the next attempt notices it; in one that gets to its end, that attempt fails."""
    looks = itertools.count(1)

    def check() -> None:
        if next(looks) == 5:  # before the third item is written; a report looks too
            (piece,) = (tmp_path / "out" / ".work").glob("mixture.*.i16")
            with open(piece, "r+b") as file:
                file.seek(2 * 450)  # in the second item
                file.write(bytes(100))
            if not finished:
                raise ClaimLost

    with pytest.raises(OSError if finished else ClaimLost, match="clip 1: the samples on disk" if finished else None):
        build(noise(4), tmp_path / "out", rows=("mixture",), claim=SimpleNamespace(check=check))
    build(noise(4), tmp_path / "out", rows=("mixture",))
    build(noise(4), tmp_path / "whole", rows=("mixture",))
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_crashed_stage_resumes_in_the_store(shared_stems: Path, tmp_path: Path, monkeypatch) -> None:
    stage = Stage(prepare_tracks, data=TrackSet("stems"), segment=1000)
    context = Context(data={"stems": shared_stems})
    decode, count = module._decode, []

    def failing(item, **arguments):
        count.append(item.name)
        if len(count) == 4:
            raise OSError("disk full")
        return decode(item, **arguments)

    monkeypatch.setattr(module, "_decode", failing)
    monkeypatch.setattr(module, "cores", lambda: 1)
    store = Store(tmp_path / "store")
    with pytest.raises(Exception, match="disk full"):
        materialize(stage, store, context)
    directory = materialize(stage, store, context)
    assert count == ["a", "b", "c", "d", "d", "e", "f", "g"]
    assert read_history(directory)[-1] == {"step": 7, "total": 7} and not (directory / ".work").exists()


def test_segments_equal_the_whole_file_decode(tmp_path: Path) -> None:
    root = tmp_path / "stems"
    for index, place in enumerate(("train/a", "train/b", "test/c")):
        write_track(root / place, seconds=3.0, rate=44_100, seed=index)
    opened = build(found_in(root), tmp_path / "out")
    for item in opened.items:
        samples, rate = audio.load(root / ("train" if item.split == "valid" else item.split) / item.name / "bass.wav")
        whole = audio.resample(samples, rate, 16_000).mean(0)
        got = opened.read(item, "bass", 5000, 20_000)
        np.testing.assert_allclose(got, whole[5000:25_000], rtol=0, atol=0.51 / 32767)


@pytest.mark.parametrize("peak", [1e-3, 1.0, 1.5, 40.0])
def test_nothing_is_clipped_and_quiet_rows_keep_their_detail(tmp_path: Path, peak: float) -> None:
    """Whatever its level, a row differs from what was read by half a step of 16 bits at its own peak."""
    noise = np.random.default_rng(0).standard_normal((1, 4000))
    wave = (peak * noise / np.abs(noise).max()).astype(np.float32)
    items = tuple(Item(name, name, lambda: Sound({"mixture": wave}, 16_000)) for name in ("train", "valid", "test"))
    opened = build(Survey(items), tmp_path / "out", rows=("mixture",))
    np.testing.assert_allclose(opened.read(opened.items[1]), wave[0], rtol=0, atol=0.501 * peak / 32767)
    assert all(note["kind"] == "leak" for note in read_notes(tmp_path / "out"))


def test_an_exception_that_is_not_the_files_ends_the_stage(tmp_path: Path) -> None:
    """A sum of unequal shapes is numpy's ValueError and a fault of ours; only BadFile is a counted skip."""

    def ours() -> Sound:
        return Sound({"mixture": np.zeros((2, 5)) + np.zeros((2, 4))}, 16_000)

    def theirs() -> Sound:
        raise BadFile("x.wav: cut off")

    good = noise(2).items
    build(Survey((*good, Item("bad", "train", theirs))), tmp_path / "out", rows=("mixture",))
    assert read_notes(tmp_path / "out")[0]["items"] == ["bad (cut off)"]
    with pytest.raises(ValueError, match="could not be broadcast"):
        build(Survey((*good, Item("bad", "train", ours))), tmp_path / "other", rows=("mixture",))


def test_items_unlike_the_others_and_truncated_ones_are_counted(tmp_path: Path) -> None:
    def item(name: str, channels: int = 2, rate: int = 16_000, seconds: float = 0.0) -> Item:
        noise = np.random.default_rng(0).normal(0, 0.1, (channels, 8000)).astype(np.float32)
        return Item(name, "train", lambda: Sound({"mixture": noise}, rate), seconds=seconds)

    items = (item("a"), item("b"), item("mono", 1), item("slow", rate=11_025), item("cut", seconds=1.0))
    build(Survey(items), tmp_path / "out", rows=("mixture",))
    notes = {note["kind"]: note["items"] for note in read_notes(tmp_path / "out")}
    assert notes["odd"] == ["mono: 1 channels, 16000 Hz", "slow: 2 channels, 11025 Hz"]
    assert notes["skipped"] == ["cut (stops after 0.5 of 1 s (truncated))"]


def test_the_same_audio_in_two_splits_and_a_mono_stem_are_counted(tmp_path: Path) -> None:
    def item(name: str, split: str, seed: int, channels: int = 2) -> Item:
        noise = np.random.default_rng(seed).normal(0, 0.1, (2, 800)).astype(np.float32)
        return Item(name, split, lambda: Sound({"mixture": noise, "a": noise[:channels], "b": 0 * noise[:1]}, 16_000))

    items = (item("x", "train", 0), item("y", "train", 0), item("z", "test", 0), item("w", "valid", 1, channels=1))
    build(Survey(items), tmp_path / "out", rows=("mixture", "a", "b"))
    notes = {note["kind"]: note["items"] for note in read_notes(tmp_path / "out")}
    assert notes["leak"] == ["x (train) and y (train) and z (test)"]
    assert notes["odd"] == ["w: a has 1 channel(s), the mixture 2"]


def test_half_an_mp3_is_a_counted_skip_in_training(tmp_path: Path) -> None:
    root = trees.jamendo(tmp_path / "j")
    path = root / "audio" / "02" / "102.mp3"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = survey(ClipSet("mtg_jamendo", labels="top50"), {"mtg_jamendo": root})
    opened = build(found, tmp_path / "out", rows=("mixture",))
    assert len(opened.items) == 5
    skipped = [item for note in read_notes(tmp_path / "out") if note["kind"] == "skipped" for item in note["items"]]
    assert len(skipped) == 1 and skipped[0].startswith("02/102.mp3 (stops after")


def test_a_mixture_of_one_stem_and_a_very_quiet_clip_are_kept(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.001, (1, 8000)).astype(np.float32)
    items = tuple(
        Item(name, name, lambda: Sound({"mixture": noise, "a": noise, "b": 0 * noise}, 16_000))
        for name in ("train", "valid", "test")
    )
    opened = build(Survey(items), tmp_path / "out", rows=("mixture", "a", "b"))
    assert [item.silent for item in opened.items] == [("b",)] * 3
    np.testing.assert_array_equal(opened.read(opened.items[0]), opened.read(opened.items[0], "a"))
    assert np.sqrt(np.mean(opened.read(opened.items[0]) ** 2)) == pytest.approx(0.001, rel=0.05)


def test_decoding_in_order_however_long_each_takes() -> None:
    def slow(value: int) -> int:
        time.sleep(0.02 * (value % 3))
        return value * value

    assert list(module.in_order(slow, range(9), 3)) == [value * value for value in range(9)]
