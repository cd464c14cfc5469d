"""Clips with labels in their published layouts: joins by name, known splits, named skips, refused tables."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from mss_core.data.check import check
from mss_core.data.files import facts
from mss_core.data.items import Item, hold_out
from mss_core.data.loaders import mtat
from mss_core.data.sets import ClipSet, survey
from tests.data import trees


def labels(found) -> dict[str, tuple[str, ...]]:
    return {item.name: item.labels for item in found.items}


# ---- MTAT


def test_mtat_is_split_by_folder_and_joined_by_tag_name(tmp_path: Path) -> None:
    found = survey(ClipSet("mtat"), {"mtat": trees.mtat(tmp_path / "mtat")})
    assert labels(found) == {
        path: tuple(tag for tag in found.labels if tag in tags) for path, tags in trees.MTAT_CLIPS if tags
    }
    assert [item.split for item in found.items] == ["train", "train", "train", "valid", "test", "test"]
    assert found.labels[47:] == ("metal", "female voice", "choral") and not found.single_label
    untagged = next(note for note in found.notes if note.kind == "untagged")
    assert untagged.items == ("2/gus-song-01-x-0-2",)


def test_mtat_lists_agree_whatever_their_order_and_spelling(tmp_path: Path) -> None:
    root = trees.mtat(tmp_path / "mtat")
    plain = labels(survey(ClipSet("mtat"), {"mtat": root}))
    order = list(facts()["mtat"]["tags"])
    order[47], order[48] = order[48], order[47]
    trees.mtat_lists(root, order)
    camel = [word.replace("female voice", "femaleVoice").replace("no vocals", "noVocals") for word in order]
    (root / "tags.txt").write_text("\n".join(camel))
    assert labels(survey(ClipSet("mtat", split="lists"), {"mtat": root})) == plain
    (root / "annotations_final.csv").unlink()
    for split in ("train", "valid", "test"):
        path = root / f"{split}.tsv"
        (root / f"{split}.tsv.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert labels(survey(ClipSet("mtat", split="lists"), {"mtat": root})) == plain


def test_mtat_swapped_tag_order_is_refused_and_named(tmp_path: Path) -> None:
    root = trees.mtat(tmp_path / "mtat")
    order = list(facts()["mtat"]["tags"])
    trees.mtat_lists(root, order)
    order[47], order[48] = order[48], order[47]
    (root / "tags.txt").write_text("\n".join(order))
    message = "list and annotations_final.csv disagree: the tags 'female voice' and 'metal' have changed places"
    for split in ("folders", "lists"):
        with pytest.raises(ValueError, match=message):
            survey(ClipSet("mtat", split=split), {"mtat": root})


def test_mtat_permuted_labels_are_refused_and_named(tmp_path: Path) -> None:
    root = trees.mtat(tmp_path / "mtat")
    trees.mtat_lists(root, list(facts()["mtat"]["tags"]), numbers=False)
    lines = (root / "train.tsv").read_text().splitlines()
    names, tags = zip(*(line.split("\t") for line in lines[1:]), strict=True)
    shifted = [f"{name}\t{tag}" for name, tag in zip(names, tags[1:] + tags[:1], strict=True)]
    (root / "train.tsv").write_text("\n".join([lines[0], *shifted]) + "\n")
    with pytest.raises(ValueError, match="the train list .* disagree: 3 of 3 clips .*rows are permuted"):
        survey(ClipSet("mtat"), {"mtat": root})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("row", r"annotations_final.csv, line 9: 0/ann-song-01-x-0-2 is named twice"),
        ("header", "no column 'cello'"),
        ("columns", "line 2: 52 columns instead of 54"),
    ],
)
def test_mtat_tables_that_make_no_sense_are_refused(tmp_path: Path, change: str, message: str) -> None:
    root = trees.mtat(tmp_path / "mtat")
    path = root / "annotations_final.csv"
    lines = path.read_text().splitlines()
    if change == "row":
        lines.append(lines[1])
    elif change == "header":
        lines[0] = lines[0].replace("cello", "celo")
    else:
        lines[1] = "\t".join(lines[1].split("\t")[2:])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=message):
        survey(ClipSet("mtat"), {"mtat": root})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("c/x.mp3\t3\nc/x.npy\t3\n", "line 2: c/x is named twice"),
        ("c/x.mp3\t50\n", "line 1: tag number 50, but tags.txt names 50"),
        ("c/x.mp3\tgitar\n", "no tag 'gitar' among the 50; did you mean 'guitar'"),
    ],
)
def test_mtat_lists_that_make_no_sense_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "list.tsv").write_text(text)
    with pytest.raises(ValueError, match=message):
        mtat.read_list(tmp_path / "list.tsv", facts()["mtat"]["tags"])


def test_mtat_numbers_need_an_order(tmp_path: Path) -> None:
    (tmp_path / "list.tsv").write_text("c/x.mp3\t3\n")
    with pytest.raises(ValueError, match="tags.txt must tell their order"):
        mtat.read_list(tmp_path / "list.tsv")


class Planted:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.trace),)


@pytest.mark.parametrize("protocol", [0, 4])
def test_mtat_pickled_split_lists_are_never_unpickled(tmp_path: Path, protocol: int) -> None:
    """.cP beside the clips is left alone; a pickle in the place of a list is no list."""
    root, trace = trees.mtat(tmp_path / "mtat"), tmp_path / "unpickled"
    pickled = pickle.dumps([Planted(trace)], protocol)
    for name in ("train_list_pub.cP", "valid_list_pub.cP", "test_list_pub.cP"):
        (root / name).write_bytes(pickled)
    plain = labels(survey(ClipSet("mtat"), {"mtat": root}))
    assert check(ClipSet("mtat"), root, workers=1).items and labels(survey(ClipSet("mtat"), {"mtat": root})) == plain
    (root / "tags.txt").write_text("\n".join(facts()["mtat"]["tags"]))
    for split in ("train", "valid", "test"):
        (root / f"{split}.tsv").write_bytes(pickled)
    with pytest.raises(
        ValueError, match=r"train.tsv: not a text file \(a pickle is never opened\)" if protocol else "mtat"
    ):
        survey(ClipSet("mtat", split="lists"), {"mtat": root})
    assert not trace.exists()
    pickle.loads(pickled)
    assert trace.is_dir()  # the trap works


def test_mtat_known_broken_clips_are_excluded(tmp_path: Path) -> None:
    root = trees.mtat(tmp_path / "mtat")
    broken = facts()["mtat"]["broken"][2]  # named by every public loader; was misspelt here once
    assert broken == (
        "9/american_baroque-dances_and_suites_of_rameau_and_couperin-25-le_petit_rien_xiveme_ordre_couperin-88-117.mp3"
    )
    path = root / "annotations_final.csv"
    path.write_text(path.read_text().replace(trees.MTAT_CLIPS[0][0], broken))
    (root / "mp3" / "1" / "bob-song-01-x-0-2.mp3").write_bytes(b"")
    found = survey(ClipSet("mtat"), {"mtat": root})
    named = {note.kind: note.items for note in found.notes}
    assert named["excluded"] == (broken,) and named["skipped"] == ("1/bob-song-01-x-0-2.mp3 (0 bytes)",)


# ---- FMA


def test_fma_medium_and_without_small(tmp_path: Path) -> None:
    root = trees.fma(tmp_path / "fma")
    both = survey(ClipSet("fma_medium"), {"fma_medium": root})
    assert labels(both) == {
        "000002": ("Hip-Hop",),
        "000003": ("Rock",),
        "000007": ("Folk",),
        "000010": ("Rock",),
        "000020": ("Folk",),
        "000021": ("Rock",),
    }
    assert both.single_label and len(both.labels) == 16
    assert next(note for note in both.notes if note.kind == "excluded").items == ("001486",)
    less = survey(ClipSet("fma_medium_minus_small"), {"fma_medium_minus_small": root})
    assert {item.name: item.split for item in less.items} == {
        "000003": "train",
        "000007": "train",
        "000010": "valid",
        "000021": "test",
    }


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("set,set", "sett,set", "no column set/split"),
        ("Hip-Hop", "Hip-Hopp", "line 4, 'Hip-Hopp'; did you mean 'Hip-Hop'"),
        ("validation", "valid", "line 7, 'valid'; did you mean 'validation'"),
        ("\r\n3,", "\r\n2,", "line 5: track 2 is named twice"),
    ],
)
def test_fma_tables_that_make_no_sense_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    root = trees.fma(tmp_path / "fma")
    path = root / "fma_metadata" / "tracks.csv"
    content = path.read_bytes().decode()
    assert old in content
    path.write_bytes(content.replace(old, new, 1).encode())
    with pytest.raises(ValueError, match=message):
        survey(ClipSet("fma_medium"), {"fma_medium": root})


# ---- IRMAS


def test_irmas_splits(tmp_path: Path) -> None:
    root = trees.irmas(tmp_path / "irmas")
    counts = {}
    for policy in ("thesis", "part1_valid", "official"):
        found = survey(ClipSet("irmas", split=policy, valid_share=0.2), {"irmas": root})
        counts[policy] = [sum(item.split == split for item in found.items) for split in ("train", "valid", "test")]
    assert counts == {"thesis": [6, 2, 2], "part1_valid": [8, 2, 2], "official": [5, 1, 6]}
    assert labels(found)["IRMAS-TestingData-Part3/Part3/01 - A song-3.wav"] == ("cel", "voi")
    assert labels(found)["IRMAS-TrainingData/voi/[voi][dru]000voi__1.wav".replace("000voi", "0003")] == ("voi",)


def test_irmas_recordings_are_held_out_whole() -> None:
    """60 recordings of one to nine excerpts: none on both sides, and 20 % of the excerpts held out to within one
    recording. The thesis's split by excerpt leaves hardly one validation excerpt without a sibling in training."""
    items = tuple(
        Item(f"{r}__{e}", "train", lambda: None, artist=f"IRMAS {r}") for r in range(60) for e in range(1 + r % 9)
    )
    shares = {}
    for whole in (True, False):
        held, (note,) = hold_out(items, 0.2, 0, "irmas", by_artist=whole)
        sides = {split: {i.artist for i in held if i.split == split} for split in ("train", "valid")}
        valid = [i for i in held if i.split == "valid"]
        shares[whole] = sum(i.artist in sides["train"] for i in valid) / len(valid)
        assert 0.2 * len(items) - 1 <= len(valid) < 0.2 * len(items) + 9 and len(note.items) == len(valid)
    assert shares[True] == 0 and shares[False] > 0.9


