"""MUSDB18 [Rafii et al. 2017]: ``.stem.mp4`` files, and MUSDB18-HQ: a folder of WAV files for each track.

``<root>/{train,test}/<track>.stem.mp4`` or ``<root>/{train,test}/<track>/{mixture,vocals,...}.wav``. The 14 published
validation tracks are taken from train, unless ``split`` is ``"random"``. The mixture is mastered and need not be the
sum of its stems.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from mss_core.bad_file import BadFile
from mss_core.data.config import TrackSet, split_policy
from mss_core.data.doubts import sounds
from mss_core.data.files import CUT, disagreement, facts, reason, split_folders, too_far, unequal
from mss_core.data.items import Item, Note, Sound, Survey, hold_out, require_splits, skipped
from mss_core.data.loaders import stem_mp4, stems
from mss_core.errors import choose
from mss_core.folders import entries, plain

SOURCES = ("drums", "bass", "other", "vocals")


def survey(config: TrackSet, root: Path) -> Survey:
    """All tracks of either edition, with the published validation split."""
    for source in config.sources:
        choose(f"source of {config.name}", source, SOURCES)
    if config.name == "musdb18":
        items, notes = _stem_files(root, config.tolerance_ms)
    else:
        items, notes = stems.tracks(config, root, config.name)
    items = [replace(item, artist=item.name.split(" - ")[0]) for item in items]
    if any(item.split == "valid" for item in items):
        raise ValueError(
            f"data set {config.name!r}: {root} has a valid/ folder; the published set has train/ and "
            "test/ only (name it 'stems' to use your own split)"
        )
    if split_policy(config) == "random":
        held, more = hold_out(
            items, config.valid_share, config.split_seed, config.name, notes, things=config.sources, has=sounds
        )
    else:
        held, more = _published(items, config.name)
    require_splits(held, config.name, root, notes)
    return Survey(held, (*notes, *more))


def _published(items: list[Item], what: str) -> tuple[tuple[Item, ...], list[Note]]:
    names = set(facts()["musdb18"]["valid"])
    moved = tuple(
        replace(item, split="valid") if item.split == "train" and item.name in names else item for item in items
    )
    missing = sorted(names - {item.name for item in moved if item.split == "valid"})
    if len(missing) == len(names):
        raise ValueError(
            f"data set {what!r}: train/ holds none of the 14 published validation tracks (such as "
            f"{missing[0]!r}); split 'random' holds tracks out by seed"
        )
    note = Note("split", f"validation tracks of {what} that are not in train/", tuple(missing))
    return moved, [note] if missing else []


def _stem_files(root: Path, tolerance_ms: float | None) -> tuple[list[Item], list[Note]]:
    """Tracks whose streams agree in length as far as the coder keeps lengths, or as far as is declared."""
    items, bad, cut, apart = [], [], [], []
    places, notes = split_folders(root, "musdb18")
    for split, place in places.items():
        for path in entries(place):
            if not path.name.lower().endswith(".stem.mp4"):
                continue
            name = plain(path.name[: -len(".stem.mp4")])
            try:
                streams = stem_mp4.info(path)
            except BadFile as error:
                bad.append(f"{name} ({reason(error)})")
                continue
            if len(streams) != 5:
                bad.append(f"{name} ({len(streams)} audio streams instead of 5)")
                continue
            lengths = [round(ticks * stem_mp4.SAMPLERATE / rate) for ticks, rate in streams]
            here = {f"stream {number}": (frames, stem_mp4.SAMPLERATE, 2) for number, frames in enumerate(lengths)}
            problem = disagreement(here, stem_mp4.SLACK_MS if tolerance_ms is None else tolerance_ms)
            if problem:
                bad.append(f"{name} ({problem})")
                apart += too_far(name, here)
                continue
            if tolerance_ms is not None and len(set(lengths)) > 1:
                cut.append(f"{name} ({min(lengths)} of {max(lengths)} frames)")
            items.append(Item(name, split, partial(_read, path), files=(path,)))
    if not items:
        raise ValueError(
            f"data set 'musdb18': {root} holds no readable train/*.stem.mp4 or test/*.stem.mp4 (WAV files are set "
            f"'musdb18hq'){skipped([Note('skipped', '', tuple(bad))])}"
        )
    told = [
        Note("skipped", "tracks that are not a readable .stem.mp4 with five streams", tuple(bad)),
        Note("cut", CUT, tuple(cut)),
    ]
    return items, [*notes, *(note for note in told if note.items), *unequal(apart)]


def _read(path: Path) -> Sound:
    decoded = stem_mp4.load(path, range(5))
    return Sound(dict(zip(("mixture", *SOURCES), decoded, strict=True)), stem_mp4.SAMPLERATE)
