"""classification.py against scikit-learn and hand-computed cases."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from mss_core.metrics import classification as c


def tagged(seed, items=60, tags=7, decimals=None):
    rng = np.random.default_rng(seed)
    truth = (rng.random((items, tags)) < np.linspace(0.1, 0.9, tags)).astype(int)
    truth[0], truth[1] = 0, 1
    scores = rng.random((items, tags)) + 0.3 * truth
    return truth, scores if decimals is None else scores.round(decimals)


@pytest.mark.parametrize("decimals", [None, 1, 0])  # fewer decimals, more ties
@pytest.mark.parametrize("seed", range(5))
def test_areas_equal_scikit_learn(seed, decimals):
    truth, scores = tagged(seed, decimals=decimals)
    roc = oracle.roc_auc_score(truth, scores, average=None)
    pr = oracle.average_precision_score(truth, scores, average=None)
    np.testing.assert_allclose(c.roc_auc(truth, scores), roc, atol=1e-12)
    np.testing.assert_allclose(c.pr_auc(truth, scores), pr, atol=1e-12)
    assert c.macro(c.roc_auc(truth, scores)) == pytest.approx(oracle.roc_auc_score(truth, scores, average="macro"))


@given(st.integers(0, 10_000), st.integers(2, 30))
@settings(max_examples=40, deadline=None)
def test_areas_depend_on_the_order_of_scores_only(seed, items):
    truth, scores = tagged(seed, items=items, tags=3, decimals=1)
    for area in (c.roc_auc, c.pr_auc):
        np.testing.assert_allclose(area(truth, scores), area(truth, np.exp(3 * scores)))
        shuffled = np.random.default_rng(seed).permutation(items)
        np.testing.assert_allclose(area(truth, scores), area(truth[shuffled], scores[shuffled]))
    np.testing.assert_allclose(c.roc_auc(truth, -scores), 1 - c.roc_auc(truth, scores))
    np.testing.assert_allclose(c.roc_auc(1 - truth, -scores), c.roc_auc(truth, scores))


def test_a_perfect_and_a_constant_score():
    truth, _ = tagged(0)
    assert (c.roc_auc(truth, truth) == 1).all() and (c.pr_auc(truth, truth) == 1).all()
    constant = np.full(truth.shape, 0.3)
    assert (c.roc_auc(truth, constant) == 0.5).all()
    np.testing.assert_allclose(c.pr_auc(truth, constant), truth.mean(axis=0))


def test_a_tag_without_positives_or_negatives_is_nan():
    truth = np.array([[0, 1, 0], [0, 1, 1], [0, 1, 0]])
    scores = np.array([[0.1, 0.2, 0.3], [0.2, 0.1, 0.9], [0.5, 0.5, 0.5]])
    for area in (c.roc_auc(truth, scores), c.pr_auc(truth, scores)):
        np.testing.assert_array_equal(np.isnan(area), [True, True, False])
        assert c.macro(area) == area[2]
    assert np.isnan(c.macro([np.nan, np.nan]))
    assert np.isnan(c.roc_auc(np.zeros((0, 2)), np.zeros((0, 2)))).all()
    assert np.isnan(c.pr_auc(np.zeros((0, 2)), np.zeros((0, 2)))).all()


@pytest.mark.parametrize("seed", range(4))
def test_accuracies_equal_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth = rng.choice(5, 80, p=[0.5, 0.3, 0.1, 0.1, 0])  # class 4 never occurs
    scores = rng.random((80, 5)) + 0.4 * np.eye(5)[truth]
    guess = scores.argmax(axis=1)
    with pytest.warns(UserWarning) if 4 in guess else _nothing():
        balanced = oracle.balanced_accuracy_score(truth, guess)
    assert c.accuracy(truth, scores) == pytest.approx(oracle.accuracy_score(truth, guess))
    assert c.weighted_accuracy(truth, scores) == pytest.approx(balanced)


def _nothing():
    import contextlib

    return contextlib.nullcontext()


def test_always_guessing_the_common_class_is_accurate_but_not_weighted_accurate():
    truth = [0] * 9 + [1]
    scores = np.tile([1.0, 0.0], (10, 1))
    assert c.accuracy(truth, scores) == 0.9
    assert c.weighted_accuracy(truth, scores) == 0.5
    assert np.isnan(c.accuracy([], np.zeros((0, 2))))
    assert np.isnan(c.weighted_accuracy([], np.zeros((0, 2))))


def test_seconds_of_a_fractional_frame_rate_do_not_drift():
    frames = np.arange(320) / 31.25  # 10.24 s at 16 kHz with hop 512: frame -> its time
    got = c.second_medians(frames, 31.25)
    by_hand = [np.median(frames[np.floor(frames) == s]) for s in range(10)]
    np.testing.assert_allclose(got, by_hand)
    assert len(got) == 10  # the last 0.24 s are no second
    np.testing.assert_array_equal(c.second_medians([[1, 2], [3, 4]], 31.25), [[2, 3]])
    assert c.second_medians(np.zeros((0, 4)), 31.25).shape == (0, 4)
    with pytest.raises(ValueError, match="frame_rate is 0"):
        c.second_medians([1, 2], 0)


def test_activity_auc_pools_seconds_of_tracks():
    rng = np.random.default_rng(1)
    truths = [(rng.random((n, 2)) < 0.5).astype(int) for n in (40, 55)]
    scores = [rng.random(t.shape) + 0.3 * t for t in truths]
    rows = [[t[:40] for t in truths], [s[:40] for s in scores]]
    seconds = [np.concatenate([np.median(x.reshape(4, 10, 2), axis=1) for x in r]) for r in rows]
    truth_1s, score_1s = seconds[0] >= 0.5, seconds[1]
    extra = np.median(truths[1][40:50], axis=0) >= 0.5, np.median(scores[1][40:50], axis=0)
    truth_1s, score_1s = np.vstack([truth_1s, extra[0]]), np.vstack([score_1s, extra[1]])
    np.testing.assert_allclose(
        c.activity_auc(truths, scores, 10), [oracle.roc_auc_score(truth_1s[:, i], score_1s[:, i]) for i in range(2)]
    )
    with pytest.raises(ValueError, match=r"truth of track 1 has the shape \(55, 2\)"):
        c.activity_auc(truths, [scores[0], scores[1][:-1]], 10)
    with pytest.raises(ValueError, match="2 tracks of truth and 1"):
        c.activity_auc(truths, scores[:1], 10)
    with pytest.raises(ValueError, match="no tracks"):
        c.activity_auc([], [], 10)


def test_merged_columns_are_maxima():
    values = np.array([[0.1, 0.7, 0.2, 0.9], [0.6, 0.1, 0.3, 0.0]])
    merged, names = c.merge_columns(
        values,
        ["male", "drums", "female", "double bass"],
        {"vocals": ["male", "female"], "bass": ["double bass", "bass guitar"], "keys": ["piano"]},
    )
    assert names == ["vocals", "bass", "drums"]
    np.testing.assert_array_equal(merged, [[0.2, 0.9, 0.7], [0.6, 0.0, 0.1]])


def test_tensors_are_accepted():
    truth, scores = tagged(3)
    got = c.roc_auc(torch.tensor(truth), torch.tensor(scores, requires_grad=True))
    np.testing.assert_array_equal(got, c.roc_auc(truth, scores))


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        ([[0, 1]], [[0.1, 0.2, 0.3]], r"truth has the shape \(1, 2\) and scores \(1, 3\)"),
        ([0, 2], [0.1, 0.2], "truth holds 2, should be 0 or 1"),
        ([[0], [1]], [[0.1], [np.nan]], "scores hold nan at item 1, tag 0"),
    ],
)
def test_wrong_tags_are_refused(truth, scores, message):
    for area in (c.roc_auc, c.pr_auc):
        with pytest.raises(ValueError, match=message):
            area(truth, scores)


@pytest.mark.parametrize(
    ("truth", "scores", "message"),
    [
        ([0, 1], [[0.1, 0.2]], r"truth_index has the shape \(2,\) and scores \(1, 2\)"),
        ([0, 2], [[0.1, 0.2], [0.3, 0.4]], "truth_index holds 2, should be 0 to 1"),
        ([-1], [[0.1, 0.2]], "truth_index holds -1"),
        ([0], [[0.1, np.inf]], "scores hold inf at item 0, class 1"),
    ],
)
def test_wrong_classes_are_refused(truth, scores, message):
    for score in (c.accuracy, c.weighted_accuracy):
        with pytest.raises(ValueError, match=message):
            score(truth, scores)
