"""What needs every prediction: each clip's influence on the AUC of a tag, and on that of a run.

The clips are a sample that tags and seeds share. The sum of the squares of their influences on a difference of AUCs,
averaged over tags and seeds first, is DeLong's variance of it. A run's AUC plus the influence of a clip times the
number of clips is a score of that run on that clip (a pseudo-value): its mean over clips is the AUC, and its scatter
over them gives DeLong's variance. So the tests of scores that cross runs with items hold for AUCs as well.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from reports.contract import MACRO
from reports.statistics import groups
from reports.statistics.auc import d_score, hanley_mcneil, placements_by_cell
from reports.statistics.hypothesis_tests import Result, from_se

OVER_CLIPS = {"seeds_clips": "crossed", "paired_clips": "paired_crossed"}
"""What each test over runs and clips is of pseudo-values."""
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
        runs: by seed, the mean AUC over these tags.
        of_runs: influence of each clip on these means. Shape: (run, clip).
        clips: their names.
        groups: of each clip, the number of its group (song, album, artist); None where each counts as independent.
            Shape: (clip,).
    """

    tags: Mapping[str, Tag]
    runs: Mapping[int, float]
    of_runs: np.ndarray
    clips: pd.Index
    groups: np.ndarray | None = None

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The pseudo-values: a table (seed, clip), or (seed, group), whose weighted mean is the AUC of each run."""
        areas = np.array(list(self.runs.values()))[:, None]
        table = pd.DataFrame(areas + len(self.clips) * self.of_runs, index=list(self.runs), columns=self.clips)
        return table if self.groups is None else groups.collapse(table, self._named())

    @cached_property
    def sizes(self) -> Mapping[str, int] | None:
        """How many clips each group has; None without groups."""
        return None if self.groups is None else groups.sizes(list(self.clips), self._named())

    def _named(self) -> dict[str, str]:
        assert self.groups is not None
        return {clip: str(group) for clip, group in zip(self.clips, self.groups, strict=True)}


def influences(predictions: pd.DataFrame, target: str = "") -> dict[str, Influence]:
    """The influence of every clip on every variant's AUCs."""
    rows = predictions if target in MACRO else predictions[predictions["target"] == target]
    clip, clips = pd.factorize(rows["item"])
    clusters = groups.of_items(rows, "item")
    of_clips = pd.factorize(np.array([clusters.get(item, f"{item} alone") for item in clips], object))[0]
    variant, variants = pd.factorize(rows["variant"])
    tag, names = pd.factorize(rows["target"])
    seeds, seed = np.unique(rows["seed"], return_inverse=True)
    truth, score = rows["truth"].to_numpy(), rows["score"].to_numpy(float)
    order = np.argsort(variant, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(variant[order], prepend=-1)), len(order))
    found = {}
    for first, last in zip(ends[:-1], ends[1:], strict=True):  # one arm at a time: tables may have millions of rows
        arm = order[first:last]
        arm = arm[np.lexsort((tag[arm], seed[arm]))]
        own, runs = _arm(clip[arm], tag[arm], seed[arm], truth[arm], score[arm], len(clips), len(names))
        found[str(variants[variant[arm[0]]])] = Influence(
            {str(names[number]): one for number, one in own.items()},
            {int(seeds[number]): area for number, (area, _) in runs.items()},
            np.array([of_run for _, of_run in runs.values()]).reshape(len(runs), len(clips)),
            clips,
            of_clips if clusters else None,
        )
    return found


def _arm(
    clip: np.ndarray, tag: np.ndarray, seed: np.ndarray, truth: np.ndarray, score: np.ndarray, clips: int, tags: int
) -> tuple[dict[int, Tag], dict[int, tuple[float, np.ndarray]]]:
    """By number, the tags of one variant, and the mean AUC of its runs with the influence of each clip on it.

    Shape:
        all (prediction,), in the order of seeds and, within them, of tags.
    """
    new = (np.diff(seed, prepend=-1) != 0) | (np.diff(tag, prepend=-1) != 0)
    edges = np.append(np.flatnonzero(new), len(new))
    place = placements_by_cell(truth, score, np.cumsum(new) - 1)
    part = np.zeros(len(place))  # an item's share in the influence of its clip
    areas: dict[int, list[float]] = {}
    runs: dict[int, list[float]] = {}
    counts: dict[int, tuple[int, int]] = {}
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        positive, placed = truth[first:last] == 1, place[first:last]
        n1, n0 = int(positive.sum()), int((~positive).sum())
        if min(n1, n0) < 2:
            continue
        area = float(placed[positive].mean())
        # n (n - 1) in place of n squared: then one tag and one run give DeLong's own variance.
        part[first:last] = (placed - area) * np.where(positive, n1 * (n1 - 1.0), n0 * (n0 - 1.0)) ** -0.5
        areas.setdefault(int(tag[first]), []).append(area)
        runs.setdefault(int(seed[first]), []).append(area)
        counts[int(tag[first])] = (n1, n0)
    sums = np.bincount(tag * clips + clip, part, tags * clips).reshape(tags, clips)
    own = {name: Tag(float(np.mean(each)), sums[name] / len(each), *counts[name]) for name, each in areas.items()}
    whole = {}
    for number, each in runs.items():
        here = slice(*np.searchsorted(seed, (number, number + 1)))
        whole[number] = float(np.mean(each)), np.bincount(clip[here], part[here], clips) / len(each)
    return own, whole


def delong(a: Influence, b: Influence, alpha: float) -> Result:
    """DeLong's test of the mean AUC over tags and seeds: the clips are the sample, these runs the only ones."""
    what = "clips" if a.groups is None else "groups of clips"
    label = f"DeLong {'z' if a.groups is None else 't'} ({what} sampled, these runs the only ones)"
    difference = float(np.mean(list(a.runs.values())) - np.mean(list(b.runs.values())))
    square, df = _squares(a.of_runs.mean(axis=0) - b.of_runs.mean(axis=0), a.groups)
    items = len(a.clips) if a.groups is None else int(a.groups.max()) + 1
    n = (len(a.runs), len(b.runs))
    return from_se("delong", label, difference, math.sqrt(square), df, n, alpha=alpha, items=items)


def _squares(influence: np.ndarray, of_clips: np.ndarray | None) -> tuple[float, float]:
    """DeLong's variance, over clips or over groups of them, and its degrees of freedom."""
    if of_clips is None:
        return float((influence**2).sum()), math.inf
    sums, share = np.bincount(of_clips, influence), np.bincount(of_clips) / len(of_clips)
    many = len(sums)
    return float((sums**2).sum()) * many / max(many - 1, 1), groups.degrees(share)


@dataclass(frozen=True)
class TagArea:
    """AUC of one tag in both arms, averaged over runs.

    Attributes:
        positives, negatives: clips of either truth.
        variant, variant_half: AUC and half-width of its 95 % Hanley-McNeil interval.
        reference, reference_half: the same of the reference.
        d: Ligtenberg's D score: positive where the two intervals do not overlap.
        p: DeLong's test, clips sampled, these runs the only ones; uncorrected.
    """

    target: str
    positives: int
    negatives: int
    variant: float
    variant_half: float
    reference: float
    reference_half: float
    d: float
    p: float


def by_tag(a: Influence, b: Influence, alpha: float) -> tuple[TagArea, ...]:
    """Both AUCs of each tag with Hanley-McNeil intervals, the D score and DeLong's p; largest gain first."""
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
