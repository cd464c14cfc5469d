"""A separator of the levels of a hierarchy: a mask network, how its masks are used, and the transform around it."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mss_core import audio
from mss_core.errors import choose
from mss_core.systems.hmss.masks import CONSTRAINTS, STYLES, constrain, direct_masks


class LevelSeparator(nn.Module):
    """Waveforms of a path's nodes from the leaf upward.

    Args:
        network: (batch, frame, bin) magnitudes, and a query's where it takes one, -> masks
            (batch, level, frame, bin).
        mask: ``"direct"``, ``"sequential"`` or ``"mixed"``; see :mod:`mss_core.systems.hmss.masks`.
        constraint: of direct masks.
        size: of the half-overlapping sqrt-Hann transform, samples.
    """

    def __init__(self, network: nn.Module, mask: str = "direct", constraint: str = "none", size: int = 1024) -> None:
        super().__init__()
        choose("mask style", mask, STYLES)
        choose("hierarchical constraint", constraint, CONSTRAINTS)
        if constraint != "none" and mask != "direct":
            raise ValueError(
                f"'constraint' {constraint!r} is for direct masks: with {mask!r} masks a child never "
                "takes more than its parent"
            )
        self.network, self.mask, self.constraint, self.size = network, mask, constraint, size

    def spectrum(self, waveform: Tensor) -> Tensor:
        """Shape: (..., time) -> complex (..., frame, bin)."""
        return audio.sqrt_hann_stft(waveform, self.size)

    def waveform(self, spectrum: Tensor) -> Tensor:
        """Shape: complex (..., frame, bin) -> (..., time), a whole number of hops."""
        return audio.sqrt_hann_istft(spectrum, self.size)

    def own_masks(self, mixture: Tensor, query: Tensor | None = None) -> Tensor:
        """The network's outputs. Shape: magnitudes (batch, frame, bin) -> (batch, level, frame, bin)."""
        masks = self.network(mixture) if query is None else self.network(mixture, query)
        return masks.float()

    def masks(self, own: Tensor) -> Tensor:
        """Masks of the mixture. Shape: (batch, level, frame, bin) -> the same."""
        return constrain(direct_masks(own, self.mask), self.constraint)

    def forward(self, mixture: Tensor, query: Tensor | None = None) -> Tensor:
        """Masked magnitude with the mixture's phase. Shape: (batch, time) -> (batch, level, time)."""
        spectrum = self.spectrum(mixture)
        example = None if query is None else self.spectrum(query).abs()
        masks = self.masks(self.own_masks(spectrum.abs(), example))
        return self.waveform(masks * spectrum[:, None])[..., : mixture.shape[-1]]

    def separate(self, waveform: Tensor, seconds: float, samplerate: int) -> Tensor:
        """A whole track in half-overlapping pieces, joined with triangular weights.

        Shape: (channel, time) -> (level, channel, time); channels are separated one by one.
        """
        length = min(waveform.shape[-1], max(2 * self.size, round(seconds * samplerate)))
        hop = max(1, length // 2)
        count = max(0, -(-(waveform.shape[-1] - length) // hop)) + 1
        total = length + (count - 1) * hop
        padded = nn.functional.pad(waveform, (0, total - waveform.shape[-1]))
        ramp = torch.arange(1, length + 1, device=waveform.device, dtype=waveform.dtype)
        weight = torch.minimum(ramp, ramp.flip(0))
        joined, weights = None, padded.new_zeros(total)
        for start in range(0, total - length + 1, hop):
            piece = self(padded[:, start : start + length]).movedim(0, 1)  # (level, channel, time)
            if joined is None:
                joined = piece.new_zeros(*piece.shape[:2], total)
            joined[..., start : start + length] += piece * weight
            weights[start : start + length] += weight
        assert joined is not None
        return (joined / weights)[..., : waveform.shape[-1]]
