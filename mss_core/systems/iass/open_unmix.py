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

    Attributes:
        context: None: every frame depends on all others.

    With the defaults 7,078,818 trainable parameters.
    """

    context = None

    def __init__(
        self, bins: int = 2049, max_bin: int = 1487, hidden: int = 512, layers: int = 3, dropout: float = 0.4
    ) -> None:
        super().__init__()
        if hidden % 2:
            raise ValueError(f"'hidden' is shared by two directions and must be even, not {hidden}")
        self.band = Band(bins, max_bin)
        self.enter = nn.Linear(max_bin, hidden, bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm1d(size) for size in (hidden, hidden, bins))
        self.lstm = nn.LSTM(hidden, hidden // 2, layers, batch_first=True, bidirectional=True, dropout=dropout)
        self.join = nn.Linear(2 * hidden, hidden, bias=False)
        self.leave = nn.Linear(hidden, bins, bias=False)

    def forward(self, magnitude: Tensor) -> tuple[Tensor, None]:
        """The mask, >= 0. Shape: (batch, frame, bin) -> (batch, frame, bin)."""
        x = torch.tanh(self._norm(0, self.enter(self.band.enter(magnitude))))
        x = torch.cat([x, self.lstm(x)[0]], -1)
        x = functional.relu(self._norm(1, self.join(x)))
        return self.band.leave(self._norm(2, self.leave(x))), None

    def _norm(self, index: int, x: Tensor) -> Tensor:
        """Batch norm over all frames of all items. Shape: (batch, frame, unit), unchanged."""
        return self.norms[index](x.flatten(0, 1)).view_as(x)
