"""Stage ``prepare_stems``: stems packed channel by channel, for separators that hear stereo."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mss_core.data.channels import SIDES, sided
from mss_core.data.packing import pack
from mss_core.data.sets import Item, Sound, TrackSet, survey
from mss_core.graph import Context


def prepare_stems(*, data: TrackSet, channels: int, segment: int, version: int = 3, out: Path, ctx: Context) -> None:
    """Pack every source of the training and validation tracks; with two channels as rows ``<source>.left`` and
    ``<source>.right`` (the same twice for a mono recording)."""
    found = survey(data, ctx.data)
    items = tuple(replace(item, read=_Sides(item, channels)) for item in found.items if item.split != "test")
    pack(replace(found, items=items), sided(data.sources, channels), data.samplerate, segment, out, ctx)


@dataclass(frozen=True)
class _Sides:
    item: Item
    channels: int

    def __call__(self) -> Sound:
        sound = self.item.read()
        if self.channels == 1:
            return sound
        rows = {
            f"{row}{side}": waveform[[index % len(waveform)]]
            for row, waveform in sound.rows.items()
            for index, side in enumerate(SIDES[2])
        }
        mixture = sound.rows["mixture"].mean(0, keepdims=True)  # not packed; of as many channels as the rows
        return replace(sound, rows={"mixture": mixture, **rows})
