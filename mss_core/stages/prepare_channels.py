"""Stage ``prepare_channels``: tracks packed in one channel or two, at any sample rate."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mss_core.artefact import note, read_notes, write_notes
from mss_core.data.channels import apart, sided
from mss_core.data.packed import Packed
from mss_core.data.packing import pack
from mss_core.data.sets import TrackSet, survey
from mss_core.graph import Context


def prepare_channels(*, data: TrackSet, channels: int, segment: int, version: int = 1, out: Path, ctx: Context) -> None:
    """Pack the mixture and the sources of every track: of one channel, their down-mix; of two, the left and the right
    one by themselves, the same twice for a mono recording, which a note names. Tracks shorter than ``segment`` samples
    are counted."""
    found = survey(data, ctx.data)
    rows = sided(("mixture", *data.sources), channels)
    pack(apart(found) if channels == 2 else found, rows, data.samplerate, segment, out, ctx)
    if channels == 2:
        alike = _alike(Packed(out))
        write_notes(out, [*read_notes(out), note("odd", "tracks whose left and right are the same", alike)])


def _alike(packed: Packed) -> list[str]:
    """The tracks whose mixture is the same on either side."""
    left, right = packed.rows[:2]
    names = []
    for item in packed.items:
        part = slice(item.start, item.start + item.length)
        same = np.array_equal(packed.samples(left)[part], packed.samples(right)[part])
        names += [item.name] if same and packed.unit(item, left) == packed.unit(item, right) else []
    return names
