"""Stages ``infer_target`` and ``infer_ideal``: un-gated masks of the test tracks, from a network or from the truth.

Both leave what ``mss_core.systems.iass.masking.Masks`` reads. Every gate and filter that a study tries starts from
it, so the network runs once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mss_core import models
from mss_core.artefact import read_json
from mss_core.data.channels import open_sided
from mss_core.errors import choose
from mss_core.graph import Context
from mss_core.metrics.separation import ideal_mask
from mss_core.systems.iass.masking import Transform, mask_track, write_index, write_track

IDEAL = ("ibm", "ibm_dominant", "irm", "mixture")


def infer_target(
    *, data: Path, model: Path, target: str, transform: Transform, version: int = 1, out: Path, ctx: Context
) -> None:
    """Masks of the test tracks that hold the target and, where the classifier was trained, the activity of all."""
    packed = open_sided(data)
    module = models.load(model).to(ctx.device)
    classified = bool(read_json(model, "best.json")["classified"])
    tracks = packed.split("test")
    for number, track in enumerate(tracks):
        sounds = target not in track.silent
        if sounds or classified:
            with torch.inference_mode():
                mask, activity = mask_track(module, transform.track(packed.read(track), ctx.device).abs())
            write_track(out, number, mask if sounds else None, activity if classified else None)
        ctx.report(step=number + 1, total=len(tracks))
    write_index(out, [track.name for track in tracks], classified)


def infer_ideal(
    *, data: Path, target: str, kind: str, transform: Transform, version: int = 2, out: Path, ctx: Context
) -> None:
    """Masks that need no training: ``"ibm"``, 1 where the target's amplitude is at least half of the mixture's, as
    SiSEC 2018's oracle script has it; ``"ibm_dominant"``, 1 where it exceeds that of the rest, which knows more;
    ``"irm"``, the ideal ratio mask of amplitudes; ``"mixture"``, ones, the mixture as the estimate. Each channel has a
    mask of its own."""
    choose("ideal mask", kind, IDEAL)
    packed = open_sided(data)
    tracks = packed.split("test")
    for number, track in enumerate(tracks):
        if target not in track.silent:
            mixture, reference = (transform.track(packed.read(track, row), ctx.device) for row in ("mixture", target))
            mask = _ideal(reference, mixture, kind)
            write_track(out, number, mask.cpu().numpy().astype(np.float16), None)
        ctx.report(step=number + 1, total=len(tracks))
    write_index(out, [track.name for track in tracks], False)


def _ideal(reference: Tensor, mixture: Tensor, kind: str) -> Tensor:
    """Shape: complex (..., frame, bin), twice -> (..., frame, bin)."""
    if kind == "mixture":
        return torch.ones_like(mixture.abs())
    if kind == "ibm":  # |S| / (eps + |X|) >= 0.5 [SiSEC 2018, oracle script IBM.py]
        return (reference.abs() / (mixture.abs() + torch.finfo(torch.float64).eps) >= 0.5).double()
    return ideal_mask(torch.stack([reference, mixture - reference]), kind.removesuffix("_dominant"))[0]
