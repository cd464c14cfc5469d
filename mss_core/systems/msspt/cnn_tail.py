"""The CNN tail of MSSPT: a Short-Chunk CNN at half width on log-mel spectra [Won et al. 2020; Garoufis et al.]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mss_core import audio
from mss_core.models.layers import glorot, log10

POOL = (2, 2, 2, 2, 2, 2, (3, 2))


class CnnTail(nn.Module):
    """Class logits of a segment.

    Args:
        classes: number of tags or classes.
        channels: input spectra: 1 (mixture), or the separated sources and, last, the mixture.
        widths: channels of the seven blocks.
        dense: units of the hidden layer.
        dropout: probability before the output layer.
        bn_momentum: torch's convention; 0.01 is Keras' 0.99.

    With the defaults, half of Short-Chunk CNN's widths: 2,396,530 trainable parameters for 50 classes, 2,379,088 for
    16.
    """

    FIRST = "blocks.0.0.weight"
    """The kernel that reads the input channels."""

    def __init__(
        self,
        classes: int = 50,
        channels: int = 1,
        widths: Sequence[int] = (64, 64, 128, 128, 128, 128, 256),
        dense: int = 512,
        dropout: float = 0.5,
        bn_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        if len(widths) != len(POOL):
            raise ValueError(f"a CNN tail has {len(POOL)} blocks; 'widths' names {len(widths)}: {tuple(widths)}")
        self.widths = tuple(widths)
        self.inputs = (channels, *widths[:-1])
        self.register_buffer("mel", audio.mel_matrix(), persistent=False)
        self.blocks = nn.ModuleList()
        for below, width, pool in zip(self.inputs, widths, POOL, strict=True):
            layers: list[nn.Module] = []
            for inputs in (below, width):
                layers += [
                    nn.Conv2d(inputs, width, 3, padding=1),
                    nn.BatchNorm2d(width, eps=1e-3, momentum=bn_momentum),
                    nn.ReLU(),
                ]
            self.blocks.append(nn.Sequential(*layers, nn.MaxPool2d(pool)))
        self.head = nn.Sequential(
            nn.Linear(widths[-1] * 2, dense),
            nn.BatchNorm1d(dense, eps=1e-3, momentum=bn_momentum),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(dense, classes),
        )
        glorot(self)

    def log_mel(self, magnitude: Tensor) -> Tensor:
        """log10 of the mel bands. Shape: (..., 384 frames, 256 bins) -> (..., 384, 128)."""
        return log10(magnitude @ self.mel, audio.EPSILON)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Logits from the mixture alone. Shape: (batch, 384, 256) -> (batch, class)."""
        return self.classify(self.log_mel(magnitude.unsqueeze(1)), {})

    def widen(self, block: int, extra: int, start: str) -> None:
        """Let a block (from 0) read ``extra`` channels behind its own, with kernels of ``"zero"`` or ``"glorot"``."""
        layers = self.blocks[block]
        own = layers[0].weight.detach()
        layers[0] = glorot(nn.Conv2d(own.shape[1] + extra, own.shape[0], 3, padding=1))
        if start == "zero":
            with torch.no_grad():
                layers[0].weight.copy_(torch.cat([own, own.new_zeros(len(own), extra, 3, 3)], 1))

    def classify(self, spectra: Tensor, additions: Mapping[int, Tensor], concatenate: bool = False) -> Tensor:
        """Logits from log-mel spectra; ``additions`` are summed onto the input of the numbered block (from 0), or
        stand behind its channels where it was widened for them.

        Shape: (batch, channel, 384, 128) -> (batch, class).
        """
        x = spectra
        for index, block in enumerate(self.blocks):
            if index in additions:
                x = torch.cat([x, additions[index]], 1) if concatenate else x + additions[index]
            x = block(x)
        return self.head(torch.flatten(x, 1))
