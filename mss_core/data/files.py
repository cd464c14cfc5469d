"""What the data set modules share: facts, headers of many files, and items made from tables and folders."""

from __future__ import annotations

import contextlib
import functools
import gzip
import json
import math
import os
import sys
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mss_core import audio
from mss_core.bad_file import BadFile
from mss_core.data.items import SPLITS, Item, Note, Rows, Sound
from mss_core.errors import nearest
from mss_core.folders import AUDIO, composed, find, plain, subfolders, walk
from reports.contract.tables import decoded

Header = tuple[int, int, int]
"""Frames, sample rate in Hz, channels."""
CUT = "tracks with files of several lengths, cut to the shortest"


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
        if not path.is_file():
            return "not a file" if path.exists() else "missing"
        if path.stat().st_size == 0:
            return "0 bytes"
        header = audio.info(path, exact)
    except OSError as error:
        return f"cannot be opened ({error.strerror or error})"
    except BadFile as error:
        return reason(error)
    return header if header[0] > 0 else "empty"


def reason(error: Exception) -> str:
    """What is wrong with a file, without its path."""
    return str(error).split(": ", 1)[-1]


def read_lines(path: Path) -> list[str]:
    """Lines of a text file, gzipped or not, without a byte-order mark or empty lines at the end; in UTF-8, or in UTF-16
    with such a mark. BadFile for what is no text, as a pickled list (.cP) under another name."""
    try:
        raw = path.read_bytes()
        text = decoded(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    except UnicodeDecodeError:
        raise BadFile(f"{path}: not a text file (a pickle is never opened); save it as text in UTF-8") from None
    except (EOFError, zlib.error, OSError) as error:
        raise BadFile(f"{path}: cannot be read ({error}); fetch it again") from None
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
    _one_each(what, wanted)
    items = [
        Item(clip.name, clip.split, partial(read_clip, clip.path), clip.labels, (clip.path,), clip.artist, clip.seconds)
        for clip in wanted
        if not isinstance(found[clip.path], str)
    ]
    if not items:
        if not wanted:
            raise ValueError(f"data set {what!r}: its table names no clip")
        raise ValueError(
            f"data set {what!r}: none of its {len(wanted)} clips can be read; the first: {wanted[0].path} "
            f"({found[wanted[0].path]})"
        )
    notes = []
    excluded = tuple(clip.name for clip in clips if clip.name in broken)
    if excluded:
        notes.append(Note("excluded", "clips known to be broken in every copy of the set", excluded))
    if bad:
        notes.append(Note("skipped", "clips that are missing or not readable audio", bad))
    others = tuple(
        f"{clip.name} ({path.name} is there)"
        for clip in wanted
        if found[clip.path] == "missing"
        for path in _like(clip.path, listings)
    )
    if others:
        notes.append(Note("unread", "clips that are there with another suffix only; name them as they are", others))
    return items, notes


def _one_each(what: str, clips: Iterable[Clip]) -> None:
    """Raise ValueError where two names mean one file."""
    names: dict[Path, str] = {}
    for clip in clips:
        if clip.path in names:
            raise ValueError(
                f"data set {what!r}: {names[clip.path]} and {clip.name} are one file, {clip.path}; keep one of them"
            )
        names[clip.path] = clip.name


def _like(path: Path, listings: dict[Path, dict[str, list[Path]]]) -> list[Path]:
    """A sound file beside which only the suffix tells from this one, where there is one."""
    beside = [one for paths in listings.get(path.parent, {}).values() for one in paths]
    stem = plain(path.name).casefold().removesuffix(path.suffix.casefold())
    return [one for one in beside if plain(one.stem).casefold() == stem and one.suffix.lower() in AUDIO][:1]


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


def common_length(lengths: Collection[int], rate: int, tolerance_ms: float) -> int | None:
    """The rule for files of one track that differ in length, the same for every set: where the longest exceeds the
    shortest by no more than the tolerance all are cut to the shortest, unless that is half of the longest or less.
    Frames at ``rate`` Hz -> frames; None where the track is left out.

    >>> common_length([44_100, 44_056], 44_100, 1.0), common_length([44_100, 44_055], 44_100, 1.0)
    (44056, None)
    """
    shortest, longest = min(lengths), max(lengths)
    near = 1000 * (longest - shortest) <= tolerance_ms * rate and 2 * shortest > longest
    return shortest if near or shortest == longest else None


def track_items(tracks: Iterable[Track], tolerance_ms: float | None = None) -> tuple[list[Item], list[Note]]:
    """Items of the tracks whose files agree in rate and, within the tolerance (:func:`common_length`; None is 0), in
    length, and notes that name the others and what was cut."""
    tracks = list(tracks)
    found = headers(dict.fromkeys(path for track in tracks for path in track.files))
    items, bad, shortened, apart = [], [], [], []
    for track in tracks:
        here = {path.name: found[path] for path in track.files}
        problem = disagreement(here, tolerance_ms or 0.0)
        lengths = {header[0] for header in here.values() if not isinstance(header, str)}
        cut = len(lengths) > 1
        if problem:
            bad.append(f"{track.name} ({problem})")
            apart += too_far(track.name, here)
        else:
            if cut:
                shortened.append(f"{track.name} ({min(lengths)} of {max(lengths)} frames)")
            items.append(
                Item(
                    track.name,
                    track.split,
                    partial(read_track, dict(track.rows), **({"cut": True} if cut else {})),
                    files=track.files,
                    artist=track.artist,
                )
            )
    notes = [
        Note("skipped", "tracks with a file that is not readable, or unlike the others", tuple(bad)),
        Note("cut", CUT, tuple(shortened)),
        *unequal(apart),
    ]
    return items, [note for note in notes if note.items]


def too_far(name: str, found: Mapping[str, Header | str]) -> list[str]:
    """A track that is left out for its lengths alone, and the tolerance that would cut it; nothing for any other.

    >>> too_far("song", {"a.wav": (44_100, 44_100, 2), "b.wav": (44_099, 44_100, 2)})
    ['song (0.03 ms)']
    """
    known = [header for header in found.values() if not isinstance(header, str)]
    if not disagreement(found) or disagreement(found, math.inf):
        return []
    lengths, rate = [frames for frames, _, _ in known], known[0][1]
    return [f"{name} ({math.ceil(100_000 * (max(lengths) - min(lengths)) / rate) / 100:g} ms)"]


def unequal(tracks: Sequence[str]) -> list[Note]:
    """A remark on tracks of :func:`too_far`, where there are any."""
    text = "left out as files differ in length by so much; a 'tolerance_ms' of the data set would cut them"
    return [Note("lengths", text, tuple(tracks))] if tracks else []


def disagreement(found: Mapping[str, Header | str], tolerance_ms: float = 0.0) -> str:
    """What is wrong among the files of one track, or nothing."""
    if not found:
        return "no file"
    for name, header in found.items():
        if isinstance(header, str):
            return f"{name}: {header}"
    first, (frames, rate, _) = next(iter(found.items()))
    lengths = common_length([header[0] for header in found.values()], rate, tolerance_ms) is None
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
    return composed(path.name)


def once(what: str, folders: Iterable[tuple[str, Path]]) -> dict[str, Path]:
    """Folders by name; ValueError where two of one name are found: which is meant, and of which split, is not told."""
    found: dict[str, Path] = {}
    for name, folder in folders:
        if name in found:
            raise ValueError(f"data set {what!r}: {name} lies in {found[name]} and again in {folder}; remove one")
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
