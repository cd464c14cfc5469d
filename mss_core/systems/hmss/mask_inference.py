"""The mask-inference networks of hierarchical separation [Manilow et al. 2020; Zhang, Sec. 4.4].

Log magnitudes go through a stack of bidirectional LSTMs, and one linear layer gives the masks of all levels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

FLOOR = 1e-20
"""Added to magnitudes before the logarithm [released code]."""
QUERY_FLOOR = 1e-3
"""A bin of a query counts where its magnitude is at least this part of the query's largest (-60 dB)."""


def _blstm(inputs: int, hidden: int, layers: int, dropout: float) -> nn.LSTM:
    """Xavier-normal weights, zero biases, both forget-gate biases 1 (an effective forget bias of 2)."""
    stack = nn.LSTM(
        inputs, hidden, layers, batch_first=True, bidirectional=True, dropout=dropout if layers > 1 else 0.0
    )
    for name, parameter in stack.named_parameters():
        if "weight" in name:
            nn.init.xavier_normal_(parameter)
        else:
            nn.init.zeros_(parameter)
            nn.init.ones_(parameter[hidden : 2 * hidden])
    return stack


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.xavier_normal_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


def _log(magnitude: Tensor) -> Tensor:
    return torch.log(magnitude + FLOOR)


class MaskInference(nn.Module):
    """Masks of ``sources`` levels of one path, index 0 the leaf.

    Args:
        sources: number of levels.
        bins: frequencies of the transform.
        hidden: LSTM units a direction.
        layers: LSTM layers.
        dropout: between LSTM layers.
        bn_momentum: of the batch norm over the one input channel.

    With the defaults: 33,149,141 parameters for three levels, 31,916,915 for one.
    """

    def __init__(
        self,
        sources: int = 3,
        bins: int = 513,
        hidden: int = 600,
        layers: int = 4,
        dropout: float = 0.3,
        bn_momentum: float = 0.1,
    ) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(1, momentum=bn_momentum)
        self.recurrent = _blstm(bins, hidden, layers, dropout)
        self.head = _linear(2 * hidden, bins * sources)
        self.sources = sources

    def forward(self, magnitude: Tensor, query: Tensor | None = None) -> Tensor:
        """Masks in [0, 1]. Shape: (batch, frame, bin) -> (batch, level, frame, bin); ``query`` is not read."""
        x = self.norm(_log(magnitude)[:, None])[:, 0]
        x = torch.sigmoid(self.head(self.recurrent(x)[0]))
        return x.unflatten(-1, (-1, self.sources)).movedim(-1, 1)


class QueryMaskInference(nn.Module):
    """Masks of whatever instrument an example sounds like [Manilow et al. 2020; layer sizes from the released code].

    A network of its own embeds every bin of the query; the mean over the bins that sound, of unit length, is the
    anchor, which is appended to each frame of the mixture.

    Args:
        query_layers: LSTM layers of the query's network.
        anchor: dimensions of the anchor.
        sources, bins, hidden, layers, dropout: as in :class:`MaskInference`.
    """

    def __init__(
        self,
        sources: int = 3,
        bins: int = 513,
        hidden: int = 600,
        layers: int = 4,
        dropout: float = 0.3,
        query_layers: int = 2,
        anchor: int = 20,
    ) -> None:
        super().__init__()
        self.query = _blstm(bins, hidden, query_layers, dropout)
        self.embed = _linear(2 * hidden, bins * anchor)
        self.recurrent = _blstm(bins + anchor, hidden, layers, dropout)
        self.head = _linear(2 * hidden, bins * sources)
        self.sources, self.anchor_size = sources, anchor

    def anchor(self, query: Tensor) -> Tensor:
        """Unit vectors. Shape: magnitudes (batch, frame, bin) -> (batch, anchor); zeros for a silent query."""
        embedded = self.embed(self.query(_log(query))[0]).unflatten(-1, (-1, self.anchor_size))
        present = (query > 0) & (query >= QUERY_FLOOR * query.amax((1, 2), keepdim=True))
        summed = (embedded * present[..., None]).sum((1, 2))
        return nn.functional.normalize(summed, dim=-1)

    def forward(self, magnitude: Tensor, query: Tensor | None = None) -> Tensor:
        """Masks in [0, 1]. Shape: (batch, frame, bin), query (batch, frame, bin) -> (batch, level, frame, bin)."""
        if query is None:
            raise ValueError("a query-by-example network needs a 'query': magnitudes of the instrument to separate")
        anchor = self.anchor(query)[:, None].expand(-1, magnitude.shape[1], -1)
        x = torch.sigmoid(self.head(self.recurrent(torch.cat([_log(magnitude), anchor], -1))[0]))
        return x.unflatten(-1, (-1, self.sources)).movedim(-1, 1)
