"""The MSSPT separator: a U-Net on linear magnitudes [Garoufis et al., Sec. II; recipes from the released code].

Pre-activation blocks, 2x2 pooling, skips taken after pooling and joined before upsampling, the log input joined at
the very end, sigmoid masks on the mixture magnitude.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mss_core import audio
from mss_core.errors import choose
from mss_core.models.layers import POOLS, double, glorot, log10


class UNet(nn.Module):
    """Masks for one or more sources.

    Args:
        sources: number of masks.
        widths: channels of the encoder blocks; the decoder mirrors them.
        post: channels of the last two sub-blocks (not halved in the reference code).
        pooling: ``"max"`` (default), or ``"average"`` as the released multi-source separator.
        bn_momentum: torch's convention; 0.01 is Keras' 0.99.

    With the defaults: 3,921,061 trainable parameters for one source, 3,921,928 for four.
    """

    def __init__(
        self,
        sources: int = 1,
        widths: Sequence[int] = (16, 32, 64, 128, 192, 192),
        post: int = 32,
        pooling: str = "max",
        bn_momentum: float = 0.01,
    ) -> None:
        super().__init__()
        choose("pooling", pooling, POOLS)
        self.widths = tuple(widths)
        ins = (1, *self.widths[:-1])
        self.encoder = nn.ModuleList(double(i, o, bn_momentum) for i, o in zip(ins, self.widths, strict=True))
        self.pool = POOLS[pooling](2)
        # Decoder blocks mirror the encoder's widths; all but the first also read the skip of their input's resolution.
        outs = tuple(reversed(self.widths))
        skips = (0, *reversed(self.widths[:-1]))
        self.up = nn.ModuleList()
        self.decoder = nn.ModuleList()
        below = self.widths[-1]
        for out, skip in zip(outs, skips, strict=True):
            self.up.append(nn.ConvTranspose2d(below + skip, out, 2, stride=2))
            self.decoder.append(double(out, out, bn_momentum))
            below = out
        self.post = double(below + 1, post, bn_momentum)
        self.mask = nn.Conv2d(post, sources, 3, padding=1)
        glorot(self)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Masks in [0, 1]. Shape: (batch, frame, bin) -> (batch, source, frame, bin).

        Sizes that are no multiple of 2 ** len(widths) are padded with silence, and the masks cut.
        """
        frames, bins = magnitude.shape[1:]
        step = 2 ** len(self.widths)
        if frames % step or bins % step:
            magnitude = nn.functional.pad(magnitude, (0, -bins % step, 0, -frames % step))
        return self.features(magnitude)[0][..., :frames, :bins]

    def features(self, magnitude: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Masks, and the outputs of the decoder blocks from the coarsest to the finest."""
        entry = log10(magnitude, audio.EPSILON).unsqueeze(1)  # (batch, 1, frame, bin)
        x, skips = entry, []
        for block in self.encoder:
            x = self.pool(block(x))
            skips.append(x)
        x = skips.pop()
        outputs = []
        for level, (up, block) in enumerate(zip(self.up, self.decoder, strict=True)):
            x = block(up(torch.cat([x, skips.pop()], 1) if level else x))
            outputs.append(x)
        x = self.post(torch.cat([x, entry], 1))
        return torch.sigmoid(self.mask(x)), outputs


def separate(unet: nn.Module, mixture: Tensor) -> Tensor:
    """Waveforms of the sources: masked magnitude, mixture phase, the Nyquist bin left as it is.

    Shape: (batch, time) -> (batch, source, time); time must be a whole number of hops beyond one window.
    """
    spectrum = audio.stft(mixture)  # (batch, frame, 257)
    masks = unet(spectrum[..., :-1].abs()).float()
    masks = torch.cat([masks, torch.ones_like(masks[..., :1])], -1)
    return audio.istft(masks * spectrum.unsqueeze(1))
