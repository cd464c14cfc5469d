"""Metadata and tables of published sets as they are found: what is harmless changes nothing, one damaged file costs its
song, and a table that makes no sense is refused with its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mss_core.data.config import ClipSet, TrackSet
from mss_core.data.fingerprints import Fingerprints, fingerprint
from mss_core.data.sets import survey
from tests.data import trees

MM = "MixingSecrets/Bob_Two/Bob_Two_METADATA.yaml"
SLAKH = "train/Track00001/metadata.yaml"
JAMENDO = "data/splits/split-0/autotagging_top50tags-train.tsv"
SETS = {
    "mm": (trees.mm, TrackSet("mm", ("bass",))),
    "slakh2100": (trees.slakh2100, TrackSet("slakh2100", ("bass",))),
    "moisesdb": (trees.moisesdb, TrackSet("moisesdb")),
    "ms21": (trees.ms21, TrackSet("ms21", ("bass",))),
    "mtat": (trees.mtat, ClipSet("mtat")),
    "fma_medium": (trees.fma, ClipSet("fma_medium")),
    "irmas": (trees.irmas, ClipSet("irmas")),
    "mtg_jamendo": (trees.jamendo, ClipSet("mtg_jamendo", "top50")),
}


def content(config: TrackSet | ClipSet, root: Path) -> str:
    return fingerprint(survey(config, {config.name: root}), root, Fingerprints(None))


def edit(path: Path, change: Callable[[str], str], encoding: str = "utf-8") -> None:
    path.write_bytes(change(path.read_bytes().decode()).encode(encoding))


@pytest.mark.parametrize(
    ("name", "place", "change"),
    [
        ("mtg_jamendo", JAMENDO, lambda text: text.replace("\n", "\t\n")),
        ("mtg_jamendo", JAMENDO, lambda text: text.replace("\tgenre---rock", "\t\tgenre---rock\t ")),
        ("mtg_jamendo", JAMENDO, lambda text: text.replace("\n", "\r\n") + "\t\t\r\n\r\n"),
        ("mtat", "annotations_final.csv", lambda text: text + "\n" + "\t" * 53 + "\n"),
        ("fma_medium", "fma_metadata/tracks.csv", lambda text: text + ",,,,,\r\n\r\n"),
        ("moisesdb", "moisesdb_v0.1/*/data.json", lambda text: "\ufeff" + text),
        ("mm", MM, lambda text: "\ufeff" + text),
    ],
)
def test_blanks_and_marks_change_nothing(tmp_path: Path, name: str, place: str, change: Callable[[str], str]) -> None:
    """A tab at the end of every row of MTG-Jamendo made the set unusable ("no tag ''"); so did empty rows elsewhere."""
    tree, config = SETS[name]
    root = tree(tmp_path / "set")
    before = content(config, root)
    for path in root.glob(place):
        edit(path, change)
    assert content(config, root) == before


@pytest.mark.parametrize("name", ["mtat", "mtg_jamendo"])
def test_tables_in_utf_16_are_read(tmp_path: Path, name: str) -> None:
    tree, config = SETS[name]
    root = tree(tmp_path / "set")
    before = content(config, root)
    edit(root / {"mtat": "annotations_final.csv", "mtg_jamendo": JAMENDO}[name], lambda text: text, "utf-16")
    assert content(config, root) == before


@pytest.mark.parametrize(
    ("name", "place", "change", "told"),
    [
        ("mm", MM, lambda text: text.replace("instrument", "player", 1), "Bob_Two (Bob_Two_METADATA.yaml: S01 has no"),
        ("mm", MM, lambda text: "stems: [a, b]\n", "Bob_Two (Bob_Two_METADATA.yaml names no stems)"),
        (
            "slakh2100",
            SLAKH,
            lambda text: text.replace("program_num", "number", 1),
            "Track00001 (metadata.yaml says no",
        ),
        (
            "slakh2100",
            SLAKH,
            lambda text: text.replace("  S00:", "  S99:\n  S00:"),
            "Track00001 (metadata.yaml says no",
        ),
        ("slakh2100", SLAKH, lambda text: "- a\n", "Track00001 (metadata.yaml names no stems)"),
        ("irmas", "IRMAS-TestingData-Part3/Part3/00 - A song-3.txt", lambda text: "\udce9", "(not a text file"),
    ],
)
def test_one_damaged_file_costs_its_item(
    tmp_path: Path, name: str, place: str, change: Callable[[str], str], told: str
) -> None:
    tree, config = SETS[name]
    root = tree(tmp_path / "set")
    before = {item.name for item in survey(config, {name: root}).items}
    (root / place).write_bytes(change((root / place).read_text()).encode("utf-8", "surrogateescape"))
    found = survey(config, {name: root})
    (line,) = [item for note in found.notes if note.kind == "skipped" for item in note.items]
    (lost,) = before - {item.name for item in found.items}
    assert lost in line and told in line


def test_what_another_program_calls_song_json_is_no_matter(tmp_path: Path) -> None:
    root = trees.ms21(tmp_path / "set")
    before = content(SETS["ms21"][1], root)
    for text in (b"[1]", b'{"a": "\xe9"}', b"{", b'{"rules": null}'):
        (root / "train" / "A - 1" / "song.json").write_bytes(text)
        assert content(SETS["ms21"][1], root) == before


@pytest.mark.parametrize(
    ("name", "place", "text", "told"),
    [
        ("slakh2100", "hierarchy.json", b"{", "hierarchy.json is no JSON of nodes that end in lists of patches"),
        ("slakh2100", "hierarchy.json", b'{"a": null}', "hierarchy.json is no JSON of nodes"),
        (
            "ms21",
            "split_track_list.txt",
            b"train/A - 1\n\ntset/B - 2\n",
            "split_track_list.txt, line 3, 'tset'; did you",
        ),
        ("ms21", "split_track_list.txt", b"train/A - 1\nval/A - 1\n", "stands twice in .*, line 2; remove one"),
        ("ms21", "split_track_list.txt", b"train/\xe9\n", "split_track_list.txt: not a text file .*; save it as text"),
        ("mtat", "train.tsv.gz", b"\x1f\x8bxx", "train.tsv.gz: cannot be read .*; fetch it again"),
        ("mtat", "annotations_final.csv", b"", "annotations_final.csv: no column 'guitar'"),
        ("fma_medium", "fma_metadata/tracks.csv", b"", "tracks.csv: no column set/split"),
        ("mtg_jamendo", JAMENDO, b"TRACK_ID,PATH\n", "columns TRACK_ID,PATH instead of .*, parted by tabs"),
    ],
)
def test_a_table_of_no_use_is_refused_with_its_place(
    tmp_path: Path, name: str, place: str, text: bytes, told: str
) -> None:
    tree, config = SETS[name]
    root = tree(tmp_path / "set")
    (root / place).write_bytes(text)
    with pytest.raises(ValueError, match=told):
        survey(config, {name: root})


def test_a_table_of_fma_in_another_encoding(tmp_path: Path) -> None:
    """The error named neither the file nor its line."""
    root = trees.fma(tmp_path / "set")
    path = root / "fma_metadata" / "tracks.csv"
    lines = path.read_bytes().decode().splitlines(keepends=True)
    path.write_bytes("".join([*lines[:5], lines[5].replace("title", "é")]).encode("latin-1"))
    with pytest.raises(ValueError, match=r"tracks.csv, after line \d: not a CSV file in UTF-8 .*; fetch fma_metadata"):
        survey(ClipSet("fma_medium"), {"fma_medium": root})
    path.write_text("".join(lines).replace("\n3,", "\n²,"), newline="")
    with pytest.raises(ValueError, match=r"line 5: not a row of tracks.csv \(it begins with '²' and has 6 of 6 fields"):
        survey(ClipSet("fma_medium"), {"fma_medium": root})
