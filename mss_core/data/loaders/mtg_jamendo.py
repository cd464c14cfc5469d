"""MTG-Jamendo [Bogdanov et al. 2019]: full songs with the 50 most frequent tags, or with instrument tags.

The tables ``autotagging_{top50tags,instrument}-{train,validation,test}.tsv`` are read from
``<root>/[data/]splits/split-<n>/`` or, as ``split-<n>_autotagging_...``, from the root; songs from
``<root>/[audio/]87/4887.mp3`` or their low-quality edition ``87/4887.low.mp3``. Columns are found by name; tags are
all fields from TAGS on.
"""

from __future__ import annotations

from pathlib import Path

from mss_core.data.config import ClipSet, split_policy
from mss_core.data.files import Clip, clip_items, facts, first_existing, read_lines
from mss_core.data.items import Survey, require_splits
from mss_core.errors import choose
from mss_core.folders import find

TABLES = {"top50": "top50tags", "instrument": "instrument"}
SPLIT_OF = {"train": "train", "validation": "valid", "test": "test"}
COLUMNS = ["TRACK_ID", "ARTIST_ID", "ALBUM_ID", "PATH", "DURATION", "TAGS"]


def survey(config: ClipSet, root: Path) -> Survey:
    """All songs of the chosen split."""
    tags = tuple(facts()["mtg_jamendo"][config.labels])
    base = root / "audio" if (root / "audio").is_dir() else root
    clips: list[Clip] = []
    listings: dict[Path, dict[str, list[Path]]] = {}
    for spoken, split in SPLIT_OF.items():
        path = find_table(root, split_policy(config), config.labels, spoken)
        clips += [
            Clip(name, split, labels, _audio(base, name, listings), artist, seconds)
            for name, artist, seconds, labels in read_table(path, tags)
        ]
    items, notes = clip_items("mtg_jamendo", clips)
    require_splits(items, "mtg_jamendo", root, notes)
    return Survey(tuple(items), tuple(notes), tags)


def find_table(root: Path, split: str, labels: str, spoken: str) -> Path:
    """A split table of the user's copy; ValueError where it is not there."""
    name = f"autotagging_{TABLES[labels]}-{spoken}.tsv"
    found = first_existing(
        root / "data" / "splits" / split / name,
        root / "splits" / split / name,
        root / split / name,
        root / f"{split}_{name}",
    )
    if found is None:
        raise ValueError(
            f"data set 'mtg_jamendo': no data/splits/{split}/{name} in {root}; put the folder data/ of "
            "mtg-jamendo-dataset there"
        )
    return found


def read_table(path: Path, tags: tuple[str, ...]) -> list[tuple[str, str, float, tuple[str, ...]]]:
    """Path, artist, seconds and tags of every row; ValueError with its line for a row that makes no sense."""
    lines = read_lines(path)
    header = lines[0].rstrip("\t ").split("\t") if lines else []
    if header != COLUMNS:
        raise ValueError(f"{path}: columns {', '.join(header)} instead of {', '.join(COLUMNS)}, parted by tabs")
    found, seen = [], set()
    for line, text in enumerate(lines[1:], start=2):
        fields = [field.strip() for field in text.split("\t")]
        if not any(fields):
            continue
        named = [field for field in fields[5:] if field]  # a tab too many names no tag
        if not named:
            many = len(text.rstrip("\t ").split("\t"))
            raise ValueError(
                f"{path}, line {line}: {many} fields; at least {len(COLUMNS)} belong there, with tabs between them"
            )
        try:
            seconds = float(fields[4])
        except ValueError:
            raise ValueError(f"{path}, line {line}: DURATION is {fields[4]!r}, which is no number of seconds") from None
        name = fields[3]
        if name in seen:
            raise ValueError(f"{path}, line {line}: {name} is named twice; remove one of its rows")
        seen.add(name)
        for tag in named:
            choose(f"tag in {path.name}, line {line},", tag, tags)
        found.append((name, fields[1], seconds, tuple(tag for tag in tags if tag in named)))
    return found


def _audio(base: Path, name: str, listings: dict[Path, dict[str, list[Path]]]) -> Path:
    low = name.replace(".mp3", ".low.mp3")
    if (base / name).exists() and not (base / low).exists():
        return base / name
    return low_path if (low_path := find(base, low, listings)).exists() else base / name
