"""Stage ``train_vqvae``: a VQ-VAE on the mixtures of any set [Dhariwal et al. 2020, Sec. 3], where the released one is
not at hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mss_core import models
from mss_core.artefact import write_trained
from mss_core.data.packed import Packed, starts
from mss_core.graph import Context
from mss_core.runtime import seeded
from mss_core.systems.tagbox.vqvae import VqVae, spectral_distance
from mss_core.training import TrainConfig, fit


def train_vqvae(
    *,
    data: Path,
    vqvae: dict[str, Any],
    segment_seconds: float,
    train: TrainConfig,
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Leaves model.json, weights.pt (with the codebooks) and best.json.

    Validation is of whole segments, quantised: mean over levels of the spectral distance, and the mean squared error
    beside it.
    """
    packed = Packed(data)
    hop = max(VqVae(**{k: v for k, v in vqvae.items() if k != "name"}).hops)
    length = max(hop, round(segment_seconds * packed.samplerate) // hop * hop)
    items = packed.split("train")
    steps = train.epoch_steps or max(1, len(items) // train.batch)

    def batch(step: int) -> Tensor:
        rng = np.random.default_rng([train.seed, step])
        waves = []
        for index in rng.integers(0, len(items), train.batch):
            start = int(rng.integers(0, max(0, items[index].length - length) + 1))
            waves.append(packed.read(items[index], "mixture", start, length))
        return torch.from_numpy(np.stack(waves)).to(ctx.device)

    held_out = [(item, start) for item in packed.split("valid") for start in starts(item, length)]

    def validate(module: nn.Module) -> dict[str, float]:
        totals = np.zeros(2)
        for item, start in held_out:
            wave = torch.from_numpy(packed.read(item, "mixture", start, length))[None].to(ctx.device)
            for level in range(len(vqvae["downs"])):
                estimate = module(wave, level)
                totals += [float(spectral_distance(estimate, wave)), float((estimate - wave).square().mean())]
        totals /= len(held_out) * len(vqvae["downs"])
        return {"loss": totals[0], "squared_error": totals[1]}

    with seeded(train.seed, ctx.device):
        module = models.build(vqvae)
        best = fit(
            module, train, epoch_steps=steps, batch=batch, loss=lambda m, x: m.loss(x), validate=validate, ctx=ctx
        )
    write_trained(out, vqvae, module, best)
