"""A data set at the size of a rehearsal: which items are kept, which seconds of them, and what that is called."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mss_core.data.config import ClipSet, TrackSet
from mss_core.data.excerpts import Excerpt, excerpt, holds, moved, stretch
from mss_core.data.items import SPLITS, Item, Sound, Survey
from mss_core.data.sets import survey
from mss_core.graph import digest, plain
from tests.data import trees

LABELS = ("a", "b", "c", "d", "e")


def clips(labels: list[tuple[str, set[str]]]) -> Survey:
    items = [Item(str(n), split, lambda: None, tuple(sorted(found))) for n, (split, found) in enumerate(labels)]
    return Survey(tuple(items), labels=LABELS)


@pytest.mark.parametrize("seed", range(40))
def test_every_label_is_kept_as_often_as_it_is_needed_and_there(seed: int) -> None:
    rng = np.random.default_rng(seed)
    share, many = rng.uniform(0.02, 0.9), rng.integers(1, 60)
    labels = [(SPLITS[rng.integers(3)], {x for x in LABELS if rng.random() < share}) for _ in range(many)]
    whole = clips(labels)
    few = excerpt(whole, (), 3.0)
    assert {item.name for item in few.items} <= {item.name for item in whole.items}
    for split, times in (("train", 1), ("valid", 1), ("test", 2)):
        there, kept = (Counter(x for i in found.items if i.split == split for x in i.labels) for found in (whole, few))
        assert all(kept[label] >= min(times, there[label]) for label in LABELS)
    for split in SPLITS:
        there, kept = (sum(item.split == split for item in found.items) for found in (whole, few))
        assert min(2, there) <= kept <= 2 * len(LABELS) + 3
    rare = [note for note in few.notes if note.kind == "rare"]
    lacking = {
        f"{label} ({split}: {count})"
        for split, times in (("train", 1), ("valid", 1), ("test", 2))
        for label in LABELS
        if (count := sum(s == split and label in found for s, found in labels)) < times
    }
    assert {thing for note in rare for thing in note.items} == lacking


def test_of_clips_with_one_label_each_few_are_kept() -> None:
    """A transformer hears sixteen genres: in validation, where nothing is asked but a loss, two of them; in the test
    each, and two of them twice, which is what DeLong's test needs."""
    labels = [(split, {label}) for split in SPLITS for label in LABELS for _ in range(3)]
    kept = Counter((item.split, *item.labels) for item in excerpt(clips(labels), (), 3.0).items)
    by_split = {split: sorted(n for (where, _), n in kept.items() if where == split) for split in SPLITS}
    assert by_split == {"train": [1] * 5, "valid": [1, 1], "test": [1, 1, 1, 2, 2]}
    assert not [note for note in excerpt(clips(labels), (), 3.0).notes if note.kind == "rare"]


def test_a_song_that_lacks_a_source_is_among_the_few() -> None:
    """MedleyDB's songs lack rows, and what lacks one takes another path through the reader."""

    def song(name: str, *sources: str) -> Item:
        return Item(name, "test", partial(lambda rows: None, {source: (Path("x"),) for source in sources}))

    whole = Survey((song("1", "v", "d"), song("2", "v", "d"), song("3", "v", "d"), song("4", "d"), song("5", "v")))
    assert [item.name for item in excerpt(whole, ("v", "d"), 1.0).items] == ["1", "2", "4"]
    assert [holds(item, "v") for item in whole.items] == [True, True, True, False, True]
    assert holds(replace(whole.items[3], read=Excerpt(whole.items[3].read, 1.0)), "v") is False


def test_the_seconds_kept_are_those_in_which_the_quietest_source_is_loudest() -> None:
    """10 s at 8 Hz: the loud source plays in seconds 0 to 5, the quiet one in 4 to 9; both in 4 and 5 alone."""
    loud, quiet = np.zeros((2, 80)), np.zeros((1, 80))
    loud[:, :48], quiet[:, 32:] = 1.0, 0.1
    sound = Sound({"mixture": loud + quiet, "loud": loud, "quiet": quiet, "absent": np.zeros((1, 80))}, 8)
    assert stretch(sound, 2.0) == (32, 48)
    cut = Excerpt(lambda: sound, 2.0)()
    assert cut.rows["loud"].shape == (2, 16) and cut.rows["absent"].shape == (1, 16)
    assert np.array_equal(cut.rows["mixture"], (loud + quiet)[:, 32:48])
    assert stretch(sound, 100.0) == (0, 80) and stretch(Sound({"mixture": loud}, 8), 2.0) == (0, 16)


def test_published_confidences_are_counted_from_where_the_excerpt_begins() -> None:
    sound = Sound({"mixture": np.ones((1, 80)), "v": np.repeat([0.0, 1.0, 0.0], [48, 16, 16])[None]}, 8)
    times, values = moved(lambda: (np.arange(10.0), {"v": np.arange(10.0)}), Excerpt(lambda: sound, 2.0))()
    assert np.interp(0.0, times, values["v"]) == 6.0


def test_an_excerpt_is_another_set_and_no_excerpt_the_same_as_ever() -> None:
    for config in (TrackSet("musdb18hq"), ClipSet("mtat", "label")):
        assert "excerpt" not in plain(config)
        assert plain(replace(config, excerpt=2.0)) == {**plain(config), "excerpt": 2}
        assert digest(replace(config, excerpt=2.0)) != digest(config)
        with pytest.raises(ValueError, match="'excerpt' is a length in seconds above 0"):
            replace(config, excerpt=0.0)


def test_a_set_is_read_as_its_excerpt(tmp_path: Path) -> None:
    root = trees.musdb18hq(tmp_path / "m")
    config = TrackSet("musdb18hq", samplerate=44_100, excerpt=0.25)
    found = survey(config, {"musdb18hq": root})
    assert {item.read().rows["vocals"].shape for item in found.items} == {(2, 11_025)}
    assert [note.text for note in found.notes if note.kind == "excerpt"] == ["items of which a rehearsal reads 0.25 s"]
