"""Environment variables that are numbers of seconds: read in one place, refused before anything starts."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

SECONDS = {
    "MSS_CHECKPOINT_SECONDS": 20.0,
    "MSS_STOP_SECONDS": 30.0,
    "MSS_NODES_SECONDS": 600.0,
    "MSS_TRACKING_SECONDS": 60.0,
}
"""Each with what it is where nobody sets it: between two checkpoints, for stages to stop in, for nodes to join in
and again to answer in, for MLflow to answer in."""


def seconds(name: str) -> float:
    """The value of a variable. Raises ValueError for what is not a number of seconds."""
    text = os.environ.get(name)
    if text is None:
        return SECONDS[name]
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f"{name}={text} is not a number of seconds, such as {SECONDS[name]:g}")
    return value


@contextlib.contextmanager
def given(values: Mapping[str, Any]) -> Iterator[None]:
    """Variables that flags of the command line set, those that are not None, for as long as the block lasts."""
    chosen = {name: str(value) for name, value in values.items() if value is not None}
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            os.environ.update({name: value} if value is not None else {})


def check() -> None:
    """Raise ValueError where one of them cannot be used."""
    for name in SECONDS:
        seconds(name)
