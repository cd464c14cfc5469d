"""clips.csv as spreadsheets and other systems write it."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mss_core.data.check import check
from mss_core.data.config import ClipSet
from mss_core.data.fingerprints import Fingerprints, fingerprint
from mss_core.data.sets import survey

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
    root = written(tmp_path / "x")
    table = root / "clips.csv"
    table.write_text(table.read_text().replace("a;b", label))
    warnings = check(ClipSet("clips"), root).warnings
    assert any("looks like several labels" in text or "differ by case" in text for text in warnings)
