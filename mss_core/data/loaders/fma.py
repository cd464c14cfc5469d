"""FMA medium [Defferrard et al. 2017]: 30-s clips of 16 root genres, and the same without FMA small.

``<root>/fma_metadata/tracks.csv`` (three heading lines) and ``<root>/fma_medium/000/000002.mp3``; ``fma_large`` and
``fma_full`` serve as well, as does a root that is itself the folder of the clips. The subset column is the smallest
subset that a track belongs to: medium holds "small" and "medium", medium minus small (what the MSSPT code trains
on) only "medium". 21 ids are broken in every copy.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mss_core.data.config import ClipSet
from mss_core.data.files import Clip, clip_items, facts
from mss_core.data.items import Survey, hold_out, require_splits
from mss_core.errors import choose, nearest

SECONDS = 29.9
SPLIT_OF = {"training": "train", "validation": "valid", "test": "test"}
COLUMNS = (("set", "split"), ("set", "subset"), ("track", "genre_top"), ("artist", "name"))


def survey(config: ClipSet, root: Path) -> Survey:
    """The clips of the subset, by the published split."""
    subsets = ("small", "medium") if config.name == "fma_medium" else ("medium",)
    audio = next((root / name for name in ("fma_medium", "fma_large", "fma_full") if (root / name).is_dir()), root)
    genres = tuple(facts()["fma"]["genres"])
    clips = []
    for line, (track, split, subset, genre, artist) in read_tracks(find_table(root)):
        if subset not in subsets:
            continue
        choose(f"genre in tracks.csv, line {line},", genre, genres)
        choose(f"split in tracks.csv, line {line},", split, SPLIT_OF)
        clips.append(Clip(track, SPLIT_OF[split], (genre,), audio / track[:3] / f"{track}.mp3", artist, SECONDS))
    if not clips:
        raise ValueError(f"data set {config.name!r}: tracks.csv has no track of subset {' or '.join(subsets)}")
    items, notes = clip_items(config.name, clips, facts()["fma"]["broken"])
    held, more = hold_out(items, config.valid_share, config.split_seed, config.name, notes)
    require_splits(held, config.name, root, notes)
    return Survey(held, (*notes, *more), genres, single_label=True)


def find_table(root: Path) -> Path:
    """The user's tracks.csv; ValueError where there is none."""
    for folder in (root / "fma_metadata", root, root.parent / "fma_metadata"):
        if (folder / "tracks.csv").is_file():
            return folder / "tracks.csv"
    raise ValueError(f"data set 'fma_medium': no fma_metadata/tracks.csv in {root}")


def read_tracks(path: Path) -> Iterator[tuple[int, tuple[str, str, str, str, str]]]:
    """The line on which every row ends, and its six-digit id, split, subset, root genre and artist."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file)
        try:
            yield from _rows(path, rows)
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(
                f"{path}, after line {rows.line_num}: not a CSV file in UTF-8 ({error}); fetch fma_metadata.zip again"
            ) from None


def _rows(path: Path, rows: Any) -> Iterator[tuple[int, tuple[str, str, str, str, str]]]:
    upper, lower = next(rows, []), next(rows, [])
    next(rows, None)
    heads = list(zip(upper, lower, strict=False))
    for column in COLUMNS:
        if column not in heads:
            raise ValueError(
                f"{path}: no column {column[0]}/{column[1]}; "
                f"{nearest('/'.join(column), ('/'.join(head) for head in heads))}"
            )
    split, subset, genre, artist = (heads.index(column) for column in COLUMNS)
    seen = set()
    for row in rows:
        line = rows.line_num
        if not any(cell.strip() for cell in row):
            continue
        if not row[0].isdecimal() or len(row) < len(heads):
            raise ValueError(
                f"{path}, line {line}: not a row of tracks.csv (it begins with {row[0]!r} and has {len(row)} of "
                f"{len(heads)} fields); fetch fma_metadata.zip again"
            )
        if row[0] in seen:
            raise ValueError(f"{path}, line {line}: track {row[0]} is named twice; remove one of its rows")
        seen.add(row[0])
        yield line, (f"{int(row[0]):06d}", row[split], row[subset], row[genre], row[artist])
