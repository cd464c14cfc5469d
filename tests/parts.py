"""Parts that another package would bring, for recipes that name them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from mss_core.data.config import TrackSet
from mss_core.data.items import Item, Sound, Survey
from mss_core.data.mixing import CoherentMixer

NUMBER = 3


class Mask(nn.Module):
    """Called as ``pretrain`` calls the U-Net: magnitudes (batch, bin, frame) in, masks
    (batch, source, bin, frame) out."""

    def __init__(self, width: int = 4, sources: int = 1) -> None:
        super().__init__()
        self.sources = sources
        self.scale = nn.Parameter(torch.zeros(sources, width))

    def forward(self, magnitudes: Tensor) -> Tensor:
        return torch.sigmoid(self.scale.mean(1))[None, :, None, None] * torch.ones_like(magnitudes)[:, None]


def waveform_loss(estimates: Tensor, references: Tensor) -> Tensor:
    return (estimates - references).abs().flatten(1).amax(1)


def mask_loss(masks: Tensor, inputs: Tensor, references: Tensor) -> Tensor:
    return (masks * inputs.abs() - references.abs()).abs().flatten(1).mean(1)


def one_argument(estimates: Tensor) -> Tensor:
    return estimates


class Mixer(CoherentMixer):
    pass


def hum(config: TrackSet, root: Path | None = None) -> Survey:
    """Twelve tracks of hum; with a folder, one per file."""
    names = sorted(path.name for path in root.iterdir()) if root else [f"track{n}" for n in range(12)]

    def read(number: int) -> Sound:
        rng = np.random.default_rng(number)
        rows = {source: rng.normal(size=(1, 64_000)).astype(np.float32) / 10 for source in config.sources}
        return Sound({"mixture": sum(rows.values()), **rows}, config.samplerate)  # type: ignore[dict-item]

    files = [(root / name,) if root else () for name in names]
    items = tuple(
        Item(name, ("train", "train", "valid", "test")[n % 4], lambda n=n: read(n), files=files[n])
        for n, name in enumerate(names)
    )
    return Survey(items)


def hum_of_files(config: TrackSet, root: Path) -> Survey:
    return hum(config, root)


def nothing(config: TrackSet, root: Path | None = None) -> None: ...
