"""Estimates of one target on disk: what the ``infer_*`` stages leave and ``score_estimates`` reads.

``estimates.json`` names the target and the tracks; ``<track>/masked.npy`` is the estimate and ``<track>/reference.npy``
what it was masked from, float32 (time,) each.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mss_core.artefact import read_json, write_json
from mss_core.data.packed import PackedItem


def write_estimate(out: Path, track: str, masked: np.ndarray, reference: np.ndarray) -> None:
    """Write one track's arrays."""
    (out / track).mkdir(parents=True, exist_ok=True)
    np.save(out / track / "masked.npy", masked)
    np.save(out / track / "reference.npy", reference)


def write_index(out: Path, target: str, items: Sequence[PackedItem], samplerate: int) -> None:
    """Write what :func:`read_index` reads."""
    index = {"target": target, "tracks": [item.name for item in items], "samplerate": samplerate}
    write_json(out, "estimates.json", index)


def read_index(directory: Path) -> dict[str, Any]:
    """``target``, ``tracks`` and ``samplerate`` of the estimates of an ``infer_*`` stage."""
    return dict(read_json(directory, "estimates.json"))
