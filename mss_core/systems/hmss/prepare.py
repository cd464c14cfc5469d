"""Stage ``prepare_levels``: the nodes of a hierarchy, packed as rows; a node may be the sum of several sources."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from mss_core import audio
from mss_core.data.packed import pack
from mss_core.data.sets import Item, Sound, TrackSet, survey
from mss_core.graph import Context


def prepare_levels(
    *, data: TrackSet, rows: dict[str, tuple[str, ...]], segment: int, version: int = 3, out: Path, ctx: Context
) -> None:
    """Pack the mixture and, for each of ``rows``, the sum of the sources it names."""
    found = survey(data, ctx.data)
    items = tuple(replace(item, read=_Nodes(item, rows)) for item in found.items)
    pack(replace(found, items=items), ("mixture", *rows), data.samplerate, segment, out, ctx)


@dataclass(frozen=True)
class _Nodes:
    item: Item
    rows: dict[str, tuple[str, ...]]

    def __call__(self) -> Sound:
        sound = self.item.read()
        nodes = {node: audio.added(sound.rows[source] for source in sources) for node, sources in self.rows.items()}
        return replace(sound, rows={"mixture": sound.rows["mixture"], **nodes})
