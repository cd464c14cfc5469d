"""Tests that need every prediction: DeLong over all runs and tags of two variants, and tag by tag.

The clips are the only sample: tags and seeds share them. So the influence of each clip on each
    AUC is averaged over
seeds (and tags) first, and the sum of its squares is DeLong's variance of the mean AUC.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.contract import MACRO
from reports.findings import TagArea
from reports.statistics import groups
from reports.statistics.auc import d_score, hanley_mcneil, placements
from reports.statistics.hypothesis_tests import Result, from_se, variance

HALF = 1.959963984540054


@dataclass(frozen=True)
class Tag:
    """One tag of one variant.

    Attributes:
        area: mean AUC over runs.
        influence: of each clip on it. Shape: (clip,).
        positives, negatives: clips of either truth.
    """

    area: float
    influence: np.ndarray
    positives: int
    negatives: int


@dataclass(frozen=True)
class Influence:
    """One variant.

    Attributes:
        tags: by name; those without two positive and two negative clips are absent.
        runs: mean AUC over tags of each run.
        clips: how many clips there are.
        groups: of each clip, the number of its group (song, album, artist); None where each counts as independent.
            Shape: (clip,).
    """

    tags: Mapping[str, Tag]
    runs: tuple[float, ...]
    clips: int
    groups: np.ndarray | None = None

    def mean(self) -> np.ndarray:
        """Influence of each clip on the mean AUC over tags and runs. Shape: (clip,)."""
        return np.asarray(np.mean([tag.influence for tag in self.tags.values()], axis=0))


def influences(predictions: pd.DataFrame, target: str = "") -> dict[str, Influence]:
    """The influence of every clip on every variant's AUCs."""
    rows = predictions if target in MACRO else predictions[predictions["target"] == target]
    codes, clips = pd.factorize(rows["item"])
    rows = rows.assign(clip=codes)
    clusters = groups.of_items(rows, "item")
    of_clips = pd.factorize(np.array([clusters.get(clip, f"{clip} alone") for clip in clips], object))[0]
    found: dict[str, Influence] = {}
    for variant, arm in rows.groupby("variant", sort=False, observed=True):
        areas: dict[str, list[float]] = {}
        sums: dict[str, np.ndarray] = {}
        counts: dict[str, tuple[int, int]] = {}
        runs = []
        targets, names = pd.factorize(arm["target"])
        seeds = arm["seed"].to_numpy()
        clip, truths = arm["clip"].to_numpy(), arm["truth"].to_numpy()
        scores = arm["score"].to_numpy(float)
        for seed in np.unique(seeds):
            values = []
            here = np.flatnonzero(seeds == seed)
            order = here[np.argsort(targets[here], kind="stable")]
            edges = np.flatnonzero(np.diff(targets[order], prepend=-1, append=-1))
            for first, last in zip(edges[:-1], edges[1:], strict=True):
                tag = order[first:last]
                truth, name = truths[tag], str(names[targets[tag[0]]])
                n1, n0 = int(truth.sum()), int((1 - truth).sum())
                if min(n1, n0) < 2:
                    continue
                place = placements(truth, scores[tag])
                area = float(place[truth == 1].mean())
                # n (n - 1) in place of n squared: then one tag and one run give DeLong's own
                # variance.
                weight = np.where(truth == 1, n1 * (n1 - 1.0), n0 * (n0 - 1.0)) ** -0.5
                total = sums.setdefault(name, np.zeros(len(clips)))
                np.add.at(total, clip[tag], (place - area) * weight)
                areas.setdefault(name, []).append(area)
                counts[name] = (n1, n0)
                values.append(area)
            if values:
                runs.append(float(np.mean(values)))
        tags = {name: Tag(float(np.mean(each)), sums[name] / len(each), *counts[name]) for name, each in areas.items()}
        found[str(variant)] = Influence(tags, tuple(runs), len(clips), of_clips if clusters else None)
    return found


def tests(a: Influence, b: Influence, alpha: float) -> tuple[Result, ...]:
    """DeLong on the mean AUC over tags and seeds, and the same with the spread between runs
    added.
    """
    if not a.tags or not b.tags:
        return ()
    difference = float(np.mean(a.runs) - np.mean(b.runs))
    n = (len(a.runs), len(b.runs))
    clips, clips_df = _squares(a.mean() - b.mean(), a.groups)
    items = a.clips if a.groups is None else int(a.groups.max()) + 1
    what = "clips" if a.groups is None else "groups of clips"
    label = f"DeLong {'z' if a.groups is None else 't'} ({what} sampled, these runs the only ones)"
    first = from_se("delong", label, difference, math.sqrt(clips), clips_df, n, alpha=alpha, items=items)
    if min(n) < 2:
        return (first,)
    parts = [(variance(runs) / len(runs), len(runs) - 1.0) for runs in (a.runs, b.runs)] + [(clips, clips_df)]
    total = sum(part for part, _ in parts)
    spread = sum(part**2 / df for part, df in parts)
    df = total**2 / spread if spread > 0 else math.inf
    label = f"seeds + {what} t (Welch with DeLong's variance added)"
    second = from_se("seeds_clips", label, difference, math.sqrt(total), df, n, alpha=alpha, items=items)
    return (first, second)


def _squares(influence: np.ndarray, of_clips: np.ndarray | None) -> tuple[float, float]:
    """DeLong's variance, over clips or over groups of them, and its degrees of freedom."""
    if of_clips is None:
        return float((influence**2).sum()), math.inf
    sums, share = np.bincount(of_clips, influence), np.bincount(of_clips) / len(of_clips)
    many = len(sums)
    return float((sums**2).sum()) * many / max(many - 1, 1), groups.degrees(share)


def by_tag(a: Influence, b: Influence, alpha: float) -> tuple[TagArea, ...]:
    """Both AUCs of each tag with Hanley-McNeil intervals, the D score and DeLong's p; largest
    gain first.
    """
    rows = []
    for name in a.tags.keys() & b.tags.keys():
        x, y = a.tags[name], b.tags[name]
        halves = [HALF * hanley_mcneil(tag.area, tag.positives, tag.negatives) for tag in (x, y)]
        square, df = _squares(x.influence - y.influence, a.groups)
        test = from_se("delong", "", x.area - y.area, math.sqrt(square), df, (1, 1), alpha=alpha)
        rows.append(
            TagArea(
                name,
                x.positives,
                x.negatives,
                x.area,
                halves[0],
                y.area,
                halves[1],
                d_score(x.area, y.area, *halves),
                test.p,
            )
        )
    return tuple(sorted(rows, key=lambda row: (row.reference - row.variant, row.target)))
