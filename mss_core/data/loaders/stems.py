"""Tracks with stems in MUSDB18-HQ's layout: ``<root>/{train,valid,test}/<track>/{mixture,<source>...}.wav|.flac``.

``training/``, ``validation/``, ``val/`` and ``testing/`` are read as what they plainly are.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mss_core.data.config import TrackSet
from mss_core.data.doubts import sounds
from mss_core.data.files import Track, named, reason, split_folders, track_items
from mss_core.data.items import Item, Note, Survey, hold_out, require_splits
from mss_core.errors import BadFile, nearest
from mss_core.folders import stems_in, subfolders


def survey(config: TrackSet, root: Path) -> Survey:
    """All tracks, with a validation split held out by seed where the folder has none."""
    items, notes = tracks(config, root, "stems")
    held, more_notes = hold_out(
        items, config.valid_share, config.split_seed, "stems", notes, things=config.sources, has=sounds
    )
    require_splits(held, "stems", root, notes)
    return Survey(held, (*notes, *more_notes))


def names(root: Path) -> Counter[str]:
    """In how many tracks each row has a file; of none where the splits cannot be told apart, which a survey refuses."""
    try:
        places, _ = split_folders(root, "stems")
    except ValueError:
        return Counter()
    folders = [folder for place in places.values() for folder in subfolders(place)]
    return Counter(name for folder in folders for name in stems_in(folder, [""]))


def tracks(config: TrackSet, root: Path, what: str) -> tuple[list[Item], list[Note]]:
    """All tracks that have a mixture and the wanted sources, of one length and rate; any other is a named skip.

    Raises ValueError for a row that most tracks lack: it is none of the set's.
    """
    places, notes = split_folders(root, what)
    folders = [(split, folder) for split, place in places.items() for folder in subfolders(place)]
    if not folders:
        raise ValueError(f"data set {what!r}: {root} holds no train/, valid/ or test/ folder with tracks in it")
    rows = ("mixture", *config.sources)
    whole, bad, names = [], [], Counter[str]()
    lacking: dict[str, list[str]] = {row: [] for row in rows}
    for split, folder in folders:
        name = f"{split}/{named(folder)}"
        try:
            files = stems_in(folder, rows)
        except BadFile as error:
            bad.append(f"{name} ({reason(error)})")
            continue
        if not files:
            bad.append(f"{name} (no audio in it)")
            continue
        names.update(files.keys())
        missing = [row for row in rows if row not in files]
        for row in missing:
            lacking[row].append(name)
        if missing:
            bad.append(f"{name} (no {missing[0]!r}; {nearest(missing[0], files)})")
        else:
            whole.append(Track(named(folder), split, {row: (files[row],) for row in rows}))
    for row, without in lacking.items():
        if len(without) > (total := len(without) + names[row]) / 2:
            raise ValueError(
                f"data set {what!r} in {root}: no {row!r} in {len(without)} of {total} tracks, such as {without[0]}; "
                f"{nearest(row, names)}"
            )
    items, more = track_items(whole)
    if bad:
        more.append(Note("skipped", "tracks without a file for each wanted stem", tuple(bad)))
    return items, [*notes, *more]
