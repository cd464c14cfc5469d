"""The joint models of MSSPT: separator and tail, trained end to end on the downstream task [Garoufis et al., Fig. 1].

The tail hears the separated sources and the mixture; decoder maps of the separator are brought to the tail's form by
adapters and joined to what its blocks read. Decoder maps are counted from the coarsest, 0.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_core import audio
from mss_core.errors import choose
from mss_core.models.layers import glorot, log10
from mss_core.models.unet import UNet
from mss_core.systems.msspt.ast_tail import PATCH, AstTail
from mss_core.systems.msspt.cnn_tail import CnnTail

INFLATIONS = ("mixture", "replicate", "random")


class JointCnn(nn.Module):
    """A U-Net and a CNN tail. Decoder maps, pooled by two in frequency, meet the tail's blocks of their resolution.

    Args:
        separator: the U-Net (sources of it, masks).
        tail: a CNN tail with ``sources + 1`` input channels, the mixture last.
        adapt: ``"sum"``, through 1x1 convolutions to the tail's widths [paper], or ``"concat"`` [released code].
        skips: how many maps are joined, to tail blocks 2 to ``skips + 1``; with six, the finest also to block 1.
        start: what the joined maps weigh at first: ``"zero"``, so that the model begins as the tail it is given and
            has nothing to recover from, or ``"glorot"``. Neither is published.
        mel_of_log: the mixture's channel is the mel bands of the log spectrum, as in the released code, which cannot
            use a tail trained on the log of the mel bands.

    With ``"sum"``, one source and 50 classes: 6,390,359 trainable parameters (72,192 of them in the adapters); four
    sources: 6,392,954. With ``"concat"`` and the released tail's widths (64, 128, 128, 128, 128, 128, 256):
    7,240,151, or 7,222,709 for 16 classes; four sources and 16 classes: 7,225,304.
    """

    def __init__(
        self,
        separator: UNet,
        tail: CnnTail,
        adapt: str = "sum",
        skips: int = 5,
        start: str = "zero",
        mel_of_log: bool = False,
    ) -> None:
        super().__init__()
        choose("adaptation", adapt, ("sum", "concat"))
        choose("start of the adapters", start, ("zero", "glorot"))
        if not 0 <= skips <= 6:
            raise ValueError(f"'skips' is a number of decoder maps from 0 to 6, not {skips}")
        self.separator, self.tail, self.adapt, self.start, self.mel_of_log = separator, tail, adapt, start, mel_of_log
        widths = tuple(reversed(separator.widths))
        # Map 5 is the finest. Maps 4 to 0 fit tail blocks 2 to 6; map 5 would fit the first, whose channels are few.
        self.levels = tuple(level for level in (4, 3, 2, 1, 0, 5)[:skips])
        self.pool = nn.MaxPool2d((1, 2))
        self.adapters = nn.ModuleList()
        for level in self.levels:
            if adapt == "concat":
                tail.widen(5 - level, widths[level], start)
            else:
                self.adapters.append(nn.Conv2d(widths[level], tail.inputs[5 - level], 1))
        self.begin()

    def begin(self, weights: dict[str, Tensor] | None = None) -> None:
        """Initialise the adapters; a tail's weights tell them nothing."""
        glorot(self.adapters)
        if self.start == "zero":
            for adapter in self.adapters:
                nn.init.zeros_(adapter.weight)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Logits. Shape: (batch, 384, 256) -> (batch, class)."""
        masks, decoder = self.separator.features(magnitude)
        spectra = _spectra(self.tail, masks, magnitude)
        if self.mel_of_log:
            mixture = log10(magnitude, audio.EPSILON) @ self.tail.mel
            spectra = torch.cat([spectra[:, :-1], mixture.unsqueeze(1)], 1)
        maps = {level: self.pool(decoder[level]) for level in self.levels}
        if self.adapt == "sum":
            maps = {level: adapter(maps[level]) for level, adapter in zip(self.levels, self.adapters, strict=True)}
        joined = {5 - level: values for level, values in maps.items()}
        return self.tail.classify(spectra, joined, concatenate=self.adapt == "concat")


class JointAst(nn.Module):
    """A U-Net and an AST tail. Each decoder map but the coarsest becomes a grid of tokens, by a convolution whose
    kernel and stride are the map's share of a patch, and is summed onto the patch tokens that enter a block.

    Args:
        separator: the U-Net (sources of it, masks).
        tail: an AST tail with ``sources + 1`` input channels, the mixture last.
        inject: the blocks (from 1) whose input each map is summed onto; at most five. The text says "every second
            layer".
        finest_first: whether the finest map enters at the first of them. Not published.
        start: the adapters' kernels at first: ``"patch"``, the patch embedding's bilinearly resized, spread evenly
            over the input channels [paper]; ``"zero"``; or ``"glorot"``.

    With the defaults the adapters have 12,095,232 parameters.
    """

    def __init__(
        self,
        separator: UNet,
        tail: AstTail,
        inject: Sequence[int] = (3, 5, 7, 9, 11),
        finest_first: bool = True,
        start: str = "patch",
    ) -> None:
        super().__init__()
        choose("start of the adapters", start, ("patch", "zero", "glorot"))
        depth = len(tail.blocks)
        if len(inject) > 5 or list(inject) != sorted(set(inject)) or any(not 1 <= n <= depth for n in inject):
            raise ValueError(
                f"'inject' names at most five of the tail's blocks 1 to {depth} in rising order, not {tuple(inject)}"
            )
        self.separator, self.tail, self.start = separator, tail, start
        self.blocks = tuple(number - 1 for number in inject)
        levels = (5, 4, 3, 2, 1) if finest_first else (1, 2, 3, 4, 5)
        self.levels = levels[: len(inject)]
        widths = tuple(reversed(separator.widths))
        self.adapters = nn.ModuleList()
        for level in self.levels:
            # The map has 2 ** (5 - level) times fewer frames and bins than the 256-bin spectrum.
            kernel = (PATCH // 2 ** (5 - level), 2 * PATCH // 2 ** (5 - level))
            self.adapters.append(nn.Conv2d(widths[level], tail.patch.out_channels, kernel, stride=kernel))
        self.begin()

    def begin(self, weights: dict[str, Tensor] | None = None) -> None:
        """Initialise the adapters, where they start from a patch kernel from that in a one-channel tail's ``weights``
        or, without any, from the tail's own."""
        glorot(self.adapters)
        kernel = self.tail.patch.weight[:, -1:] if weights is None else weights[AstTail.FIRST]
        for adapter in self.adapters:
            if adapter.weight.is_meta:  # where sizes alone are checked, resizing would load torch's compiler
                continue
            if self.start == "zero":
                nn.init.zeros_(adapter.weight)
            elif self.start == "patch":
                resized = functional.interpolate(
                    kernel.detach(), size=adapter.kernel_size, mode="bilinear", align_corners=False
                )
                with torch.no_grad():
                    adapter.weight.copy_(resized.expand_as(adapter.weight) / adapter.in_channels)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Logits. Shape: (batch, frame, 256) -> (batch, class)."""
        masks, decoder = self.separator.features(magnitude)
        added = {
            block: adapter(decoder[level])
            for block, level, adapter in zip(self.blocks, self.levels, self.adapters, strict=True)
        }
        return self.tail.classify(_spectra(self.tail, masks, magnitude), added)


def _spectra(tail: CnnTail | AstTail, masks: Tensor, magnitude: Tensor) -> Tensor:
    """Log-mel spectra of the estimates and, last, the mixture: (batch, source + 1, frame, band)."""
    mixture = magnitude.unsqueeze(1)  # (batch, 1, frame, bin)
    return tail.log_mel(torch.cat([masks * mixture, mixture], 1))


def inflate(weights: dict[str, Tensor], tail: CnnTail | AstTail, how: str) -> dict[str, Tensor]:
    """A one-channel tail's weights for the tail of a joint model, whose last input channel is the mixture.

    ``how``: ``"mixture"`` keeps the first kernel for the mixture and starts the estimates at zero (the joint tail
    then begins as the tail alone), ``"replicate"`` divides it over all channels, ``"random"`` leaves the joint tail's
    own. Where blocks also read decoder maps, these keep the joint tail's kernels.
    """
    choose("inflation", how, INFLATIONS)
    own = tail.state_dict()
    new = dict(weights)
    for name, kernel in weights.items():
        if name == tail.FIRST:
            channels = own[name].shape[1]
            if how == "random":
                new[name] = own[name]
            elif how == "replicate":
                new[name] = kernel.repeat(1, channels, 1, 1) / channels
            else:
                new[name] = torch.cat([torch.zeros_like(kernel).repeat(1, channels - 1, 1, 1), kernel], 1)
        elif kernel.ndim == 4 and own[name].shape[1] > kernel.shape[1]:
            new[name] = torch.cat([kernel, own[name][:, kernel.shape[1] :].to(kernel)], 1)
    return new
