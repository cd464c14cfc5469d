"""Slakh2100 [Manilow et al. 2019]: ``Track00001/{mix.flac,metadata.yaml,stems/S00.flac,MIDI/S00.mid}``.

Track folders may lie in any folder below the root (train/, validation/, test/, omitted/): the split goes by track
number, so that the three published splits are told from any copy. ``redux`` (1289 / 270 / 151) leaves duplicates out,
``split2`` moves them, ``orig`` is the release. Subset ``onsets100`` keeps those test songs in which bass, drums,
guitar, piano and strings each start at least 100 notes (by MIDI), as TagBox's 50 songs were chosen.

Sources are groups of General MIDI programs (PROGRAMS and NODES), or nodes of a hierarchy of instrument patches: nested
JSON whose leaves list patch names, read from your copy at ``<root>/hierarchy.json``. ``patches:NAME`` is always a node
of that file; a bare NAME is one where it is no group of programs.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from mss_core.data import hierarchy
from mss_core.data.config import TrackSet, split_policy
from mss_core.data.doubts import sounds
from mss_core.data.files import Track, facts, once, reason, track_items
from mss_core.data.items import Note, Survey, hold_out, require_splits
from mss_core.data.loaders.midi import onsets
from mss_core.errors import choose
from mss_core.folders import stems_in, subfolders

PROGRAMS: dict[str, tuple[int, ...]] = {
    "piano": tuple(range(0, 8)),
    "chromatic_percussion": tuple(range(8, 16)),
    "organ": tuple(range(16, 24)),
    "guitar": tuple(range(24, 32)),
    "bass": tuple(range(32, 40)),
    "strings": (*range(40, 47), *range(48, 52)),
    "voices": tuple(range(52, 55)),
    "brass": tuple(range(56, 64)),
    "reed": tuple(range(64, 72)),
    "pipe": tuple(range(72, 80)),
    "synth_lead": tuple(range(80, 88)),
    "synth_pad": tuple(range(88, 96)),
    "drums": (128,),
}
NODES: dict[str, tuple[int, ...]] = hierarchy.load("slakh").contents
"""Nodes of the packaged hierarchy; where one has the name of a group in PROGRAMS it has its programs."""
GROUPS = {**NODES, **PROGRAMS}
PATCHES = "patches:"
TAGBOX = ("bass", "drums", "guitar", "piano", "strings")
ONSETS = 100
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def survey(config: TrackSet, root: Path) -> Survey:
    """Tracks of the chosen split; one without metadata or with a file that cannot be read is a named skip."""
    patches = _patches(root)
    for source in config.sources:
        if source.startswith(PATCHES) and not patches:
            raise ValueError(
                f"data set 'slakh2100': source {source!r} is a node of a hierarchy of patches, and {root} has no "
                "hierarchy.json: put the file of hierarchical_music_separation (ismir_hierarchy.json) there"
            )
        choose("source of slakh2100", source, (*GROUPS, *patches, *(f"{PATCHES}{name}" for name in patches)))
    folders = once(
        "slakh2100",
        (
            (path.name, path)
            for place in (root, *(folder for folder in subfolders(root) if not _is_track(folder)))
            for path in subfolders(place)
            if _is_track(path)
        ),
    )
    if not folders:
        raise ValueError(
            f"data set 'slakh2100': no Track folder in {root} or one folder below; name the folder that holds "
            "train/ or the tracks"
        )
    policy = split_policy(config)
    tracks, bad, few = [], [], []
    for name, folder in sorted(folders.items()):
        try:
            split = split_of(name, policy)
            if split is None:
                continue
            stems = read_stems(folder)
            if config.subset == "onsets100" and split == "test" and min(onset_counts(folder).values()) < ONSETS:
                few.append(name)
                continue
            rows = {source: _files(folder, stems, source, patches) for source in config.sources}
            tracks.append(Track(name, split, {"mixture": (_audio(folder, "mix"),), **rows}))
        except ValueError as error:
            bad.append(f"{name} ({reason(error)})")
    items, notes = track_items(tracks, config.tolerance_ms)
    if bad:
        notes.append(Note("skipped", "folders that are no track, or have no usable metadata or MIDI", tuple(bad)))
    if few:
        notes.append(Note("subset", f"test tracks without {ONSETS} onsets in each of {', '.join(TAGBOX)}", tuple(few)))
    held, more = hold_out(
        items, config.valid_share, config.split_seed, "slakh2100", notes, things=config.sources, has=sounds
    )
    require_splits(held, "slakh2100", root, notes)
    return Survey(held, (*notes, *more))


def split_of(name: str, policy: str) -> str | None:
    """Split of a track by its number, or None where the split leaves it out.

    >>> split_of("Track00003", "orig"), split_of("Track00003", "split2")
    ('train', 'test')
    """
    digits = name.removeprefix("Track")
    number = int(digits) if digits.isdigit() else 0
    if not 1 <= number <= 2100:
        raise ValueError(f"data set 'slakh2100': there is no {name}; tracks are Track00001 to Track02100")
    lists = facts()["slakh2100"]
    if policy == "redux" and number in lists["redux_omits"]:
        return None
    if policy == "split2":
        for split, numbers in lists["split2_moves"].items():
            if number in numbers:
                return split
    return "train" if number <= 1500 else "valid" if number <= 1875 else "test"


def read_stems(folder: Path) -> dict[str, dict[str, Any]]:
    """The stems of a track by id, those that were never rendered left out; ValueError without usable metadata.

    The mini editions say ``audio_rendered: false`` of stems that they hold, so a file on disk counts as rendered.
    """
    try:
        content = yaml.load((folder / "metadata.yaml").read_text(encoding="utf-8"), Loader=_Loader)
        stems = dict(content["stems"])
    except FileNotFoundError:
        raise ValueError("no metadata.yaml") from None
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError, ValueError):
        raise ValueError("metadata.yaml names no stems") from None
    odd = [name for name, stem in stems.items() if not isinstance(stem, dict)]
    there = {
        name: stem
        for name, stem in stems.items()
        if name not in odd and (stem.get("audio_rendered") or _stem_file(folder, name).exists())
    }
    odd += [n for n, stem in there.items() if not (stem.get("is_drum") or str(stem.get("program_num")).isdecimal())]
    if odd:
        raise ValueError(f"metadata.yaml says no program_num of {odd[0]}")
    return there


def onset_counts(folder: Path, sources: tuple[str, ...] = TAGBOX) -> dict[str, int]:
    """Notes started by each source, over the MIDI files of its stems."""
    counts = dict.fromkeys(sources, 0)
    for name, stem in read_stems(folder).items():
        for source in sources:
            if program(stem) in PROGRAMS[source]:
                path = folder / "MIDI" / f"{name}.mid"
                if not path.is_file():
                    raise ValueError(f"no MIDI/{name}.mid")
                counts[source] += onsets(path)
    return counts


def program(stem: dict[str, Any]) -> int:
    """General MIDI program of a stem, 128 for drums."""
    return 128 if stem.get("is_drum") else int(stem["program_num"])


def _stem_file(folder: Path, name: str) -> Path:
    return _audio(folder / "stems", name)


def _audio(folder: Path, name: str) -> Path:
    """The audio file of this name, or the FLAC file that ought to be there."""
    files = stems_in(folder, [name]) if folder.is_dir() else {}
    return files.get(name, folder / f"{name}.flac")


def _is_track(folder: Path) -> bool:
    return re.match(r"Track\d", folder.name) is not None


def _files(
    folder: Path, stems: dict[str, dict[str, Any]], source: str, patches: dict[str, set[str]]
) -> tuple[Path, ...]:
    if source in GROUPS:
        chosen = [name for name, stem in stems.items() if program(stem) in GROUPS[source]]
    else:
        wanted = patches[source.removeprefix(PATCHES)]
        chosen = [name for name, stem in stems.items() if stem.get("plugin_name") in wanted]
    return tuple(_stem_file(folder, name) for name in chosen)


def _patches(root: Path) -> dict[str, set[str]]:
    path = root / "hierarchy.json"
    if not path.is_file():
        return {}
    try:
        return nodes(json.loads(path.read_text(encoding="utf-8-sig")))
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"data set 'slakh2100': {path} is no JSON of nodes that end in lists of patches ({error}); put the file of "
            "hierarchical_music_separation (ismir_hierarchy.json) there"
        ) from None


def nodes(tree: dict[str, Any]) -> dict[str, set[str]]:
    """Patch names below each node of a nested hierarchy."""
    found: dict[str, set[str]] = {}
    for name, below in tree.items():
        inner = nodes(below) if isinstance(below, dict) else {}
        for key, patches in inner.items():
            found.setdefault(key, set()).update(patches)
        own = set().union(*inner.values()) if isinstance(below, dict) else set(below)
        found.setdefault(name, set()).update(own)
    return found
