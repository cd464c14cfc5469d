"""Splits of data sets that nothing may read for now: the test split while hyperparameters are searched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

_SEALED: set[str] = set()


@contextlib.contextmanager
def sealed(*splits: str) -> Iterator[None]:
    """While this lasts, nothing in this process may read these splits of any packed set: PermissionError."""
    added = set(splits) - _SEALED
    _SEALED.update(added)
    try:
        yield
    finally:
        _SEALED.difference_update(added)


def refuse(split: str) -> None:
    """PermissionError where this split is sealed."""
    if split in _SEALED:
        raise PermissionError(f"the {split} split is sealed until the search has chosen")
