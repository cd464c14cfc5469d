"""The network of IASS and Open-Unmix: sizes, straight-line computations, blocks, files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from mss_core import models
from mss_core.systems.iass.masking import mask_track
from mss_core.systems.iass.open_unmix import OpenUnmix
from mss_core.systems.iass.unet import IassUNet


def count(*modules: torch.nn.Module) -> int:
    return sum(p.numel() for module in modules for p in module.parameters())


def test_parameters_of_the_released_network_by_part() -> None:
    net = IassUNet()
    parts = [count(net.encoder, net.skips), *map(count, (net.decoder, net.classifier, net.linear, net.band))]
    assert parts == [75_984, 66_577, 7_137, 3_048_912, 7_072] and count(net) == sum(parts) == 3_205_682
    assert net.sizes == [1487, 495, 165, 55]
    assert count(OpenUnmix()) == 7_078_818


def test_a_fourth_block_continues_the_series() -> None:
    """Its parameters by hand: encoder 48 -> 64, skip at 48, decoder 64 (+48) -> 56 -> 48, classifier from 64."""
    net, three = IassUNet(widths=(16, 32, 48, 64)), IassUNet()
    block = (48 * 64 * 9 + 64) + 128 + (64 * 64 * 9 + 64) + 128 + (48 * 64 + 64) + (64 * 64 * 3 + 64)
    skip = 48 * 48 * 9 + 48
    up = (64 * 64 * 3 + 64) + (112 * 56 * 9 + 56) + 112 + (56 * 48 * 9 + 48) + 96
    classifier = 16 * 32 * 3 - 0  # 64 instead of 48 channels into the first (1, 3) convolution
    # 18 latent frequencies: 6, 2, then the third convolution has nothing left to take by three.
    assert count(net.encoder, net.skips) - count(three.encoder, three.skips) == block + skip
    assert count(net.decoder) - count(three.decoder) == up
    assert count(net.classifier) - count(three.classifier) == classifier - 16 * 16 * 2
    assert net.sizes[-1] == 18


def straight_line(net: IassUNet, magnitude: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The layer table once more, frequency first as published, from the state alone."""
    w = {name: value.transpose(-1, -2) if value.ndim == 4 else value for name, value in net.state_dict().items()}

    def norm(x: torch.Tensor, at: str) -> torch.Tensor:
        return functional.batch_norm(
            x, w[f"{at}.running_mean"], w[f"{at}.running_var"], w[f"{at}.weight"], w[f"{at}.bias"]
        )

    def conv(x: torch.Tensor, at: str, **more) -> torch.Tensor:
        return functional.conv2d(x, w[f"{at}.weight"], w[f"{at}.bias"], **more)

    def back(x: torch.Tensor, at: str, **more) -> torch.Tensor:
        return functional.conv_transpose2d(x, w[f"{at}.weight"], w[f"{at}.bias"], **more)

    size = len(w["band.input_mean"])
    x = ((magnitude[..., :size] + w["band.input_mean"]) * w["band.input_scale"]).transpose(1, 2)[:, None]
    outs, sizes = [], []
    for level in range(3):
        sizes.append(x.shape[2])
        at = f"encoder.{level}"
        y = functional.leaky_relu(norm(conv(x, f"{at}.body.0", padding=1), f"{at}.body.1"))
        y = functional.leaky_relu(norm(conv(y, f"{at}.body.3", padding=1), f"{at}.body.4"))
        x = conv(y + conv(x, f"{at}.residual"), f"{at}.down", stride=(3, 1))
        outs.append(x)
    z = x
    for index in (0, 2, 4):
        z = norm(
            conv(z, f"classifier.{index}", stride=(w[f"classifier.{index}.weight"].shape[2], 1)),
            f"classifier.{index + 1}",
        )
    z = conv(z, "classifier.6")
    for level in (2, 1, 0):
        at = f"decoder.{level}"
        x = back(x, f"{at}.up", stride=(3, 1), output_padding=(sizes[level] - 3 * (sizes[level] // 3), 0))
        if level:
            x = torch.cat([x, conv(outs[level - 1], f"skips.{level - 1}", padding=1)], 1)
        x = norm(functional.leaky_relu(back(x, f"{at}.body.0", padding=1)), f"{at}.body.2")
        x = back(x, f"{at}.body.3", padding=1)
        if level:
            x = norm(functional.leaky_relu(x), f"{at}.body.5")
    x = x[:, 0].transpose(1, 2) @ w["linear.weight"].T + w["linear.bias"]
    return functional.relu(x * w["band.output_scale"] + w["band.output_mean"]), z.flatten(1)


def unsettled(net: torch.nn.Module) -> torch.nn.Module:
    """In evaluation mode, with batch statistics and scales that are not those of initialisation."""
    for name, buffer in net.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_()
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2.0)
    with torch.no_grad():
        for parameter in net.band.parameters():
            parameter.uniform_(0.5, 1.5)
        net.band.output_mean.sub_(1.5)  # some of the mask is cut at zero
    return net.eval()


def test_the_network_equals_a_straight_line_computation() -> None:
    torch.manual_seed(0)
    net = unsettled(IassUNet(257, 200, (3, 4, 5), (4, 3, 2)))
    x = torch.rand(2, 9, 257)
    with torch.no_grad():
        mask, activity = net(x)
        expected, logits = straight_line(net, x)
    assert mask.shape == (2, 9, 257) and activity.shape == (2, 9) and (mask > 0).any() and (mask == 0).any()
    torch.testing.assert_close(mask, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(activity, logits, rtol=1e-4, atol=1e-5)


def test_open_unmix_equals_a_straight_line_computation() -> None:
    torch.manual_seed(1)
    net = unsettled(OpenUnmix(33, 20, hidden=6, layers=2))
    x = torch.rand(2, 7, 33)
    w = net.state_dict()

    def norm(y: torch.Tensor, at: int) -> torch.Tensor:
        centred = (y - w[f"norms.{at}.running_mean"]) / (w[f"norms.{at}.running_var"] + 1e-5).sqrt()
        return centred * w[f"norms.{at}.weight"] + w[f"norms.{at}.bias"]

    with torch.no_grad():
        y = norm((x[..., :20] + w["band.input_mean"]) * w["band.input_scale"] @ w["enter.weight"].T, 0).tanh()
        y = torch.cat([y, net.lstm(y)[0]], -1)
        y = norm(norm(y @ w["join.weight"].T, 1).relu() @ w["leave.weight"].T, 2)
        expected = (y * w["band.output_scale"] + w["band.output_mean"]).relu()
        torch.testing.assert_close(net(x)[0], expected, rtol=1e-5, atol=1e-6)
        # every frame depends on every other
        changed = x.clone()
        changed[:, -1] += 1
        assert (net(changed)[0][:, 0] != net(x)[0][:, 0]).any()


@pytest.mark.parametrize(
    "net",
    [lambda: IassUNet(65, 60, (2, 3), (2,)), lambda: OpenUnmix(65, 60, 4, 1, 0.0)],
    ids=["iass_unet", "open_unmix"],
)
def test_a_track_in_blocks_is_the_track_at_once(net) -> None:
    torch.manual_seed(2)
    module = unsettled(net())
    magnitude = torch.rand(101, 65)
    with torch.no_grad():
        mask, activity = mask_track(module, magnitude, block=17)
        whole, logits = module(magnitude[None])
    np.testing.assert_allclose(mask, whole[0].numpy(), rtol=1e-3, atol=1e-5)
    assert (activity is None) == (logits is None)
    if activity is not None:
        np.testing.assert_allclose(activity, torch.sigmoid(logits[0]).numpy(), rtol=1e-5)


@pytest.mark.parametrize("name", ["iass_unet", "open_unmix"])
def test_networks_come_back_from_disk_and_use_every_parameter(name: str, tmp_path: Path) -> None:
    torch.manual_seed(3)
    described = {**models.model(name), "bins": 65, "max_bin": 60}
    module = models.build(described)
    x = torch.rand(2, 8, 65)
    mask, activity = module(x)
    (mask.sum() + (activity.sum() if activity is not None else 0)).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())
    models.save(tmp_path, described, module)
    with torch.no_grad():
        torch.testing.assert_close(models.load(tmp_path)(x)[0], module.eval()(x)[0])


def test_models_that_cannot_be_built() -> None:
    with pytest.raises(ValueError, match="3 blocks need at least 27 frequencies; 'max_bin' is 20"):
        IassUNet(33, 20)
    with pytest.raises(ValueError, match="'max_bin' lies between 1 and the 33 bins of the transform, not 40"):
        OpenUnmix(33, 40)
    with pytest.raises(ValueError, match="'hidden' is shared by two directions and must be even, not 5"):
        OpenUnmix(33, 20, hidden=5)
