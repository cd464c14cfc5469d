"""Folders of museval's JSON files, one a track, as a score table: several methods, and several runs of each.

museval, and `mss metrics`, write FOLDER/test/TRACK.json for one run of one method. Here folders above say whose it is:

    FOLDER/METHOD/test/TRACK.json               one run per method
    FOLDER/METHOD/SEED/test/TRACK.json          several; SEED is 0, seed0, run_1, ...

`test` (or `train`) may be missing. Of a folder that has both, `test` is read. A score is the median of a track's
frames, as museval takes it; frames without a score are left out.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from reports.inputs.spelling import one_spelling
from reports.inputs.tables import Scores, parted

SUBSETS = ("test", "train")
FACTOR = "method"
AGGREGATION = "median over frames"


@dataclass(frozen=True)
class Track:
    """One file: whose it is, below the folder."""

    path: Path
    above: tuple[str, ...]
    subset: str


def holds_museval(folder: Path) -> bool:
    """Whether somewhere below a folder lies a file of museval's, and no study."""
    if (folder / "study.json").exists():
        return False
    return any(is_museval(path) for path in sorted(folder.rglob("*.json"))[:50])


def is_museval(path: Path) -> bool:
    """Whether a file is one of museval's."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and isinstance(content.get("targets"), list)


def read_folder(folder: Path) -> Scores:
    """The scores of all methods and runs below a folder.

    Raises:
        ValueError: the folders above the tracks do not say whose they are, a run has no number, or a file is broken.
    """
    tracks = _tracks(folder)
    depths = {len(track.above): track for track in tracks}
    if len(depths) > 1:
        shown = " and ".join(str(depths[depth].path.relative_to(folder)) for depth in sorted(depths))
        raise ValueError(
            f"{folder}: {shown} lie at different depths; put them as METHOD/SEED/test/TRACK.json, all alike"
        )
    depth, first = next(iter(depths.items()))
    if depth not in (1, 2):
        there = first.path.relative_to(folder)
        one = "holds one method, and nothing to compare it with" if depth == 0 else "is laid out in another way"
        raise ValueError(
            f"{folder} {one} ({there}): name a folder that holds METHOD/test/TRACK.json or METHOD/SEED/test/TRACK.json"
        )
    seeds = _seeds(folder, {track.above for track in tracks}) if depth == 2 else {}
    rows = [
        (track.above[0], seeds.get(track.above, 0), _name(track), *row)
        for track in tracks
        for row in _scores(track.path)
    ]
    columns = ["variant", "seed", "track", "target", "metric", "score"]
    frame = pd.DataFrame(rows, columns=columns).assign(aggregation=AGGREGATION)
    one_spelling(frame["variant"], folder, FACTOR)
    twice = frame[frame.duplicated(columns[:-1])]
    if not twice.empty:
        row = twice.iloc[0]
        raise ValueError(f"{folder}: a second score of {row['track']!r} for {row['variant']}/seed{row['seed']}")
    return parted(frame)


def _tracks(folder: Path) -> list[Track]:
    """The files of museval's below a folder; of a run that has both subsets, those of `test`."""
    found = []
    for path in sorted(folder.rglob("*.json")):
        if is_museval(path):
            above = path.relative_to(folder).parts[:-1]
            subset = above[-1] if above and above[-1] in SUBSETS else ""
            found.append(Track(path, above[:-1] if subset else above, subset))
    if not found:
        raise ValueError(f"{folder} holds no file of museval's (TRACK.json, with 'targets')")
    tested = {track.above for track in found if track.subset == "test"}
    return [track for track in found if track.above not in tested or track.subset == "test"]


def _seeds(folder: Path, runs: set[tuple[str, ...]]) -> dict[tuple[str, ...], int]:
    """The number of each run, which its folder's name ends with."""
    numbers: dict[tuple[str, ...], int] = {}
    for run in sorted(runs):
        found = re.search(r"\d+$", run[1])
        if found is None:
            raise ValueError(
                f"{folder / run[0] / run[1]}: the folder of a run is called by its seed, such as 0 or seed0"
            )
        numbers[run] = int(found[0])
        if [run[0], numbers[run]] in [[other[0], numbers[other]] for other in numbers if other != run]:
            raise ValueError(f"{folder / run[0]} has two runs numbered {numbers[run]}")
    return numbers


def _name(track: Track) -> str:
    return track.path.stem


def _scores(path: Path) -> Iterator[tuple[str, str, float]]:
    """Target, metric and the median of the frames that have a score."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for target in content["targets"]:
            values: dict[str, list[float]] = {}
            for frame in target["frames"]:
                for metric, value in frame["metrics"].items():
                    values.setdefault(metric, []).append(math.nan if value is None else float(value))
            for metric, each in values.items():
                finite = [value for value in each if math.isfinite(value)]
                yield str(target["name"]), metric, float(np.median(finite)) if finite else math.nan
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is no file of museval's: {error!r}") from None
