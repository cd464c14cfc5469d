"""What two arms were both scored on: the cells (target, track) that every run of both has.

A mean over other targets or other tracks is another quantity, so a contrast is taken over these cells alone.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from reports.contract import MACRO
from reports.inputs.tables import Scores, item_scores, run_scores, track_scores
from reports.text import count, listing

CELL = ["target", "track"]
Cell = tuple[str, str]


@dataclass(frozen=True)
class Arm:
    """The scores of one variant on one metric.

    Attributes:
        rows: of the score table, each of another seed, target and track.
        runs: seed -> mean over tracks of the mean over targets.
        items: table (seed x track); None without tracks.
    """

    rows: pd.DataFrame
    runs: Mapping[int, float] = field(default_factory=dict)
    items: pd.DataFrame | None = None

    @property
    def _named(self) -> Iterator[Cell]:
        """The cell of each row."""
        return zip(self.rows["target"].to_numpy(), self.rows["track"].to_numpy(), strict=True)

    @cached_property
    def cells(self) -> Counter[Cell]:
        """How many runs have a score of each target and track."""
        return Counter(self._named)

    @cached_property
    def complete(self) -> Set[Cell]:
        """The cells that every run has."""
        runs = self.rows["seed"].nunique()
        return {cell for cell, scored in self.cells.items() if scored == runs}

    def over(self, cells: Set[Cell]) -> "Arm":
        """The arm on these cells alone."""
        if cells >= self.cells.keys():
            return self
        kept = [cell in cells for cell in self._named]
        return next(iter(arms(self.rows[kept]).values()), NOTHING)


NOTHING = Arm(pd.DataFrame(columns=["variant", "seed", "target", "track", "score"]))


def arms(rows: pd.DataFrame) -> dict[str, Arm]:
    """The arms of all variants among the rows of one metric."""
    by_track = track_scores(rows)
    runs, items = run_scores(by_track), item_scores(by_track)
    return {
        str(name): Arm(own, runs[str(name)], items.get(str(name))) for name, own in rows.groupby("variant", sort=False)
    }


@dataclass(frozen=True)
class Overlap:
    """Both arms of a contrast on their common cells.

    Attributes:
        variant, reference: on common cells, or with all that an arm has where it cannot be compared.
        left_out: arm -> "target", "track" or "score" -> names of those that the other arm has and
            not every run of this one; only arms that lack some.
        reason: why the arms cannot be compared; empty if they can.
        own: whether they have too few common tracks and are compared on tracks of their own, as declared.
    """

    variant: Arm
    reference: Arm
    left_out: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    reason: str = ""
    own: bool = False

    @property
    def runs(self) -> tuple[Mapping[int, float], Mapping[int, float]]:
        """The score of each run, by seed, of the variant and of the reference."""
        return self.variant.runs, self.reference.runs

    @property
    def items(self) -> tuple[pd.DataFrame, pd.DataFrame] | None:
        """Tables (seed x track) of the variant and of the reference; None without tracks."""
        a, b = self.variant.items, self.reference.items
        return None if a is None or b is None else (a, b)


def overlap(variant: str, reference: str, every: Mapping[str, Arm], tracks: int, own: bool = False) -> Overlap:
    """Two arms on the cells that every run of both has.

    Args:
        every: the arms of all variants on one metric, those without a score left out.
        tracks: how many tracks the test needs; 0 where it needs none.
        own: arms that have fewer tracks in common are compared on tracks of their own.
    """
    pair = {name: every.get(name, NOTHING) for name in (variant, reference)}
    a, b = pair.values()
    if a.rows.empty or b.rows.empty:
        return Overlap(a, b)
    shared = a.complete & b.complete
    many = len({track for _, track in shared})
    if many < max(tracks, 1):
        both = {target for target, _ in a.cells} & {target for target, _ in b.cells}
        of_tracks = any(track for arm in every.values() for _, track in arm.cells)
        level, kind = (1, "track") if both and of_tracks else (0, "target")
        if own and kind == "track" and all(len({t for _, t in arm.complete}) >= max(tracks, 1) for arm in (a, b)):
            a, b = (arm.over({cell for cell in arm.complete if cell[0] in both}) for arm in (a, b))
            return Overlap(a, b, own=True)
        counts = " and ".join(f"{name} has {len({cell[level] for cell in arm.complete})}" for name, arm in pair.items())
        few = f"only {count(many, kind)} has" if many else f"no {kind} has"
        needed = f", and the test needs {tracks}" if many else ""
        reason = (
            f"{few} a score in every run of both {variant} and {reference}{needed} (in every run of its own, {counts})"
        )
        return Overlap(a, b, reason=reason)
    cells = a.cells.keys() | b.cells.keys()
    left_out = {name: _named(cells - arm.complete, cells) for name, arm in pair.items()}
    return Overlap(a.over(shared), b.over(shared), {name: kinds for name, kinds in left_out.items() if kinds})


def absent_scores(scores: Scores, metric: str, pair: Overlap, name: str, base: str) -> str:
    """Which of two arms has no score among those that are compared, and why; empty where both have some."""
    if not (pair.variant.rows.empty or pair.reference.rows.empty):
        return ""
    gone = scores.undefined[scores.undefined["metric"] == metric]["variant"]
    every = scores.frame[scores.frame["metric"] == metric]
    lacking = []
    for arm, rows in ((name, pair.variant.rows), (base, pair.reference.rows)):
        own = every[every["variant"] == arm]
        if not rows.empty:
            continue
        if not own.empty:
            lacking.append(_of_another_kind(arm, own, every))
        elif many := int((gone == arm).sum()):
            lacking.append(f"{arm} has no defined score ({count(many, 'score')} empty or not finite)")
        else:
            lacking.append(f"{arm} has no score")
    return listing(lacking) if lacking else ""


def _of_another_kind(arm: str, own: pd.DataFrame, every: pd.DataFrame) -> str:
    """Why no row of an arm that has some is among those compared."""
    if (own["track"] == "").all() and (every["track"] != "").any():
        told = "name no track, where those of others do: give every arm a score per track, or none of them"
        return f"the rows of {arm} {told}"
    theirs = listing(sorted(set(own["target"]) - set(MACRO)) or ["no target"], 4)
    return f"the rows of {arm} are of {theirs} alone, where others have a mean over targets: name a target all have"


def _named(lost: Set[Cell], every: Set[Cell]) -> dict[str, tuple[str, ...]]:
    """Whole targets where there are several, then whole tracks, then single scores, of some of all cells."""
    if not lost:
        return {}
    cells = set(every)
    named: dict[str, tuple[str, ...]] = {}
    for level, kind in enumerate(CELL):
        kept = {cell[level] for cell in cells - lost}
        gone = {cell[level] for cell in cells} - kept
        if gone and kept:
            named[kind] = tuple(sorted(gone))
            cells = {cell for cell in cells if cell[level] in kept}
    single = tuple(sorted(f"{target} of {track}" for target, track in cells & lost))
    return named | ({"score": single} if single else {})
