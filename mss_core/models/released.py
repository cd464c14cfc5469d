"""Separators of torchaudio with released weights: Hybrid Demucs [Défossez 2021].

The network is torchaudio's own class, so that its released weights fit it by construction. It is imported here and not
in ``audio``, which knows of no network, and only when one is built: everything else works without torchaudio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mss_core.models import take_all

SECONDS, OVERLAP = 10.0, 0.1


class HDemucs(nn.Module):
    """torchaudio's Hybrid Demucs over whole tracks; the defaults are those of ``HDEMUCS_HIGH_MUSDB_PLUS``.

    Args:
        stems: names, in the order of the outputs.
        nfft, width, depth: of the network (torchaudio's ``hdemucs_high`` has 4096, 48 and 6).
        samplerate: Hz.
    """

    def __init__(
        self,
        stems: Sequence[str] = ("drums", "bass", "other", "vocals"),
        nfft: int = 4096,
        width: int = 48,
        depth: int = 6,
        samplerate: int = 44_100,
    ) -> None:
        from torchaudio.models import HDemucs as Network

        super().__init__()
        self.stems, self.samplerate, self.channels = tuple(stems), samplerate, 2
        self.network = Network(list(stems), channels=width, nfft=nfft, depth=depth)

    def separate_stems(self, waveform: Tensor) -> Tensor:
        """In pieces of ten seconds with a tenth of overlap, normalised as in training by the mono track's mean and
        deviation. Shape: (channel, time) -> (stem, channel, time)."""
        x = waveform.expand(2, -1)
        mono = x.mean(0)
        mean, deviation = mono.mean(), mono.std() + 1e-8
        x = (x - mean) / deviation
        length = round(SECONDS * self.samplerate)
        fade = round(OVERLAP * length)
        time = x.shape[-1]
        joined, weights = x.new_zeros(len(self.stems), 2, time), x.new_zeros(time)
        for start in range(0, max(1, time - fade), length - fade):
            piece = x[:, start : start + length]
            ramp = torch.arange(1, piece.shape[-1] + 1, device=x.device, dtype=x.dtype)
            weight = torch.minimum(ramp, ramp.flip(0)).clamp_max(fade)
            joined[..., start : start + length] += self.network(piece[None])[0] * weight
            weights[start : start + length] += weight
        return joined / weights * deviation + mean


def from_torchaudio(state: Mapping[str, Tensor], what: str, **arguments: Any) -> tuple[dict[str, Any], HDemucs]:
    """Description and module of Hybrid Demucs weights as torchaudio publishes them; ``what`` names them.

    Raises ValueError naming what does not fit.
    """
    module = HDemucs(**arguments)
    take_all(module.network, dict(state), f"{what}, read as torchaudio's Hybrid Demucs")
    return {"name": "hdemucs", **arguments}, module.eval()
