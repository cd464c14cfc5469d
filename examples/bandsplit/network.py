"""A band-split network after Band-Split RNN [Luo and Yu 2023], and its loss.

The spectrum is cut into bands, which become one vector per band and frame. Layers read these vectors in turn along
time and across bands, and one small network per band turns the last ones into masks. Every switch is an argument, so
that a recipe can depart from it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mss_core.audio import centred_istft, centred_stft

V7 = ((100, 1000), (250, 4000), (500, 8000), (1000, 16_000), (2000, 20_000))
"""Bands of the paper's vocals model: so many Hz wide, up to so many Hz; what is above the last is one band more."""


def widths(bands: Sequence[Sequence[float]], bins: int, samplerate: int) -> list[int]:
    """Bins of each band, from the lowest; a band holds at least one.

    >>> widths([(1000, 4000)], 9, 16_000)
    [1, 1, 1, 1, 5]
    """
    edges, low = [0], 0.0
    for width, high in bands:
        while low + width <= high:
            low += width
            edge = round(low / (samplerate / 2) * (bins - 1))
            if edges[-1] < edge < bins:
                edges.append(edge)
    return [after - before for before, after in zip(edges, [*edges[1:], bins], strict=True)]


class Reader(nn.Module):
    """A residual layer along the next to last axis. Shape: (batch, ..., place, feature), unchanged."""

    def __init__(self, features: int, kind: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        if kind == "lstm":
            self.read: nn.Module = nn.LSTM(features, 2 * features, batch_first=True, bidirectional=True)
        elif kind == "attention":
            self.read = nn.MultiheadAttention(features, 4, batch_first=True)
        else:
            raise ValueError(f"no layer {kind!r}; choose from 'attention', 'lstm', 'none'")
        self.leave = nn.Linear(4 * features if kind == "lstm" else features, features)

    def forward(self, x: Tensor) -> Tensor:
        flat = self.norm(x).flatten(0, -3)
        found = self.read(flat)[0] if isinstance(self.read, nn.LSTM) else self.read(flat, flat, flat)[0]
        return x + self.leave(found).view_as(x)


class BandSplit(nn.Module):
    """Masks of all sources, applied to the mixture's spectrum.

    Args:
        bands: pairs (width, upper edge) in Hz.
        features: of a band; layers: pairs of a reader along time and one across bands.
        time, across: ``"lstm"`` (the paper), ``"attention"`` or ``"none"``.
        mask: ``"complex"`` (the paper) or ``"real"``, from 0 to 1.
        joint: whether a band's vector holds both channels; else each is separated by itself, as in the paper.
        size, hop: of the transform, samples.
        sources, channels, samplerate: decided by the data.
    """

    def __init__(
        self,
        bands: Sequence[Sequence[float]] = V7,
        features: int = 128,
        layers: int = 12,
        time: str = "lstm",
        across: str = "lstm",
        mask: str = "complex",
        joint: bool = False,
        size: int = 2048,
        hop: int = 512,
        sources: int = 1,
        channels: int = 2,
        samplerate: int = 44_100,
    ) -> None:
        super().__init__()
        if mask not in ("complex", "real"):
            raise ValueError(f"no mask {mask!r}; choose from 'complex', 'real'")
        self.size, self.hop, self.sources, self.mask, self.joint = size, hop, sources, mask, joint
        self.widths = widths(bands, size // 2 + 1, samplerate)
        heard, parts = channels if joint else 1, 2 if mask == "complex" else 1
        self.enter = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(2 * heard * width), nn.Linear(2 * heard * width, features))
            for width in self.widths
        )
        kinds = [(time, across)] * layers
        self.layers = nn.ModuleList(
            nn.ModuleList(nn.Identity() if kind == "none" else Reader(features, kind) for kind in pair)
            for pair in kinds
        )
        self.leave = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(features),
                nn.Linear(features, 4 * features),
                nn.Tanh(),
                nn.Linear(4 * features, 2 * parts * sources * heard * width),
                nn.GLU(-1),
            )
            for width in self.widths
        )

    def forward(self, mixtures: Tensor) -> Tensor:
        """(batch, channel, time) -> (batch, source, channel, time)."""
        batch, channels, time = mixtures.shape
        x = mixtures if self.joint else mixtures.reshape(batch * channels, 1, time)
        spectrum = centred_stft(x, self.size, self.hop)  # (item, channel, frame, bin)
        pairs = torch.view_as_real(spectrum).permute(0, 2, 3, 1, 4)  # (item, frame, bin, channel, part)
        split = pairs.split(self.widths, 2)
        y = torch.stack([enter(band.flatten(2)) for enter, band in zip(self.enter, split, strict=True)], 1)
        for along, across in self.layers:  # (item, band, frame, feature)
            y = across(along(y).transpose(1, 2)).transpose(1, 2)
        masks = torch.cat(
            [
                leave(y[:, place]).unflatten(-1, (self.sources, x.shape[1], width, -1))
                for place, (leave, width) in enumerate(zip(self.leave, self.widths, strict=True))
            ],
            4,
        )  # (item, frame, source, channel, bin, part)
        masks = masks.permute(0, 2, 3, 1, 4, 5).float().contiguous()
        factor = torch.view_as_complex(masks) if self.mask == "complex" else masks[..., 0].sigmoid()
        found = centred_istft(factor * spectrum[:, None], self.size, self.hop, time)
        if self.joint:
            return found
        return found.view(batch, channels, self.sources, time).transpose(1, 2)


def wave_and_spectrum(estimates: Tensor, references: Tensor, wave: float = 1.0, spectrum: float = 1.0) -> Tensor:
    """Mean absolute errors of waveforms and of real and imaginary parts of spectra, weighted and added."""
    error = wave * (estimates - references).abs().flatten(1).mean(1)
    if not spectrum:
        return error
    difference = centred_stft(estimates - references, 2048, 512) / 2048**0.5
    return error + spectrum * torch.view_as_real(difference).abs().flatten(1).mean(1)
