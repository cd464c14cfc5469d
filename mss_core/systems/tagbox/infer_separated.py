"""Stage ``infer_separated``: one target's estimates of all test tracks by a supervised separator, a ceiling for what
is not trained to separate."""

from __future__ import annotations

from pathlib import Path

import torch

from mss_core import models
from mss_core.apply import separate_stems
from mss_core.data.packed import Packed
from mss_core.errors import choose
from mss_core.graph import Context
from mss_core.systems.tagbox.estimates import write_estimate, write_index


def infer_separated(
    *, data: Path, separator: Path, target: str, tracks: int | None, version: int = 1, out: Path, ctx: Context
) -> None:
    """Leaves <track>/masked.npy and reference.npy (the mixture) for every test track, as ``infer_steered`` does.

    Raises ValueError where the separator has no such stem.
    """
    packed = Packed(data)
    module = models.load(separator).to(ctx.device)
    choose("stem of the separator", target, module.stems)
    items = packed.split("test")[:tracks]
    for number, item in enumerate(items, start=1):
        mixture = packed.read(item)
        with torch.inference_mode():
            found = separate_stems(module, mixture[None], packed.samplerate, ctx.device, module.stems)
        write_estimate(out, item.name, found[target][0], mixture)
        ctx.report(step=number, total=len(items))
    write_index(out, target, items, packed.samplerate)
