"""MM: MedleyDB 1 and 2 joined with Mixing Secrets [Gururani and Lerch 2017; Hung and Lerch 2020].

Both come in MedleyDB's layout, anywhere below the root: a folder ``<track>/`` with ``<track>_MIX.wav`` and
``<track>_STEMS/``, and a ``<track>_METADATA.yaml`` there or in another folder (``Metadata/``). The split lists carry
no licence, so bring your own: ``<root>/train.txt`` and ``<root>/test.txt``, one track name a line (``valid.txt`` where
you have one).

Sources are the six target instruments and ``"other"`` (all remaining stems). A stem that a METADATA file gives
several instruments counts for a target only if all of them are that target. A track without a target has a silent
row. Levels differ widely between tracks: the IASS systems set ``mixture="sum"`` and ``rms_db=-20``.

Activation confidences, ``<track>_ACTIVATION_CONF.lab``, may lie anywhere below the root; of several versions of one
track's, the last by path is read (``v2/`` after ``original/``).
"""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mss_core.bad_file import BadFile
from mss_core.data.config import TrackSet
from mss_core.data.doubts import sounds
from mss_core.data.files import Track, facts, once, read_lines, track_items
from mss_core.data.items import SPLITS, Note, Reader, Survey, hold_out, require_splits
from mss_core.disk import checksum
from mss_core.errors import choose, nearest
from mss_core.folders import find, plain, walk

CONFIDENCE = "_ACTIVATION_CONF.lab"
MIX = "_MIX.wav"


def survey(config: TrackSet, root: Path) -> Survey:
    """Tracks that the split lists name. One that is missing or damaged is a named skip."""
    for source in config.sources:
        choose("source of mm", source, (*targets(), "other"))
    wanted = split_lists(root)
    folders = once("mm", ((_track_of(path, MIX), path.parent) for path in walk(root, MIX.lower())))
    metadata = _by_track(root, "_METADATA.yaml")
    if not folders:
        raise ValueError(f"data set 'mm': no <track>_MIX.wav below {root}")
    tracks, bad = [], []
    for name, split in wanted.items():
        if name not in folders:
            bad.append(f"{name} (no {name}_MIX.wav; {nearest(name, folders)})")
        elif name not in metadata:
            bad.append(f"{name} (no {name}_METADATA.yaml)")
        else:
            try:
                tracks.append(_track(name, split, folders[name], metadata[name], config.sources))
            except BadFile as error:
                bad.append(f"{name} ({error})")
    items, notes = track_items(tracks, config.tolerance_ms)
    if bad:
        notes.append(Note("skipped", "tracks without their mix or a usable METADATA file", tuple(bad)))
    unlisted = tuple(sorted(set(folders) - set(wanted)))
    if unlisted:
        notes.append(Note("unlisted", "tracks on disk that no split list names; left out", unlisted))
    held, more = hold_out(items, config.valid_share, config.split_seed, "mm", notes, things=config.sources, has=sounds)
    require_splits(held, "mm", root, notes)
    hashes = {name: checksum(path) for name, path in _by_track(root, CONFIDENCE).items() if name in wanted}
    return Survey(held, (*notes, *more), extra={"confidences": hashes} if hashes else {})


def confidences(config: TrackSet, root: Path) -> dict[str, Reader]:
    """For each track with a published file, what reads its times (s) and the activation confidence of each source that
    it has: the maximum over the stems that make up the source. It raises BadFile for a file that lacks a stem or
    makes no sense."""
    metadata = _by_track(root, "_METADATA.yaml")
    return {
        name: partial(_confidences, path, metadata[name], config.sources)
        for name, path in _by_track(root, CONFIDENCE).items()
        if name in metadata
    }


