"""What the data set modules share: facts, headers of many files, and items made from tables and folders."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mss_core import audio
from mss_core.data.items import SPLITS, Item, Note, Rows, Sound
from mss_core.errors import BadFile, nearest
from mss_core.folders import AUDIO, find, subfolders, walk

Header = tuple[int, int, int]
"""Frames, sample rate in Hz, channels."""


@functools.cache
def facts() -> dict[str, Any]:
    """Published facts: split sizes, lists of broken files, names and orders of tags."""
    return json.loads(Path(__file__).with_name("facts.json").read_text(encoding="utf-8"))


def cores() -> int:
    """Cores that this process may use, at most 16."""
    return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def headers(paths: Iterable[Path], exact: bool = True) -> dict[Path, Header | str]:
    """Header of each file, or why it has none; ``exact`` as in :func:`mss_core.audio.info`."""
    paths = list(paths)
    with ThreadPoolExecutor(cores()) as pool:
        return dict(zip(paths, pool.map(partial(_header, exact=exact), paths), strict=True))


def _header(path: Path, exact: bool) -> Header | str:
    try:
        if path.stat().st_size == 0:
            return "0 bytes"
        header = audio.info(path, exact)
    except FileNotFoundError:
        return "missing"
    except BadFile as error:
        return reason(error)
    return header if header[0] > 0 else "empty"


def reason(error: Exception) -> str:
    """What is wrong with a file, without its path."""
    return str(error).split(": ", 1)[-1]


def read_lines(path: Path) -> list[str]:
    """Lines of a text file, gzipped or not, without a byte-order mark or empty lines at the end. ValueError for what is
    no text, as a pickled list (.cP) under another name."""
    raw = path.read_bytes()
    try:
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path}: not a text file (a pickle is never opened)") from None
    return text.rstrip("\n").splitlines()


def first_existing(*paths: Path) -> Path | None:
    """The first path that exists, or exists with ``.gz`` behind it."""
    for path in paths:
        for candidate in (path, path.with_name(path.name + ".gz")):
            if candidate.exists():
                return candidate
    return None


# ---- clips


@dataclass(frozen=True)
class Clip:
    """A clip that a table names; ``seconds`` is its published duration, 0 where there is none."""

    name: str
    split: str
    labels: tuple[str, ...]
    path: Path
    artist: str = ""
    seconds: float = 0.0


def clip_items(what: str, clips: Iterable[Clip], broken: Iterable[str] = ()) -> tuple[list[Item], list[Note]]:
    """Items of the clips whose files can be read, and notes that name the others.

    ``broken`` names clips that are known to be broken in every copy. Raises ValueError for a clip named twice and
    where no file at all can be read.
    """
    listings: dict[Path, dict[str, list[Path]]] = {}
    clips = [replace(clip, path=_found(clip.path, clip.name, listings)) for clip in clips]
    broken = set(broken)
    seen: set[str] = set()
    for clip in clips:
        if clip.name in seen:
            raise ValueError(f"data set {what!r}: {clip.name} is named twice; labels cannot be told apart")
        seen.add(clip.name)
    wanted = [clip for clip in clips if clip.name not in broken]
    found = headers((clip.path for clip in wanted), exact=False)
    bad = tuple(f"{clip.name} ({found[clip.path]})" for clip in wanted if isinstance(found[clip.path], str))
    items = [
        Item(clip.name, clip.split, partial(read_clip, clip.path), clip.labels, (clip.path,), clip.artist, clip.seconds)
        for clip in wanted
        if not isinstance(found[clip.path], str)
    ]
    if not items:
        first = f"; the first: {wanted[0].path} ({found[wanted[0].path]})" if wanted else ""
        raise ValueError(f"data set {what!r}: none of its {len(wanted)} clips can be read{first}")
    notes = []
    excluded = tuple(clip.name for clip in clips if clip.name in broken)
    if excluded:
        notes.append(Note("excluded", "clips known to be broken in every copy of the set", excluded))
    if bad:
        notes.append(Note("skipped", "clips that are missing or not readable audio", bad))
    return items, notes


def _found(path: Path, name: str, listings: dict[Path, dict[str, list[Path]]]) -> Path:
    """The clip's file, in whichever spelling it is there."""
    if path.exists():
        return path
    depth = len(Path(name).parts) if path.as_posix().endswith(name) else 1
    return find(path.parents[depth - 1], "/".join(path.parts[-depth:]), listings)


def read_clip(path: Path) -> Sound:
    waveform, rate = audio.load(path)
    return Sound({"mixture": waveform}, rate)


# ---- tracks


@dataclass(frozen=True)
class Track:
    """A track whose rows are sums of files; a row without files is silent.

    An absent ``"mixture"`` is the sum of all the files.
    """

    name: str
    split: str
    rows: Mapping[str, tuple[Path, ...]]
    artist: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(path for paths in self.rows.values() for path in paths))


