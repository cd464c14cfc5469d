"""Stage ``infer_classic``: estimates of one target that need no model: median filters, repetition, scaled mixtures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mss_core.data.packed import Packed
from mss_core.errors import choose
from mss_core.graph import Context
from mss_core.systems.tagbox import classic
from mss_core.systems.tagbox.estimates import write_estimates, write_index

METHODS = {"hpss": ("drums",), "repet_sim": ("vocals",), "attenuated": ()}
"""Each method with the only targets it can tell; none named: any. ``attenuated`` is the mixture 60 dB down."""


def infer_classic(
    *, data: Path, method: str, target: str, tracks: int | None, version: int = 1, out: Path, ctx: Context
) -> None:
    """Leaves <track>/masked.npy and reference.npy (the mixture) for every test track, as ``infer_steered`` does."""
    choose("method", method, METHODS)
    packed = Packed(data)
    items = packed.split("test")[:tracks]
    for number, item in enumerate(items, start=1):
        mixture = packed.read(item)
        if method == "hpss":
            estimate = classic.percussive(mixture, packed.samplerate)
        elif method == "repet_sim":
            estimate = classic.foreground(mixture, packed.samplerate)
        else:
            estimate = mixture * np.float32(1e-3)
        write_estimates(out, item.name, {"masked": estimate}, mixture)
        ctx.report(step=number, total=len(items))
    write_index(out, target, items, packed.samplerate)
