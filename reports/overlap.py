"""What two arms were both scored on: the cells (target, track) that every run of both has.

A mean over other targets or other tracks is another quantity, so a contrast is taken over these cells alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from reports.inputs.tables import item_scores, run_scores, track_scores
from reports.text import count

CELL = ["target", "track"]


@dataclass(frozen=True)
class Overlap:
    """Both arms of a contrast on their common cells.

    Attributes:
        variant, reference: rows of the score table; those of common cells, or all of an arm's own
            where it cannot be compared.
        left_out: arm -> "target", "track" or "score" -> names of those that the other arm has and
            not every run of this one; only arms that lack some.
        reason: why the arms cannot be compared; empty if they can.
    """

    variant: pd.DataFrame
    reference: pd.DataFrame
    left_out: Mapping[str, Mapping[str, tuple[str, ...]]] = field(default_factory=dict)
    reason: str = ""

    @cached_property
    def runs(self) -> tuple[dict[int, float], dict[int, float]]:
        """The score of each run, by seed, of the variant and of the reference."""
        return _runs(self.variant), _runs(self.reference)

    @cached_property
    def items(self) -> tuple[pd.DataFrame, pd.DataFrame] | None:
        """Tables (seed x track) of the variant and of the reference; None without tracks."""
        found = [next(iter(item_scores(track_scores(rows)).values()), None) for rows in (self.variant, self.reference)]
        return None if found[0] is None or found[1] is None else (found[0], found[1])


def whole(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of those cells that every run among the rows has."""
    runs = rows.groupby(["variant", "seed"]).ngroups
    return rows[rows.groupby(CELL)["score"].transform("size") == runs]


def overlap(variant: str, reference: str, rows: pd.DataFrame, tracks: int) -> Overlap:
    """The rows of two arms on the cells that every run of both has.

    Args:
        rows: of one metric, of all variants, each score of a variant, seed, target and track once.
        tracks: how many tracks the test needs; 0 where it needs none.
    """
    arms = {name: rows[rows["variant"] == name] for name in (variant, reference)}
    if any(arm.empty for arm in arms.values()):
        return Overlap(arms[variant], arms[reference])
    complete = {name: whole(arm) for name, arm in arms.items()}
    cells = {name: _cells(arm) for name, arm in complete.items()}
    shared = cells[variant].intersection(cells[reference], sort=False)
    a, b = (arm[_index(arm).isin(shared)] for arm in arms.values())
    many = a["track"].nunique()
    if a.empty or many < tracks:
        both = set(arms[variant]["target"]) & set(arms[reference]["target"])
        kind = "track" if both and (rows["track"] != "").any() else "target"
        own = " and ".join(f"{name} has {arm[kind].nunique()}" for name, arm in complete.items())
        few = f"only {count(many, kind)} has" if many else f"no {kind} has"
        needed = f", and the test needs {tracks}" if many else ""
        reason = (
            f"{few} a score in every run of both {variant} and {reference}{needed} (in every run of its own, {own})"
        )
        return Overlap(arms[variant], arms[reference], reason=reason)
    every = _cells(pd.concat(list(arms.values())))
    left_out = {name: _named(every.difference(cells[name], sort=False), every) for name in arms}
    return Overlap(a, b, {name: kinds for name, kinds in left_out.items() if kinds})


def _index(rows: pd.DataFrame) -> pd.MultiIndex:
    return pd.MultiIndex.from_frame(rows[CELL])


def _cells(rows: pd.DataFrame) -> pd.MultiIndex:
    return _index(rows).unique()


def _named(lacking: pd.MultiIndex, every: pd.MultiIndex) -> dict[str, tuple[str, ...]]:
    """Whole targets where there are several, then whole tracks, then single scores, of some of all cells."""
    lost, cells = set(lacking), set(every)
    named: dict[str, tuple[str, ...]] = {}
    for level, kind in enumerate(CELL):
        kept = {cell[level] for cell in cells - lost}
        gone = {cell[level] for cell in cells} - kept
        if gone and kept:
            named[kind] = tuple(sorted(gone))
            cells = {cell for cell in cells if cell[level] in kept}
    single = tuple(sorted(f"{target} of {track}" for target, track in cells & lost))
    return named | ({"score": single} if single else {})


def _runs(rows: pd.DataFrame) -> dict[int, float]:
    return next(iter(run_scores(rows).values()), {})
