"""Stages ``cut_tracks`` and ``cut_clips``: segments of one length, the unit that AE-MIC works on [Ligtenberg, 3.1]."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import torch

from mss_core.augment import generator
from mss_core.data.packed import Packed, PackedItem
from mss_core.graph import Context
from mss_core.systems.aemic.augmentation import VARIANTS, Augmentation, vary
from mss_core.systems.aemic.derived import derive


def cut_tracks(
    *,
    data: Path,
    targets: tuple[str, ...],
    samples: int,
    augmentation: Augmentation | None,
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Leaves a packed set of segments that follow one another without overlap, the last one padded with silence, with
    the rows ``mixture`` and ``target`` (the sum of ``targets``).

    With an augmentation the training segments have all their variants. An item is named ``<track>/<number>``,
    followed by the variant's name where it has one.
    """
    packed = Packed(data)
    items = []
    for track in packed.items:
        for number, start in enumerate(range(0, track.length, samples)):
            name = f"{track.name}/{number:04d}"
            drawn = VARIANTS if augmentation is not None and track.split == "train" else VARIANTS[:1]
            for variant in drawn:
                rng = generator(augmentation.seed if augmentation else 0, len(items))
                items.append(
                    (
                        name if variant == "original" else f"{name} {variant}",
                        track,
                        partial(_segment, packed, track, targets, start, samples, variant, augmentation, rng),
                    )
                )
    derive(packed, items, ("mixture", "target"), out, ctx, workers=None)


def _segment(
    packed: Packed,
    track: PackedItem,
    targets: tuple[str, ...],
    start: int,
    samples: int,
    variant: str,
    augmentation: Augmentation | None,
    rng: torch.Generator,
) -> dict[str, np.ndarray]:
    mixture = packed.read(track, "mixture", start, samples)
    target = np.sum([packed.read(track, source, start, samples) for source in targets], axis=0)
    if augmentation is not None and variant != "original":
        both = torch.from_numpy(np.stack([mixture, target]))
        mixture, target = vary(both, variant, augmentation, rng).numpy()
    return {"mixture": mixture, "target": target}


def cut_clips(*, data: Path, samples: int, version: int = 1, out: Path, ctx: Context) -> None:
    """Leaves the first ``samples`` samples of every clip; a shorter one is padded with silence."""
    packed = Packed(data)
    items = [(clip.name, clip, partial(_first, packed, clip, samples)) for clip in packed.items]
    derive(packed, items, ("mixture",), out, ctx)


def _first(packed: Packed, clip: PackedItem, samples: int) -> dict[str, np.ndarray]:
    return {"mixture": packed.read(clip, "mixture", 0, samples)}