def test_irmas_labels_are_checked(tmp_path: Path) -> None:
    root = trees.irmas(tmp_path / "irmas")
    text = root / "IRMAS-TestingData-Part3" / "Part3" / "00 - A song-3.txt"

    def skipped() -> str:
        found = survey(ClipSet("irmas"), {"irmas": root})
        return "; ".join(item for note in found.notes if note.kind == "skipped" for item in note.items)

    name = "IRMAS-TestingData-Part3/Part3/00 - A song-3.wav"
    text.write_text("voice\n")
    assert skipped().startswith(f"{name} (no label in 00 - A song-3.txt 'voice'; ")
    text.write_text("\n")
    assert skipped() == f"{name} (00 - A song-3.txt names no label)"
    text.unlink()
    assert skipped() == f"{name} (no 00 - A song-3.txt beside its .wav)"
    (root / "IRMAS-TrainingData" / "cel").rename(root / "IRMAS-TrainingData" / "cello")
    assert "IRMAS-TrainingData/cello/ (no class folder; did you mean 'cel'" in skipped()


# ---- MTG-Jamendo


def test_jamendo_tables(tmp_path: Path) -> None:
    root = trees.jamendo(tmp_path / "j")
    found = survey(ClipSet("mtg_jamendo", labels="top50"), {"mtg_jamendo": root})
    assert len(found.labels) == 50 and [item.split for item in found.items] == [
        "train",
        "train",
        "valid",
        "valid",
        "test",
        "test",
    ]
    assert labels(found)["01/101.mp3"] == ("genre---rock",)
    assert labels(found)["02/102.mp3"] == ("genre---rock", "instrument---voice")
    assert found.items[0].files[0].name == "101.low.mp3" and found.items[1].files[0].name == "102.mp3"
    assert len(survey(ClipSet("mtg_jamendo", labels="instrument"), {"mtg_jamendo": root}).labels) == 40


