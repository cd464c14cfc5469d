"""TagBox's VQ-VAE: sizes, codes, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from mss_core.systems.tagbox.vqvae import Codebook, VqVae, moved, quantise


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_vqvae_has_the_published_size() -> None:
    module = VqVae()
    assert [count(e) for e in module.encoders] == [441_856, 116_384, 168_224]
    assert [count(d) for d in module.decoders] == [458_177, 124_641, 176_481]
    assert count(module) == 1_485_763 and module.hops == (8, 32, 128)
    assert module.codebook().k.shape == (2048, 64)


def test_vqvae_hop_and_receptive_field() -> None:
    """What reaches one latent, against the sum over the layers: 91,878 samples at the bottom level."""
    field, jump = 1, 1
    for _ in range(3):
        field, jump = field + 3 * jump, 2 * jump
        field += sum(2 * 3**d for d in range(8)) * jump
    field += 2 * jump
    assert (field, jump) == (91_878, 8)
    module = VqVae(downs=((3,),), widths=(2,), depths=(8,), embedding=2)
    waveform = torch.randn(1, 8 * 14_000, requires_grad=True)
    latent = module.encode(waveform)
    assert latent.shape == (1, 2, 14_000)
    for weight in module.parameters():  # nothing may be hidden by a ReLU or cancel out
        nn.init.constant_(weight, 0.1)
    (gradient,) = torch.autograd.grad(module.double().encode(waveform.double().abs())[0, 0, 7_000], waveform)
    touched = gradient[0].nonzero()[:, 0]
    assert int(touched[-1] - touched[0]) + 1 == field


def test_nearest_vectors_and_straight_through() -> None:
    torch.manual_seed(0)
    latent, book = torch.randn(3, 4, 50), torch.randn(9, 4)
    found = quantise(latent, book).transpose(1, 2)
    rows = latent.transpose(1, 2)
    expected = book[torch.cdist(rows, book.expand(3, 9, 4)).argmin(2)]
    torch.testing.assert_close(found, expected)
    each = torch.randn(3, 9, 4)  # one codebook per clip
    torch.testing.assert_close(quantise(latent, each)[1], quantise(latent[1:2], each[1])[0])
    codebook = Codebook(9, 4)
    codebook.k = book
    latent.requires_grad_()
    codebook(latent).square().sum().backward()
    torch.testing.assert_close(latent.grad, 2 * expected.transpose(1, 2))


def test_codebooks_move_as_averages_do() -> None:
    torch.manual_seed(1)
    rows, k = torch.randn(200, 3), torch.randn(5, 3)
    k[4] = 100.0  # nothing is near it
    k_sum, k_elem = k * 2.0, torch.tensor([2.0, 2.0, 2.0, 2.0, 0.5])
    torch.manual_seed(2)
    new, new_sum, new_elem = moved(rows, k, k_sum, k_elem, 0.9)
    nearest = np.argmin(((rows.numpy()[:, None] - k.numpy()) ** 2).sum(2), axis=1)
    for index in range(4):
        mine = rows.numpy()[nearest == index]
        total = 0.9 * k_sum[index].numpy() + 0.1 * mine.sum(0)
        number = 0.9 * 2.0 + 0.1 * len(mine)
        np.testing.assert_allclose(new[index], total / number, rtol=1e-5)
        assert float(new_elem[index]) == pytest.approx(number)
    assert (rows == new[4]).all(1).any(), "a vector that stands for nothing is put on a latent"
    first = moved(rows, k * 0, k_sum * 0, k_elem * 0, 0.9)[0]
    assert torch.isfinite(first).all() and first.abs().sum() > 0


def test_vqvae_descriptions_are_checked() -> None:
    with pytest.raises(ValueError, match="as many 'downs' as 'widths'"):
        VqVae(widths=(64,))
