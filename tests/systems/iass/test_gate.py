"""Gates by activity: masks, median filters, and settings that do nothing."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch

from mss_core import models
from mss_core.recipe import override
from mss_core.systems.iass import iass_mm
from mss_core.systems.iass.gate import LONGEST, Gate, gate_of, median_filter
from mss_core.systems.iass.masking import Transform, apply_mask

# ---- transform and masks


def test_the_transform() -> None:
    released = Transform(centred=False)
    assert released.bins == 2049 and released.bins_below(16_000, 44_100) == 1487
    assert len(released.training_centres(264_600)) == 255 == len(released.training(torch.zeros(264_600)))
    frequencies = np.linspace(0, 22_050, 2049)
    assert released.bins_below(16_000, 44_100) == (frequencies <= 16_000).sum()
    assert Transform(1024, 512).bins_below(16_000, 16_000) == 513
    wave = np.random.default_rng(0).uniform(-1, 1, 5001).astype(np.float32)
    transform = Transform(256, 64)
    spectrum = transform.track(wave)
    assert len(spectrum) == len(transform.track_centres(5001))
    np.testing.assert_allclose(transform.waveform(spectrum, 5001), wave, atol=1e-6)
    with pytest.raises(ValueError, match="an even size of at least 4 and a hop of at most half of it"):
        Transform(256, 200)
    with pytest.raises(ValueError, match="100 samples are too few for a centred transform of 256"):
        transform.track(wave[:100])


def test_gate_off_is_no_gate_bit_for_bit() -> None:
    rng = np.random.default_rng(1)
    mask = rng.uniform(0, 2, (30, 17)).astype(np.float16)
    spectrum = torch.from_numpy(rng.normal(size=(30, 17)) + 1j * rng.normal(size=(30, 17))).to(torch.complex64)
    off = gate_of(Gate("off"), 30, None, np.zeros(30, np.uint8))
    assert torch.equal(apply_mask(mask, off, spectrum), apply_mask(mask, None, spectrum))
    expected = mask.astype(np.float32) * spectrum.numpy()
    np.testing.assert_array_equal(apply_mask(mask, None, spectrum).numpy(), expected)
    gate = (rng.random(30) > 0.5).astype(np.uint8)
    np.testing.assert_array_equal(apply_mask(mask, gate, spectrum).numpy(), expected * gate[:, None])


def test_the_oracle_gate_changes_only_silent_frames_of_a_perfect_estimate() -> None:
    rng = np.random.default_rng(2)
    truth = np.repeat(rng.random(10) > 0.4, 5).astype(np.uint8)
    reference = torch.from_numpy((rng.normal(size=(50, 9)) + 1j * rng.normal(size=(50, 9))) * truth[:, None])
    spectrum = reference + 0.5 * torch.from_numpy(rng.normal(size=(50, 9)))
    mask = (reference / spectrum).abs().numpy()  # magnitudes of the reference
    leaky = mask + 0.1
    gate = gate_of(Gate("oracle"), 50, None, truth)
    perfect, gated = apply_mask(mask, None, spectrum), apply_mask(mask, gate, spectrum)
    assert torch.equal(perfect, gated)  # the perfect estimate is silent there already
    gated = apply_mask(leaky, gate, spectrum)
    assert torch.equal(gated[truth == 1], apply_mask(leaky, None, spectrum)[truth == 1])
    assert not gated[truth == 0].any() and apply_mask(leaky, None, spectrum)[truth == 0].any()


def test_the_wiener_filter_shares_the_mixture() -> None:
    rng = np.random.default_rng(3)
    spectrum = torch.from_numpy(rng.normal(size=(6, 5)) + 1j * rng.normal(size=(6, 5)))
    mask = rng.uniform(0, 2, (6, 5))
    mask[0] = 0
    once = apply_mask(mask, None, spectrum, wiener=1)
    share = mask**2 / (mask**2 + (1 - mask) ** 2)
    np.testing.assert_allclose(once.numpy(), share * spectrum.numpy(), rtol=1e-6)
    assert not once[0].any()
    twice = share**2 / (share**2 + (1 - share) ** 2)
    np.testing.assert_allclose(apply_mask(mask, None, spectrum, wiener=2).numpy(), twice * spectrum.numpy(), rtol=1e-5)


# ---- gates


@pytest.mark.parametrize("frames", [1, 3, 5, 21, 101])
def test_the_median_filter_is_scipy_s(frames: int) -> None:
    rng = np.random.default_rng(frames)
    for length in (frames // 2 + 1, 60, 333):
        decisions = (rng.random(length) > rng.random()).astype(np.uint8)
        if frames // 2 < length:
            np.testing.assert_array_equal(
                median_filter(decisions, frames), scipy.ndimage.median_filter(decisions, frames, mode="mirror")
            )
            values = rng.random(length)
            np.testing.assert_array_equal(
                median_filter(values, frames), scipy.ndimage.median_filter(values, frames, mode="mirror")
            )


def test_a_median_over_one_frame_is_the_raw_gate() -> None:
    probability = np.random.default_rng(4).random(200)
    raw = gate_of(Gate("raw", threshold=0.3), 200, probability, np.zeros(200))
    np.testing.assert_array_equal(gate_of(Gate("median", 0.3, 1), 200, probability, np.zeros(200)), raw)
    np.testing.assert_array_equal(raw, probability > 0.3)
    assert Gate("median", 0.3, 1).settled() == Gate("raw", 0.3).settled()


@pytest.mark.parametrize("frames", [3, 9, 21])
def test_threshold_and_filter_commute(frames: int) -> None:
    """So the order is no setting of its own."""
    rng = np.random.default_rng(frames)
    for _ in range(20):
        probability, threshold = np.round(rng.random(80), 1), round(rng.random(), 1)  # with many ties
        both = [
            gate_of(Gate("median", threshold, frames, order), 80, probability, np.zeros(80))
            for order in ("threshold first", "filter first")
        ]
        np.testing.assert_array_equal(*both)
    assert Gate(median=frames, order="filter first").settled() == Gate(median=frames).settled()


def test_settings_that_do_nothing_are_no_settings() -> None:
    assert Gate("off", 0.7, 9, "filter first").settled() == Gate("off").settled()
    assert Gate("oracle", 0.7, 9).settled() == Gate("oracle").settled()
    assert Gate("raw", 0.7, 9).settled() == Gate("raw", 0.7, 31).settled() != Gate("raw", 0.5).settled()
    assert Gate("median", 0.7, 9).settled() != Gate("median", 0.7, 11).settled()
    everything = {Gate(kind, median=k).settled() for kind in ("off", "raw", "median") for k in range(3, LONGEST + 1, 2)}
    assert len(everything) == 2 + 50


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gate(median=20), r"'gate.median' must be an odd number of frames, 1 to 101.*not 20 \(try 19\)"),
        (lambda: Gate(median=103), r"must be an odd number of frames, 1 to 101.*not 103 \(try 101\)"),
        (lambda: Gate(median=0), r"not 0 \(try 1\)"),
        (lambda: Gate("medain"), "no gate 'medain'; did you mean 'median'"),
        (lambda: Gate(threshold=1.5), "'gate.threshold' is compared with a probability: 0 to 1, not 1.5"),
        (lambda: Gate(order="filter"), "no order of threshold and filter 'filter'; did you mean 'filter first'"),
        (
            lambda: median_filter(np.zeros(10), 21),
            "a median over 21 frames cannot be reflected at the ends of 10 frames; the longest is 19",
        ),
        (lambda: median_filter(np.zeros(10), 4), "a median filter takes an odd number of frames, not 4"),
        (lambda: override(iass_mm(), {"gate.median": 20}), "must be an odd number.*in recipe path 'gate'"),
        (
            lambda: override(iass_mm(), {"alpha": 0.0}),
            "gate 'median' needs the activity that a trained classifier predicts, and 'alpha' is 0 .trained without",
        ),
        (lambda: override(iass_mm(), {"alpha": 0, "gate.kind": "raw"}), "gate 'raw' needs .* and 'alpha' is 0"),
        (lambda: override(iass_mm(), {"separator": models.model("open_unmix")}), "separator 'open_unmix' has none"),
        (lambda: override(iass_mm(), {"method": "ibm"}), "method 'ibm' has none; choose gate 'off' or 'oracle'"),
        (lambda: override(iass_mm(), {"method": "networks"}), "no method 'networks'; did you mean 'network'"),
        (lambda: override(iass_mm(), {"targets": ("vocal",)}), "no target .*'vocal'; did you mean 'vocals'"),
        (lambda: override(iass_mm(), {"targets": ()}), "'targets' must name at least one source"),
        (lambda: override(iass_mm(), {"alpha": -1}), "'alpha' and 'wiener' are at least 0"),
        (
            lambda: override(iass_mm(), {"exceptions": {"piano": {"bach": 2}}}),
            "no setting in 'exceptions.piano' 'bach'",
        ),
        (
            lambda: override(iass_mm(), {"groups": {"voice": ("vocal",)}}),
            "no member of 'groups.voice' among the targets",
        ),
        (lambda: override(iass_mm(), {"mixing.kind": "one"}), "no kind of training mixture 'one'"),
        (lambda: override(iass_mm(), {"mixing.low": 0}), "gains need 0 < low <= high"),
        (lambda: override(iass_mm(), {"scoring.over_frames": "maen"}), "aggregation is 'maen'"),
        (lambda: override(iass_mm(), {"scoring.hop": 0}), "'window' and 'hop' are seconds above 0"),
    ],
)
def test_mistakes(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
