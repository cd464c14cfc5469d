"""Gates: which frames of an estimate are kept, from activity probabilities or from the truth [Hung and Lerch 2020].

A gate of 0 and 1 multiplies all frequencies of a frame. It is made after the network has run, so a study of gates
trains nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mss_core.errors import choose

KINDS = ("off", "raw", "median", "oracle")
ORDERS = ("threshold first", "filter first")
LONGEST = 101
"""Frames of the longest median filter: 2.35 s at the paper's hop; the paper uses 21 (0.488 s)."""


@dataclass(frozen=True)
class Gate:
    """How an estimate is gated.

    Attributes:
        kind: ``"off"`` keeps every frame, ``"raw"`` those whose probability exceeds the threshold, ``"median"`` smooths
            that decision, ``"oracle"`` keeps the frames in which the reference is active.
        threshold: of the probability.
        median: frames of the median filter, odd, 1 to 101.
        order: whether the filter sees decisions or probabilities. The median of an odd number of values exceeds a
            threshold exactly where most of the values do, so both orders give one gate.
    """

    kind: str = "median"
    threshold: float = 0.5
    median: int = 21
    order: str = "threshold first"

    def __post_init__(self) -> None:
        choose("gate", self.kind, KINDS)
        choose("order of threshold and filter", self.order, ORDERS)
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"'gate.threshold' is compared with a probability: 0 to 1, not {self.threshold}")
        if not 1 <= self.median <= LONGEST or self.median % 2 == 0:
            near = min(LONGEST, max(1, self.median - 1 + self.median % 2))
            raise ValueError(
                f"'gate.median' must be an odd number of frames, 1 to {LONGEST}, so that the filter has a "
                f"middle; not {self.median} (try {near})"
            )

    @property
    def classified(self) -> bool:
        """Whether it needs the probabilities of a trained classifier."""
        return self.kind in ("raw", "median")

    def settled(self) -> Gate:
        """The same gate with every setting that does nothing at its default, so that equal gates have equal keys."""
        kind = "raw" if self.kind == "median" and self.median == 1 else self.kind
        plain = Gate(kind)
        if kind == "raw":
            return replace(plain, threshold=self.threshold)
        return replace(plain, threshold=self.threshold, median=self.median) if kind == "median" else plain


def median_filter(values: np.ndarray, frames: int) -> np.ndarray:
    """Running median; both ends are reflected about their last value, which is not repeated (``c b | a b c``).

    Shape: (frame,) -> (frame,). Raises ValueError for an even length, and for one that reaches beyond the reflection.

    >>> median_filter(np.array([1, 0, 1, 1, 0, 0, 1]), 3).tolist()
    [0, 1, 1, 1, 0, 0, 0]
    """
    if frames % 2 == 0 or frames < 1:
        raise ValueError(f"a median filter takes an odd number of frames, not {frames}")
    reach = frames // 2
    if reach >= len(values):
        raise ValueError(
            f"a median over {frames} frames cannot be reflected at the ends of {len(values)} frames; "
            f"the longest is {2 * len(values) - 1}"
        )
    padded = np.pad(values, reach, mode="reflect")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, frames), axis=-1).astype(values.dtype)


def gate_of(gate: Gate, frames: int, probability: np.ndarray | None, truth: np.ndarray) -> np.ndarray:
    """uint8 (frame,): 1 where a frame is kept.

    Args:
        frames: of the estimate.
        probability: of being active, (frame,); None where no classifier was trained.
        truth: uint8 (frame,), 1 where the reference is active; the oracle's.
    """
    if gate.kind == "off":
        return np.ones(frames, np.uint8)
    if gate.kind == "oracle":
        return truth.astype(np.uint8)
    assert probability is not None
    if gate.kind == "raw":
        return (probability > gate.threshold).astype(np.uint8)
    if gate.order == "filter first":
        return (median_filter(probability, gate.median) > gate.threshold).astype(np.uint8)
    return median_filter((probability > gate.threshold).astype(np.uint8), gate.median)
