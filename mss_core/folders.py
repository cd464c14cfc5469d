"""Folders of users' music as they are: litter is passed over, links are followed, names that another system wrote in
its own way are found."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from mss_core.bad_file import BadFile

AUDIO = (".wav", ".flac", ".ogg", ".mp3")
LITTER = frozenset(
    (
        *(
            "__macosx",
            "__pycache__",
            "lost+found",
            "temporary items",
            "network trash folder",
            "system volume information",
        ),
        *("@eadir", "@__thumb", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot", "~snapshot"),
        *("$recycle.bin", "recycler", "recycled", "found.000", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"),
    )
)
"""What operating systems, file servers and editors leave in folders, in lower case."""


def place(text: str) -> Path:
    """The path that a flag or a variable of the environment names, ``~/`` being the home folder: not every shell
    expands it where it stands behind ``=`` or in quotes."""
    return Path.home() / text[2:] if text == "~" or text.startswith("~/") else Path(text)


def is_litter(name: str) -> bool:
    """Whether nobody put a file or folder of this name there on purpose. A name may begin with dots:

    >>> is_litter("._vocals.wav"), is_litter(".ipynb_checkpoints"), is_litter("...And Justice for All")
    (True, True, False)
    """
    return name.lower() in LITTER or (name.startswith(".") and not name.startswith(".."))


def composed(name: str) -> str:
    """A name with composed accents (NFC), and bytes that are no UTF-8 written out, so that it can be printed."""
    return unicodedata.normalize("NFC", name).encode("utf-8", "backslashreplace").decode()


def plain(name: str) -> str:
    """A name as every system would spell it: :func:`composed`, the suffix of audio in lower case.

    >>> plain("Mr. Brown.WAV"), plain("Mr. Brown")
    ('Mr. Brown.wav', 'Mr. Brown')
    """
    name = composed(name)
    suffix = Path(name).suffix
    return name.removesuffix(suffix) + suffix.lower() if suffix.lower() in (*AUDIO, ".mp4") else name


def entries(folder: Path) -> list[Path]:
    """What lies in a folder, by name, without litter; nothing where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(
        (path for path in folder.iterdir() if not is_litter(path.name)), key=lambda path: (plain(path.name), path.name)
    )


def subfolders(folder: Path) -> list[Path]:
    """The folders, and links to folders, in a folder."""
    return [path for path in entries(folder) if path.is_dir()]


def walk(root: Path, *suffixes: str) -> list[Path]:
    """The files below a folder whose names end so, whatever their case, by path. Links to folders are followed, but
    for a link to a folder in which it lies itself."""
    paths = [path for path in _files(root, frozenset()) if not suffixes or path.name.lower().endswith(suffixes)]
    return sorted(paths, key=lambda path: ([plain(part) for part in path.parts], path))


def _files(folder: Path, above: frozenset[Path]) -> Iterator[Path]:
    here = folder.resolve()
    if here in above:
        return
    for path in entries(folder):
        if path.is_dir():
            yield from _files(path, above | {here})
        else:
            yield path


def stems_in(folder: Path, wanted: Sequence[str] = ()) -> dict[str, Path]:
    """Audio files of a folder by their names without suffix. BadFile where two files have the name of one ``wanted``
    (of any, where none is given)."""
    stems: dict[str, Path] = {}
    for path in entries(folder):
        if path.suffix.lower() not in AUDIO or path.is_dir():
            continue
        name = composed(path.stem)
        if name in stems and (name in wanted or not wanted):
            raise BadFile(f"{folder}: two files for {name!r}, {stems[name].name} and {path.name}; remove one")
        stems[name] = path
    return stems


def find(folder: Path, name: str, listings: dict[Path, dict[str, list[Path]]] | None = None) -> Path:
    """The path below ``folder`` that ``name`` means: as it is spelled, else with the separators of Windows, with
    accents in the other Unicode form, or in another case where that leaves no choice. Where there is nothing, the path
    as it is spelled. ``listings`` keeps what was listed between calls."""
    exact = folder / name
    slashed = name.replace("\\", "/")
    for spelled in (name, slashed, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))):
        if (folder / spelled).exists():
            return folder / spelled
    listings = {} if listings is None else listings
    here = folder
    for part in Path(slashed).parts:
        if here not in listings:
            listings[here] = {}
            for path in entries(here) if here.is_dir() else ():
                listings[here].setdefault(_folded(path.name), []).append(path)
        paths = listings[here].get(_folded(part), [])
        if len(paths) != 1:
            return exact
        here = paths[0]
    return here


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
