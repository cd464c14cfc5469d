"""Masks along a path of a hierarchy, from the leaf upward: what a network's outputs multiply [Zhang, Sec. 4.2].

A direct mask multiplies the mixture. A sequential mask multiplies the parent's estimate, so that a source is the
mixture times its mask and those of all its ancestors; the highest level's sequential mask is a direct one. Mixed
masks take the leaf sequentially from its parent and estimate every other level directly.

Axis -3 is the level, index 0 the leaf: (..., level, frame, bin).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mss_core.errors import choose

STYLES = ("direct", "sequential", "mixed")
CONSTRAINTS = ("none", "max", "max_as_released")


def linked(style: str, levels: int) -> list[bool]:
    """For each level from the leaf upward, whether its mask multiplies the parent's estimate.

    >>> linked("sequential", 3), linked("mixed", 3)
    ([True, True, False], [True, False, False])
    """
    choose("mask style", style, STYLES)
    return [
        level < levels - 1 and (style == "sequential" or (style == "mixed" and level == 0)) for level in range(levels)
    ]


def direct_masks(masks: Tensor, style: str) -> Tensor:
    """The masks of the mixture that the outputs stand for: products where a level is linked to its parent's."""
    found: list[Tensor] = []
    for level, link in reversed(list(enumerate(linked(style, masks.shape[-3])))):
        own = masks[..., level, :, :]
        found.append(own * found[-1] if link else own)
    return torch.stack(found[::-1], -3)


def inputs_of(style: str, mixture: Tensor, references: Tensor) -> Tensor:
    """The true spectra that each level's own mask multiplies: the parent's where it is linked, else the mixture.

    Shape: mixture (..., frame, bin), references (..., level, frame, bin) -> (..., level, frame, bin).
    """
    links = linked(style, references.shape[-3])
    return torch.stack([references[..., level + 1, :, :] if link else mixture for level, link in enumerate(links)], -3)


def constrain(masks: Tensor, constraint: str) -> Tensor:
    """Direct masks of which a parent takes at least what its child takes [Zhang, eq. 4.9].

    ``"max"``: parent = max(parent, child), from the leaf upward. ``"max_as_released"`` repeats the released code,
    which is off by one: level 1 becomes the leaf's mask, level 2 the maximum of the masks below it, and the highest
    level's own mask is unused.
    """
    choose("hierarchical constraint", constraint, CONSTRAINTS)
    if constraint == "none" or masks.shape[-3] == 1:
        return masks
    rising = masks.cummax(dim=-3).values
    if constraint == "max":
        return rising
    return torch.cat([masks[..., :1, :, :], rising[..., :-1, :, :]], dim=-3)
