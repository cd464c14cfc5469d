"""Trainable shift and scale of each frequency, shared by the separators that mask linear magnitudes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Band(nn.Module):
    """What stands before and behind such a network: the lowest ``max_bin`` of ``bins`` frequencies go in, shifted and
    scaled; what comes out for all ``bins`` is scaled, shifted and made non-negative [released code].

    All four vectors are trained: ``2 * max_bin + 2 * bins`` parameters, 7,072 with the defaults of the systems.
    """

    def __init__(self, bins: int, max_bin: int) -> None:
        super().__init__()
        if not 1 <= max_bin <= bins:
            raise ValueError(f"'max_bin' lies between 1 and the {bins} bins of the transform, not {max_bin}")
        self.input_mean = nn.Parameter(torch.zeros(max_bin))
        self.input_scale = nn.Parameter(torch.ones(max_bin))
        self.output_scale = nn.Parameter(torch.ones(bins))
        self.output_mean = nn.Parameter(torch.ones(bins))

    def settle(self, mean: Tensor, deviation: Tensor) -> None:
        """Start the input side so that data of this mean and standard deviation, (bin,), come in standardised. A
        frequency that hardly varies is divided by a ten-thousandth of the largest deviation."""
        size = len(self.input_mean)
        with torch.no_grad():
            self.input_mean.copy_(-mean[:size])
            self.input_scale.copy_(1.0 / deviation.clamp_min(1e-4 * float(deviation.max()))[:size])

    def enter(self, magnitude: Tensor) -> Tensor:
        """Shape: (..., bin) -> (..., max_bin)."""
        return (magnitude[..., : len(self.input_mean)] + self.input_mean) * self.input_scale

    def leave(self, x: Tensor) -> Tensor:
        """A mask, not bounded above. Shape: (..., bin) -> (..., bin)."""
        return functional.relu(x * self.output_scale + self.output_mean)
