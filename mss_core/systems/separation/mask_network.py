"""A small separator of music in all its channels: masks of the spectrum, by a recurrent network over frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mss_core.audio import centred_istft, centred_stft


class MaskNetwork(nn.Module):
    """One mask from 0 to 1 for each source, channel, frame and frequency, on the mixture's spectrum.

    Args:
        hidden: units of the LSTMs, shared by both directions.
        layers: of them.
        size, hop: of the centred Hann transform, samples.
        sources, channels: decided by the data.
    """

    def __init__(
        self, hidden: int = 512, layers: int = 2, size: int = 2048, hop: int = 512, sources: int = 1, channels: int = 2
    ) -> None:
        super().__init__()
        if hidden % 2:
            raise ValueError(f"'hidden' is shared by two directions and must be even, not {hidden}")
        self.size, self.hop, self.masks = size, hop, (sources, channels, size // 2 + 1)
        heard = channels * (size // 2 + 1)
        self.enter = nn.Sequential(nn.LayerNorm(heard), nn.Linear(heard, hidden), nn.Tanh())
        self.read = nn.LSTM(hidden, hidden // 2, layers, batch_first=True, bidirectional=True)
        self.leave = nn.Linear(2 * hidden, sources * heard)

    def forward(self, mixtures: Tensor) -> Tensor:
        """(batch, channel, time) -> (batch, source, channel, time)."""
        spectrum = centred_stft(mixtures, self.size, self.hop)  # (batch, channel, frame, bin)
        loudness = torch.log10(spectrum.abs() + 1e-3)
        x = self.enter(loudness.transpose(1, 2).flatten(2))
        x = torch.cat([x, self.read(x)[0]], -1)
        masks = self.leave(x).float().sigmoid().unflatten(-1, self.masks)  # (batch, frame, source, channel, bin)
        return centred_istft(masks.permute(0, 2, 3, 1, 4) * spectrum[:, None], self.size, self.hop, mixtures.shape[-1])
