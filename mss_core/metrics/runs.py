"""Estimates of several methods, and of several runs of each, as folders whose names say whose they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mss_core.folders import subfolders

NAMES = ("{method}", "{seed}")


@dataclass(frozen=True)
class Run:
    """One run of one method, and the folder of its estimates."""

    method: str
    seed: int
    folder: Path


def has_names(path: Path) -> bool:
    """Whether a path stands for many: it has {method} or {seed} in it."""
    return any(name in str(path) for name in NAMES)


def home(pattern: Path) -> Path:
    """The folder above all that a pattern stands for."""
    parts = pattern.parts
    first = next(place for place, part in enumerate(parts) if any(name in part for name in NAMES))
    return Path(*parts[:first])


def runs(pattern: Path) -> list[Run]:
    """The folders that a pattern such as EST/{method}/{seed} stands for, by method and seed.

    Raises:
        ValueError: it names no method, nothing is there, a run has no number or two have one.
    """
    if str(pattern).count("{method}") != 1 or str(pattern).count("{seed}") > 1:
        raise ValueError(f"ESTIMATES {pattern} needs {{method}} once, and {{seed}} at most once")
    base = home(pattern)
    found: dict[tuple[str, int], Path] = {}
    for folder, names in _matches(base, pattern.relative_to(base).parts, {}):
        number = re.search(r"\d+$", names.get("seed", "0"))
        if number is None:
            raise ValueError(f"{folder}: {{seed}} is {names['seed']!r} there, which ends with no number, such as seed0")
        run = names["method"], int(number[0])
        if run in found:
            raise ValueError(f"{found[run]} and {folder} are both run {run[1]} of {run[0]}")
        found[run] = folder
    if not found:
        raise ValueError(f"no folder is like {pattern}")
    return [Run(method, seed, folder) for (method, seed), folder in sorted(found.items())]


def _matches(base: Path, parts: tuple[str, ...], names: dict[str, str]) -> Iterator[tuple[Path, dict[str, str]]]:
    if not parts:
        yield base, names
        return
    pieces = re.split(r"\{(method|seed)\}", parts[0])
    form = "".join(f"(?P<{piece}>.+)" if place % 2 else re.escape(piece) for place, piece in enumerate(pieces))
    for folder in subfolders(base):
        matched = re.fullmatch(form, folder.name)
        if matched:
            yield from _matches(folder, parts[1:], {**names, **matched.groupdict()})
