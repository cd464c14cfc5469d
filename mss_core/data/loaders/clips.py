"""Labelled clips: a folder with ``clips.csv`` (or .tsv) whose columns are ``path``, ``label`` and ``split``.

Several labels stand in one cell, separated by ``;`` (or in several columns ``label``, ``label2``, ...). A set in
which every clip has exactly one label is a classification, any other a tagging. A column ``group`` may name the song,
album or artist of each clip: clips of one group are no independent sample to a report.

The split is the table's, or one of five folds of a cross-validation over all of the set's clips, whatever the table
says: ``fold1of5`` to ``fold5of5``. Each clip is in the test split of one fold; the next fold's test clips validate.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from mss_core.data import doubts
from mss_core.data.config import ClipSet, split_policy
from mss_core.data.files import Clip, clip_items
from mss_core.data.items import SPLITS, Item, Survey, hold_out, require_splits
from mss_core.errors import choose
from mss_core.folders import entries
from reports.contract.tables import read_table


def survey(config: ClipSet, root: Path) -> Survey:
    """All clips that clips.csv names. A file that is missing or not audio is a named skip; a table that does not
    make sense is an error with its line."""
    table = find_table(root)
    columns, rows = read_table(table, ("path", "label", "split"))
    clips = read_clips(rows, [column for column in columns if re.fullmatch(r"label\d*", column)], table)
    items, notes = clip_items("clips", clips)
    labels = sorted({label for clip in clips for label in clip.labels})
    notes += doubts.spelling(labels)
    policy = split_policy(config)
    if policy != "table":
        fold, of = (int(number) for number in policy.removeprefix("fold").split("of"))
        items = folded(items, fold, of, config.split_seed)
    held, more = hold_out(items, config.valid_share, config.split_seed, "clips", notes, things=labels)
    require_splits(held, "clips", root, notes)
    names = tuple(sorted({label for item in held for label in item.labels}))
    return Survey(held, (*notes, *more), names, single_label=all(len(item.labels) == 1 for item in held))


def find_table(root: Path) -> Path:
    """The user's clips.csv or clips.tsv, its name in any case; ValueError where there is none, or both."""
    tables = [path for path in entries(root) if path.name.lower() in ("clips.csv", "clips.tsv") and path.is_file()]
    if not tables:
        others = [path.name for path in entries(root) if path.suffix.lower() in (".csv", ".tsv", ".txt", ".xlsx")]
        there = f" (there is {', '.join(others[:3])})" if others else ""
        raise ValueError(
            f"data set 'clips': no clips.csv in {root}{there}; it must name path, label and split of each clip"
        )
    if len(tables) > 1:
        raise ValueError(f"data set 'clips': {root} holds {' and '.join(path.name for path in tables)}; keep one")
    return tables[0]


def read_clips(rows: Iterable[tuple[int, dict[str, str]]], label_columns: list[str], table: Path) -> list[Clip]:
    """The clips of a table's rows; ValueError with its line for one that makes no sense."""
    clips: list[Clip] = []
    seen: dict[str, int] = {}
    for line, row in rows:
        place = f"{table}, line {line}"
        name, split = _inside(row["path"], place, table.parent), row["split"].strip()
        try:
            choose("split", split, SPLITS)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        words = (word.strip() for column in label_columns for word in row[column].split(";"))
        labels = tuple(dict.fromkeys(unicodedata.normalize("NFC", word) for word in words if word))
        if not labels:
            raise ValueError(f"{place}: {name!r} has no label")
        if "macro" in labels:
            raise ValueError(f"{place}: 'macro' is what the mean over labels is called; rename the label")
        if name in seen:
            raise ValueError(f"{place}: {name!r} stands already in line {seen[name]}")
        seen[name] = line
        clips.append(Clip(name, split, labels, table.parent / name, row.get("group", "").strip()))
    return clips


def folded(items: list[Item], fold: int, of: int, seed: int) -> list[Item]:
    """The items with the splits of one fold (from 1) of a cross-validation, drawn by ``seed``.

    Clips are dealt out label by label (by their first), so that the folds hold equal shares of each as far as the
    counts allow.
    """
    drawn = np.random.default_rng([seed, 11]).permutation(len(items))
    by_name = sorted(range(len(items)), key=lambda index: items[index].name)
    order = sorted((by_name[place] for place in drawn), key=lambda index: items[index].labels[0])
    splits = {(fold - 1) % of: "test", fold % of: "valid"}
    dealt = {index: splits.get(place % of, "train") for place, index in enumerate(order)}
    return [replace(item, split=dealt[index]) for index, item in enumerate(items)]


def _inside(cell: str, place: str, folder: Path) -> str:
    """A clip's path below the data set's folder, in one spelling; ValueError for any other."""
    text = unicodedata.normalize("NFC", cell.strip())
    if "\\" in text and not (folder / text).exists():
        text = text.replace("\\", "/")
    name = os.path.normpath(text)
    if text and os.path.isabs(name) and Path(name).is_relative_to(folder.absolute()):
        name = Path(name).relative_to(folder.absolute()).as_posix()
    if not text or os.path.isabs(name) or name.startswith("..") or re.match(r"[A-Za-z]:/", name):
        raise ValueError(f"{place}: {text!r} is not a path below the folder of clips.csv; write it from there on")
    return Path(name).as_posix()
