"""The source that one stage reaches."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

from mss_core.graph import Stage, package
from mss_core.source.following import DOTTED, Reached, Source, Tree
from mss_core.source.modules import Read, installed

PROJECT = frozenset({"mss_core", "reports", "search_spaces"})
LIBRARIES = frozenset({"torch", "torchaudio"})
"""Packages of which a recipe may name a part, as ``torch.optim:RAdam``, and whose source is not followed: their
versions stand in a manifest's environment."""

_TREES: dict[tuple[frozenset[str], tuple[tuple[str, str], ...]], Tree] = {}
_SOURCES: dict[Any, tuple[Source, frozenset[str]] | None] = {}
_BY_KEY: dict[str, tuple[Source, frozenset[str]] | None] = {}


def of(stage: Stage) -> Source | None:
    """The source that a stage reaches, as it is on this machine now; None where its function's cannot be read.

    Read once per process: what is edited while a process runs is not what that process runs.
    """
    found = _reached(stage)
    return found and found[0]


def _reached(stage: Stage) -> tuple[Source, frozenset[str]] | None:
    if stage.key not in _BY_KEY:
        strings, types = words(stage)
        call = (inspect.unwrap(stage.function), strings, types)
        if call not in _SOURCES:
            reached = reach(*call)
            _SOURCES[call] = None if reached is None else (reached.source(), frozenset(reached.strings))
        _BY_KEY[stage.key] = _SOURCES[call]
    return _BY_KEY[stage.key]


def reach(function: Any, strings: Iterable[str], types: Iterable[type]) -> Reached | None:
    """What a function reaches that is called with these ``strings`` and values of ``types`` among its arguments."""
    module = function.__module__
    place = function.__globals__.get("__file__")
    unnamed = module in ("__main__", "<run_path>")
    scripts = {module: str(place)} if unnamed and place else {}
    names = [named(kind) for kind in types]
    own = owners([named(function), *names], strings)
    key = (own, tuple(scripts.items()))
    tree = _TREES.setdefault(key, Tree(functools.partial(installed, scripts=scripts), own))
    return tree.reach_from(named(function), names, strings)


def reach_at(read: Read, function: str, stage: Stage) -> Source | None:
    """What a stage reached in source of another time, which ``read`` gives, when its function had that dotted name."""
    strings, types = words(stage)
    names = [named(kind) for kind in types]
    reached = Tree(read, owners([function, *names], strings)).reach_from(function, names, strings)
    return None if reached is None else reached.source()


def named(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def owners(names: Iterable[str], strings: Iterable[str]) -> frozenset[str]:
    """The packages whose source counts: this project's, and those that the stage names."""
    told = {package(text) for text in strings if DOTTED.fullmatch(text)}
    return PROJECT | {package(name) for name in names} | (told - LIBRARIES)


def words(stage: Stage) -> tuple[frozenset[str], frozenset[type]]:
    """The texts that may name something, among a stage's arguments and upstream of it, and the types of its values."""
    strings, types = set[str](), set[type]()
    _words(stage.arguments, strings, types)
    return frozenset(strings), frozenset(types)


def _words(value: Any, strings: set[str], types: set[type]) -> None:
    """Collect the texts among arguments, those of upstream stages and of what these reach too, and types of values."""
    if isinstance(value, str):
        if len(value) < 64:  # a checksum names nothing
            strings.add(value)
    elif isinstance(value, Stage):
        upstream = _reached(value)
        if upstream is not None:
            strings |= upstream[1]
        else:
            _words(value.arguments, strings, set())
    elif isinstance(value, tuple | list):
        for item in value:
            _words(item, strings, types)
    elif isinstance(value, Mapping):
        strings.update(name for name in value if isinstance(name, str))
        for item in value.values():
            _words(item, strings, types)
    elif dataclasses.is_dataclass(value):
        types.add(type(value))
        for field in dataclasses.fields(value):
            _words(getattr(value, field.name), strings, types)
