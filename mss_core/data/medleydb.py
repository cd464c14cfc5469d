"""MM: MedleyDB 1 and 2 joined with Mixing Secrets [Gururani and Lerch 2017; Hung and Lerch 2020].

Both come in MedleyDB's layout, anywhere below the root: a folder ``<track>/`` with ``<track>_MIX.wav`` and
``<track>_STEMS/``, and a ``<track>_METADATA.yaml`` there or in another folder (``Metadata/``). The split lists carry
no licence, so bring your own: ``<root>/train.txt`` and ``<root>/test.txt``, one track name a line (``valid.txt`` where
you have one).

Sources are the six target instruments and ``"other"`` (all remaining stems). A stem that a METADATA file gives
several instruments counts for a target only if all of them are that target. A track without a target has a silent
row. Levels differ widely between tracks: the IASS systems set ``mixture="sum"`` and ``rms_db=-20``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from mss_core.data.config import TrackSet
from mss_core.data.files import Track, facts, once, read_lines, track_items
from mss_core.data.items import SPLITS, Note, Survey, hold_out, require_splits
from mss_core.naming import choose, nearest


def survey(config: TrackSet, root: Path) -> Survey:
    """Tracks that the split lists name. One that is missing or damaged is a named skip."""
    for source in config.sources:
        choose("source of mm", source, (*targets(), "other"))
    wanted = split_lists(root)
    folders = once("mm", ((path.name.removesuffix("_MIX.wav"), path.parent)
                          for path in sorted(root.rglob("*_MIX.wav"))))
    metadata = {path.name.removesuffix("_METADATA.yaml"): path for path in sorted(root.rglob("*_METADATA.yaml"))}
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
            except ValueError as error:
                bad.append(f"{name} ({error})")
    items, notes = track_items(tracks)
    if bad:
        notes.append(Note("skipped", "tracks without their mix or a usable METADATA file", tuple(bad)))
    unlisted = tuple(sorted(set(folders) - set(wanted)))
    if unlisted:
        notes.append(Note("unlisted", "tracks on disk that no split list names; left out", unlisted))
    held, more = hold_out(items, config.valid_share, config.split_seed, "mm", notes)
    require_splits(held, "mm", root, notes)
    return Survey(held, (*notes, *more))


def targets() -> dict[str, str]:
    """Target instrument of each MedleyDB instrument name that has one: keys are targets."""
    return facts()["mm"]["instruments"]


def target_of(instruments: str | list[str]) -> str:
    """The target that all the instruments of a stem belong to, or ``"other"``.

    >>> target_of("female singer"), target_of(["drum set", "electric bass"])
    ('vocals', 'other')
    """
    names = [instruments] if isinstance(instruments, str) else list(instruments)
    found = {next((target for target, members in targets().items() if name in members), "other")
             for name in names}
    return found.pop() if len(found) == 1 else "other"


def split_lists(root: Path) -> dict[str, str]:
    """Split of each track by the user's lists; ValueError for a missing list or a track that stands in two."""
    found: dict[str, str] = {}
    for split in SPLITS:
        path = root / f"{split}.txt"
        if not path.is_file():
            if split == "valid":
                continue
            raise ValueError(f"data set 'mm': no {path}; the published split has no licence, so bring your copy of "
                             "the list, one track name a line")
        for line in map(str.strip, read_lines(path)):
            if line and line in found:
                raise ValueError(f"data set 'mm': {line} stands in {found[line]}.txt and again in {split}.txt")
            if line:
                found[line] = split
    return found


def read_metadata(path: Path) -> dict[str, Any]:
    """A METADATA file; ValueError where it is not one."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict) or not content.get("stems"):
        raise ValueError(f"{path.name} names no stems")
    return content


def _track(name: str, split: str, folder: Path, metadata: Path, sources: tuple[str, ...]) -> Track:
    content = read_metadata(metadata)
    stems = folder / content.get("stem_dir", f"{name}_STEMS")
    rows: dict[str, tuple[Path, ...]] = {source: () for source in sources}
    for stem in content["stems"].values():
        source = target_of(stem["instrument"])
        if source in rows:
            rows[source] += (stems / stem["filename"],)
    return Track(name, split, {"mixture": (folder / f"{name}_MIX.wav",), **rows}, str(content.get("artist", "")))
