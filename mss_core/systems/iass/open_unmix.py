"""Open-Unmix, the recurrent baseline: a mask from a bidirectional LSTM over the whole excerpt [Stöter et al. 2019]."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_core.systems.iass.band import Band


class OpenUnmix(nn.Module):
    """Mask of one instrument; it has no activity classifier.

    Args:
        bins, max_bin: as in the residual U-Net.
        hidden: units of the dense layers, and of both directions of the LSTM together.
        layers, dropout: of the LSTM.
        channels: 1 or 2; of two, both lie side by side in the first layer and in the last, and share the scaling of
            each frequency [released code].

    Attributes:
        context: None: every frame depends on all others.

    With the defaults 7,078,818 trainable parameters; with two channels 8,893,348, as released.
    """

    context = None

    def __init__(
        self,
        bins: int = 2049,
        max_bin: int = 1487,
        hidden: int = 512,
        layers: int = 3,
        dropout: float = 0.4,
        channels: int = 1,
    ) -> None:
        super().__init__()
        if hidden % 2:
            raise ValueError(f"'hidden' is shared by two directions and must be even, not {hidden}")
        self.band = Band(bins, max_bin)
        self.channels = channels
        self.enter = nn.Linear(channels * max_bin, hidden, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for size in (hidden, hidden, channels * bins))
        self.lstm = nn.LSTM(hidden, hidden // 2, layers, batch_first=True, bidirectional=True, dropout=dropout)
        self.join = nn.Linear(2 * hidden, hidden, bias=False)
        self.leave = nn.Linear(hidden, channels * bins, bias=False)

    def forward(self, magnitude: Tensor) -> tuple[Tensor, None]:
        """The mask, >= 0. Shape: (batch, frame, bin), of two channels (batch, channel, frame, bin); unchanged."""
        x = self.band.enter(magnitude)
        if self.channels > 1:
            x = x.transpose(1, 2).flatten(2)
        x = torch.tanh(self._norm(0, self.enter(x)))
        x = torch.cat([x, self.lstm(x)[0]], -1)
        x = functional.relu(self._norm(1, self.join(x)))
        x = self._norm(2, self.leave(x))
        if self.channels > 1:
            x = x.unflatten(2, (self.channels, -1)).transpose(1, 2)
        return self.band.leave(x), None

    def _norm(self, index: int, x: Tensor) -> Tensor:
        """Batch norm over all frames of all items. Shape: (batch, frame, unit), unchanged."""
        return self.norms[index](x.flatten(0, 1)).view_as(x)
