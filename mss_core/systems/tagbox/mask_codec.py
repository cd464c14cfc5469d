"""A mask in the place of a latent: what steering moves where there are no weights of a VQ-VAE.

It has the face of a VQ-VAE, so that the search needs no second form: its "latent" is the log odds of every cell of a
mask, zero at the start, and what it "decodes" is the mixture through that mask. Nothing of it is learnt.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mss_core import models
from mss_core.audio import reflected
from mss_core.graph import Context


class MaskCodec(nn.Module):
    """Mixtures through a mask; steered with ``codebook="none"`` and ``mask=False``, as what it decodes is masked
    already.

    ``decode`` masks the clips that ``encode`` last read. Windows are square roots of Hann's, half overlapping, as in
    TagBox's own mask.

    Args:
        size: samples of a frame.
    """

    def __init__(self, size: int = 1024) -> None:
        super().__init__()
        self.size, self.hops = size, (1,)
        self.register_buffer("window", torch.hann_window(size).sqrt(), persistent=False)
        self.register_buffer("k", torch.zeros(1, 1), persistent=False)
        self.spectrum, self.length = torch.zeros(0), 0

    def codebook(self, level: int = 0) -> MaskCodec:
        """Nothing is quantised; ``k`` is there to be asked for."""
        return self

    def encode(self, waveform: Tensor, level: int = 0) -> Tensor:
        """Log odds of a mask of one half. Shape: (clip, time) -> (clip, bin, frame)."""
        padded = reflected(waveform.float(), self.size // 2)
        step = self.size // 2
        self.spectrum = torch.stft(padded, self.size, step, window=self.window, center=False, return_complex=True)
        self.length = waveform.shape[-1]
        return torch.zeros_like(self.spectrum.real)

    def decode(self, latent: Tensor, level: int = 0) -> Tensor:
        """The masked mixture. Shape: (clip, bin, frame) -> (clip, time)."""
        through = torch.sigmoid(latent) * self.spectrum
        return torch.istft(through, self.size, self.size // 2, window=self.window, length=self.length)


def prepare_codec(*, codec: dict[str, Any], version: int = 1, out: Path, ctx: Context) -> None:
    """A model without weights of its own as an artefact, for stages that read one."""
    models.save(out, codec, models.build(codec))
