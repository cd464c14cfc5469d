"""separation.py against torchmetrics and hand-computed cases."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.audio import scale_invariant_signal_distortion_ratio as oracle_si_sdr
from torchmetrics.functional.audio import signal_noise_ratio as oracle_sdr

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


def test_static_wiener_is_the_least_squares_gain_of_each_frequency():
    rng = np.random.default_rng(0)
    shapes = [(7, 5), (11, 5)]
    pairs = [tuple(rng.standard_normal(shape) + 1j * rng.standard_normal(shape) for _ in range(2)) for shape in shapes]
    for mixture, reference in pairs:
        reference += 0.3 * mixture
        mixture[:, 4] = 0
    found = s.static_wiener(pairs)
    mixture, reference = (np.concatenate([pair[i] for pair in pairs]) for i in (0, 1))
    for k in range(4):
        column = np.concatenate([mixture[:, k].real, mixture[:, k].imag])[:, None]
        truth = np.concatenate([reference[:, k].real, reference[:, k].imag])
        np.testing.assert_allclose(found[k], np.linalg.lstsq(column, truth, rcond=None)[0][0], rtol=1e-12)
    assert found[4] == 0.0


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
    with pytest.raises(ValueError, match=message):
        s.si_sdr(reference, estimate)


def test_sdr_and_its_variants_by_hand():
    reference, estimate = pair(5, (3, 2, 300))
    signal, error = (reference**2).sum(), ((reference - estimate) ** 2).sum()
    by_hand = 10 * np.log10(signal / error)
    assert s.sdr(reference, estimate, axis=(0, 1, 2)) == pytest.approx(by_hand)
    theirs = oracle_sdr(torch.tensor(estimate), torch.tensor(reference))
    np.testing.assert_allclose(s.sdr(reference, estimate), theirs, atol=1e-9)
    for score in (s.global_sdr, s.spectrogram_sdr):
        by_hand = [
            10 * np.log10(((r**2).sum() + 1e-7) / (((r - e) ** 2).sum() + 1e-7))
            for r, e in zip(reference, estimate, strict=True)
        ]
        np.testing.assert_allclose(score(reference, estimate), by_hand)
        assert score(0 * reference[0], 0 * reference[0]) == 0
        assert score(0 * reference[0], reference[0]) < -90
    assert s.sdr(reference[0, 0], 0 * reference[0, 0]) == 0
    assert np.isnan(s.sdr(0 * reference[0, 0], reference[0, 0]))
    assert s.sdr(reference[0, 0], reference[0, 0]) == np.inf


@pytest.mark.parametrize("level", [6, 8, 10])
def test_a_scaled_mixture_earns_sdr_but_no_si_sdr(level):
    """recipe: target at -level dB; SDRi of silence is the level, of the best scalar more."""
    rng = np.random.default_rng(level)
    target = rng.standard_normal(200_000)
    rest = rng.standard_normal(200_000)
    rest -= (rest @ target) / (target @ target) * target
    rest *= np.linalg.norm(target) / np.linalg.norm(rest) * 10 ** (level / 20)
    mixture = target + rest
    before = s.sdr(target, mixture)
    assert f"{s.sdr(target, 0.001 * mixture) - before:.2f}" == f"{level + 0.01:.2f}"
    assert s.sdr(target, 0 * mixture) == 0 and before == pytest.approx(-level, abs=1e-6)
    assert np.isnan(s.si_sdr(target, 0 * mixture))
    best = s.sdr(target, s.best_scalar(target, mixture) * mixture)
    assert best - before == pytest.approx(level + 10 * np.log10(1 + 10 ** (-level / 10)), abs=1e-6)
    assert s.si_sdr(target, 0.001 * mixture) == pytest.approx(s.si_sdr(target, mixture), abs=1e-9)
    for gain in (0.5, 0.9, 1.1, 2):  # no other scalar does better
        scaled = gain * s.best_scalar(target, mixture) * mixture
        assert s.sdr(target, scaled) < best


def sines(seconds=2.0, rate=8000):
    """Three sources, each of its own octave: an ideal mask separates them."""
    time = np.arange(int(seconds * rate)) / rate
    tones = [np.stack([np.sin(2 * np.pi * f * time), np.cos(2 * np.pi * f * time)])
             for f in (300.0, 1100.0, 2900.0)]  # fmt: skip
    return np.stack(tones)


def test_oracles_separate_what_does_not_overlap():
    references = sines()
    for kind in ("irm", "ibm"):
        estimates = s.oracle(references, kind=kind, fft_size=512, hop=128)
        assert estimates.shape == references.shape
        assert (s.sdr(references, estimates) > 25).all()
    mixture = s.oracle(references, kind="mixture")
    np.testing.assert_array_equal(mixture, np.stack([references.sum(0)] * 3))


def test_oracles_beat_the_mixture_and_masks_share_it():
    rng = np.random.default_rng(0)
    loudness = np.repeat(10 ** rng.uniform(-1.5, 0, (3, 8)), 500, axis=1)
    references = rng.standard_normal((3, 4000)) * loudness  # notes of different loudness
    mixture = references.sum(0)
    floor = s.sdr(references, s.oracle(references, mixture, "mixture"))
    for kind, power in (("irm", 1), ("irm", 2), ("ibm", 1)):
        estimates = s.oracle(references, mixture, kind, 256, 64, power)
        assert (s.sdr(references, estimates) > floor).all()
        if kind == "irm":  # ratio masks add up to one
            np.testing.assert_allclose(estimates.sum(0), mixture, atol=1e-9)
    with pytest.raises(ValueError, match="kind of oracle is 'wiener', should be 'irm', 'ibm' or"):
        s.oracle(references, mixture, "wiener")


def test_ideal_masks_by_hand():
    spectra = torch.tensor([[3.0, 0.0, 2.0], [-1.0, 0.0, 2.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(s.ideal_mask(spectra, "irm"), [[0.75, 0, 0.4], [0.25, 0, 0.4], [0, 0, 0.2]])
    np.testing.assert_allclose(s.ideal_mask(spectra, "irm", 2)[:, 0], [0.9, 0.1, 0])
    # |3| > |-1 + 0|; |-1| < |3|; and of 2, 2, 1 none is louder than the rest.
    np.testing.assert_array_equal(s.ideal_mask(spectra, "ibm"), [[1, 0, 0], [0, 0, 0], [0, 0, 0]])


@pytest.mark.parametrize("shape", [(3, 400), (2, 2, 300)])
def test_si_sir_and_si_sar_split_si_sdr(shape) -> None:
    """Against least squares on all references, and as parts of what is wrong."""
    rng = np.random.default_rng(3)
    references = rng.standard_normal(shape)
    estimates = references + 0.3 * references[::-1] + 0.2 * rng.standard_normal(shape)
    sir, sar = s.si_sir_sar(references, estimates)
    wrong = 10 ** (-np.asarray(sir) / 10) + 10 ** (-np.asarray(sar) / 10)
    whole = s.si_sdr(references, estimates, axis=tuple(range(1, len(shape))))
    np.testing.assert_allclose(-10 * np.log10(wrong), np.asarray(whole), rtol=1e-9)
    flat = references.reshape(shape[0], -1)
    for k, estimate in enumerate(estimates.reshape(shape[0], -1)):
        spanned = flat.T @ np.linalg.lstsq(flat.T, estimate, rcond=None)[0]
        own = (estimate @ flat[k]) / (flat[k] @ flat[k]) * flat[k]
        assert sar[k] == pytest.approx(10 * np.log10((own**2).sum() / ((estimate - spanned) ** 2).sum()), rel=1e-9)
        assert sir[k] == pytest.approx(10 * np.log10((own**2).sum() / ((spanned - own) ** 2).sum()), rel=1e-9)


def test_si_sir_and_si_sar_beside_a_silent_source() -> None:
    references = np.stack([np.ones(8), np.zeros(8)])
    sir, sar = s.si_sir_sar(references, np.stack([np.arange(8.0), np.ones(8)]))
    assert np.isposinf(sir[0]) or sir[0] > 200
    assert np.isfinite(sar[0]) and np.isnan(sir[1]) and np.isnan(sar[1])
