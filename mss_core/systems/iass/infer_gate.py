"""Stage ``infer_gate``: post-processing of a separation without its network: which frames are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mss_core.data.activity import Confidences
from mss_core.data.channels import open_sided
from mss_core.graph import Context
from mss_core.systems.iass.gate import Gate, gate_of
from mss_core.systems.iass.masking import Masks, Transform

GATES = "gates.npz"


def infer_gate(
    *,
    data: Path,
    activity: Path,
    masks: Path,
    target: str,
    transform: Transform,
    label_threshold: float,
    gate: Gate,
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Leaves gates.npz: for each test track that holds the target, by its number in the split, uint8 (frame,).

    Raises ValueError, naming the track, for a median filter longer than the track allows.
    """
    packed, estimates = open_sided(data), Masks(masks)
    labels = Confidences(activity, packed, label_threshold)
    tracks = packed.split("test")
    found = {}
    for number, track in enumerate(tracks):
        if target in track.silent:
            continue
        centres = transform.track_centres(track.length)
        try:
            found[str(number)] = gate_of(
                gate, len(centres), estimates.activity(track.name), labels.labels(track, target, centres)
            )
        except ValueError as error:
            raise ValueError(f"track {track.name}: {error}") from None
    np.savez(out / GATES, **found)
    ctx.report(step=1, total=1)
