"""Stage ``infer_separated``: all stems of all test tracks by a supervised separator, a ceiling for what is not trained
to separate. One run of the separator gives every stem, so that targets share it."""

from __future__ import annotations

from pathlib import Path

import torch

from mss_core import models
from mss_core.apply import separate_stems
from mss_core.data.packed import Packed
from mss_core.graph import Context
from mss_core.systems.tagbox.estimates import write_estimates, write_index


def infer_separated(
    *, data: Path, separator: Path, tracks: int | None, version: int = 2, out: Path, ctx: Context
) -> None:
    """Leaves <track>/<stem>.npy for every stem that the tracks have too, and <track>/reference.npy (the mixture).

    Raises ValueError where separator and tracks have no stem in common.
    """
    packed = Packed(data)
    module = models.load(separator).to(ctx.device)
    stems = [stem for stem in module.stems if stem in packed.rows]
    if not stems:
        raise ValueError(
            f"the separator gives {', '.join(module.stems)}, of which the tracks have none ({', '.join(packed.rows)})"
        )
    items = packed.split("test")[:tracks]
    for number, item in enumerate(items, start=1):
        mixture = packed.read(item)
        with torch.inference_mode():
            estimates = separate_stems(module, mixture[None], packed.samplerate, ctx.device, module.stems)
        write_estimates(out, item.name, {stem: estimates[stem][0] for stem in stems}, mixture)
        ctx.report(step=number, total=len(items))
    write_index(out, stems, items, packed.samplerate)
