"""The transformer tail of MSSPT: an Audio Spectrogram Transformer on log-mel spectra [Gong et al. 2021; Garoufis et
al., Sec. II-A].

Twelve pre-norm blocks over 16x16 patches that do not overlap. No code was published for it; where the text leaves a
choice, the argument says so. The weights may start from a vision transformer's: :func:`from_vision`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_core import audio
from mss_core.models.layers import log10

PATCH = 16
BANDS = 128
EPSILON = 1e-6
"""Of every layer norm, as in vision transformers."""


class Block(nn.Module):
    """Layer norm, attention, layer norm, two linear layers with GELU; both halves residual.

    Shape: (batch, token, width) -> (batch, token, width).
    """

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=EPSILON)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=EPSILON)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, tokens: Tensor) -> Tensor:
        batch, count, width = tokens.shape
        query, key, value = (
            self.qkv(self.norm1(tokens))
            .reshape(batch, count, 3, self.heads, width // self.heads)
            .permute(2, 0, 3, 1, 4)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.proj(mixed.transpose(1, 2).reshape(batch, count, width))
        return tokens + self.fc2(functional.gelu(self.fc1(self.norm2(tokens))))


class AstTail(nn.Module):
    """Class logits of a segment.

    Args:
        classes: number of tags or classes.
        channels: input spectra: 1 (mixture), or the separated sources and, last, the mixture.
        frames: STFT frames of a segment, a multiple of 16 (768 are 7.70 s).
        width, depth, heads, hidden: of the transformer.
        head_norm: a second layer norm before the output layer, as in the published AST; the MSSPT text has a linear
            layer only.

    With the defaults and 50 classes: 85,588,274 trainable parameters for one channel, 85,784,882 for two, 86,374,706
    for five; 1,536 more with ``head_norm``.
    """

    FIRST = "patch.weight"
    """The kernel that reads the input channels."""

    def __init__(
        self,
        classes: int = 50,
        channels: int = 1,
        frames: int = 768,
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        hidden: int = 3072,
        head_norm: bool = False,
    ) -> None:
        super().__init__()
        if frames < PATCH or frames % PATCH:
            raise ValueError(
                f"an AST tail reads a multiple of {PATCH} frames, not {frames}; the nearest is "
                f"{max(PATCH, PATCH * round(frames / PATCH))}"
            )
        if width % heads:
            raise ValueError(f"'width' ({width}) must be a multiple of 'heads' ({heads})")
        self.frames = frames
        self.grid = (frames // PATCH, BANDS // PATCH)
        self.register_buffer("mel", audio.mel_matrix(BANDS), persistent=False)
        self.patch = nn.Conv2d(channels, width, PATCH, stride=PATCH)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.zeros(1, 1 + math.prod(self.grid), width))
        self.blocks = nn.ModuleList(Block(width, heads, hidden) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.head_norm = nn.LayerNorm(width, eps=EPSILON) if head_norm else nn.Identity()
        self.head = nn.Linear(width, classes)
        layers = [layer for layer in self.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
        for layer in layers:
            nn.init.zeros_(layer.bias)
        for parameter in (*(layer.weight for layer in layers), self.cls, self.position):
            if not parameter.is_meta:  # where sizes alone are checked, drawing would load seconds of torch's compiler
                nn.init.normal_(parameter, std=0.02)

    def log_mel(self, magnitude: Tensor) -> Tensor:
        """log10 of the mel bands. Shape: (..., frame, 256 bins) -> (..., frame, 128)."""
        return log10(magnitude @ self.mel, audio.EPSILON)

    def forward(self, magnitude: Tensor) -> Tensor:
        """Logits from the mixture alone. Shape: (batch, frame, 256) -> (batch, class)."""
        return self.classify(self.log_mel(magnitude.unsqueeze(1)), {})

    def classify(self, spectra: Tensor, additions: Mapping[int, Tensor]) -> Tensor:
        """Logits from log-mel spectra; ``additions``, (batch, width, *grid), are summed onto the patch tokens that
        enter the numbered block (from 0).

        Shape: (batch, channel, frame, 128) -> (batch, class).
        """
        patches = self.patch(spectra).flatten(2).transpose(1, 2)  # (batch, token, width), row by row of frames
        tokens = torch.cat([self.cls.expand(len(patches), -1, -1).to(patches.dtype), patches], 1) + self.position
        for index, block in enumerate(self.blocks):
            if index in additions:
                added = additions[index].flatten(2).transpose(1, 2)
                tokens = tokens + functional.pad(added, (0, 0, 1, 0))  # none onto the class token
            tokens = block(tokens)
        return self.head(self.head_norm(self.norm(tokens[:, 0])))


# ---- weights of vision transformers


def from_vision(state: Mapping[str, Tensor], frames: int) -> dict[str, Tensor]:
    """The backbone of a one-channel AST tail from a ViT's or DeiT's state_dict, in timm's or transformers' names.

    As in the published AST: the patch kernel is summed over red, green and blue; positions are cut from the centre
    where the image had more rows (or columns) than the spectrum has, and bilinearly resized where it had fewer; image
    rows become frequency and columns time. A distilled DeiT has two class tokens: their mean becomes the one. The
    classification head of the image task is left out.

    Raises ValueError for a state_dict of another kind, and names what is missing.
    """
    names = _timm_names(state)
    missing = [name for name in _EXPECTED if name not in names]
    if missing or not any(name.startswith("blocks.0.") for name in names):
        raise ValueError(
            f"not a vision transformer's weights: no {missing[0] if missing else 'blocks.0'!r} among "
            f"{len(state)} tensors such as {', '.join(sorted(state)[:3]) or 'none'}"
        )
    kernel = names["patch_embed.proj.weight"]  # (width, 3, row, column)
    if tuple(kernel.shape[2:]) != (PATCH, PATCH):
        raise ValueError(
            f"the weights' patches are {'x'.join(map(str, kernel.shape[2:]))}; an AST tail has {PATCH}x{PATCH}"
        )
    tokens = [names["cls_token"]] + ([names["dist_token"]] if "dist_token" in names else [])
    position = names["pos_embed"]
    ahead = len(tokens)
    new = {
        "patch.weight": kernel.sum(1, keepdim=True).transpose(2, 3).contiguous(),
        "patch.bias": names["patch_embed.proj.bias"],
        "cls": torch.stack(tokens).mean(0),
        "position": torch.cat(
            [
                position[:, :ahead].mean(1, keepdim=True),
                _positions(position[:, ahead:], frames // PATCH, BANDS // PATCH),
            ],
            1,
        ),
        "norm.weight": names["norm.weight"],
        "norm.bias": names["norm.bias"],
    }
    for name, value in names.items():
        if name.startswith("blocks."):
            new[name.replace(".attn.", ".").replace(".mlp.", ".")] = value
    return new


_EXPECTED = ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias", "norm.weight", "norm.bias")


def _positions(position: Tensor, columns: int, rows: int) -> Tensor:
    """Positions of an image's patches, (1, row * column, width), for a grid of frames by bands."""
    side = math.isqrt(position.shape[1])
    if side * side != position.shape[1]:
        raise ValueError(f"the weights have {position.shape[1]} patch positions, which is no square image")
    image = position.reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, width, row, column)
    for dimension, wanted in ((2, rows), (3, columns)):
        if wanted <= side:
            image = image.narrow(dimension, (side - wanted) // 2, wanted)
    if image.shape[2:] != (rows, columns):
        image = functional.interpolate(image, size=(rows, columns), mode="bilinear", align_corners=False)
    return image.permute(0, 3, 2, 1).reshape(1, rows * columns, -1)  # frames first


_TRANSFORMERS = (
    ("embeddings.cls_token", "cls_token"),
    ("embeddings.distillation_token", "dist_token"),
    ("embeddings.position_embeddings", "pos_embed"),
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("encoder.layer.", "blocks."),
    ("attention.output.dense", "attn.proj"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("layernorm", "norm"),
)


def _timm_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state_dict under timm's names; transformers' (with or without ``vit.`` or ``deit.``) are translated."""
    if any(name.startswith("patch_embed.") for name in state):
        return dict(state)
    names: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in state.items():
        name = name.removeprefix("vit.").removeprefix("deit.")
        for theirs, ours in _TRANSFORMERS:
            name = name.replace(theirs, ours)
        block, found, rest = name.partition("attention.attention.")
        if found:  # query, key and value are three layers there, one here
            part, _, kind = rest.partition(".")
            parts.setdefault(f"{block}attn.qkv.{kind}", {})[part] = value
        else:
            names[name] = value
    for name, three in parts.items():
        names[name] = torch.cat([three["query"], three["key"], three["value"]])
    return names
