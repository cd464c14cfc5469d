"""Hierarchical masks: networks, the transform, mask styles and losses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mss_core import audio, models
from mss_core.losses import LOSSES, MASK_LOSSES, phase_sensitive
from mss_core.models.unet import UNet
from mss_core.systems.hmss.levels import LevelSeparator
from mss_core.systems.hmss.mask_inference import MaskInference, QueryMaskInference
from mss_core.systems.hmss.masks import STYLES, constrain, direct_masks, inputs_of, linked
from mss_core.systems.hmss.train import Objective, value


def count(module) -> int:
    return sum(p.numel() for p in module.parameters())


# ---- networks


@pytest.mark.parametrize(("levels", "parameters"), [(3, 33_149_141), (1, 31_916_915)])
def test_parameter_counts(levels: int, parameters: int) -> None:
    with torch.device("meta"):
        assert count(MaskInference(levels)) == parameters


def lstm(inputs: int, hidden: int, layers: int) -> int:
    """Parameters of a bidirectional LSTM, counted from its equations."""
    return sum(2 * 4 * hidden * ((inputs if layer == 0 else 2 * hidden) + hidden + 2) for layer in range(layers))


def test_parameter_count_of_the_query_network() -> None:
    with torch.device("meta"):
        net = QueryMaskInference()
    expected = lstm(513, 600, 2) + lstm(533, 600, 4) + 1201 * 513 * 20 + 1201 * 513 * 3
    assert count(net) == expected


def test_initialisation_is_xavier_with_a_forget_bias_of_two() -> None:
    net = MaskInference(3, bins=33, hidden=16, layers=2)
    for name, p in net.recurrent.named_parameters():
        if "bias" in name:
            assert (p[16:32] == 1).all() and (p[:16] == 0).all() and (p[32:] == 0).all()
        else:
            deviation = math.sqrt(2 / (p.shape[0] + p.shape[1]))
            assert 0.8 * deviation < p.std() < 1.2 * deviation


@pytest.mark.parametrize("name", ["mask_inference", "query_mask_inference"])
def test_networks_save_load_and_give_gradients_to_all(name: str, tmp_path) -> None:
    torch.manual_seed(0)
    described = {"name": name, "bins": 33, "hidden": 8, "layers": 2, "sources": 2}
    net = models.build(described)
    x, query = torch.rand(2, 7, 33), torch.rand(2, 5, 33)
    masks = net(x, query)
    assert masks.shape == (2, 2, 7, 33) and 0 <= masks.min() and masks.max() <= 1
    masks.sum().backward()
    assert not [n for n, p in net.named_parameters() if p.grad is None or not torch.isfinite(p.grad).all()]
    models.save(tmp_path, described, net)
    with torch.no_grad():
        torch.testing.assert_close(models.load(tmp_path)(x, query), net.eval()(x, query))


def test_an_anchor_is_the_mean_over_what_sounds() -> None:
    torch.manual_seed(0)
    net = QueryMaskInference(1, bins=9, hidden=4, layers=1, query_layers=1, anchor=3).eval()
    query = torch.rand(2, 6, 9)
    query[0, 2:] = 0
    with torch.no_grad():
        embedded = net.embed(net.query(torch.log(query + 1e-20))[0]).reshape(2, 6, 9, 3)
        for item in range(2):
            loud = query[item] >= 1e-3 * query[item].max()
            mean = embedded[item][loud].mean(0)
            torch.testing.assert_close(net.anchor(query)[item], mean / mean.norm())
        assert torch.equal(net.anchor(torch.zeros(1, 4, 9)), torch.zeros(1, 3))
    with pytest.raises(ValueError, match="needs a 'query'"):
        net(query)


def test_a_u_net_of_any_size_is_the_padded_one_cut() -> None:
    torch.manual_seed(0)
    net = UNet(2, widths=(2, 2, 2), post=2).eval()
    x = torch.rand(1, 13, 21)
    with torch.no_grad():
        whole = net(torch.nn.functional.pad(x, (0, 3, 0, 3)))
        torch.testing.assert_close(net(x), whole[..., :13, :21])


# ---- the transform


def test_the_transform_has_the_published_shape_and_inverts() -> None:
    x = torch.randn(2, 160_000)
    spectrum = audio.sqrt_hann_stft(x)
    back = audio.sqrt_hann_istft(spectrum)
    assert spectrum.shape == (2, 314, 513) and back.shape == (2, 160_256)
    torch.testing.assert_close(back[:, :160_000], x, rtol=0, atol=2e-6)
    assert back[:, 160_000:].abs().max() < 2e-6


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5000), st.sampled_from([1024, 64]))
def test_the_transform_inverts_at_any_length(length: int, size: int) -> None:
    x = torch.randn(length, generator=torch.Generator().manual_seed(length))
    back = audio.sqrt_hann_istft(audio.sqrt_hann_stft(x, size), size)
    torch.testing.assert_close(back[:length], x, rtol=0, atol=5e-6)


def test_the_transform_is_a_windowed_fourier_transform() -> None:
    """One frame, written out."""
    x = np.random.default_rng(0).normal(size=3000)
    window = np.sqrt(0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024))
    expected = np.fft.rfft(np.concatenate([np.zeros(512), x])[1024:2048] * window)
    got = audio.sqrt_hann_stft(torch.from_numpy(x).float())[2]
    np.testing.assert_allclose(got.numpy(), expected, atol=2e-4)


# ---- masks

magnitudes = st.lists(st.floats(0.01, 1.0), min_size=6, max_size=6)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**31))
def test_the_product_of_ideal_sequential_masks_is_the_direct_mask(levels: int, seed: int) -> None:
    """Sources of one phase: every ratio lies in [0, 1], so that none is clipped."""
    g = torch.Generator().manual_seed(seed)
    parts = 0.01 + torch.rand(levels + 1, 3, 4, generator=g, dtype=torch.float64)
    phase = torch.polar(torch.ones(3, 4, dtype=torch.float64), 6 * torch.rand(3, 4, generator=g, dtype=torch.float64))
    nodes = parts.cumsum(0) * phase
    references, mixture = nodes[:levels], nodes[levels]
    for style in STYLES:
        inputs = inputs_of(style, mixture, references)
        ideal = references.abs() / inputs.abs()
        torch.testing.assert_close(direct_masks(ideal, style), references.abs() / mixture.abs())
        for loss in ("mask_ratio", "mask_tpsa"):
            own = MASK_LOSSES[loss](ideal[None], inputs[None], references[None])
            assert own.item() == pytest.approx(0, abs=1e-9)


def test_styles_link_levels_to_their_parents() -> None:
    masks = torch.tensor([0.5, 0.8, 0.25]).reshape(3, 1, 1)
    assert direct_masks(masks, "direct").flatten().tolist() == pytest.approx([0.5, 0.8, 0.25])
    assert direct_masks(masks, "sequential").flatten().tolist() == pytest.approx([0.5 * 0.8 * 0.25, 0.8 * 0.25, 0.25])
    assert direct_masks(masks, "mixed").flatten().tolist() == pytest.approx([0.5 * 0.8, 0.8, 0.25])
    assert linked("sequential", 1) == [False]
    with pytest.raises(ValueError, match="no mask style 'sequental'; did you mean 'sequential'"):
        linked("sequental", 3)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 5), st.integers(0, 2**31))
def test_a_parent_takes_at_least_what_its_child_takes(levels: int, seed: int) -> None:
    masks = torch.rand(2, levels, 3, 4, generator=torch.Generator().manual_seed(seed))
    fixed = constrain(masks, "max")
    assert (fixed[:, 1:] >= fixed[:, :-1]).all()
    assert torch.equal(fixed[:, 0], masks[:, 0])  # the leaf is left alone
    assert torch.equal(fixed.amax(1), masks.amax(1))
    sequential = direct_masks(masks, "sequential")
    assert (sequential[:, 1:] >= sequential[:, :-1]).all()


def test_the_released_constraint_is_off_by_one() -> None:
    m0, m1, m2 = torch.rand(3, 1, 4, 5)
    masks = torch.cat([m0, m1, m2])
    expected = torch.cat([m0, m0, torch.maximum(m0, m1)])
    assert torch.equal(constrain(masks, "max_as_released"), expected)
    assert torch.equal(constrain(masks, "none"), masks)


# ---- losses against hand-computed cases

MIXTURE = torch.tensor([2.0 + 0j, 0j, 1j, 1.0 + 0j, 2.0 + 0j])
SOURCE = torch.tensor([1.0 + 0j, 1.0 + 0j, 3j, -1.0 + 0j, 1.0 + 1j])
#                      in phase  |X| = 0  |S|>|X|  opposite    45 degrees
MASK = torch.tensor([0.25, 0.5, 0.5, 0.5, 1.0])
ROOT2 = math.sqrt(2)
BY_HAND = {
    # T = 1, 0, 1, 0, 1;  T / |X| = .5, 0, 1, 0, .5;  |S| / |X| = .5, inf, 3, 1, .7071
    "mask_tpsa": (0.25 + 0.5 + 0.5 + 0.5 + 0.5) / 5,
    "mask_ratio": (0.25 + 0.5 + 0.5 + 0.5 + (1 - ROOT2 / 2)) / 5,
    "as_released": (0.75 + 0.5 + 0.5 + 0.5 + 0.0) / 5,
    "signal_tpsa": (0.5 + 0.0 + 0.5 + 0.5 + 1.0) / 5,
    "magnitude_l1": (0.5 + 1.0 + 2.5 + 0.5 + (2 - ROOT2)) / 5,
    "magnitude_mse": (0.25 + 1.0 + 6.25 + 0.25 + (2 - ROOT2) ** 2) / 5,
}


def test_the_phase_sensitive_target_by_hand() -> None:
    assert phase_sensitive(MIXTURE, SOURCE).tolist() == pytest.approx([1, 0, 1, 0, 1])


@pytest.mark.parametrize("name", BY_HAND)
def test_mask_losses_by_hand(name: str) -> None:
    got = MASK_LOSSES[name](MASK[None], MIXTURE[None], SOURCE[None])
    assert got.tolist() == pytest.approx([BY_HAND[name]], rel=1e-6)


def test_an_unclipped_ratio_is_as_printed() -> None:
    kept = [0, 2, 3, 4]
    got = MASK_LOSSES["mask_ratio_unclipped"](MASK[None, kept], MIXTURE[None, kept], SOURCE[None, kept])
    assert got.item() == pytest.approx((0.25 + 2.5 + 0.5 + (1 - ROOT2 / 2)) / 4, rel=1e-6)


def test_the_sequential_ratio_by_hand() -> None:
    """Three levels |S| = 1, 2, 4 of |X| = 8 with masks .5 everywhere: eq. 4.16 is zero, eq. 4.15 is not."""
    references = torch.tensor([1.0, 2.0, 4.0]).reshape(1, 3, 1, 1) + 0j
    mixture = torch.full((1, 1, 1), 8.0) + 0j
    own = torch.full((1, 3, 1, 1), 0.5)
    inputs = inputs_of("sequential", mixture, references)
    assert MASK_LOSSES["mask_ratio"](own, inputs, references).item() == pytest.approx(0)
    direct = MASK_LOSSES["mask_ratio"](own, mixture[:, None], references).item()
    assert direct == pytest.approx((3 / 8 + 2 / 8 + 0) / 3)
    product = MASK_LOSSES["mask_ratio"](direct_masks(own, "sequential"), mixture[:, None], references)
    assert product.item() == pytest.approx(0)


def test_si_sdr_by_hand_and_against_the_metric() -> None:
    from mss_core.metrics.separation import si_sdr

    s, e = torch.tensor([[[1.0, 1.0, 0.0, 0.0]]]), torch.tensor([[[2.0, 2.0, 2.0, 0.0]]])
    assert LOSSES["si_sdr"](e, s).item() == pytest.approx(-10 * math.log10(2), abs=1e-5)
    x, y = torch.randn(3, 2, 50), torch.randn(3, 2, 50)
    assert LOSSES["si_sdr"](x, y).tolist() == pytest.approx((-si_sdr(y, x).mean(1)).tolist(), abs=1e-4)


@pytest.mark.parametrize("name", [*MASK_LOSSES, "l1", "mse", "si_sdr"])
@pytest.mark.parametrize("judged", ["own", "product"])
def test_gradients_are_finite_at_silence(name: str, judged: str) -> None:
    """Silent mixture, silent references, both, opposite phase, and a source louder than the mixture."""
    torch.manual_seed(0)
    separator = LevelSeparator(MaskInference(2, bins=17, hidden=4, layers=1), "sequential", size=32)
    noise = torch.randn(100)
    mixtures = torch.stack([torch.zeros(100), noise, torch.zeros(100), noise, 0.1 * noise])
    references = torch.stack([noise, torch.zeros(100), torch.zeros(100), -noise, noise])[:, None].repeat(1, 2, 1)
    losses_ = value(separator, mixtures, references, None, Objective(name, judged))
    assert losses_.shape == (5,) and torch.isfinite(losses_).all()
    losses_.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in separator.parameters())


@pytest.mark.parametrize("name", MASK_LOSSES)
def test_losses_fall_where_the_mask_moves_towards_the_truth(name: str) -> None:
    """Half of the mixture is the source: the ideal mask is one half everywhere (the released loss: one half of |X|)."""
    x = 2 * torch.ones(1, 3, 4) + 0j
    s = x / 2
    at = [MASK_LOSSES[name](torch.full((1, 3, 4), m), x, s).item() for m in (0.1, 0.3, 0.5)]
    least = -80.0 if "log" in name else 0.0  # decibels of a mean error, 1e-8 added
    assert at[0] > at[1] > at[2] and (at[2] == pytest.approx(least, abs=1e-4)) == (name != "as_released")
