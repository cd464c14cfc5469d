"""In how many conventions of one kind of score a difference has the same sign: a small specification curve.

The SDR of separated music is computed in several ways, and by mean or by median over tracks. A finding that holds in
one of them alone is a finding about that convention. Differences only, no tests: the declared test is that of the
primary metric.
"""

import math
from collections.abc import Sequence

import pandas as pd

from reports.contract import ALIKE
from reports.document import Cell, Table
from reports.findings import Comparison, Convention, Findings
from reports.inputs.tables import Scores, select, track_scores
from reports.overlap import arms, overlap
from reports.text import listing

MEAN, MEDIAN = "mean", "median"
SHOWN = 6
"""Variants that the sentence names."""


def by_convention(scores: Scores, comparisons: Sequence[Comparison]) -> tuple[Convention, ...]:
    """The differences to the reference by every convention of the primary metric's kind; empty where there is one.

    Args:
        comparisons: the primary one first.
    """
    main = comparisons[0]
    kind = next((names for names in ALIKE if main.style.name.lower() in names), ())
    alike = [c for c in comparisons if c.style.name.lower() in kind]
    if len(alike) < 2:
        return ()
    found = []
    for each in alike:
        means = {c.variant: c.primary.difference for c in each.contrasts if not c.refused}
        found.append(Convention(each.style, MEAN, means))
        medians = _medians(scores, each)
        if medians:
            found.append(Convention(each.style, MEDIAN, medians))
    return tuple(found)


def _medians(scores: Scores, compared: Comparison) -> dict[str, float]:
    """By variant, the difference of medians over tracks, each the mean over runs; over what both arms have."""
    rows = select(scores, compared.style.name, compared.target)
    if rows["track"].nunique() < 3:
        return {}
    scored, found = arms(rows), {}
    for contrast in compared.contrasts:
        if contrast.refused or not {contrast.variant, contrast.reference} <= scored.keys():
            continue
        pair = overlap(contrast.variant, contrast.reference, scored, 0, contrast.own_tracks)
        if not pair.reason:
            a, b = (_median(arm.rows) for arm in (pair.variant, pair.reference))
            found[contrast.variant] = a - b
    return found


def _median(rows: pd.DataFrame) -> float:
    """The mean over runs of the median over tracks."""
    if rows.empty:
        return math.nan
    return float(track_scores(rows).groupby("seed")["score"].median().mean())


def holding(found: Sequence[Convention], variant: str) -> tuple[int, list[str]]:
    """In how many conventions a variant differs from its reference as it does by the first, and the names of the
    others."""
    having = [each for each in found if variant in each.differences]
    other = [each.name for each in having if each.sign(variant) != having[0].sign(variant)]
    return len(having) - len(other), other


def sentence(findings: Findings) -> str:
    """In how many conventions the sign of each difference holds; empty where there is one convention alone."""
    found = findings.conventions
    names = [c.variant for c in findings.main.contrasts if any(c.variant in each.differences for each in found)]
    if not found or not names:
        return ""
    told = []
    for name in names[:SHOWN]:
        kept, other = holding(found, name)
        total = kept + len(other)
        which = f"not by {listing(other, 3)}" if kept >= len(other) else f"by {listing(_by(found, name), 3)} alone"
        told.append(f"{name} {kept} of {total}" + (f" ({which})" if other else ""))
    more = f"; and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    labels = listing(list(dict.fromkeys(each.style.label for each in found)))
    return (
        f"The sign of the difference holds in so many conventions ({labels}, by mean and by median over tracks): "
        f"{'; '.join(told)}{more}."
    )


def _by(found: Sequence[Convention], variant: str) -> list[str]:
    first = next(each.sign(variant) for each in found if variant in each.differences)
    return [each.name for each in found if variant in each.differences and each.sign(variant) == first]


def table(findings: Findings) -> Table:
    """One row per variant, one column per convention, and in how many the sign is that of the first."""
    found = findings.conventions
    rows = []
    for contrast in findings.main.contrasts:
        name = contrast.variant
        cells: list[Cell | str] = [name]
        for each in found:
            value = each.differences.get(name, math.nan)
            cells.append(Cell(each.style.difference(value), value))
        kept, other = holding(found, name)
        cells.append(Cell(f"{kept} of {kept + len(other)}", kept))
        rows.append(tuple(cells))
    unit = findings.main.style.unit
    caption = f"Differences to {findings.main.against}{f' in {unit}' if unit else ''}; none of them is tested here."
    return Table(("variant", *(each.name for each in found), "as the first"), tuple(rows), caption)
