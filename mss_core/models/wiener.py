"""The multichannel Wiener filter with expectation maximisation [Nugraha et al. 2016], as norbert computes it."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = torch.finfo(torch.float32).eps


def wiener(magnitudes: Tensor, mixture: Tensor, iterations: int) -> Tensor:
    """Complex spectra of the stems: the mixture's phase, refined so that they explain all channels together.

    After any iteration the estimates add up to the mixture, but for the regularisation of faint bins.

    Shape: magnitudes (stem, channel, frame, bin), mixture complex (channel, frame, bin) ->
    complex (stem, channel, frame, bin).
    """
    estimates = torch.polar(magnitudes, mixture.angle().expand_as(magnitudes))
    if not iterations:
        return estimates
    scale = torch.clamp(mixture.abs().max() / 10.0, min=1.0)
    x, y = (mixture / scale).to(torch.complex128), (estimates / scale).to(torch.complex128)
    eye = torch.eye(len(mixture), dtype=x.dtype, device=x.device)
    for _ in range(iterations):
        power = y.abs().square().mean(1)  # (stem, frame, bin)
        spread = torch.einsum("jctf,jdtf->jfcd", y, y.conj()) / (EPSILON + power.sum(1))[..., None, None]
        local = power[..., None, None] * spread[:, None]  # (stem, frame, bin, channel, channel)
        total = local.sum(0) + EPSILON**0.5 * eye
        gained = torch.linalg.solve(total, x.permute(1, 2, 0)[..., None])  # (frame, bin, channel, 1)
        y = (local @ gained)[..., 0].permute(0, 3, 1, 2)
    return (y * scale).to(estimates.dtype)
