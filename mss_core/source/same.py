"""Changes of source that were shown to change no artefact, so that they are no reason to warn.

A package may have a file ``same_meaning.json``: a list of ``{"before": {definition: hash}, "after": {definition: hash},
"why": text, "shown": {"stage", "bytes"}}``. Definitions that were as in ``before`` may be as in ``after`` and mean the
same; a small artefact of that stage was computed by both, and its bytes were equal.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

from mss_core.source.modules import roots

FILE = "same_meaning.json"


@functools.cache
def recorded(owner: str) -> tuple[Mapping[str, Any], ...]:
    """The entries of a package, in the order in which they were recorded.

    Raises ValueError, naming the file, where it is not as it should be.
    """
    found: list[Mapping[str, Any]] = []
    for root in roots(owner):
        path = root / FILE
        if not path.is_file():
            continue
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
            for entry in entries:
                if not isinstance(entry["before"], dict) or not isinstance(entry["after"], dict):
                    raise TypeError
        except (ValueError, TypeError, KeyError):
            raise ValueError(f"{path} is not a list of entries with 'before' and 'after'") from None
        found += entries
    return tuple(found)


def differing(
    before: Mapping[str, str], after: Mapping[str, str], entries: Iterable[Mapping[str, Any]] = ()
) -> list[str]:
    """The definitions that are not what they were, by name; none where ``entries`` say that all that changed means the
    same.

    >>> differing({"fit": "1", "loss": "2"}, {"fit": "3", "loss": "2"})
    ['fit']
    >>> differing({"fit": "1"}, {"fit": "3"}, [{"before": {"fit": "1"}, "after": {"fit": "3"}}])
    []
    """
    old = dict(before)
    for entry in entries:
        reached = {name: value for name, value in entry["before"].items() if name in old}
        if reached and all(old[name] == value for name, value in reached.items()):
            new = {name: value for name, value in entry["after"].items() if name in after}
            old = {name: value for name, value in old.items() if name not in reached} | new
    return sorted(name for name in old | dict(after) if old.get(name) != after.get(name))