def track_items(tracks: Iterable[Track], cut: bool = False) -> tuple[list[Item], list[Note]]:
    """Items of the tracks whose files agree in rate and length, and notes that name the others. With ``cut`` files of
    other lengths are cut to the shortest of the track, unless that is less than half of the longest."""
    tracks = list(tracks)
    found = headers(dict.fromkeys(path for track in tracks for path in track.files))
    items, bad, shortened = [], [], []
    for track in tracks:
        here = {path.name: found[path] for path in track.files}
        lengths = [header[0] for header in here.values() if not isinstance(header, str)]
        apart = cut and len(set(lengths)) > 1 and 2 * min(lengths) > max(lengths)
        problem = disagreement(here, lengths=not apart)
        if problem:
            bad.append(f"{track.name} ({problem})")
        else:
            if apart:
                shortened.append(f"{track.name} ({min(lengths)} of {max(lengths)} frames)")
            items.append(
                Item(
                    track.name,
                    track.split,
                    partial(read_track, dict(track.rows), **({"cut": True} if apart else {})),
                    files=track.files,
                    artist=track.artist,
                )
            )
    notes = [
        Note("skipped", "tracks with a file that is not readable, or unlike the others", tuple(bad)),
        Note("cut", "tracks with files of several lengths, cut to the shortest", tuple(shortened)),
    ]
    return items, [note for note in notes if note.items]


def disagreement(found: Mapping[str, Header | str], lengths: bool = True) -> str:
    """What is wrong among the files of one track, their ``lengths`` among it, or nothing."""
    if not found:
        return "no file"
    for name, header in found.items():
        if isinstance(header, str):
            return f"{name}: {header}"
    first, (frames, rate, _) = next(iter(found.items()))
    for name, header in found.items():
        if header[1] != rate:
            return f"{name} has {header[1]} Hz, {first} {rate} Hz"
        if lengths and header[0] != frames:
            return f"{name} has {header[0]} frames, {first} {frames}"
    return ""


def read_track(
    rows: Mapping[str, tuple[Path, ...]], load: Callable[[Path], tuple[np.ndarray, int]] = audio.load, cut: bool = False
) -> Sound:
    """A track whose rows are decoded when they are asked for: each the sum of its files, zeros where it has none; with
    ``cut`` all are as long as the shortest file. BadFile where files differ in rate or, without ``cut``, in length."""
    paths = list(dict.fromkeys(path for of_row in rows.values() for path in of_row))
    known = [audio.info(path) for path in paths]
    rates = {rate for _, rate, _ in known}
    lengths = {frames for frames, _, _ in known}
    if len(rates) > 1 or (len(lengths) > 1 and not cut):
        raise BadFile(
            f"{paths[0]}: files of one track differ in rate or length ({sorted(rates)} Hz, {sorted(lengths)} frames)"
        )
    frames = min(lengths)

    def summed(files: Sequence[Path]) -> np.ndarray:
        total = np.zeros((1, frames), np.float32)
        for number, path in enumerate(files):
            waveform = load(path)[0]
            if waveform.shape[-1] < frames:
                raise BadFile(f"{path}: stops after {waveform.shape[-1]} of {frames} frames (truncated)")
            waveform = waveform[:, :frames]
            total = audio.added([total, waveform]) if number else waveform
        return total

    readers = {row: partial(summed, files) for row, files in rows.items()}
    if "mixture" not in rows:
        readers = {"mixture": partial(summed, paths), **readers}
    return Sound(Rows(readers), rates.pop())


SPLIT_OF = {"train": "train", "training": "train", "valid": "valid", "validation": "valid", "val": "valid"} | {
    "test": "test",
    "testing": "test",
}
"""The split that a folder of this name, in any case, plainly is."""
UNCLEAR = ("dev", "development", "eval", "evaluation", "holdout")
"""Names that one author gives to validation and the next to training or test."""


def split_folders(root: Path, what: str) -> tuple[dict[str, Path], list[Note]]:
    """The folder of each split, in the order of SPLITS, and a note that names other folders with audio in them.

    Raises ValueError where two folders are one split, or a name could be that of several.
    """
    folders: dict[str, Path] = {}
    unread = []
    for folder in subfolders(root):
        split = SPLIT_OF.get(folder.name.casefold())
        if split in folders:
            raise ValueError(
                f"data set {what!r} in {root}: {folders[split].name}/ and {folder.name}/ are both the {split} split; "
                "join them or move one out"
            )
        if split:
            folders[split] = folder
        elif folder.name.casefold() in UNCLEAR:
            raise ValueError(
                f"data set {what!r} in {root}: {folder.name}/ may be any split; rename it to one of "
                f"{', '.join(f'{split}/' for split in SPLITS)} or move it out"
            )
        elif walk(folder, *AUDIO, ".mp4"):
            unread.append(f"{folder.name}/ ({nearest(folder.name, SPLITS)})")
    note = Note("unread", "a folder with audio in it that is no split; not read", tuple(unread))
    return {split: folders[split] for split in SPLITS if split in folders}, [note] if unread else []


def named(path: Path) -> str:
    """The name of a track's folder, the same on every system."""
    return unicodedata.normalize("NFC", path.name)


def once(what: str, folders: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Folders by name; ValueError where two of one name are found: which is meant, and of which split, is not told."""
    found: dict[str, Path] = {}
    for name, folder in folders:
        if name in found:
            raise ValueError(f"data set {what!r}: {name} lies in {found[name]} and again in {folder}")
        found[name] = folder
    return found


# ---- progress


@contextlib.contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[float], None]]:
    """A bar on the error stream where that is a terminal, told how many of ``total`` are done."""
    if not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