def test_jamendo_artist_on_both_sides_is_named(tmp_path: Path) -> None:
    root = trees.jamendo(tmp_path / "j")
    table = root / "data" / "splits" / "split-0" / "autotagging_top50tags-test.tsv"
    table.write_text(table.read_text().replace("artist_000109", "artist_000101"))
    found = survey(ClipSet("mtg_jamendo", labels="top50"), {"mtg_jamendo": root})
    assert [note.items for note in found.notes if note.kind == "leak"] == [("artist_000101 (train, test)",)]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("PATH\tDURATION", "DURATION\tPATH", "columns .* instead of TRACK_ID"),
        ("genre---rock", "genre---rokc", "line 2, 'genre---rokc'; did you mean 'genre---rock'"),
        ("02/102.mp3", "01/101.mp3", "line 3: 01/101.mp3 is named twice"),
        ("\t3.0\tgenre---rock\n", "\n", "line 2: 4 fields"),
    ],
)
def test_jamendo_tables_that_make_no_sense_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    root = trees.jamendo(tmp_path / "j")
    table = root / "data" / "splits" / "split-0" / "autotagging_top50tags-train.tsv"
    assert old in table.read_text()
    table.write_text(table.read_text().replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        survey(ClipSet("mtg_jamendo", labels="top50"), {"mtg_jamendo": root})


def test_jamendo_needs_its_tables_and_labels(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no data/splits/split-0/autotagging_top50tags-train.tsv"):
        survey(ClipSet("mtg_jamendo", labels="top50"), {"mtg_jamendo": tmp_path})
    with pytest.raises(ValueError, match="no labels of mtg_jamendo 'tags'"):
        ClipSet("mtg_jamendo")


def test_a_wrong_root_is_an_error_not_a_set_of_skips(tmp_path: Path) -> None:
    root = trees.jamendo(tmp_path / "j")
    (root / "audio").rename(root / "elsewhere")
    with pytest.raises(ValueError, match=r"none of its 6 clips can be read; the first: .*101.mp3 \(missing\)"):
        survey(ClipSet("mtg_jamendo", labels="top50"), {"mtg_jamendo": root})


def test_what_is_read_is_the_clip(tmp_path: Path) -> None:
    found = survey(ClipSet("irmas"), {"irmas": trees.irmas(tmp_path / "irmas")})
    sound = found.items[0].read()
    np.testing.assert_allclose(sound.rows["mixture"], trees.clip(0, 3.0, 2).T, atol=1 / 32767)
