"""Errors that name the nearest valid choice."""

from __future__ import annotations

from collections.abc import Iterable

from reports.contract.flags import Flags
from reports.contract.names import nearest

__all__ = ["Flags", "choose", "nearest"]


def choose(what: str, value: object, choices: Iterable[object]) -> None:
    """Raise ValueError unless ``value`` is one of ``choices``; ``what`` says where it stands."""
    choices = list(choices)
    if value not in choices:
        raise ValueError(f"no {what} {value!r}; {nearest(value, choices)}")
