"""Property: of any set in any published layout, litter, links and the case of suffixes change nothing, and one damaged
file costs the item that it belongs to, which is named, and no other."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from mss_core.data.config import ClipSet, TrackSet
from mss_core.data.fingerprints import Fingerprints, fingerprint
from mss_core.data.sets import survey
from mss_core.folders import AUDIO
from tests.conftest import write_clips, write_track
from tests.data import trees

FOLDERS = (
    "__MACOSX",
    "@eaDir",
    ".ipynb_checkpoints",
    ".AppleDouble",
    "#recycle",
    "$RECYCLE.BIN",
    ".Trash-1000",
    ".git",
)
FILES = (".DS_Store", "Thumbs.db", "desktop.ini", "DESKTOP.INI", ".directory", ".nfs0001", "ehthumbs.db")


@dataclass(frozen=True)
class Layout:
    """A set in some layout; ``item`` is what a damaged file costs: the file itself, or the folder in which it lies."""

    tree: Callable[[Path], Path]
    config: TrackSet | ClipSet
    item: str = "file"


def stems(root: Path) -> Path:
    for seed, place in enumerate(("train/a", "train/b", "train/c d", "valid/...And e", "test/f", "test/g")):
        write_track(root / place, seconds=0.3, rate=8000, seed=seed)
    return root


def clips(root: Path) -> Path:
    (root / "sub").mkdir(parents=True)
    names = [(split, number) for split in ("train", "valid", "test") for number in range(4)]
    return write_clips(root, [(f"sub/{s} {n}.wav", "xy"[n % 2], s, 0.1) for s, n in names], 8000)


def musdb18(root: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        return trees.musdb18(root, patch)


LAYOUTS = {
    "stems": Layout(stems, TrackSet("stems"), "folder"),
    "musdb18": Layout(musdb18, TrackSet("musdb18")),
    "musdb18hq": Layout(trees.musdb18hq, TrackSet("musdb18hq"), "folder"),
    "mm": Layout(trees.mm, TrackSet("mm", ("bass", "other"))),
    "moisesdb": Layout(trees.moisesdb, TrackSet("moisesdb")),
    "ms21": Layout(trees.ms21, TrackSet("ms21", ("bass",)), "folder"),
    "slakh2100": Layout(trees.slakh2100, TrackSet("slakh2100", ("bass", "guitar"))),
    "clips": Layout(clips, ClipSet("clips")),
    "mtat": Layout(trees.mtat, ClipSet("mtat")),
    "fma_medium": Layout(trees.fma, ClipSet("fma_medium")),
    "irmas": Layout(trees.irmas, ClipSet("irmas")),
    "mtg_jamendo": Layout(trees.jamendo, ClipSet("mtg_jamendo", "top50")),
}


@pytest.fixture(scope="module", params=LAYOUTS)
def layout(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Layout, Path]]:
    one = LAYOUTS[request.param]
    yield one, one.tree(tmp_path_factory.mktemp("tidy") / "set")


def sound_files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.name.lower().endswith((*AUDIO, ".stem.mp4")))


def linked_copy(tidy: Path, folder: str, name: str) -> Path:
    """A copy of a tree that shares the content of its files."""
    return Path(shutil.copytree(tidy, Path(folder) / name, copy_function=os.link))


def litter(folder: Path, names: list[str]) -> None:
    """Left-overs with the content of good files, so that reading one would be seen."""
    files = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    for name in names:
        if name in FILES:
            (folder / name).write_bytes(b"x")
            continue
        (folder / name / "track").mkdir(parents=True)
        for path in files:
            os.link(path, folder / name / path.name)
            os.link(path, folder / name / "track" / path.name)
    for path in files:
        (folder / f"._{path.name}").write_bytes(b"Mac OS X        ")


def moved_away(path: Path, away: Path) -> None:
    """A file or folder, and in its place a link to it."""
    away.parent.mkdir(exist_ok=True)
    path.rename(away)
    path.symlink_to(away)


def damage(path: Path, how: str) -> None:
    content = path.read_bytes()
    path.unlink()  # its content is that of other copies
    path.write_bytes({"empty": b"", "text": b"not found\n" * 99, "cut": content[: len(content) // 2]}[how])


def read(config: TrackSet | ClipSet, root: Path) -> tuple[str, set[str], str]:
    """The fingerprint of what is read, the names of its items, and what is told of the others; of a set that is refused
    why."""
    try:
        found = survey(config, {config.name: root})
    except ValueError as error:
        return "refused", set(), str(error)
    notes = tuple(note for note in found.notes if note.kind not in ("skipped", "coverage"))
    told = " | ".join(item for note in found.notes if note.kind == "skipped" for item in note.items)
    content = fingerprint(replace(found, notes=notes), root, Fingerprints(None))
    return content, {item.name for item in found.items}, told


@settings(max_examples=8, deadline=None, phases=(Phase.reuse, Phase.generate))
@given(data=st.data())
def test_a_random_tree_is_read_as_the_tidy_one_but_for_what_is_damaged(layout: tuple[Layout, Path], data) -> None:
    one, tidy = layout
    with tempfile.TemporaryDirectory() as folder:
        dirty, clean = linked_copy(tidy, folder, "dirty"), linked_copy(tidy, folder, "clean")
        relative = [path.relative_to(dirty) for path in sound_files(dirty)]
        bad = data.draw(st.sampled_from([None, *relative]), "damaged")
        for path in data.draw(st.sets(st.sampled_from(relative), max_size=9), "upper"):
            upper = path.with_suffix(path.suffix.upper())
            (dirty / path).rename(dirty / upper)
            bad = upper if path == bad else bad
        if bad is not None:
            before = (clean / bad).with_suffix(bad.suffix.lower())
            kinds = ["empty", "text", "cut"] if before.suffix in (".wav", ".mp4") else ["empty", "text"]
            damage(dirty / bad, data.draw(st.sampled_from(kinds), "how"))
            shutil.rmtree(before.parent) if one.item == "folder" else before.unlink()
        places = [path for path in dirty.rglob("*") if path.is_dir() or path in sound_files(dirty)]
        for number, path in enumerate(data.draw(st.lists(st.sampled_from(places), unique=True, max_size=3), "links")):
            moved_away(path, Path(folder) / "away" / str(number))
        for place in data.draw(st.sets(st.sampled_from([dirty, *places]), max_size=4), "litter"):
            if place.is_dir():
                litter(place, data.draw(st.lists(st.sampled_from(FOLDERS + FILES), unique=True, max_size=3), "names"))
        got, names, told = read(one.config, dirty)
        wanted, rest, _ = read(one.config, clean)
        assert (got, names) == (wanted, rest), told
        if bad is not None:
            lost = read(one.config, tidy)[1] - rest
            assert got == "refused" or all(name in told for name in lost), (lost, told)
