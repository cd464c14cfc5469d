"""The files of references and estimates, in folders as users and other programs lay them out."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from mss_core.folders import AUDIO, stems_in, walk

PATTERNS = (
    *("{track}/{stem}", "{track}/*_({stem})*", "{track}_({stem})*", "*/{track}/{stem}", "*/*/{track}/{stem}"),
    *("{track}_{stem}", "{track}/{track}_{stem}"),
)
"""Where estimates are looked for: as the references; as audio-separator names them, in a folder per track or in one;
below a folder per model, and that below another, as Demucs does; under the track's name and the stem's."""


def tracks(folder: Path) -> list[str]:
    """Paths, relative to the folder, of all folders in it that hold a stem; "." for itself.

    Raises:
        ValueError: there is none.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    files = walk(folder, *AUDIO)
    if not files:
        raise ValueError(f"no {', '.join(AUDIO[:-1])} or {AUDIO[-1]} file in {folder} or below")
    stems = [path for path in files if path.stem != "mixture"]
    if not stems:
        raise ValueError(f"{folder}: no stem in it or below, only mixtures such as {files[0].relative_to(folder)}")
    return sorted({path.parent.relative_to(folder).as_posix() for path in stems})


def references(folder: Path) -> dict[str, Path]:
    """Audio files of a track by their name without suffix, sorted, but for the mixture; ValueError for two of a
    name."""
    return {name: path for name, path in sorted(stems_in(folder).items()) if name != "mixture"}


class Estimates:
    """The estimates below a folder.

    Args:
        root: the folder.
        names: the tracks of the references.
        pattern: where estimates lie below ``root``, without suffix: ``{track}``, ``{stem}`` and ``*`` for anything
            but a slash. Left out, all of :data:`PATTERNS` are tried.
    """

    def __init__(self, root: Path, names: Sequence[str], pattern: str = "") -> None:
        if pattern and "{stem}" not in pattern:
            raise ValueError(f"--pattern {pattern!r} has no {{stem}}, as {PATTERNS[2]!r} has")
        if not root.is_dir():
            raise ValueError(f"{root} is no folder; it should hold the estimates")
        if Path(pattern).suffix.lower() in AUDIO:  # a pattern is one without suffix
            pattern = pattern[: -len(Path(pattern).suffix)]
        self.root, self.patterns = root, (pattern,) if pattern else PATTERNS
        self.files = walk(root, *AUDIO)
        last = [Path(name).name for name in names]
        self.last = {_plain(end) for end in last}
        self.short = {name for name, end in zip(names, last, strict=True) if last.count(end) == 1}

    def of(self, track: str, known: Sequence[str]) -> dict[str, Path]:
        """The estimates of a track by the names that the references, ``known``, have for them.

        Raises:
            ValueError: there is none, or two of one name.
        """
        matches = [self._match(pattern, track, known) for pattern in self.patterns]
        best = max(matches, key=lambda stems: (len(stems.keys() & {*known}), len(stems) > 0))
        if not best:
            raise ValueError(self._none(track))
        for stem, paths in best.items():
            if len(paths) > 1 and stem != "mixture":
                two = " and ".join(str(path.relative_to(self.root)) for path in paths[:2])
                raise ValueError(f"two estimates of {stem}, {two}; say which with --pattern")
        return {stem: paths[0] for stem, paths in sorted(best.items()) if stem != "mixture"}

    def _match(self, pattern: str, track: str, known: Sequence[str]) -> dict[str, list[Path]]:
        form = _regex(pattern, track, track in self.short and pattern != PATTERNS[0])
        spelled = {name.casefold(): name for name in known}
        stems: dict[str, list[Path]] = {}
        end = _plain(Path(track).name)
        longer = tuple(other for other in self.last if other.startswith(end) and other != end)
        for path in self.files:
            if longer and any(_plain(part).startswith(longer) for part in path.relative_to(self.root).parts):
                continue  # of a track whose name begins as this one's does
            found = form.fullmatch(_plain(path.relative_to(self.root).as_posix()[: -len(path.suffix)]))
            if found:
                stem = found["stem"]
                stems.setdefault(spelled.get(stem.casefold(), stem), []).append(path)
        return stems

    def _none(self, track: str) -> str:
        there = [str(path.relative_to(self.root)) for path in self.files if track == "." or track in path.as_posix()]
        there = there or [str(path.relative_to(self.root)) for path in self.files]
        named = f"; there are {', '.join(there[:4])}{', ...' if len(there) > 4 else ''}" if there else ""
        folder = self.root / track
        why = "no estimate" if folder.is_dir() else f"no folder {folder}"
        return f"{why}{named}: say how estimates are named with --pattern, as in --pattern '{PATTERNS[2]}'"


def _regex(pattern: str, track: str, short: bool) -> re.Pattern[str]:
    if track == ".":
        pattern = pattern.replace("{track}/", "").replace("{track}", "*")
    names = "|".join(map(re.escape, [_plain(track), *([_plain(Path(track).name)] if short else [])]))
    parts = {"{track}": f"(?:{names})", "{stem}": "(?P<stem>[^/]+?)", "*": "[^/]*"}
    pieces = re.split(r"(\{track\}|\{stem\}|\*)", pattern)
    return re.compile("".join(parts.get(piece, re.escape(piece)) for piece in pieces))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFC", text)
