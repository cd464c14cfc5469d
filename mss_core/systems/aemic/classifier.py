"""The AE-MIC instrument classifier: seven convolutions on spectrograms in dB [Ligtenberg, 3.5].

The thesis describes another network than the published runs used; both are arguments of one class, the defaults are
the published runs'. ``THESIS`` is what the thesis describes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from mss_core.errors import choose
from mss_core.models.layers import glorot
from mss_core.systems.aemic.decibels import Grid, decibels

DOWNSAMPLING = ("pool", "stride")
THESIS: dict[str, Any] = {
    "filters": (16, 32, 64, 128, 256, 512, 1024),
    "kernels": (7, 5, 3, 3, 3, 3, 3),
    "downsampling": "stride",
    "batch_norm": True,
    "dense": 0,
}


class AemicClassifier(nn.Module):
    """Class logits of a segment.

    Args:
        classes: number of instruments.
        filters, kernels: of the convolutions.
        downsampling: ``"pool"`` (stride 1, then max-pooling by 2) or ``"stride"`` (stride 2).
        batch_norm: whether each convolution is followed by batch norm.
        dense: units of the hidden layer; 0 for none.
        dropout, dense_dropout: probability after each block, and before the output layer.
        bn_momentum: torch's convention; 0.01 is Keras' 0.99.
        grid: STFT size, hop and samples of a segment.
        stored: whether what it is given is the spectrogram, flattened, instead of the waveform.

    Kernels start as Glorot has it, Keras' default and so the released code's; the thesis writes a truncated normal of
    deviation 1.

    With the defaults and 11 classes 2,879,019 trainable parameters; 6,485,227 with ``THESIS``.
    """

    def __init__(
        self,
        classes: int = 11,
        filters: Sequence[int] = (32, 32, 64, 128, 256, 256, 256),
        kernels: Sequence[int] = (7, 5, 3, 3, 2, 2, 2),
        downsampling: str = "pool",
        batch_norm: bool = False,
        dense: int = 512,
        dropout: float = 0.2,
        dense_dropout: float = 0.5,
        bn_momentum: float = 0.01,
        grid: Sequence[int] = (4096, 1050, 132_300),
        stored: bool = False,
    ) -> None:
        super().__init__()
        choose("downsampling", downsampling, DOWNSAMPLING)
        if len(filters) != len(kernels) or not filters:
            raise ValueError(f"'filters' and 'kernels' must name as many blocks; got {len(filters)} and {len(kernels)}")
        self.grid, self.stored = Grid(*grid), stored
        height, width = self.grid.bins, self.grid.frames
        if min(height, width) < 2 ** len(filters):
            raise ValueError(
                f"{len(filters)} blocks halve {height} bins x {width} frames {len(filters)} times: both "
                f"must be at least {2 ** len(filters)}"
            )
        blocks: list[nn.Module] = []
        below = 1
        for outputs, kernel in zip(filters, kernels, strict=True):
            stride = 2 if downsampling == "stride" else 1
            blocks += [_same(kernel, stride, height, width), nn.Conv2d(below, outputs, kernel, stride=stride)]
            if batch_norm:
                blocks.append(nn.BatchNorm2d(outputs, eps=1e-3, momentum=bn_momentum))
            blocks.append(nn.ReLU())
            if downsampling == "pool":
                blocks.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
            else:
                height, width = -(-height // 2), -(-width // 2)
            blocks.append(nn.Dropout(dropout))
            below = outputs
        self.blocks = nn.Sequential(*blocks)
        flat = below * height * width
        hidden = [nn.Linear(flat, dense), nn.ReLU()] if dense else []
        self.head = nn.Sequential(nn.Flatten(), *hidden, nn.Dropout(dense_dropout), nn.Linear(dense or flat, classes))
        glorot(self)

    def features(self, waveform: Tensor) -> Tensor:
        """The spectrogram that ``forward`` takes. Shape: (batch, at least a segment) -> (batch, bins, frames)."""
        if self.stored:
            shape = self.grid.bins, self.grid.frames
            return waveform[..., : shape[0] * shape[1]].unflatten(-1, shape)
        return decibels(waveform[..., : self.grid.samples], self.grid)

    def forward(self, values: Tensor) -> Tensor:
        """Logits. Shape: (batch, bins, frames) -> (batch, class)."""
        return self.head(self.blocks(values.unsqueeze(1)))


def _same(kernel: int, stride: int, height: int, width: int) -> nn.ZeroPad2d:
    """TensorFlow's "same" padding: what is odd goes behind."""
    sides = []
    for length in (width, height):
        total = max((-(-length // stride) - 1) * stride + kernel - length, 0)
        sides += [total // 2, total - total // 2]
    return nn.ZeroPad2d(tuple(sides))
