"""Tracks with stems in MUSDB18-HQ's layout: ``<root>/{train,valid,test}/<track>/{mixture,<source>...}.wav|.flac``."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from mss_core import audio
from mss_core.data.config import TrackSet
from mss_core.data.items import AUDIO, SPLITS, Item, Note, Sound, Survey, hold_out, require_splits
from mss_core.errors import nearest


def survey(config: TrackSet, root: Path) -> Survey:
    """All tracks, with a validation split held out by seed where the folder has none."""
    items, notes = tracks(config, root, "stems")
    held, more_notes = hold_out(items, config.valid_share, config.split_seed, "stems", notes)
    require_splits(held, "stems", root, notes)
    return Survey(held, (*notes, *more_notes))


def tracks(config: TrackSet, root: Path, what: str) -> tuple[list[Item], list[Note]]:
    """All tracks; each needs a mixture and the wanted sources, of one length and rate.

    A file that is not audio makes its track a named skip; a missing stem, or stems that differ, is
    an error, since it means that the set is not what it seems.
    """
    folders = [
        (split, folder)
        for split in SPLITS
        if (root / split).is_dir()
        for folder in sorted((root / split).iterdir())
        if folder.is_dir()
    ]
    if not folders:
        raise ValueError(f"data set {what!r}: {root} holds no train/, valid/ or test/ folder with tracks in it")
    items, unreadable, errors = [], [], []
    for split, folder in folders:
        name = f"{split}/{folder.name}"
        files = {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in AUDIO}
        missing = [row for row in ("mixture", *config.sources) if row not in files]
        if missing:
            errors.append(f"{name}: no {missing[0]!r} ({nearest(missing[0], files)})")
            continue
        rows = {row: files[row] for row in ("mixture", *config.sources)}
        try:
            headers = {row: audio.info(path) for row, path in rows.items()}
            if not headers["mixture"][0]:
                raise ValueError("empty")
        except ValueError as error:
            unreadable.append(f"{name} ({str(error).split(': ', 1)[-1]})")
            continue
        for index, quantity in ((1, "sample rate"), (0, "length")):
            values = {row: header[index] for row, header in headers.items()}
            odd = [row for row in rows if values[row] != values["mixture"]]
            if odd:
                unit = "Hz" if index else "frames"
                errors.append(
                    f"{name}: {odd[0]} has another {quantity} than the mixture "
                    f"({values[odd[0]]} against {values['mixture']} {unit})"
                )
                break
        items.append(Item(folder.name, split, partial(_read, rows), files=tuple(rows.values())))
    if errors:
        more = f"; and {len(errors) - 5} more" if len(errors) > 5 else ""
        raise ValueError(f"data set {what!r} in {root}: " + "; ".join(errors[:5]) + more)
    notes = [Note("skipped", "tracks with a file that is not readable audio", tuple(unreadable))] if unreadable else []
    return items, notes


def _read(rows: dict[str, Path]) -> Sound:
    decoded = {row: audio.load(path) for row, path in rows.items()}
    return Sound({row: waveform for row, (waveform, _) in decoded.items()}, decoded["mixture"][1])
