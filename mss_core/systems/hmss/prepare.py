"""Stage ``prepare_levels``: the nodes of a hierarchy, packed as rows; a node may be the sum of several sources.

Whether a chunk is used may depend on every other leaf below the same root. Those are not kept: of each remains the
power of each chunk, in ``siblings.npy``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mss_core import audio
from mss_core.artefact import read_json, write_json
from mss_core.data.activity import window_powers
from mss_core.data.packed import Packed
from mss_core.data.packing import pack
from mss_core.data.sets import Item, Sound, TrackSet, survey
from mss_core.graph import Context
from mss_core.systems.hmss.saliency import SIBLINGS


def prepare_levels(
    *,
    data: TrackSet,
    rows: dict[str, tuple[str, ...]],
    segment: int,
    siblings: dict[str, tuple[str, ...]],
    beside: dict[str, tuple[str, ...]],
    hop: int,
    version: int = 5,
    out: Path,
    ctx: Context,
) -> None:
    """Pack the mixture and, for each of ``rows``, the sum of the sources it names.

    Args:
        segment, hop: length of a chunk and distance between two, samples.
        siblings: the sources of each leaf whose power per chunk is kept; empty: of none.
        beside: which of them may sound beside each wanted leaf.
    """
    found = survey(data, ctx.data)
    nodes = {**siblings, **rows}
    items = tuple(replace(item, read=_Nodes(item, nodes)) for item in found.items)
    extra = tuple(leaf for leaf in siblings if leaf not in rows)
    pack(replace(found, items=items), ("mixture", *rows, *extra), data.samplerate, segment, out, ctx)
    if siblings:
        facts = {"leaves": list(siblings), "beside": beside, "segment": segment, "hop": hop}
        write_json(out, f"{SIBLINGS}.json", facts)
        _keep_powers(out, tuple(siblings), extra, segment, hop)


def _keep_powers(out: Path, leaves: tuple[str, ...], extra: tuple[str, ...], segment: int, hop: int) -> None:
    """Write siblings.npy, (leaf, chunks of all items), and drop the rows that are in the set for it alone."""
    packed = Packed(out)
    powers = [
        np.concatenate([window_powers(packed.read(item, leaf), segment, hop)[1] for item in packed.items])
        for leaf in leaves
    ]
    np.save(out / f"{SIBLINGS}.npy", np.array(powers, np.float32))
    index = read_json(out, "index.json")
    kept = [place for place, row in enumerate(index["rows"]) if row not in extra]
    for item in index["items"]:
        item["units"] = [item["units"][place] for place in kept]
        item["silent"] = [row for row in item["silent"] if row not in extra]
    index["rows"] = [index["rows"][place] for place in kept]
    del packed
    for leaf in extra:
        (out / f"{leaf}.i16").unlink()
    write_json(out, "index.json", index)


@dataclass(frozen=True)
class _Nodes:
    item: Item
    rows: dict[str, tuple[str, ...]]

    def __call__(self) -> Sound:
        sound = self.item.read()
        nodes = {node: audio.added(sound.rows[source] for source in sources) for node, sources in self.rows.items()}
        return replace(sound, rows={"mixture": sound.rows["mixture"], **nodes})