def _confidences(path: Path, metadata: Path, sources: tuple[str, ...]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    times, found = read_confidence(path)
    rows = {source: stems for source, stems in _rows(read_metadata(metadata), sources).items() if stems}
    lacking = sorted({key for stems in rows.values() for key in stems} - set(found))
    if lacking:
        raise BadFile(f"{path}: no stem {', '.join(lacking)}, which {metadata.name} has")
    return times, {source: np.max([found[key] for key in stems], axis=0) for source, stems in rows.items()}


def read_confidence(path: Path) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Times (s) and confidences by stem of a MedleyDB ``_ACTIVATION_CONF.lab``."""
    lines = path.read_text(encoding="utf-8").splitlines()
    names = lines[0].split(",") if lines else []
    if names[:1] != ["time"] or len(names) < 2:
        raise BadFile(f"{path}: not an activation confidence file (its first line must be time,S01,...)")
    try:
        table = np.array([[float(word) for word in line.split(",")] for line in lines[1:]])
        times, values = table[:, 0], {name: table[:, column] for column, name in enumerate(names[1:], start=1)}
    except (ValueError, IndexError):
        raise BadFile(f"{path}: a line does not hold {len(names)} numbers") from None
    if not (np.diff(times) > 0).all() or not all(
        (0 <= value).all() and (value <= 1).all() for value in values.values()
    ):
        raise BadFile(f"{path}: times do not rise, or confidences lie outside [0, 1]")
    return times, values


def single_tracks(config: TrackSet, root: Path) -> dict[str, dict[str, tuple[Path, tuple[str, ...]]]]:
    """By song, every stem that belongs to no target, by its stem number: its file, and the targets that play in it
    among other instruments."""
    metadata = _by_track(root, "_METADATA.yaml")
    folders = {_track_of(path, MIX): path.parent for path in walk(root, MIX.lower())}
    found = {}
    for name in folders.keys() & metadata.keys() & split_lists(root).keys():
        with contextlib.suppress(BadFile):  # the survey has named it
            content = read_metadata(metadata[name])
            stems = folders[name] / content.get("stem_dir", f"{name}_STEMS")
            found[name] = {
                key: (find(stems, filename), _targets_in(content["stems"][key]["instrument"]))
                for key, filename in _rows(content, ("other",))["other"].items()
            }
    return found


def _targets_in(instruments: str | list[str]) -> tuple[str, ...]:
    names = [instruments] if isinstance(instruments, str) else instruments
    return tuple(target for target, members in targets().items() if set(names) & set(members))


def _by_track(root: Path, suffix: str) -> dict[str, Path]:
    return {_track_of(path, suffix): path for path in walk(root, suffix.lower())}


def _track_of(path: Path, suffix: str) -> str:
    return plain(path.name[: -len(suffix)])


def targets() -> dict[str, str]:
    """Target instrument of each MedleyDB instrument name that has one: keys are targets."""
    return facts()["mm"]["instruments"]


def target_of(instruments: str | list[str]) -> str:
    """The target that all the instruments of a stem belong to, or ``"other"``.

    >>> target_of("female singer"), target_of(["drum set", "electric bass"])
    ('vocals', 'other')
    """
    names = [instruments] if isinstance(instruments, str) else list(instruments)
    found = {next((target for target, members in targets().items() if name in members), "other") for name in names}
    return found.pop() if len(found) == 1 else "other"


def split_lists(root: Path) -> dict[str, str]:
    """Split of each track by the user's lists; ValueError for a missing list or a track that stands in two."""
    found: dict[str, str] = {}
    for split in SPLITS:
        path = root / f"{split}.txt"
        if not path.is_file():
            if split == "valid":
                continue
            raise ValueError(
                f"data set 'mm': no {path}; the published split has no licence, so bring your copy of "
                "the list, one track name a line"
            )
        for line in map(plain, map(str.strip, read_lines(path))):
            if line and line in found:
                raise ValueError(f"data set 'mm': {line} stands in {found[line]}.txt and again in {split}.txt")
            if line:
                found[line] = split
    return found


def read_metadata(path: Path) -> dict[str, Any]:
    """A METADATA file; BadFile where it is not one."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict) or not isinstance(content.get("stems"), dict) or not content["stems"]:
        raise BadFile(f"{path.name} names no stems")
    for key, stem in content["stems"].items():
        if not (isinstance(stem, dict) and isinstance(stem.get("filename"), str) and stem.get("instrument")):
            raise BadFile(f"{path.name}: {key} has no instrument or no filename")
    return content


def _track(name: str, split: str, folder: Path, metadata: Path, sources: tuple[str, ...]) -> Track:
    content = read_metadata(metadata)
    stems = folder / content.get("stem_dir", f"{name}_STEMS")
    rows = {
        source: tuple(find(stems, filename) for filename in files.values())
        for source, files in _rows(content, sources).items()
    }
    return Track(name, split, {"mixture": (find(folder, f"{name}{MIX}"),), **rows}, str(content.get("artist", "")))


def _rows(content: dict[str, Any], sources: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """The stems that make up each source: file names by MedleyDB's stem numbers."""
    rows: dict[str, dict[str, str]] = {source: {} for source in sources}
    for key, stem in content["stems"].items():
        source = target_of(stem["instrument"])
        if source in rows:
            rows[source][str(key)] = stem["filename"]
    return rows
