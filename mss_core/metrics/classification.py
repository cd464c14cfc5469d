"""Scores of taggers and classifiers.

Conventions: `truth` holds 0 and 1, `scores` any finite number, larger meaning more likely; both
have the shape (item, tag), and a plain vector counts as one tag. A tag is *undefined* where its
truth has no positive or no negative item; its score is NaN, never 0 or 0.5, and `macro` leaves it
out. A single-label problem has `truth_index` (item,) instead, the class of each item, beside
scores (item, class). Arrays may be numpy or torch, on any device.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike


def roc_auc(truth: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """Area under the ROC curve of each tag: P(positive scores above negative), ties one half.

    Shape: truth and scores (item, tag); returns (tag,), in [0, 1], NaN where undefined.

    Raises:
        ValueError: shapes differ, truth is not 0 / 1, or a score is not finite.

    >>> roc_auc([[0, 1], [1, 1], [1, 1]], [[.1, .3], [.8, .2], [.05, .9]])
    array([0.5, nan])
    """
    from scipy.stats import rankdata  # slow to import; most callers never get here

    truth, scores = _checked(truth, scores)
    positives = truth.sum(axis=0)
    negatives = len(truth) - positives
    if len(truth) == 0:
        return np.full(truth.shape[1], np.nan)
    # [Mann and Whitney 1947] U of the positives, from midranks.
    above = (rankdata(scores, axis=0) * truth).sum(axis=0) - positives * (positives + 1) / 2
    pairs = positives * negatives
    return np.divide(above, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def pr_auc(truth: ArrayLike, scores: ArrayLike) -> np.ndarray:
    """Average precision of each tag: the precision at each threshold, weighted by its recall step.

    Items of equal score enter together. This step-wise sum, not a trapezoid, is what tagging
    papers report as PR-AUC. A constant score earns the share of positives.

    Shape: truth and scores (item, tag); returns (tag,), in [0, 1], NaN where undefined.

    Raises:
        ValueError: shapes differ, truth is not 0 / 1, or a score is not finite.

    >>> pr_auc([0, 1, 1, 0], [.1, .8, .3, .5])
    array([0.83333333])
    """
    truth, scores = _checked(truth, scores)
    return np.array([_average_precision(t, s) for t, s in zip(truth.T, scores.T, strict=True)])


def _average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    positives = truth.sum()
    if positives == 0 or positives == len(truth):
        return float("nan")
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(truth[order])
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    hits, taken = hits[last_of_tie], np.flatnonzero(last_of_tie) + 1
    steps = np.diff(hits, prepend=0) / positives
    return float((steps * hits / taken).sum())


def macro(values: ArrayLike) -> float:
    """Unweighted mean over tags of the defined values; NaN where none is defined.

    >>> macro([.5, float("nan"), 1.])
    0.75
    """
    values = _array(values).astype(float)
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if defined.size else float("nan")


def accuracy(truth_index: ArrayLike, scores: ArrayLike) -> float:
    """Share of items whose highest score is their class (the first class wins a tie).

    This is also what the released code of [Garoufis et al. 2023] prints as "WA".

    Shape: truth_index (item,), scores (item, class); returns one number, NaN without items.

    >>> accuracy([0, 0, 0, 1], [[.9, .1], [.8, .2], [.3, .7], [.2, .8]])
    0.75
    """
    truth_index, scores = _checked_index(truth_index, scores)
    if len(truth_index) == 0:
        return float("nan")
    return float((scores.argmax(axis=1) == truth_index).mean())


def weighted_accuracy(truth_index: ArrayLike, scores: ArrayLike) -> float:
    """Mean over the classes that occur of the share of their items recognised (balanced accuracy).

    Shape: truth_index (item,), scores (item, class); returns one number, NaN without items.

    >>> round(weighted_accuracy([0, 0, 0, 1], [[.9, .1], [.8, .2], [.3, .7], [.2, .8]]), 4)
    0.8333
    """
    truth_index, scores = _checked_index(truth_index, scores)
    right = scores.argmax(axis=1) == truth_index
    return macro([right[truth_index == c].mean() for c in np.unique(truth_index)])


def second_medians(values: ArrayLike, frame_rate: float) -> np.ndarray:
    """Median of each second of one track's frame-level values.

    Frame i belongs to second floor(i / frame_rate), so that a fractional rate does not drift.
    The last partial second is dropped, unless it is all there is.

    Args:
        values: (frame, ...).
        frame_rate: frames per second; samplerate / hop.

    Shape: returns (second, ...).

    >>> second_medians([0, 0, 1, 1, 1, 0, 9], frame_rate=3)
    array([0., 1.])
    """
    values = _array(values).astype(float)
    if not frame_rate > 0:
        raise ValueError(f"frame_rate is {frame_rate}, should be above 0 (samplerate / hop)")
    second = np.floor(np.arange(len(values)) / frame_rate + 1e-9).astype(int)
    whole = int(len(values) / frame_rate + 1e-9)
    count = max(whole, 1) if len(values) else 0
    rows = [np.median(values[second == s], axis=0) for s in range(count) if (second == s).any()]
    return np.array(rows).reshape(-1, *values.shape[1:])


def activity_auc(truths: Sequence[ArrayLike], scores: Sequence[ArrayLike], frame_rate: float) -> np.ndarray:
    """ROC-AUC of instrument activity over all seconds of all tracks [Hung and Lerch 2020].

    Both truth and score are aggregated to one second by the median; a second counts as active
    where at least half of its frames do.

    Args:
        truths: one array (frame, instrument) of 0 / 1 a track.
        scores: one array (frame, instrument) a track.
        frame_rate: frames per second.

    Shape: returns (instrument,), NaN where undefined.

    >>> activity_auc([[[1], [1], [0], [0]]], [[[.9], [.1], [.2], [.4]]], frame_rate=2)
    array([1.])
    """
    if len(truths) != len(scores):
        raise ValueError(f"{len(truths)} tracks of truth and {len(scores)} tracks of scores")
    if not truths:
        raise ValueError("no tracks: truths and scores are empty")
    both = zip(truths, scores, strict=True)
    pairs = [_checked(t, s, f" of track {i}") for i, (t, s) in enumerate(both)]
    truth = np.concatenate([second_medians(t, frame_rate) >= 0.5 for t, _ in pairs])
    return roc_auc(truth, np.concatenate([second_medians(s, frame_rate) for _, s in pairs]))


def merge_columns(
    values: ArrayLike, names: Sequence[str], groups: Mapping[str, Sequence[str]]
) -> tuple[np.ndarray, list[str]]:
    """Columns joined by their maximum: a group is active where any of its members is.

    A group none of whose members is among `names` is left out, and a column in no group stays as
    it is, after the groups. [Hung and Lerch 2020] merge e.g. male and female singer to vocals.

    Args:
        values: (item, name): truth or scores.
        names: the columns' names.
        groups: new name -> names of its members.

    Returns:
        (item, new name), and the new names.

    >>> merge_columns([[0, 1, 0]], ["male", "female", "bass"], {"vocals": ["male", "female"]})
    (array([[1, 0]]), ['vocals', 'bass'])
    """
    values = _array(values)
    taken = {name for members in groups.values() for name in members}
    plan = {group: [n for n in members if n in names] for group, members in groups.items()}
    plan = {group: members for group, members in plan.items() if members}
    plan |= {name: [name] for name in names if name not in taken}
    columns = [[list(names).index(n) for n in members] for members in plan.values()]
    return np.stack([values[:, c].max(axis=1) for c in columns], axis=1), list(plan)


def _array(values: ArrayLike) -> np.ndarray:
    detach = getattr(values, "detach", None)
    return np.asarray(detach().cpu() if detach else values)


def _checked(truth: ArrayLike, scores: ArrayLike, place: str = "") -> tuple[np.ndarray, ...]:
    truth, scores = _array(truth), _array(scores)
    if truth.ndim == 1 and scores.ndim == 1:
        truth, scores = truth[:, None], scores[:, None]
    if truth.shape != scores.shape or truth.ndim != 2:
        raise ValueError(
            f"truth{place} has the shape {truth.shape} and scores {scores.shape}: both should be (item, tag)"
        )
    if not np.isin(truth, (0, 1)).all():
        wrong = truth[~np.isin(truth, (0, 1))].flat[0]
        raise ValueError(f"truth{place} holds {wrong}, should be 0 or 1")
    if not np.isfinite(scores).all():
        item, tag = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(f"scores{place} hold {scores[item, tag]} at item {item}, tag {tag}: not finite")
    return truth.astype(float), scores.astype(float)


def _checked_index(truth_index: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    truth_index, scores = _array(truth_index), _array(scores).astype(float)
    if scores.ndim != 2 or truth_index.shape != scores.shape[:1]:
        raise ValueError(
            f"truth_index has the shape {truth_index.shape} and scores {scores.shape}: "
            "should be (item,) and (item, class)"
        )
    classes = scores.shape[1]
    wrong = truth_index[~np.isin(truth_index, np.arange(classes))]
    if wrong.size:
        raise ValueError(f"truth_index holds {wrong[0]}, should be 0 to {classes - 1}")
    if not np.isfinite(scores).all():
        item, column = np.argwhere(~np.isfinite(scores))[0]
        raise ValueError(f"scores hold {scores[item, column]} at item {item}, class {column}: not finite")
    return truth_index.astype(int), scores
