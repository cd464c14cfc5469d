"""The AE-MIC separator: a strided convolutional autoencoder with skips on spectrograms in dB [Ligtenberg, 3.2].

It returns the target's spectrogram itself (tanh), not a mask. Convolutions pad as TensorFlow's "same" does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mss_core.errors import choose
from mss_core.models.layers import glorot
from mss_core.systems.aemic.decibels import Grid

OUTPUTS = ("joined", "transposed")
INITS = ("truncated_normal", "glorot")


class SpectrogramAutoencoder(nn.Module):
    """The spectrogram of a target from that of a mixture.

    Args:
        filters, kernels: channels and kernel sizes of the encoder's convolutions, each of stride 2; the decoder
            mirrors them. The thesis prints filters (16, 32, 64, 128, 256, 512).
        latent: units of the bottleneck.
        bottleneck_skip: whether the bottleneck's output is joined by the last encoder block's.
        output: ``"joined"``: a last block of ``last`` channels, joined by the input, and a 1x1 convolution (the
            released code); ``"transposed"``: a last block of one channel (the thesis).
        dropout: probability after the first three encoder blocks; the thesis tried 0.5.
        init: of the kernels, ``"truncated_normal"`` with deviation ``init_deviation`` (1.0 in the thesis saturates
            the tanh; the released code has 0.05), or ``"glorot"``.
        bn_momentum: torch's convention; 0.01 is Keras' 0.99.
        grid: STFT size, hop and samples of a segment.

    With the defaults: 14,152,866 trainable parameters; 13,221,810 with the thesis's filters.
    """

    def __init__(
        self,
        filters: Sequence[int] = (64, 64, 128, 128, 256, 512),
        kernels: Sequence[int] = (5, 5, 3, 3, 3, 3),
        latent: int = 128,
        bottleneck_skip: bool = True,
        output: str = "joined",
        last: int = 32,
        dropout: float = 0.0,
        init: str = "truncated_normal",
        init_deviation: float = 0.05,
        bn_momentum: float = 0.01,
        grid: Sequence[int] = (4096, 1050, 132_300),
    ) -> None:
        super().__init__()
        choose("output", output, OUTPUTS)
        choose("init", init, INITS)
        if len(filters) != len(kernels) or not filters:
            raise ValueError(f"'filters' and 'kernels' must name as many blocks; got {len(filters)} and {len(kernels)}")
        if not 0 <= dropout < 1:
            raise ValueError(f"'dropout' lies between 0 and 1, not {dropout}")
        of = Grid(*grid)
        halvings = 2 ** len(filters)
        if of.bins % halvings or of.frames % halvings:
            raise ValueError(
                f"{len(filters)} blocks halve {of.bins} bins x {of.frames} frames {len(filters)} times: "
                f"both must be multiples of {halvings}"
            )
        self.output = output
        self.small = (filters[-1], of.bins // halvings, of.frames // halvings)
        ins = (1, *filters[:-1])
        self.encoder = nn.ModuleList(
            _Down(i, o, k, bn_momentum, dropout if level < 3 else 0.0)
            for level, (i, o, k) in enumerate(zip(ins, filters, kernels, strict=True))
        )
        flat = self.small[0] * self.small[1] * self.small[2]
        self.bottleneck = nn.Sequential(
            nn.Flatten(),
            nn.Linear(flat, latent, bias=False),
            nn.Linear(latent, flat, bias=False),
            nn.Unflatten(1, self.small),
        )
        self.bottleneck_skip = bottleneck_skip
        self.decoder = nn.ModuleList()
        below = filters[-1] * (2 if bottleneck_skip else 1)
        for level in range(len(filters) - 2, -1, -1):
            self.decoder.append(_Up(below, filters[level], kernels[level], bn_momentum))
            below = 2 * filters[level]
        if output == "joined":
            self.last = _Up(below, last, 5, bn_momentum)
            self.mix = nn.Conv2d(last + 1, 1, 1)
        else:
            self.last = _Up(below, 1, kernels[0], bn_momentum, activation=False)
        glorot(self)
        if init == "truncated_normal":
            for layer in self.modules():
                # Without data (a check of a description) there is nothing to draw, and torch takes seconds for it.
                if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear) and not layer.weight.is_meta:
                    nn.init.trunc_normal_(layer.weight, std=init_deviation, a=-2 * init_deviation, b=2 * init_deviation)

    def forward(self, values: Tensor) -> Tensor:
        """Values in (-1, 1). Shape: (batch, bins, frames) -> the same."""
        entry = values.unsqueeze(1)
        x, skips = entry, []
        for down in self.encoder:
            x = down(x)
            skips.append(x)
        deepest = skips.pop()
        x = self.bottleneck(deepest)
        if self.bottleneck_skip:
            x = torch.cat([x, deepest], 1)
        for up in self.decoder:
            x = torch.cat([up(x), skips.pop()], 1)
        x = self.last(x)
        if self.output == "joined":
            x = self.mix(torch.cat([x, entry], 1))
        return torch.tanh(x).squeeze(1)


class _Down(nn.Sequential):
    """Convolution of stride 2, batch norm, ReLU. Halves frequency and frames."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bn_momentum: float, dropout: float) -> None:
        before = (kernel - 2) // 2
        after = kernel - 2 - before
        super().__init__(
            nn.ZeroPad2d((before, after, before, after)),
            nn.Conv2d(inputs, outputs, kernel, stride=2, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=bn_momentum),
            nn.ReLU(),
            *([nn.Dropout(dropout)] if dropout else []),
        )


class _Up(nn.Module):
    """Transposed convolution of stride 2, batch norm, ReLU. Doubles frequency and frames."""

    def __init__(self, inputs: int, outputs: int, kernel: int, bn_momentum: float, activation: bool = True) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(inputs, outputs, kernel, stride=2, padding=(kernel - 2) // 2, bias=False)
        self.after = nn.Sequential(
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=bn_momentum), *([nn.ReLU()] if activation else [])
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = 2 * x.shape[-2], 2 * x.shape[-1]
        return self.after(self.convolution(x)[..., :height, :width])
