"""Environment variables that are numbers of seconds: read in one place, refused before anything starts."""

from __future__ import annotations

import math
import os

SECONDS = {
    "MSS_CHECKPOINT_SECONDS": 20.0,
    "MSS_STOP_SECONDS": 30.0,
    "MSS_NODES_SECONDS": 600.0,
    "MSS_TRACKING_SECONDS": 60.0,
}
"""Each with what it is where nobody sets it: between two checkpoints, for stages to stop in, for nodes to join in, for
MLflow to answer in."""


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


def check() -> None:
    """Raise ValueError where one of them cannot be used."""
    for name in SECONDS:
        seconds(name)
