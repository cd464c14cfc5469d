"""Training losses: functions of (estimates, references) that return one value an item.

Shape: (batch, ...) and (batch, ...) -> (batch,). Each is zero or minimal where the estimate is the reference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_core.naming import choose


def l1(estimates: Tensor, references: Tensor) -> Tensor:
    """Mean absolute difference over everything but the batch [Garoufis et al., eq. for stage 1]."""
    return (estimates - references).abs().flatten(1).mean(1)


def mse(estimates: Tensor, references: Tensor) -> Tensor:
    """Mean squared difference over everything but the batch."""
    return (estimates - references).square().flatten(1).mean(1)


def binary_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Several labels an item. Shape: (batch, class) logits, (batch, class) labels in {0, 1} -> (batch,)."""
    return functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """One label an item. Shape: (batch, class) logits, (batch, class) one-hot labels -> (batch,)."""
    return -(functional.log_softmax(logits, dim=1) * labels).sum(1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "mse": mse,
    "binary_cross_entropy": binary_cross_entropy,
    "cross_entropy": cross_entropy,
}


def probabilities(logits: Tensor, loss: str) -> Tensor:
    """What a classifier trained with ``loss`` says: sigmoid, or softmax for ``cross_entropy``."""
    return torch.softmax(logits, dim=-1) if loss == "cross_entropy" else torch.sigmoid(logits)


@dataclass(frozen=True)
class Penalty:
    """Weight regularisation: ``weight`` times the sum over all kernels of their squares (``"l2"``) or absolute values
    (``"l1"``), added to the training loss as Keras does."""

    kind: str = "l2"
    weight: float = 0.0

    def __post_init__(self) -> None:
        choose("kind of penalty", self.kind, ("l1", "l2"))
        if self.weight < 0:
            raise ValueError(f"a penalty's 'weight' must not be negative, but is {self.weight}")


def penalty(module: nn.Module, regularisation: Penalty) -> Tensor | float:
    """What a penalty adds to the loss of ``module``; biases and batch norm are free."""
    if not regularisation.weight:
        return 0.0
    kernels = [parameter for parameter in module.parameters() if parameter.ndim > 1]
    sums = [kernel.abs().sum() if regularisation.kind == "l1" else kernel.square().sum() for kernel in kernels]
    return regularisation.weight * torch.stack(sums).sum()
