"""How stages that score whole tracks do it."""

from __future__ import annotations

from dataclasses import dataclass

from mss_core.errors import choose


@dataclass(frozen=True)
class Scoring:
    """How whole tracks are scored by frames.

    Attributes:
        window, hop: of the frames, seconds.
        frames, tracks: ``"median"`` or ``"mean"`` over a track's frames and over tracks.
    """

    window: float
    hop: float
    frames: str = "median"
    tracks: str = "median"

    def __post_init__(self) -> None:
        choose("'frames' of the scoring", self.frames, ("median", "mean"))
        choose("'tracks' of the scoring", self.tracks, ("median", "mean"))
        if self.window <= 0 or self.hop <= 0:
            raise ValueError(f"'window' and 'hop' are seconds above 0, not {self.window:g} and {self.hop:g}")
