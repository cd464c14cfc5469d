"""Cautions about the data and the trainings behind a comparison: too few test items, separators that separate nothing,
weights that were kept at the first or the last look. One sentence each."""

from collections.abc import Iterator, Mapping, Sequence

import pandas as pd

from reports.contract import Study
from reports.findings import Comparison, Separation
from reports.statistics.auc import hanley_mcneil
from reports.statistics.tagging import Influence
from reports.text import count, listing

POSITIVES = 10
"""Test clips with and without a tag below which its area is not tested."""
TRACKS = 5
"""Test tracks below which a mean over them says little of others."""


def cautions(
    main: Comparison, areas: Mapping[str, Influence], apart: Sequence[Separation], tracks: Sequence[str]
) -> Iterator[str]:
    """What must be known before anything else is read.

    Args:
        areas: of each variant's tags, where there are predictions.
        apart: how well the separators separate.
        tracks: the test tracks that the main metric scores.
    """
    yield from _separators(apart)
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
    clips = max((arm.clips for arm in areas.values()), default=0)
    if 0 < clips < 100:
        yield f"There are {clips} test clips: the areas are of these clips, and may be far from those of others."
    if 0 < len(tracks) < TRACKS:
        yield (
            f"There {'is one test track' if len(tracks) == 1 else f'are {len(tracks)} test tracks'} "
            f"({listing(list(tracks), TRACKS)}): a mean over them says little of other music."
        )


def _separators(apart: Sequence[Separation]) -> Iterator[str]:
    """Separators that do no better than what needs none, by source and metric."""
    judged = [row for row in apart if row.beats is not None]
    worse = [row for row in judged if not row.beats]
    if not worse:
        return
    told = []
    for row in worse:
        better = max if row.style.higher_is_better else min
        name = better(row.baselines, key=lambda name: row.baselines[name])
        told.append(
            f"{row.variant}, {row.target}: {row.style.label} {row.style.value(row.model)}, {name} "
            f"{row.style.value(row.baselines[name])}"
        )
    yield (
        f"{len(worse)} of {count(len(judged), 'score')} of separators are no better than what needs no separator "
        f"({'; '.join(told[:4])}{f'; and {len(told) - 4} more' if len(told) > 4 else ''}): what is built on them tests "
        "a separation that did not happen."
    )


def kept(curves: pd.DataFrame | None, study: Study) -> Iterator[str]:
    """Which weights were kept of each training that selects on validation, where that was its first or last look."""
    if curves is None or curves.empty:
        return
    lasts = {
        path.rsplit(".", 1)[0]
        for variant in study.variants
        for path, value in variant.recipe.items()
        if path.endswith(".select") and str(value) == "last"
    }
    rows = curves[curves["metric"] == "valid_loss"]
    looks: dict[str, list[str]] = {"first": [], "last": []}
    trainings = 0
    for (stage, _), one in rows.groupby(["stage", "key"], sort=False):
        if str(stage).split(" ")[0] in lasts or len(one) < 2:
            continue
        trainings += 1
        steps, values = one["step"].to_numpy(), one["value"].to_numpy()
        best = int(values.argmin())
        if best in (0, len(values) - 1):
            where = "first" if best == 0 else "last"
            looks[where].append(f"{stage} (step {steps[best]:.0f} of {steps[-1]:.0f})")
    effects = {
        "first": "later steps made them worse on validation, so they are hardly trained",
        "last": "they were still getting better",
    }
    for where, names in looks.items():
        if names:
            yield (
                f"{len(names)} of {count(trainings, 'training')} kept the weights of the {where} validation: "
                f"{effects[where]} ({listing(list(dict.fromkeys(names)), 6)})."
            )
