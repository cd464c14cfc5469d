"""Estimates on disk: what the ``infer_*`` stages leave and ``score_estimates`` reads.

``estimates.json`` names the tracks and the target, or several; ``<track>/masked.npy`` is the estimate (of several:
``<track>/<target>.npy``) and ``<track>/reference.npy`` what it was masked from, float32 (time,) each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mss_core.artefact import read_json, write_json
from mss_core.data.packed import PackedItem


def write_estimates(out: Path, track: str, estimates: Mapping[str, np.ndarray], reference: np.ndarray) -> None:
    """Write one track's arrays, the estimates by the names of their files."""
    (out / track).mkdir(parents=True, exist_ok=True)
    for name, estimate in {**estimates, "reference": reference}.items():
        np.save(out / track / f"{name}.npy", estimate)


def write_index(out: Path, target: str | Sequence[str], items: Sequence[PackedItem], samplerate: int) -> None:
    """Write what :func:`read_index` reads."""
    what = {"target": target} if isinstance(target, str) else {"targets": list(target)}
    index = {**what, "tracks": [item.name for item in items], "samplerate": samplerate}
    write_json(out, "estimates.json", index)


def read_index(directory: Path) -> dict[str, Any]:
    """``target`` or ``targets``, ``tracks`` and ``samplerate`` of the estimates of an ``infer_*`` stage."""
    return dict(read_json(directory, "estimates.json"))


def files_of(directory: Path) -> dict[str, str]:
    """The name of each target's files."""
    index = read_index(directory)
    return {target: target for target in index["targets"]} if "targets" in index else {index["target"]: "masked"}
