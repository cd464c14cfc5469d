"""MoisesDB [Pereira et al. 2023]: ``[moisesdb_v0.1/]<song>/{data.json,<stem>/<track>.wav}``, 240 songs by uuid.

Stems are of 11 kinds, each the sum of one track or more; there is no mixture file, the mixture is the sum of all. A
source is one of the kinds, and ``other`` is all that no other source names: with vocals, drums and bass beside it that
is the publishers' reduction to four stems, with guitar and piano too that to six. Tracks of another length are cut to
the shortest of the song, as the publishers do before they sum (50 songs), unless ``tolerance_ms`` says by how much.

The set has no official split. ``banquet`` is that of [Watcharasupat and Lerch 2024], five folds of 48 songs drawn by
genre: 1 to 3 train, 4 validates, 5 tests. It has artists on several sides (``check`` names them). ``artists``, the
default, is that split made disjoint: all songs of an artist are where most of them are, of equal numbers in test before
valid before train.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mss_core.bad_file import BadFile
from mss_core.data.config import TrackSet, split_policy
from mss_core.data.files import Track, facts, once, reason, track_items
from mss_core.data.items import Item, Note, Survey, require_splits
from mss_core.errors import choose
from mss_core.folders import find, subfolders

STEMS = (
    *("bass", "bowed_strings", "drums", "guitar", "other", "other_keys", "other_plucked", "percussion", "piano"),
    *("vocals", "wind"),
)
SPLIT_OF_FOLD = {"1": "train", "2": "train", "3": "train", "4": "valid", "5": "test"}


def survey(config: TrackSet, root: Path) -> Survey:
    """All songs of the list; one without usable metadata or with a file that cannot be read is a named skip."""
    for source in config.sources:
        choose("source of moisesdb", source, STEMS)
    places = [root, *(folder for folder in subfolders(root) if not (folder / "data.json").is_file())]
    songs = [(path.name, path) for place in places for path in subfolders(place) if (path / "data.json").is_file()]
    folders = once("moisesdb", songs)
    if not folders:
        raise ValueError(
            f"data set 'moisesdb': no folder with a data.json in {root} or one folder below; name the folder that "
            "holds moisesdb_v0.1/"
        )
    splits = published()
    tracks, bad = [], []
    for name, folder in sorted(folders.items()):
        try:
            if name not in splits:
                raise BadFile(f"{folder}: no song of the published list of 240")
            tracks.append(_track(folder, splits[name], config.sources))
        except BadFile as error:
            bad.append(f"{name} ({reason(error)})")
    items, notes = track_items(tracks, math.inf if config.tolerance_ms is None else config.tolerance_ms)
    if bad:
        notes.append(Note("skipped", "folders that are no song of the set, or have no usable metadata", tuple(bad)))
    if split_policy(config) == "artists":
        items = by_artist(items)
    require_splits(items, "moisesdb", root, notes)
    return Survey(tuple(items), tuple(notes))


def published() -> dict[str, str]:
    """The split of each song by the published folds."""
    folds = facts()["moisesdb"]["folds"]
    return {song: SPLIT_OF_FOLD[fold] for fold, songs in folds.items() for song in songs}


def by_artist(items: list[Item]) -> list[Item]:
    """The items with all of an artist's in one split: that of most of them, of equal numbers test, valid, train."""
    counts: dict[str, Counter[str]] = {}
    for item in items:
        counts.setdefault(item.artist or item.name, Counter())[item.split] += 1
    order = ("test", "valid", "train")
    where = {artist: max(order, key=lambda split: found[split]) for artist, found in counts.items()}
    return [replace(item, split=where[item.artist or item.name]) for item in items]


def _track(folder: Path, split: str, sources: tuple[str, ...]) -> Track:
    try:
        about: Mapping[str, Any] = json.loads((folder / "data.json").read_text(encoding="utf-8-sig"))
        artist = unicodedata.normalize("NFC", str(about.get("artist", "")).strip())
        files: dict[str, list[Path]] = {}
        for stem in about["stems"]:
            kind = stem["stemName"]
            paths = (find(folder, f"{kind}/{track['id']}.{track['extension']}") for track in stem["tracks"])
            files.setdefault(kind if kind in sources else "other", []).extend(paths)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, AttributeError, KeyError, TypeError):
        raise BadFile(f"{folder}: data.json names no stems") from None
    everything = tuple(path for paths in files.values() for path in paths)
    rows = {source: tuple(files.get(source, ())) for source in sources}
    return Track(folder.name, split, {"mixture": everything, **rows}, artist)
