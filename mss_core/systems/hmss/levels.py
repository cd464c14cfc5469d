"""A separator of the levels of a hierarchy: a mask network, how its masks are used, and the transform around it."""

from __future__ import annotations

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
