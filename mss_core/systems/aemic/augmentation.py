"""Augmentation of whole segments for the AE-MIC separator: a mixture and its target changed alike [Ligtenberg, 3.2.1].

Each training segment has five variants: itself, upside down, slower, at another pitch, backwards. ``static`` makes
them once, before training; ``on_the_fly`` draws one anew each time a segment is met.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mss_core import augment
from mss_core.errors import choose

VARIANTS = ("original", "inverted", "stretched", "pitched", "reversed")
WHEN = ("off", "static", "on_the_fly")


@dataclass(frozen=True)
class Augmentation:
    """What is done to training segments.

    Attributes:
        when: ``"off"``, ``"static"`` or ``"on_the_fly"``.
        stretch: lowest and highest speed; the released code has (0.5, 0.5).
        semitones: a pitch shift is one of these; the released code has (-4, -3, -2, 2, 3, 4).
        seed: of what is drawn when variants are static.
    """

    when: str = "static"
    stretch: tuple[float, float] = (0.5, 1.0)
    semitones: tuple[float, ...] = (-4, -3, -2, -1, 0, 1, 2, 3, 4)
    seed: int = 0

    def __post_init__(self) -> None:
        choose("augmentation", self.when, WHEN)
        if len(self.stretch) != 2 or not 0 < self.stretch[0] <= self.stretch[1] <= 1:
            raise ValueError(f"'stretch' names two speeds with 0 < low <= high <= 1, not {self.stretch}")
        if not self.semitones:
            raise ValueError("'semitones' is empty: name at least one pitch shift (0 for none)")


def vary(segment: Tensor, variant: str, augmentation: Augmentation, rng: torch.Generator) -> Tensor:
    """One variant of a segment, all of its rows changed alike. Shape: (row, time) -> the same.

    A slower segment is longer; of it a stretch of the old length is taken from a random place.
    """
    choose("variant", variant, VARIANTS)
    rows = segment[None, None]  # one item, one source: the rows are its channels, so that they share every draw
    if variant == "inverted":
        return augment.polarity(rows, 1.0, rng)[0, 0]
    if variant == "reversed":
        return augment.time_reversal(rows, 1.0, rng)[0, 0]
    if variant == "stretched":
        low, high = augmentation.stretch
        speed, place = torch.rand(2, generator=rng, dtype=torch.float64).tolist()
        speed = low + (high - low) * speed
        start = int(place * (1 - speed) * segment.shape[-1])
        moved = torch.nn.functional.pad(rows[..., start:], (0, start))
        return augment.time_stretch(moved, speed, speed, rng)[0, 0]
    if variant == "pitched":
        index = int(torch.randint(len(augmentation.semitones), (1,), generator=rng))
        shift = augmentation.semitones[index]
        return augment.pitch_shift(rows, shift, shift, rng)[0, 0]
    return segment
