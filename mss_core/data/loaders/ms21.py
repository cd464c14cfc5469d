"""MS21 as built [Zhang thesis]: ``<root>/{train,valid,test}/<song>/<node>.wav`` (or .flac), ``mixture.wav`` beside.

A node is a stem (vocals, percussion, bass, other), one of the 14 instruments, or ``accompaniment``. A node without a
file is the sum of those below it that have one; a song that has none of them is silent there. Without a mixture file
the mixture is the sum of the four stems. ``val/`` and ``validation/`` are read as ``valid/``; where
``<root>/split_track_list.txt`` (``val/<song>`` lines) exists, it decides instead of the folders.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from mss_core.bad_file import BadFile
from mss_core.data.config import TrackSet
from mss_core.data.doubts import sounds
from mss_core.data.files import SPLIT_OF, Track, facts, named, once, read_lines, reason, split_folders, track_items
from mss_core.data.items import Note, Survey, hold_out, require_splits
from mss_core.errors import choose
from mss_core.folders import stems_in, subfolders

STEMS = ("vocals", "percussion", "bass", "other")


def survey(config: TrackSet, root: Path) -> Survey:
    """All songs of the folders or of the split list."""
    for source in config.sources:
        choose("source of ms21", source, nodes())
    places, unread = split_folders(root, "ms21")
    folders = once(
        "ms21", ((named(folder), folder) for place in sorted(places.values()) for folder in subfolders(place))
    )
    split_at = {place: split for split, place in places.items()}
    songs = {name: (split_at[folder.parent], folder) for name, folder in folders.items()}
    if not songs:
        raise ValueError(
            f"data set 'ms21': {root} holds no train/, valid/ or test/ folder with songs in it; name the one that does"
        )
    missing: tuple[str, ...] = ()
    listing = root / "split_track_list.txt"
    if listing.is_file():
        splits = listed(listing)
        missing = tuple(sorted(set(splits) - set(songs)))
        songs = {name: (splits[name], folder) for name, (_, folder) in songs.items() if name in splits}
    tracks, bad = [], []
    for name, (split, folder) in songs.items():
        try:
            files = stems_in(folder)
        except BadFile as error:
            bad.append(f"{name} ({reason(error)})")
            continue
        rows = {source: files_of(source, files) for source in config.sources}
        mixture = (files["mixture"],) if "mixture" in files else sum((files_of(s, files) for s in STEMS), ())
        if not mixture:
            bad.append(f"{name} (no mixture and no stem)")
            continue
        tracks.append(Track(name, split, {"mixture": mixture, **rows}, name.split(" - ")[0]))
    items, notes = track_items(tracks, config.tolerance_ms)
    notes += unread
    own_level = tuple(name for name, (_, folder) in songs.items() if _normalised(folder))
    if own_level:
        notes.append(
            Note(
                "levels",
                "songs built with --instruments normalised: a stem is not the sum of its instruments, and what it "
                "holds beside one cannot be told by subtraction",
                own_level,
            )
        )
    if bad or missing:
        notes.append(
            Note("skipped", "songs without files", (*bad, *(f"{name} (in the list, not on disk)" for name in missing)))
        )
    held, more = hold_out(
        items, config.valid_share, config.split_seed, "ms21", notes, things=config.sources, has=sounds
    )
    require_splits(held, "ms21", root, notes)
    return Survey(held, (*notes, *more))


def _normalised(folder: Path) -> bool:
    """Whether a song's own record says that its instruments are at their own level, as the thesis' files are."""
    try:
        record = json.loads((folder / "song.json").read_text(encoding="utf-8-sig"))
        return bool(record.get("rules", {}).get("instruments") == "normalised")
    except (OSError, ValueError, AttributeError):  # none of ours
        return False


def nodes() -> tuple[str, ...]:
    """Every name of the hierarchy, parents first."""
    hierarchy = facts()["ms21"]["hierarchy"]
    return tuple(dict.fromkeys((*STEMS, *hierarchy, *(leaf for below in hierarchy.values() for leaf in below))))


def files_of(node: str, files: Mapping[str, Path]) -> tuple[Path, ...]:
    """The files that sum to a node: its own, or those below it."""
    if node in files:
        return (files[node],)
    below = facts()["ms21"]["hierarchy"].get(node, ())
    return tuple(path for child in below for path in files_of(child, files))


def listed(path: Path) -> dict[str, str]:
    """The split of each song in a list of ``val/<song>`` lines."""
    found: dict[str, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            continue
        split, _, name = line.strip().partition("/")
        choose(f"split in {path.name}, line {number},", split, SPLIT_OF)
        if name in found:
            raise ValueError(f"data set 'ms21': {name} stands twice in {path}, line {number}; remove one of its lines")
        found[name] = SPLIT_OF[split]
    return found
