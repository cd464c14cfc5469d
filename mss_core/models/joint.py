"""The joint model of MSSPT: separator and tail, trained end to end on the downstream task [Garoufis et al., Fig. 1].

The tail hears the separated sources and the mixture; decoder maps of the separator, pooled in frequency and brought
to the tail's widths by 1x1 convolutions, are summed onto the inputs of tail blocks 2 to 6.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mss_core.models.cnn_tail import CnnTail
from mss_core.models.layers import glorot
from mss_core.models.unet import UNet
from mss_core.naming import choose

INFLATIONS = ("mixture", "replicate", "random")


class JointCnn(nn.Module):
    """A U-Net and a CNN tail joined by adapters.

    Args:
        separator: the U-Net (sources of it, masks).
        tail: a CNN tail with ``sources + 1`` input channels, the mixture last.

    With both at their defaults, one source and 50 classes: 6,390,359 trainable parameters (72,192 of them in the
    adapters); four sources: 6,392,954.
    """

    def __init__(self, separator: UNet, tail: CnnTail) -> None:
        super().__init__()
        self.separator, self.tail = separator, tail
        # Decoder outputs 1..5 (coarse to fine) feed tail blocks 6..2; the finest, at full resolution, feeds none.
        decoder = tuple(reversed(separator.widths))[:5]
        self.pool = nn.MaxPool2d((1, 2))
        self.adapters = nn.ModuleList(
            nn.Conv2d(width, tail.widths[self._block(level) - 1], 1) for level, width in enumerate(decoder))
        glorot(self.adapters)

    @staticmethod
    def _block(level: int) -> int:
        """Tail block (from 0) fed by the decoder output of this level (0 is the coarsest)."""
        return 5 - level

    def forward(self, magnitude: Tensor) -> Tensor:
        """Logits. Shape: (batch, 384, 256) -> (batch, class)."""
        masks, decoder = self.separator.features(magnitude)
        mixture = magnitude.unsqueeze(1)  # (batch, 1, frame, bin)
        spectra = self.tail.log_mel(torch.cat([masks * mixture, mixture], 1))
        additions = {self._block(level): adapter(self.pool(decoder[level]))
                     for level, adapter in enumerate(self.adapters)}
        return self.tail.classify(spectra, additions)


def inflate(weights: dict[str, Tensor], channels: int, how: str) -> dict[str, Tensor]:
    """A one-channel tail's state for a tail of ``channels`` inputs (the mixture last).

    ``how``: ``"mixture"`` keeps the kernel for the mixture and starts the estimates at zero (the joint tail then
    begins as the tail alone), ``"replicate"`` divides it over all channels, ``"random"`` leaves the first
    convolution to its initialisation.
    """
    choose("inflation", how, INFLATIONS)
    first = "blocks.0.0.weight"
    kernel = weights[first]  # (width, 1, 3, 3)
    new = dict(weights)
    if how == "random":
        del new[first]
    elif how == "replicate":
        new[first] = kernel.repeat(1, channels, 1, 1) / channels
    else:
        new[first] = torch.cat([kernel.new_zeros(len(kernel), channels - 1, *kernel.shape[2:]), kernel], 1)
    return new
