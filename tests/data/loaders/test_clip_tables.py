"""clips.csv as spreadsheets and other systems write it."""

from __future__ import annotations

import csv
import io
import tempfile
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_core.data.check import check
from mss_core.data.config import ClipSet
from mss_core.data.fingerprints import Fingerprints, fingerprint
from mss_core.data.loaders.clips import read_clips
from mss_core.data.sets import survey
from reports.contract.tables import read_table

ROWS = [("sub/é0.wav", "a", "train"), ("sub/1.wav", "b", "train"), ("2.wav", "a", "valid"), ("3.wav", "b", "valid")]
ROWS += [("4.wav", "a;b", "test"), ("5.wav", "b", "test")]


def written(root: Path, separator: str = ",", name: str = "clips.csv", change: object = lambda cell: cell) -> Path:
    (root / "sub").mkdir(parents=True, exist_ok=True)
    for seed, (path, _, _) in enumerate(ROWS):
        soundfile.write(root / path, np.random.default_rng(seed).uniform(-0.5, 0.5, 400), 8000)
    cells = [("path", "label", "split"), *((change(path), label, split) for path, label, split in ROWS)]  # type: ignore[operator]
    quoted = [[f'"{cell}"' if separator in cell else cell for cell in row] for row in cells]
    (root / name).write_text("\n".join(separator.join(row) for row in quoted) + "\n", encoding="utf-8")
    return root


def content(root: Path) -> str:
    return fingerprint(survey(ClipSet("clips"), {"clips": root}), root, Fingerprints(None))


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("name", ["clips.csv", "CLIPS.CSV", "clips.tsv"])
def test_every_dialect_is_the_same_set(tmp_path: Path, separator: str, name: str) -> None:
    """Other separators, and rows of nothing but separators, as spreadsheets leave them."""
    root = written(tmp_path / "x", separator, name)
    table = root / name
    table.write_text(table.read_text() + separator * 2 + "\n\n")  # Excel's empty rows
    assert content(root) == content(written(tmp_path / "plain"))


@pytest.mark.parametrize(
    "change",
    [
        lambda cell: cell.replace("/", "\\"),
        lambda cell: unicodedata.normalize("NFD", cell),
        lambda cell: cell.replace(".wav", ".WAV"),
        lambda cell: f" {cell} ",
    ],
)
def test_paths_of_other_systems_are_found(tmp_path: Path, change: object) -> None:
    """Paths with backslashes, decomposed accents or suffixes in capitals, as other systems write them."""
    report = check(ClipSet("clips"), written(tmp_path / "x", change=change))
    assert not report.errors and not report.excluded and sum(report.items.values()) == 6


@pytest.mark.parametrize(("row", "fields"), [("4.wav,a,b,test", 4), ("4.wav,test", 2)])
def test_a_row_that_does_not_fit_is_an_error_with_its_line(tmp_path: Path, row: str, fields: int) -> None:
    root = written(tmp_path / "x")
    table = root / "clips.csv"
    table.write_text(table.read_text().replace("4.wav,a;b,test", row))
    with pytest.raises(
        ValueError, match=rf"clips.csv, line 6: {fields} fields where the head has 3; put quotes around"
    ):
        survey(ClipSet("clips"), {"clips": root})


@pytest.mark.parametrize("label", ['"a,b"', "a|b", "\"['a', 'b']\"", "A"])
def test_doubtful_labels_are_warned_of(tmp_path: Path, label: str) -> None:
    """Labels joined by a comma, a bar or as a list of Python, and labels that differ by case."""
    root = written(tmp_path / "x")
    table = root / "clips.csv"
    table.write_text(table.read_text().replace("a;b", label))
    warnings = check(ClipSet("clips"), root).warnings
    assert any("looks like several labels" in text or "differ by case" in text for text in warnings)


@pytest.mark.parametrize(
    ("label", "joined"), [("a/b", True), ("a & b", True), ("a b", True), ("a+b", True), ("a/c", False), ("a-b", False)]
)
def test_a_label_made_of_two_others_is_named(tmp_path: Path, label: str, joined: bool) -> None:
    root = written(tmp_path / "x")
    table = root / "clips.csv"
    table.write_text(table.read_text().replace("a;b", label))
    told = f"{label!r}: looks like several labels; separate them with ;"
    assert (told in check(ClipSet("clips"), root).warnings) == joined


@pytest.mark.parametrize("label", ["nan", "None", "N/A"])
def test_an_empty_cell_that_a_program_wrote_is_named(tmp_path: Path, label: str) -> None:
    root = written(tmp_path / "x")
    table = root / "clips.csv"
    table.write_text(table.read_text().replace("a;b", label))
    assert any(
        text.startswith(f"{label!r}: looks like an empty cell") for text in check(ClipSet("clips"), root).warnings
    )


