"""Blocks shared by the models. Layout (batch, channel, time, frequency)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

POOLS = {"max": nn.MaxPool2d, "average": nn.AvgPool2d}


def glorot(module: nn.Module) -> nn.Module:
    """Keras' defaults on every convolution and linear layer below ``module``: Glorot uniform, zero bias."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return module


class PreActivation(nn.Sequential):
    """Batch norm, leaky ReLU (0.01), 3x3 convolution with bias: the sub-block of the MSSPT U-Net.

    Shape: (batch, inputs, time, frequency) -> (batch, outputs, time, frequency).
    """

    def __init__(self, inputs: int, outputs: int, bn_momentum: float) -> None:
        super().__init__(
            nn.BatchNorm2d(inputs, eps=1e-3, momentum=bn_momentum),
            nn.LeakyReLU(0.01),
            nn.Conv2d(inputs, outputs, 3, padding=1),
        )


def double(inputs: int, outputs: int, bn_momentum: float) -> nn.Sequential:
    """Two sub-blocks, the first changing the number of channels."""
    return nn.Sequential(PreActivation(inputs, outputs, bn_momentum), PreActivation(outputs, outputs, bn_momentum))


def log10(magnitude: Tensor, epsilon: float) -> Tensor:
    """log10(magnitude + epsilon)."""
    return torch.log10(magnitude + epsilon)
