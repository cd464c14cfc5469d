"""Tracks with stems in MUSDB18-HQ's layout: ``<root>/{train,valid,test}/<track>/{mixture,<source>...}.wav|.flac``.

``training/``, ``validation/``, ``val/`` and ``testing/`` are read as what they plainly are.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from mss_core.bad_file import BadFile
from mss_core.data.config import TrackSet
from mss_core.data.doubts import sounds
from mss_core.data.files import SPLIT_OF, Track, named, reason, split_folders, track_items
from mss_core.data.items import Item, Note, Survey, hold_out, require_splits
from mss_core.errors import nearest
from mss_core.folders import AUDIO, entries, stems_in, subfolders


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
    """All tracks that have a mixture and the wanted sources, of one rate and length; any other is a named skip.

    Raises ValueError for a row that most tracks lack: it is none of the set's.
    """
    places, notes = split_folders(root, what)
    folders = [(split, folder) for split, place in places.items() for folder in subfolders(place)]
    if not folders:
        raise ValueError(
            f"data set {what!r}: {root} holds no train/, valid/ or test/ folder with tracks in it{_elsewhere(root)}"
        )
    rows = ("mixture", *config.sources)
    whole, bad, names = [], [], Counter[str]()
    seen: dict[str, Path] = {}
    lacking: dict[str, list[str]] = {row: [] for row in rows}
    for split, folder in folders:
        name = f"{split}/{named(folder)}"
        if name in seen:
            bad.append(f"{name} (two folders of one name; rename one)")
            continue
        seen[name] = folder
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
    if not names:
        raise ValueError(
            f"data set {what!r} in {root}: no {', '.join(AUDIO)} in any of its {len(folders)} track folders"
            f"{_instead(folders[0][1])}"
        )
    for row, without in lacking.items():
        if len(without) > (total := len(without) + names[row]) / 2:
            raise ValueError(
                f"data set {what!r} in {root}: no {row!r} in {len(without)} of {total} tracks, such as {without[0]}; "
                f"{nearest(row, names)}"
            )
    items, more = track_items(whole, config.tolerance_ms)
    if bad:
        more.append(Note("skipped", "tracks without a file for each wanted stem", tuple(bad)))
    return items, [*notes, *more]


def _elsewhere(root: Path) -> str:
    """Where the folders of the splits may be, if not in this folder: the end of an error message."""
    for folder in (root.parent, *subfolders(root)):
        if any(SPLIT_OF.get(each.name.casefold()) for each in subfolders(folder)):
            return f"; {folder} does: name that folder"
    there = [f"{folder.name}/" for folder in subfolders(root)]
    return f"; there are {', '.join(there[:5])}: call them train/, valid/ and test/" if there else "; it has no folders"


def _instead(folder: Path) -> str:
    """What lies in a track's folder: the end of an error message."""
    there = [f"{path.name}/" if path.is_dir() else path.name for path in entries(folder)]
    put = "put the stems themselves into the track's folder" if all(t.endswith("/") for t in there) else "convert them"
    return f"; {folder} holds {', '.join(there[:4])}: {put}" if there else f"; {folder} is empty"
