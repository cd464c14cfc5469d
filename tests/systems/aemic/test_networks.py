"""Networks of AE-MIC: sizes, padding, initialisation, penalties, class weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from mss_core.losses import Penalty, penalty
from mss_core.models import build
from mss_core.systems.aemic import THESIS_FILTERS, aemic_as_run, aemic_thesis
from mss_core.systems.aemic.augmentation import Augmentation
from mss_core.systems.aemic.autoencoder import SpectrogramAutoencoder
from mss_core.systems.aemic.classifier import THESIS, AemicClassifier
from mss_core.systems.aemic.decibels import Grid, decibels
from mss_core.systems.aemic.train_classifier import item_weights

GRID = (256, 128, 62 * 128)


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (lambda: SpectrogramAutoencoder(), 14_152_866),
        (lambda: SpectrogramAutoencoder(filters=THESIS_FILTERS), 13_221_810),
        (lambda: build(aemic_as_run().autoencoder), 14_152_866),
        (lambda: build(aemic_as_run().classifier), 2_879_019),
        (lambda: build(aemic_thesis().classifier), 6_485_227),
        (lambda: build(aemic_thesis().autoencoder), 12_017_266),
        (lambda: AemicClassifier(), 2_879_019),
        (lambda: AemicClassifier(**THESIS), 6_485_227),
    ],
)
def test_parameter_counts(make, parameters: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in make().parameters() if p.requires_grad) == parameters


def test_parameters_of_each_layer_of_the_released_separator() -> None:
    with torch.device("meta"):
        net = SpectrogramAutoencoder()

    def size(module: nn.Module) -> int:
        return sum(p.numel() for p in module.parameters())

    assert [size(block) for block in net.encoder] == [1_728, 102_528, 73_984, 147_712, 295_424, 1_180_672]
    assert [size(layer) for layer in net.bottleneck if size(layer)] == [4_194_304, 4_194_304]
    assert [size(block) for block in net.decoder] == [2_359_808, 590_080, 295_168, 409_728, 204_928]
    assert (size(net.last), size(net.mix)) == (102_464, 34)


def tiny_autoencoder(**more) -> SpectrogramAutoencoder:
    torch.manual_seed(0)
    return SpectrogramAutoencoder(filters=(2, 3, 4, 5, 6, 7), latent=4, last=3, grid=GRID, **more)


def test_the_separator_s_maps_halve_and_come_back() -> None:
    net = tiny_autoencoder().eval()
    seen = []
    for block in net.encoder:
        block.register_forward_hook(lambda module, given, out: seen.append(tuple(out.shape[1:])))
    values = torch.rand(2, 128, 64) - 0.5
    with torch.no_grad():
        estimate = net(values)
    assert seen == [(2, 64, 32), (3, 32, 16), (4, 16, 8), (5, 8, 4), (6, 4, 2), (7, 2, 1)]
    assert estimate.shape == values.shape and estimate.abs().max() < 1


def tensorflow_same(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """A convolution of stride 2 as TensorFlow defines "same": output pixel i reads inputs 2 i - before ..."""
    kernel = weight.shape[-1]
    before = max(0, (x.shape[-1] // 2 - 1) * 2 + kernel - x.shape[-1]) // 2
    out = torch.zeros(len(x), len(weight), x.shape[-2] // 2, x.shape[-1] // 2)
    for i in range(out.shape[-2]):
        for j in range(out.shape[-1]):
            for a in range(kernel):
                for b in range(kernel):
                    row, column = 2 * i - before + a, 2 * j - before + b
                    if 0 <= row < x.shape[-2] and 0 <= column < x.shape[-1]:
                        out[:, :, i, j] += x[:, :, row, column] @ weight[:, :, a, b].T
    return out


@pytest.mark.parametrize("kernel", [3, 5])
def test_padding_is_tensorflow_s(kernel: int) -> None:
    from mss_core.systems.aemic.autoencoder import _Down, _Up

    torch.manual_seed(kernel)
    x = torch.randn(1, 2, 6, 8)
    down = _Down(2, 3, kernel, 0.1, 0.0)
    expected = tensorflow_same(x, down[1].weight)
    torch.testing.assert_close(down[1](down[0](x)), expected, rtol=1e-4, atol=1e-5)
    # A transposed convolution is the gradient of the convolution it undoes.
    up = _Up(3, 2, kernel, 0.1)
    small = torch.randn(1, 3, 3, 4)
    wide = torch.zeros(1, 2, 6, 8, requires_grad=True)
    (tensorflow_same(wide, up.convolution.weight) * small).sum().backward()
    torch.testing.assert_close(up.convolution(small)[..., :6, :8], wide.grad, rtol=1e-4, atol=1e-5)


def test_initialisation_and_dropout_are_switches() -> None:
    kernels = torch.cat([p.detach().flatten() for p in tiny_autoencoder().parameters() if p.ndim > 1])
    assert kernels.abs().max() <= 0.1 and kernels.std() == pytest.approx(0.05 * 0.88, rel=0.05)
    wide = tiny_autoencoder(init="glorot")
    first = wide.encoder[0][1].weight
    assert first.detach().abs().max() > 0.1
    counts = [sum(isinstance(layer, nn.Dropout) for layer in block) for block in tiny_autoencoder(dropout=0.5).encoder]
    assert counts == [1, 1, 1, 0, 0, 0]
    literal = tiny_autoencoder(output="transposed", bottleneck_skip=False).eval()
    assert literal(torch.zeros(1, 128, 64)).shape == (1, 128, 64)


def test_the_classifier_reads_waveforms_or_stored_spectrograms() -> None:
    torch.manual_seed(0)
    shape = {"filters": (2, 3, 4, 5), "kernels": (7, 5, 3, 2), "dense": 6, "grid": GRID}
    net = AemicClassifier(3, **shape).eval()
    wave = 0.1 * torch.randn(2, 7_936 + 50)
    values = net.features(wave)
    torch.testing.assert_close(values, decibels(wave[:, :7_936], Grid(*GRID)))
    stored = AemicClassifier(3, stored=True, **shape).eval()
    stored.load_state_dict(net.state_dict())
    flat = functional.pad(values.flatten(1), (0, 31))
    torch.testing.assert_close(stored(stored.features(flat)), net(values))
    strided = AemicClassifier(3, **{**shape, "downsampling": "stride", "batch_norm": True, "dense": 0}).eval()
    assert strided(values).shape == (2, 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SpectrogramAutoencoder(grid=(1024, 300, 40_000)), "512 bins x 135 frames 6 times.*multiples of 64"),
        (lambda: SpectrogramAutoencoder(kernels=(3,)), "must name as many blocks; got 6 and 1"),
        (lambda: SpectrogramAutoencoder(init="glorott"), "no init 'glorott'; did you mean 'glorot'"),
        (lambda: SpectrogramAutoencoder(dropout=1.0), "'dropout' lies between 0 and 1"),
        (lambda: AemicClassifier(grid=(128, 64, 6_400)), "64 bins x 102 frames 7 times: both must be at least 128"),
        (lambda: AemicClassifier(downsampling="pooling"), "no downsampling 'pooling'; did you mean 'pool'"),
        (lambda: Penalty("l3"), "no kind of penalty 'l3'"),
        (lambda: Penalty(weight=-1.0), "must not be negative"),
        (lambda: Augmentation("online"), "no augmentation 'online'"),
        (lambda: Augmentation(stretch=(0.5, 1.5)), "two speeds with 0 < low <= high <= 1"),
        (lambda: Augmentation(semitones=()), "'semitones' is empty"),
    ],
)
def test_mistakes_are_named(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_a_penalty_counts_kernels_only() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(3, 4))
    kernels = [layer.weight.detach() for layer in (net[0], net[2])]
    squares = sum(float(kernel.square().sum()) for kernel in kernels)
    sizes = sum(float(kernel.abs().sum()) for kernel in kernels)
    assert penalty(net, Penalty("l2", 0.5)).item() == pytest.approx(0.5 * squares)
    assert penalty(net, Penalty("l1", 0.5)).item() == pytest.approx(0.5 * sizes)
    assert penalty(net, Penalty("l2", 0.0)) == 0


def test_class_weights_are_total_over_classes_times_count() -> None:
    truth = torch.tensor([[1.0, 0, 0], [1, 1, 0], [1, 0, 0], [0, 0, 1]])
    each = 5 / (3 * np.array([3, 1, 1]))
    np.testing.assert_allclose(item_weights(truth), [each[0], (each[0] + each[1]) / 2, each[0], each[2]], rtol=1e-6)
