"""Labelled clips: a folder with ``clips.csv`` whose columns are ``path``, ``label`` and ``split``.

Several labels stand in one cell, separated by ``;`` (or in several columns ``label``, ``label2``, ...). A set in
which every clip has exactly one label is a classification, any other a tagging.

The split is the table's, or one of five folds of a cross-validation over all of the set's clips, whatever the table
says: ``fold1of5`` to ``fold5of5``. Each clip is in the test split of one fold; the next fold's test clips validate.
"""

from __future__ import annotations

import csv
import os
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from mss_core import audio
from mss_core.data.config import ClipSet, split_policy
from mss_core.data.items import SPLITS, Item, Note, Sound, Survey, hold_out, require_splits
from mss_core.errors import choose, nearest


def survey(config: ClipSet, root: Path) -> Survey:
    """All clips that clips.csv names. A file that is missing or not audio is a named skip; a table that does not
    make sense is an error with its line."""
    table = root / "clips.csv"
    if not table.is_file():
        raise ValueError(f"data set 'clips': no clips.csv in {root}; it must name path, label and split of each clip")
    rows, label_columns = _rows(table)
    items, bad, seen = [], [], {}
    for line, row in rows:
        place = f"{table}, line {line}"
        name, split = _inside(row["path"], place), (row["split"] or "").strip()
        try:
            choose("split", split, SPLITS)
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None
        labels = tuple(
            dict.fromkeys(
                label.strip() for column in label_columns for label in (row[column] or "").split(";") if label.strip()
            )
        )
        if not labels:
            raise ValueError(f"{place}: {name!r} has no label")
        if "macro" in labels:
            raise ValueError(f"{place}: 'macro' is what the mean over labels is called; rename the label")
        if name in seen:
            raise ValueError(f"{place}: {name!r} stands already in line {seen[name]}")
        seen[name] = line
        path = root / name
        try:
            frames, _, _ = audio.info(path)
        except ValueError as error:
            bad.append(f"{name} ({str(error).split(': ', 1)[-1]})")
            continue
        if frames == 0:
            bad.append(f"{name} (empty)")
            continue
        items.append(Item(name, split, partial(_read, path), labels, (path,)))
    if not items:
        raise ValueError(f"data set 'clips': none of the {len(rows)} clips in {table} can be read")
    notes = [Note("skipped", "clips that are missing or not readable audio", tuple(bad))] if bad else []
    policy = split_policy(config)
    if policy != "table":
        fold, of = (int(number) for number in policy.removeprefix("fold").split("of"))
        items = folded(items, fold, of, config.split_seed)
    held, more = hold_out(items, config.valid_share, config.split_seed, "clips", notes)
    require_splits(held, "clips", root, notes)
    names = tuple(sorted({label for item in held for label in item.labels}))
    return Survey(held, (*notes, *more), names, single_label=all(len(item.labels) == 1 for item in held))


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


def _rows(table: Path) -> tuple[list[tuple[int, dict[str, str | None]]], list[str]]:
    """Rows with their line numbers, and the columns that hold labels."""
    try:
        with open(table, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            for column in ("path", "label", "split"):
                if column not in columns:
                    raise ValueError(f"{table}: no column {column!r}; {nearest(column, columns)}")
            return [(reader.line_num, row) for row in reader], [c for c in columns if re.fullmatch(r"label\d*", c)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{table}: not a CSV file in UTF-8 ({error})") from None


def _inside(cell: str | None, place: str) -> str:
    """A clip's path below the data set's folder, in one spelling; ValueError for any other."""
    text = (cell or "").strip()
    name = os.path.normpath(text)
    if not text or os.path.isabs(name) or name.startswith(".."):
        raise ValueError(f"{place}: {text!r} is not a path below the folder of clips.csv")
    return Path(name).as_posix()


def _read(path: Path) -> Sound:
    waveform, rate = audio.load(path)
    return Sound({"mixture": waveform}, rate)
