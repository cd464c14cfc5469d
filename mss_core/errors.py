"""Errors that name the nearest valid choice."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class BadFile(ValueError):
    """A file of a user's that cannot be read as what it should be: the item that needs it is skipped by name."""


def nearest(value: object, choices: Iterable[object]) -> str:
    """The tail of an error message: the closest choice, or all of them.

    >>> nearest("sorces", ["sources", "samplerate"])
    "did you mean 'sources'?"
    >>> nearest("x", ["mean", "max"])
    "choose from 'max', 'mean'"
    """
    names = sorted({str(choice) for choice in choices})
    close = get_close_matches(str(value), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "choose from " + ", ".join(map(repr, names)) if names else "there is none to choose"


def choose(what: str, value: object, choices: Iterable[object]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``; ``what`` says where it stands."""
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"no {what} {value!r}; {nearest(value, choices)}")
