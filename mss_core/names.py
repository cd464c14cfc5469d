"""Parts of a recipe by name: one of ours from a table, anybody else's as ``package.module:attribute``.

The module is imported where the name is looked up, in every process, so it must be importable there: installed, or
beside the script. A name is all that enters a stage's key: raise the stage's ``version``, or rename, when what it names
changes its meaning.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection, Mapping
from typing import Any

from mss_core.errors import choose, nearest


def outside(name: object) -> bool:
    """Whether a name is ``package.module:attribute``."""
    return isinstance(name, str) and ":" in name


def imported(what: str, name: str) -> Any:
    """What ``package.module:attribute`` names, something that can be called; ``what`` says what it is to be.

    Raises ValueError where the module cannot be imported, or has no such attribute, or that cannot be called.
    """
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
    except (ImportError, ValueError) as error:
        raise ValueError(f"{what} {name!r}: the module {module!r} cannot be imported ({error})") from None
    if not hasattr(found, attribute):
        raise ValueError(f"{what} {name!r}: {module} has no {attribute!r}; {nearest(attribute, vars(found))}")
    if not callable(getattr(found, attribute)):
        raise ValueError(f"{what} {name!r} cannot be called: it is {getattr(found, attribute)!r}")
    return getattr(found, attribute)


def check(what: str, name: str, ours: Collection[str]) -> None:
    """Raise ValueError unless ``name`` is one of ours or can be imported."""
    if outside(name):
        imported(what, name)
    else:
        choose(what, name, ours)


def named(what: str, name: str, ours: Mapping[str, Any]) -> Any:
    """What a name stands for; raises as :func:`check`."""
    if outside(name):
        return imported(what, name)
    choose(what, name, ours)
    return ours[name]