def test_a_column_of_row_numbers_is_no_column(tmp_path: Path) -> None:
    """As pandas writes a table with its index."""
    root, plain = written(tmp_path / "x"), written(tmp_path / "plain")
    lines = (root / "clips.csv").read_text().splitlines()
    numbered = [f"{number},{line}" for number, line in enumerate(lines[1:])]
    (root / "clips.csv").write_text("\n".join([f",{lines[0]}", *numbered]))
    assert content(root) == content(plain)
    (root / "clips.csv").write_text("\n".join([f",{lines[0]}", *numbered, "remark,4.wav,a,test"]))
    with pytest.raises(ValueError, match="line 2: '0' stands in a column without a name"):
        survey(ClipSet("clips"), {"clips": root})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('path,label,split\n4.wav,"a,test\n5.wav,b,test\n', "line 2: a quote is opened and not closed"),
        ("path,label,split\n", "its table names no clip"),
        ("path label split\n", r"no column 'path'; choose from 'path label split' \(columns are parted by one of ','"),
        ("path,label,split\n4.wav,a,test\nsub/../4.WAV,a,test\n", "4.wav and 4.WAV are one file, .*4.wav; keep one"),
        ("path,label,split\n/elsewhere/4.wav,a,test\n", "is not a path below the folder of clips.csv; write it from"),
        ("p\0ath,label,split\n", "it holds the byte 0"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_with_what_to_do(tmp_path: Path, text: str, told: str) -> None:
    root = written(tmp_path / "x")
    (root / "clips.csv").write_text(text)
    with pytest.raises(ValueError, match=told):
        survey(ClipSet("clips"), {"clips": root})


def test_absolute_paths_into_the_folder_and_other_suffixes(tmp_path: Path) -> None:
    """A path from the root of the disk is read where it leads into the set; of a clip that is there with another suffix
    only that file is named."""
    root = written(tmp_path / "x")
    table = root / "clips.csv"
    table.write_text(table.read_text().replace("4.wav", f"{root}/4.wav"))
    assert content(root) == content(written(tmp_path / "plain"))
    table.write_text(table.read_text().replace("5.wav", "5.mp3").replace("3.wav", "3"))
    report = check(ClipSet("clips"), root)
    assert [line.split(":")[0] for line in report.excluded] == ["3 (missing)", "5.mp3 (missing)"]
    told = [line.split(":")[0] for line in report.warnings if "another suffix only" in line]
    assert told == ["3 (3.wav is there)", "5.mp3 (5.wav is there)"]


def test_the_table_that_is_there_is_named(tmp_path: Path) -> None:
    root = written(tmp_path / "x")
    (root / "clips.csv").rename(root / "metadata.csv")
    with pytest.raises(ValueError, match=r"no clips.csv in .* \(there is metadata.csv\); it must name path"):
        survey(ClipSet("clips"), {"clips": root})


CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters=";"), min_size=1, max_size=6).map(
    str.strip
)


@settings(max_examples=40, deadline=None)
@given(
    labels=st.lists(CELLS.filter(lambda text: text and text != "macro"), min_size=6, max_size=6),
    separator=st.sampled_from(",;\t|"),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
    order=st.permutations(range(3)),
    index=st.booleans(),
    blanks=st.lists(st.integers(1, 6), max_size=3),
    damage=st.sampled_from(["", "surplus", "missing"]),
    where=st.integers(0, 5),
)
def test_a_table_in_any_dialect_names_the_same_clips(
    labels: list[str],
    separator: str,
    quoting: int,
    end: str,
    encoding: str,
    order: list[int],
    index: bool,
    blanks: list[int],
    damage: str,
    where: int,
) -> None:
    """Property: what is read does not depend on the dialect, and a row that does not fit is refused with its line."""
    cells = [
        ("path", "label", "split"),
        *((path, label, split) for (path, _, split), label in zip(ROWS, labels, strict=True)),
    ]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=separator, quoting=quoting, lineterminator=end)
    line = bad = 0
    for number, row in enumerate(cells):
        written_row = [*([str(number - 1) if number else ""] if index else []), *(row[place] for place in order)]
        if number in blanks:
            text.write(separator * 3 + end)
            line += 1
        line += 1
        if damage and number == where + 1:
            bad = line
            written_row = [*written_row, "more"] if damage == "surplus" else written_row[:-1]
        writer.writerow(written_row)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "Clips.TSV"
        path.write_bytes(text.getvalue().encode(encoding))
        if damage:
            with pytest.raises(ValueError, match=rf"line {bad}: \d fields where the head has \d"):
                read_table(path, ("path", "label", "split"))
            return
        columns, rows = read_table(path, ("path", "label", "split"))
        clips = read_clips((row for row in rows), ["label"], path)
    assert sorted(columns) == ["label", "path", "split"]
    assert [(clip.name, clip.split) for clip in clips] == [(unicodedata.normalize("NFC", p), s) for p, _, s in ROWS]
    assert [clip.labels for clip in clips] == [(unicodedata.normalize("NFC", label),) for label in labels]
