"""Batches of a packed set: the same whoever reads them, on a device or not."""

from __future__ import annotations

import itertools
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from mss_core.data.batches import Feed, Parts, Resident, Segments, places, stream, waveforms
from mss_core.data.packed import Packed
from mss_core.graph import Context
from tests.data.test_packing import build, found_in


@pytest.fixture(scope="module")
def opened(shared_stems: Path, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    """Packed once; only read."""
    return build(found_in(shared_stems), tmp_path_factory.mktemp("packed") / "opened")


def equal(a: Parts, b: Parts) -> bool:
    return torch.equal(a.samples, b.samples) and torch.equal(a.unit, b.unit)


def take(found, count: int) -> list:
    return list(itertools.islice(found, count))


def test_the_same_seed_gives_the_same_batches_with_any_workers_and_after_a_resume(opened: Packed) -> None:
    segments = Segments(opened, "train", 8000, 2, seed=3)
    assert segments.steps == 2
    whole = [take(stream(segments.__getitem__, 0, workers), 7) for workers in (0, 1, 2)]
    for other in whole[1:]:
        assert all(equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(whole[0], other, strict=True))
    resumed = take(stream(Segments(opened, "train", 8000, 2, seed=3).__getitem__, 3, 1), 4)
    assert all(equal(a[0], b[0]) for a, b in zip(whole[0][3:], resumed, strict=True))
    assert not equal(whole[0][0][0], Segments(opened, "train", 8000, 2, seed=4)[0][0])


@pytest.mark.parametrize("workers", [1, 3])
def test_a_stream_reads_ahead_in_threads_that_end(workers: int) -> None:

    seen: list[int] = []

    def read(step: int) -> tuple[int, str]:
        seen.append(step)
        return step, threading.current_thread().name

    before = threading.active_count()
    found = stream(read, 5, workers)
    first = take(found, 4)
    assert [step for step, _ in first] == [5, 6, 7, 8] and "MainThread" not in {name for _, name in first}
    assert threading.active_count() > before and len(seen) <= 4 + workers + 1
    found.close()
    assert threading.active_count() == before

    def broken(step: int) -> tuple[int, str]:
        raise OSError("disk gone")

    with pytest.raises(OSError, match="disk gone"):
        next(stream(broken, 0, workers))


@pytest.mark.parametrize(
    ("room", "workers", "resident"),
    [(0, 0, False), (0, 1, False), (0, 2, False), (1 << 40, 0, True), (None, None, False)],
)
def test_a_feed_gives_the_same_wherever_the_samples_are(opened: Packed, room, workers, resident: bool) -> None:
    segments = Segments(opened, "train", 8000, 3, seed=3, rows=("bass", "mixture"))
    feed = Feed(opened, segments.rows, 8000, segments.draw, Context(room=room, workers=workers))
    assert feed.resident == resident
    for step in (0, 1, 2, 7, 8, 3, 3):  # jumps as a resume makes them, and a step again
        batch, index = feed(step)
        expected, where = segments[step]
        assert equal(batch, expected) and torch.equal(index, where)
    held_out = opened.split("valid")[0]
    there = feed.read(places([(held_out, 100), (held_out, held_out.length - 50)], 2, 8000))
    assert there.samples.shape == (2, 2, 8000)
    np.testing.assert_array_equal(
        waveforms(there)[1, 1].numpy(), opened.read(held_out, "mixture", held_out.length - 50, 8000)
    )


def test_the_room_decides_to_the_byte(opened: Packed) -> None:
    size = opened.samples("bass").nbytes
    segments = Segments(opened, "train", 8000, 2, seed=0, rows=("bass",))
    assert [Feed(opened, ("bass",), 8000, segments.draw, Context(room=room)).resident for room in (size, size - 1)] == [
        True,
        False,
    ]


def test_an_epoch_takes_every_item_once(opened: Packed) -> None:
    segments = Segments(opened, "train", 8000, 1, seed=0)
    for epoch in range(3):
        seen = [int(segments[step][1]) for step in range(epoch * segments.steps, (epoch + 1) * segments.steps)]
        assert sorted(seen) == list(range(len(opened.split("train"))))


@pytest.mark.parametrize("length", [8000, 150_000])
def test_a_resident_set_gives_what_the_mapped_one_does(opened: Packed, length: int) -> None:
    segments = Segments(opened, "train", length, 3, seed=1, rows=("bass", "mixture"), grid=160)
    resident = Resident(segments.mapped, "cpu")
    items = opened.split("train")
    for step in range(4):
        batch, index = segments[step]
        where, which = segments.draw(step)
        assert equal(batch, resident.read(where)) and batch.samples.shape == (3, 2, length)
        assert index.tolist() == which.tolist()
        for line, start in enumerate(where.start[:, 0]):
            offset = int(start - items[which[line]].start)
            assert offset % 160 == 0
            expected = opened.read(items[which[line]], "bass", offset, length)
            np.testing.assert_array_equal(waveforms(batch)[line, 0].numpy(), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_resident_set_on_a_gpu(opened: Packed) -> None:
    segments = Segments(opened, "train", 8000, 3, seed=1)
    there = Resident(segments.mapped, "cuda").read(segments.draw(2)[0])
    assert equal(segments[2][0], there.to("cpu")) and torch.equal(waveforms(segments[2][0]), waveforms(there).cpu())


def test_wrong_rows_and_empty_splits_are_refused(opened: Packed) -> None:
    with pytest.raises(ValueError, match="no row of the packed set 'base'; did you mean 'bass'"):
        Segments(opened, "train", 100, 1, 0, rows=("base",))
    with pytest.raises(ValueError, match="the packed set has no dev item"):
        Segments(opened, "dev", 100, 1, 0)


def test_index_is_json_of_what_was_packed(opened: Packed) -> None:
    index = json.loads((opened.directory / "index.json").read_text())
    assert [item["name"] for item in index["items"]] == list("abcdefg")
    assert index["samplerate"] == 16_000
