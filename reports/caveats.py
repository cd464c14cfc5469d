"""Cautions about the data and the trainings behind a comparison: too few test items, separators that separate nothing,
weights that were kept at the first or the last look. One sentence each."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from scipy import stats as scipy_stats

from reports.contract import Study, target_word
from reports.separation import Separation
from reports.statistics.auc import hanley_mcneil
from reports.statistics.tagging import Influence
from reports.text import count, listing

POSITIVES = 10
"""Test clips with and without a tag below which its area is not tested."""
TRACKS = 5
"""Test tracks below which a mean over them says little of others."""
CLIPS = 100
"""Test clips below which shares and areas are coarse."""
MANY = 10
"""Tracks from which a separator may fail on a tenth of them before a caution says so."""


def cautions(
    study: Study, areas: Mapping[str, Influence], apart: Sequence[Separation], tracks: Sequence[str]
) -> Iterator[str]:
    """What must be known before anything else is read, the gravest first.

    Args:
        areas: of each variant's tags, where there are predictions.
        apart: how well the separators separate.
        tracks: the test tracks that the main metric scores.
    """
    yield from _silent(study)
    yield from _separators(apart)
    yield from kept(study)
    counts = {name: min(tag.positives, tag.negatives) for arm in areas.values() for name, tag in arm.tags.items()}
    few = sorted((number, name) for name, number in counts.items() if number < POSITIVES)
    if few:
        told = listing([f"{name} {number}" for number, name in few], 6)
        yield (
            f"{count(len(few), 'tag')} of {len(counts)} {'has' if len(few) == 1 else 'have'} fewer than {POSITIVES} "
            f"test clips with {'it' if len(few) == 1 else 'them'}, or without "
            f"({told}): a single clip moves such an area by up to {100 / few[0][0]:.0f} points, and it is not tested. "
            f"With {POSITIVES} of each, the standard error of an area of 80 points is still "
            f"{100 * hanley_mcneil(0.8, POSITIVES, POSITIVES):.0f} points."
        )
    clips = max((len(arm.clips) for arm in areas.values()), default=0)
    if 0 < clips < CLIPS:
        yield (
            f"There are {clips} test clips: the areas are of these clips, and may be far from those of others. A share "
            f"near one half has a standard error of {100 * math.sqrt(0.25 / clips):.0f} points with {clips} clips, and "
            f"of {100 * math.sqrt(0.25 / CLIPS):.0f} with {CLIPS}."
        )
    if 0 < len(tracks) < TRACKS:
        many = len(tracks)
        wide = f"a 95 % interval of it is ±{spreads(many):.1f} times" if many > 1 else "nothing tells"
        there = "is one test track" if many == 1 else f"are {many} test tracks"
        yield (
            f"There {there} ({listing(list(tracks), TRACKS)}): a "
            f"mean over them says little of other music, and {wide} the spread between tracks. {fewest(1.0)} tracks "
            f"would hold such an interval to ±1 times the spread, {fewest(0.5)} to half of it."
        )


def spreads(tracks: int) -> float:
    """Half of a 95 % interval of a mean over tracks, in standard deviations between them.

    >>> round(spreads(2), 1), round(spreads(18), 2)
    (9.0, 0.5)
    """
    return float(scipy_stats.t.ppf(0.975, tracks - 1)) / math.sqrt(tracks)


def fewest(half: float) -> int:
    """The fewest tracks that hold the interval to so many standard deviations.

    >>> fewest(1.0), fewest(0.5)
    (7, 18)
    """
    return next(many for many in range(2, 10_000) if spreads(many) <= half)


def _silent(study: Study) -> Iterator[str]:
    """Sources (or labels) that a whole split lacks."""
    for note in study.notes:
        if note.kind == "coverage":
            yield f"{note.text[:1].upper()}{note.text[1:]}: {listing(note.items, 8)}."


def _separators(apart: Sequence[Separation]) -> Iterator[str]:
    """Separators that do no better than what needs none, by source and metric: on the mean, and on single tracks."""
    judged = [row for row in apart if row.beats is not None]
    worse = [row for row in judged if not row.beats]
    if worse:
        told = [
            f"{_named(row)}: {row.style.label} {row.style.value(row.model)}, {name} "
            f"{row.style.value(row.baselines[name])}"
            for row in worse
            for name in [strongest(row.baselines, row.style.higher_is_better)]
        ]
        yield (
            f"{len(worse)} of {count(len(judged), 'score')} of separators are no better than what needs no separator "
            f"({'; '.join(told[:4])}{f'; and {len(told) - 4} more' if len(told) > 4 else ''}): what is built on them "
            "tests a separation that did not happen."
        )
    hidden = [
        row for row in judged if row.beats and row.lost and (row.tracks <= MANY or MANY * len(row.lost) >= row.tracks)
    ]
    if hidden:
        told = [
            f"{_named(row)}, {row.style.label}: {len(row.lost)} of {row.tracks} ({listing(row.lost, 3)})"
            for row in hidden
        ]
        verb = "is" if len(hidden) == 1 else "are"
        yield (
            f"{count(len(hidden), 'score')} of separators better than that on the mean {verb} "
            f"not so on single tracks ({'; '.join(told[:4])}{f'; and {len(told) - 4} more' if len(told) > 4 else ''})."
        )


def _named(row: Separation) -> str:
    """The variant and what it separates."""
    return f"{row.variant}, {target_word(row.style.name, (row.target,))} {row.target}"


def strongest(baselines: Mapping[str, float], higher_is_better: bool) -> str:
    """The name of the best of them."""
    return (max if higher_is_better else min)(baselines, key=lambda name: baselines[name])


def kept(study: Study) -> Iterator[str]:
    """Trainings that selected on validation and kept the weights of their first or last look."""
    chosen = [each.kept for each in study.stages.values() if each.kept and each.kept.by and each.kept.looks > 1]
    effects = {
        "first": "later steps made them worse on validation, so they are hardly trained",
        "last": "they were still getting better",
    }
    for where, effect in effects.items():
        here = [one for one in chosen if one.look == (1 if where == "first" else one.looks)]
        if here:
            names = Counter(f"{one.label} at step {one.step} of {one.steps}" for one in here)
            told = [name + (f", {number} times" if number > 1 else "") for name, number in names.items()]
            told = told if len(told) < 8 else [*told[:6], f"and {len(told) - 6} more"]
            yield (
                f"{len(here)} of {count(len(chosen), 'training')} that chose by a validation loss kept the weights of "
                f"the {where} validation: {effect} ({'; '.join(told)})."
            )
