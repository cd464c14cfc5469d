"""What test_processes.py trains. A helper imports this module, so it imports little: not what tests need of a study."""

from __future__ import annotations

import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mss_core.graph import Context
from mss_core.runtime import seeded
from mss_core.training import Phase, TrainConfig, fit

ITEMS = 7
"""Of a batch: no number of processes here divides it."""
PLAIN = TrainConfig((Phase("adam", lr=0.01, epochs=3), Phase("sgd", lr=0.01, epochs=2, momentum=0.9)), batch=ITEMS)


class Codebook(nn.Module):
    """A layer that remembers the largest of each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("largest", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.largest.copy_(x.detach().max())
        return x


class Apart(nn.Module):
    """A layer that looks from one item to another."""

    def forward(self, x: Tensor) -> Tensor:
        return x - x.mean(0)


class Noise(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.randn_like(x)


MIDDLES: dict[str, Any] = {
    "tanh": nn.Tanh,
    "batch_norm": lambda: nn.BatchNorm1d(8),
    "averaged_norm": lambda: nn.BatchNorm1d(8, momentum=None),
    "dropout": lambda: nn.Dropout(0.2),
    "codebook": Codebook,
    "apart": Apart,
    "noise": Noise,
    "unused": lambda: nn.ModuleDict({"used": nn.Tanh(), "unused": nn.Linear(3, 3)}),
}


class Regression(nn.Module):
    def __init__(self, middle: str) -> None:
        super().__init__()
        self.enter, self.middle, self.leave = nn.Linear(4, 8), MIDDLES[middle](), nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        middle = self.middle["used"] if isinstance(self.middle, nn.ModuleDict) else self.middle
        return self.leave(middle(self.enter(x)))


def train_lines(
    *,
    cases: dict[str, str],
    train: TrainConfig,
    others: tuple[TrainConfig, ...] = (),
    loss: str = "mean",
    trouble: str = "",
    out: Path,
    ctx: Context,
) -> None:
    """Regressions in float64, one for each case, of which the batches' hashes are written down. ``trouble`` is what
    happens in step 4 of the second process."""
    seen, weights = set(), {}

    def batch(step: int) -> dict[str, Tensor]:
        x = torch.randn(ITEMS, 4, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
        seen.add(f"{step} {hashlib.sha256(x.numpy().tobytes()).hexdigest()}")
        if trouble and step == 4 and ctx.ranks is not None and ctx.ranks.rank == 1:
            if trouble == "raise":
                raise LookupError("the fourth batch is not there")
            os.kill(os.getpid(), signal.SIGKILL)
        return {"x": x, "y": (x * torch.tensor([1.0, -2.0, 0.5, 3.0])).sum(1, keepdim=True)}

    def objective(module: nn.Module, pair: dict[str, Tensor]) -> Tensor:
        errors = (module(pair["x"]) - pair["y"]).square()
        return errors.mean() if loss == "mean" else errors.sum()

    held_out = batch(10_000)
    for (name, middle), config in zip(cases.items(), (train, *others), strict=True):
        with seeded(0, ctx.device):
            module = Regression(middle).double()
            fit(
                module,
                config,
                epoch_steps=4,
                batch=batch,
                loss=objective,
                validate=lambda module: {"loss": float(objective(module, held_out))},
                ctx=ctx,
            )
        weights[name] = module.state_dict()
    torch.save(weights, out / "weights.pt")
    (out / "batches.json").write_text(json.dumps(sorted(seen)))


def fail_to_train(*, middles: tuple[str, ...], train: TrainConfig = PLAIN, out: Path, ctx: Context) -> None:
    """What is said of each network."""
    said = []
    for middle in middles:
        try:
            train_lines(cases={middle: middle}, train=train, out=out, ctx=ctx)
        except ValueError as refusal:
            said.append(str(refusal))
    (out / "said.json").write_text(json.dumps(said))


def train_nothing(*, train: TrainConfig = PLAIN, out: Path, ctx: Context) -> None:
    (out / "done").touch()
