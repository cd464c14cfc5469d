"""Dotted paths on a frozen tree: the one currency of departures.

A recipe is a tree of frozen dataclasses, dicts and tuples with JSON leaves. ``flatten`` spells it as
``{dotted path: value}``; ``override`` returns a copy with some of those values changed. Factors, searches,
``--set`` and the MLflow parameters all speak this flat dict.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from mss_core.errors import nearest
from mss_core.graph import LEAVES, field_names

Recipe = TypeVar("Recipe")


def children(node: Any) -> dict[str, Any] | None:
    """Names and values one level down, or None for a leaf.

    An empty dict or tuple, and a tuple of plain values such as ``("vocals",)``, is a leaf.
    """
    if type(node) in LEAVES or isinstance(node, str | int | float):
        return None
    names = field_names(type(node))  # type: ignore[arg-type]
    if names is not None:
        return {name: getattr(node, name) for name in names}
    if isinstance(node, dict) and node:
        return {str(name): value for name, value in node.items()}
    if isinstance(node, tuple) and any(children(item) is not None for item in node):
        return {str(index): value for index, value in enumerate(node)}
    return None


def has(recipe: Any, path: str) -> bool:
    """Whether the tree has this dotted path."""
    node = recipe
    for name in path.split("."):
        below = children(node) or {}
        if name not in below:
            return False
        node = below[name]
    return True


def value_at(recipe: Any, path: str) -> Any:
    """What the tree holds at a dotted path that it has."""
    return functools.reduce(lambda node, name: (children(node) or {})[name], path.split("."), recipe)


def flatten(recipe: Any, prefix: str = "") -> dict[str, Any]:
    """The whole tree as ``{dotted path: leaf}``, in the order of its fields."""
    below = children(recipe)
    if below is None:
        return {prefix: recipe}
    flat: dict[str, Any] = {}
    for name, value in below.items():
        flat.update(flatten(value, f"{prefix}.{name}" if prefix else name))
    return flat


def values_at(recipe: Mapping[str, Any], wanted: Iterable[str]) -> dict[str, Any]:
    """What a flat recipe holds at dotted paths: the leaves at or below each, or the one above it that was left out.

    >>> values_at({"train.lr": 0.1, "train.batch": 8, "tail": None}, ["train.lr", "tail.widths"])
    {'train.lr': 0.1, 'tail': None}
    """
    found: dict[str, Any] = {}
    for path in wanted:
        below = {leaf: value for leaf, value in recipe.items() if leaf == path or leaf.startswith(f"{path}.")}
        found |= below or {leaf: value for leaf, value in recipe.items() if path.startswith(f"{leaf}.")}
    return found


def paths(recipe: Any, prefix: str = "") -> list[str]:
    """Every path that ``override`` accepts: leaves and the nodes above them."""
    found = [prefix] if prefix else []
    for name, value in (children(recipe) or {}).items():
        below = f"{prefix}.{name}" if prefix else name
        found += [below] if type(value) in LEAVES else paths(value, below)
    return found


def paths_named(name: str, recipe: Any, prefix: str = "") -> list[str]:
    """The paths whose last part is ``name``."""
    found = []
    for part, value in (children(recipe) or {}).items():
        if part == name:
            found.append(prefix + part)
        if type(value) not in LEAVES:
            found += paths_named(name, value, f"{prefix}{part}.")
    return found


def override(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """A copy of ``recipe`` with the values at ``changes``' dotted paths replaced; itself where there are none.

    Raises ValueError for a path that does not exist (naming the nearest one), for a value of another kind than
    the one it replaces, for two changes of which one contains the other, and for whatever the recipe's own
    checks refuse.
    """
    if not changes:
        return recipe
    tree: dict[str, Any] = {}
    for path, value in changes.items():
        branch = tree
        *above, last = path.split(".")
        for name in above:
            branch = branch.setdefault(name, {})
            if not isinstance(branch, dict):
                raise ValueError(f"{path!r} lies inside another change")
        if last in branch:
            raise ValueError(f"{path!r} contains or repeats another change")
        branch[last] = _Leaf(value)
    return typing.cast(Recipe, _apply(recipe, tree, (), recipe))


@dataclasses.dataclass(frozen=True)
class _Leaf:
    value: Any


def _apply(node: Any, changes: dict[str, Any], at: tuple[str, ...], root: Any) -> Any:
    below = children(node)
    here = ".".join(at)
    if below is None:
        name = ".".join((*at, next(iter(changes))))
        if node is None:
            raise ValueError(f"no {name!r} in the recipe: {here!r} is None (left out)")
        raise ValueError(f"no {name!r} in the recipe: {here!r} is {node!r}; {nearest(name, paths(root))}")
    new: dict[str, Any] = {}
    for name, change in changes.items():
        path = (*at, name)
        if name not in below:
            dotted = ".".join(path)
            raise ValueError(f"no {name!r} in recipe path {dotted!r}; {nearest(dotted, paths(root))}")
        if isinstance(change, _Leaf):
            annotation = _annotation(node, name)
            _check(".".join(path), below[name], change.value, annotation)
            new[name] = _like(change.value, annotation)
        else:
            new[name] = _apply(below[name], change, path, root)
    if isinstance(node, dict):
        return below | new
    if isinstance(node, tuple):
        return tuple((below | new).values())
    try:
        return dataclasses.replace(node, **new)
    except ValueError as error:
        raise ValueError(f"{error} (in recipe path {here!r})" if here else str(error)) from None


def _annotation(node: Any, name: str) -> Any:
    if not dataclasses.is_dataclass(node):
        return None
    return _hints(type(node)).get(name)  # type: ignore[arg-type]


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)  # evaluates text: slow enough to matter over thousands of trials


def _like(value: Any, annotation: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and int in _options(annotation):
        return int(value)  # 16.0 for a whole number
    return tuple(value) if isinstance(value, list) else value


@functools.cache
def _options(annotation: Any) -> tuple[Any, ...]:
    return typing.get_args(annotation) if _is_union(annotation) else (annotation,)


def _kind(value: Any) -> str:
    if value is None:
        return "None"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, tuple | list):
        return "list"
    return "dict" if isinstance(value, dict) else type(value).__name__


def not_plain(value: Any) -> str:
    """Why a value cannot stand in a recipe, and what to write in its place."""
    if type(value) is float:
        return ", no number to compute with"
    instead = ""
    readers: dict[str, Callable[[], Any]] = {
        "item()": lambda: value.item(),
        "value": lambda: value.value,
        "text": lambda: os.fspath(value),
    }
    for name, read in readers.items():
        with contextlib.suppress(AttributeError, TypeError, ValueError, RuntimeError):
            instead = f"; write its {name}, {read()!r}"
            break
    return f", no plain data (a number, a text, None, or a tuple or table of these){instead}"


def _check(path: str, old: Any, new: Any, annotation: Any) -> None:
    if not (new is None or isinstance(new, str | int | float | tuple | list | dict) or dataclasses.is_dataclass(new)):
        raise ValueError(f"{path!r} cannot be {new!r}{not_plain(new)}")
    if annotation is not None:
        options = _options(annotation)
        _check_literal(path, new, options)
        if new is None and type(None) not in options:
            raise ValueError(f"{path!r} cannot be left out (None): it is {old!r}")
        whole = int in options and float not in options
        if whole and not (new is None or isinstance(new, int) or (isinstance(new, float) and new.is_integer())):
            raise ValueError(f"{path!r} takes a whole number, not {new!r}")
        if isinstance(new, tuple | list) and any(isinstance(item, dict) for item in new):
            raise ValueError(f"{path!r} cannot be replaced as a whole; change its parts ({path}.0....)")
        if isinstance(new, str) and str in options:
            return
    if old is None or new is None:
        return
    if _kind(old) != _kind(new):
        raise ValueError(f"{path!r} is a {_kind(old)} ({old!r}); {new!r} is a {_kind(new)}")


def _check_literal(path: str, new: Any, options: tuple[Any, ...]) -> None:
    """Raise ValueError for a value that is none of those an annotation lists (``Literal["sum", "mean"]``)."""
    listed = [typing.get_args(option) for option in options if typing.get_origin(option) is typing.Literal]
    if listed and len(listed) + (type(None) in options) == len(options):
        values = [value for each in listed for value in each]
        if new is not None and new not in values:
            raise ValueError(f"{path!r} cannot be {new!r}; {nearest(new, values)}")


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)
