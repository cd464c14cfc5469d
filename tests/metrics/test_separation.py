"""separation.py against torchmetrics and hand-computed cases."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.audio import (
    scale_invariant_signal_distortion_ratio as oracle_si_sdr,
)

from mss_core.metrics import separation as s


def pair(seed, shape=(3, 2, 400), offset=0.2):
    rng = np.random.default_rng(seed)
    reference = rng.standard_normal(shape) + offset
    return reference, 0.7 * reference + 0.4 * rng.standard_normal(shape) - offset


@pytest.mark.parametrize("zero_mean", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_si_sdr_equals_torchmetrics(seed, zero_mean):
    reference, estimate = pair(seed)
    theirs = oracle_si_sdr(torch.tensor(estimate), torch.tensor(reference), zero_mean)
    np.testing.assert_allclose(s.si_sdr(reference, estimate, zero_mean), theirs, atol=1e-9)


@given(st.integers(0, 10_000), st.floats(1e-3, 1e3), st.booleans())
@settings(max_examples=40, deadline=None)
def test_si_sdr_ignores_the_scale_of_both_and_the_mean_if_told(seed, gain, negative):
    reference, estimate = pair(seed, (50,))
    gain = -gain if negative else gain
    score = s.si_sdr(reference, estimate)
    assert s.si_sdr(reference, gain * estimate) == pytest.approx(score, abs=1e-8)
    assert s.si_sdr(gain * reference, estimate) == pytest.approx(score, abs=1e-8)
    assert s.si_sdr(reference + 3, estimate - 5, zero_mean=True) == pytest.approx(
        s.si_sdr(reference, estimate, zero_mean=True), abs=1e-8
    )
    assert abs(s.si_sdr(reference + 3, estimate - 5) - score) > 1e-3


def test_si_sdr_at_its_limits():
    reference, estimate = pair(0, (100,))
    silence = np.zeros(100)
    assert s.si_sdr(reference, reference) == np.inf
    assert s.si_sdr(reference, 3 * reference) > 250
    assert np.isnan(s.si_sdr(silence, estimate)) and np.isnan(s.si_sdr(reference, silence))
    assert np.isnan(s.si_sdr(np.full(100, 0.1), estimate, zero_mean=True))
    assert s.si_sdr([1.0, 0.0], [0.0, 1.0]) == -np.inf
    finite = s.si_sdr(np.stack([silence, reference]), np.stack([silence, reference]), delta=1e-8)
    assert np.isfinite(finite).all() and finite[0] == 0


def test_one_score_a_channel_or_a_track():
    reference, estimate = pair(1)
    assert s.si_sdr(reference, estimate).shape == (3, 2)
    whole = s.si_sdr(reference, estimate, axis=(-2, -1))
    flat = s.si_sdr(reference.reshape(3, -1), estimate.reshape(3, -1))
    np.testing.assert_allclose(whole, flat)


def test_l1_by_hand():
    reference, estimate = np.array([[0.0, 1.0], [2.0, 2.0]]), np.array([[1.0, 1.0], [2.0, 0.0]])
    np.testing.assert_array_equal(s.l1(reference, estimate), [0.5, 1.0])
    assert s.l1(reference, estimate, axis=(-2, -1)) == 0.75


def test_best_scalar_is_the_least_squares_gain():
    reference, mixture = pair(2, (5, 200))
    gains = s.best_scalar(reference, mixture)
    for r, m, g in zip(reference, mixture, gains, strict=True):
        assert g == pytest.approx(np.linalg.lstsq(m[:, None], r, rcond=None)[0][0])
    assert np.isnan(s.best_scalar(reference[0], np.zeros(200)))


def test_tensors_come_back_as_tensors():
    reference, estimate = pair(4)
    got = s.si_sdr(torch.tensor(reference, dtype=torch.float32), estimate)
    assert isinstance(got, torch.Tensor) and got.dtype == torch.float64
    assert isinstance(s.si_sdr(reference, estimate), np.ndarray)


@pytest.mark.parametrize(
    ("reference", "estimate", "message"),
    [
        ([0.0, 1.0], [0.0, 1.0, 2.0], r"reference \(2,\) and estimate \(3,\)"),
        ([0.0, 1.0], [0.0, np.nan], "estimate holds a value that is not finite"),
        (1.0, [0.0, 1.0], "reference is a single number"),
    ],
)
def test_wrong_signals_are_refused(reference, estimate, message):
    for score in (s.si_sdr, s.l1):
        with pytest.raises(ValueError, match=message):
            score(reference, estimate)
