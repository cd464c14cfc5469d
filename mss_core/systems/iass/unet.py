"""A residual U-Net that masks one instrument and says in which frames it plays [Hung and Lerch 2020, Fig. 1].

Only frequency is pooled, by three a block, so every frame keeps a latent vector of its own; the activity classifier
reads it. Where paper and released code differ (order of batch norm, skips, classifier) the code is followed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mss_core.systems.iass.band import Band


class Encoder(nn.Module):
    """Two 3x3 convolutions with a 1x1 residual, then a convolution that takes every three frequencies to one.

    Shape: (batch, inputs, frame, frequency) -> (batch, outputs, frame, frequency // 3).
    """

    def __init__(self, inputs: int, outputs: int, bn_momentum: float) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs, momentum=bn_momentum),
            nn.LeakyReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs, momentum=bn_momentum),
            nn.LeakyReLU(),
        )
        self.residual = nn.Conv2d(inputs, outputs, 1)
        self.down = nn.Conv2d(outputs, outputs, (1, 3), stride=(1, 3))

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.body(x) + self.residual(x))


class Decoder(nn.Module):
    """Back to three times the frequencies, the skip joined, two transposed 3x3 convolutions through half the channels.

    Shape: (batch, inputs, frame, frequency) and a skip of ``skip`` channels, or None, -> (batch, outputs, frame, size).
    """

    def __init__(self, inputs: int, skip: int, outputs: int, last: bool, bn_momentum: float) -> None:
        super().__init__()
        half = (inputs + skip) // 2
        self.up = nn.ConvTranspose2d(inputs, inputs, (1, 3), stride=(1, 3))
        self.body = nn.Sequential(
            nn.ConvTranspose2d(inputs + skip, half, 3, padding=1),
            nn.LeakyReLU(),
            nn.BatchNorm2d(half, momentum=bn_momentum),
            nn.ConvTranspose2d(half, outputs, 3, padding=1),
        )
        if not last:
            self.body.extend([nn.LeakyReLU(), nn.BatchNorm2d(outputs, momentum=bn_momentum)])

    def forward(self, x: Tensor, skip: Tensor | None, size: int) -> Tensor:
        x = self.up(x, output_size=(x.shape[2], size))
        return self.body(x if skip is None else torch.cat([x, skip], 1))


class IassUNet(nn.Module):
    """Mask of one instrument, and its activity in each frame.

    Args:
        bins: frequencies of the transform.
        max_bin: how many of them, from below, the network reads.
        widths: channels of the encoder blocks. Three are the released model; the paper's fourth is not released, and
            (16, 32, 48, 64) continues the series.
        classifier: channels of the convolutions that take the latent frequencies to one; empty for none.
        bn_momentum: torch's convention.
        channels: 1 or 2: planes of the first convolution and of the last; frequencies of either go through one linear
            layer. The paper hears one.

    Attributes:
        context: frames either side of one on which its mask and activity depend.

    With the defaults 3,205,682 trainable parameters: encoder (skips included) 75,984, decoder 66,577, classifier
    7,137, linear 3,048,912, scale and mean vectors 7,072.
    """

    def __init__(
        self,
        bins: int = 2049,
        max_bin: int = 1487,
        widths: Sequence[int] = (16, 32, 48),
        classifier: Sequence[int] = (32, 16, 16),
        bn_momentum: float = 0.1,
        channels: int = 1,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.sizes = [max_bin // 3**level for level in range(len(widths) + 1)]
        if not widths or self.sizes[-1] < 1:
            raise ValueError(
                f"{len(widths)} blocks need at least {3 ** max(1, len(widths))} frequencies; 'max_bin' is {max_bin}"
            )
        self.context = 4 * len(widths)
        self.band = Band(bins, max_bin)
        planes = zip((channels, *widths[:-1]), widths, strict=True)
        self.encoder = nn.ModuleList(Encoder(i, o, bn_momentum) for i, o in planes)
        self.skips = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for width in widths[:-1])
        self.decoder = nn.ModuleList(
            Decoder(
                widths[level],
                widths[level - 1] if level else 0,
                widths[level - 1] if level else channels,
                not level,
                bn_momentum,
            )
            for level in range(len(widths))
        )
        self.linear = nn.Linear(max_bin, bins)
        self.classifier = _classifier(widths[-1], self.sizes[-1], classifier, bn_momentum) if classifier else None

    def forward(self, magnitude: Tensor) -> tuple[Tensor, Tensor | None]:
        """The mask, >= 0, and the logit of being active (None without a classifier).

        Shape: (batch, frame, bin), of two channels (batch, channel, frame, bin) -> unchanged, and (batch, frame).
        """
        x = self.band.enter(magnitude if self.channels > 1 else magnitude.unsqueeze(1))  # (batch, plane, frame, bin)
        outputs = []
        for block in self.encoder:
            x = block(x)
            outputs.append(x)
        activity = None if self.classifier is None else self.classifier(x).flatten(1)  # (batch, 1, frame, 1) before
        for level in reversed(range(len(self.decoder))):
            skip = self.skips[level - 1](outputs[level - 1]) if level else None
            x = self.decoder[level](x, skip, self.sizes[level])
        return self.band.leave(self.linear(x if self.channels > 1 else x.squeeze(1))), activity


def _classifier(inputs: int, frequencies: int, widths: Sequence[int], bn_momentum: float) -> nn.Sequential:
    """Convolutions without activations that take the frequencies to one: by three while there are three, and the last
    one by whatever is left (55, 18, 6, 2, 1 in the released model)."""
    layers: list[nn.Module] = []
    for width in widths:
        kernel = 3 if frequencies >= 3 else 1
        layers += [
            nn.Conv2d(inputs, width, (1, kernel), stride=(1, kernel)),
            nn.BatchNorm2d(width, momentum=bn_momentum),
        ]
        inputs, frequencies = width, frequencies // kernel
    return nn.Sequential(*layers, nn.Conv2d(inputs, 1, (1, frequencies)))
