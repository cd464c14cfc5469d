"""Training losses: functions of (estimates, references) that return one value per item.

Shape: (batch, ...) and (batch, ...) -> (batch,). Each is zero or minimal where the estimate is the reference.

MASK_LOSSES are functions of (masks, inputs, references): real masks, the complex spectra they multiply (the mixture,
or the parent that a sequential mask takes its share from) and the complex spectra of the references, all
(batch, ...) or shapes that broadcast. They differ in what is compared: the mask with an ideal mask, or the masked
magnitude with the reference's. Gradients are finite wherever the masks are, silence included.
"""

from __future__ import annotations

import functools
import inspect
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_core.errors import choose
from mss_core.names import check, named


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


SILENT = 1e-8
"""Magnitudes below this count as silence in a ratio; energies of an SI-SDR have it added."""


def si_sdr(estimates: Tensor, references: Tensor) -> Tensor:
    """Minus the scale-invariant SDR in dB over the last axis, the mean over the others [Le Roux et al. 2019].

    1e-8 is added to both energies, so that silence costs 0 dB and has a gradient. Means are not removed.
    """
    gain = (estimates * references).sum(-1, keepdim=True) / (references.square().sum(-1, keepdim=True) + SILENT)
    target = gain * references
    ratio = (target.square().sum(-1) + SILENT) / ((estimates - target).square().sum(-1) + SILENT)
    return -10.0 * torch.log10(ratio).reshape(len(ratio), -1).mean(1)


def weighted_sdr(estimates: Tensor, references: Tensor, mixtures: Tensor) -> Tensor:
    """Weighted SDR over the last axis, the mean over the others: -1 at best, 1 at worst [Choi et al. 2019].

    Minus the cosine between estimate and reference, and between what either leaves of the mixture, weighted by the
    energies of the reference and of the rest. It is not zero but -1 where the estimate is the reference.
    """
    rest, rest_estimate = mixtures - references, mixtures - estimates
    energy, other = references.square().sum(-1), rest.square().sum(-1)
    weight = energy / (energy + other + SILENT**2)
    cosine = weight * _cosine(estimates, references) + (1 - weight) * _cosine(rest_estimate, rest)
    return -cosine.reshape(len(cosine), -1).mean(1)


def _cosine(one: Tensor, other: Tensor) -> Tensor:
    lengths = [torch.sqrt(x.square().sum(-1) + SILENT**2) for x in (one, other)]
    return (one * other).sum(-1) / (lengths[0] * lengths[1])


def combinations(parts: Tensor) -> Tensor:
    """Sums of every choice of one to all but one of the parts [Sawata et al. 2021].

    Shape: (batch, part, ...) -> (batch, combination, ...); 14 combinations of 4 parts.
    """
    count = parts.shape[1]
    chosen = [choice for size in range(1, max(2, count)) for choice in itertools.combinations(range(count), size)]
    return torch.stack([torch.stack([parts[:, part] for part in choice], 1).sum(1) for choice in chosen], 1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "mse": mse,
    "si_sdr": si_sdr,
    "binary_cross_entropy": binary_cross_entropy,
    "cross_entropy": cross_entropy,
}


# ---- losses of masks


def phase_sensitive(inputs: Tensor, references: Tensor) -> Tensor:
    """The truncated phase sensitive target |S| cos(S - X), clipped to [0, |X|] [Zhang, eq. 4.13]; 0 where |X| is."""
    magnitude = inputs.abs()
    projected = (references * inputs.conj()).real / magnitude.clamp_min(SILENT)
    return torch.minimum(projected.clamp_min(0.0), magnitude)


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    return part / whole.clamp_min(SILENT)


def mask_tpsa(masks: Tensor, inputs: Tensor, references: Tensor) -> Tensor:
    """Mean |M - T / |X||, T the phase sensitive target [Zhang, eq. 4.14]."""
    return l1(masks, _ratio(phase_sensitive(inputs, references), inputs.abs()).expand_as(masks))


def mask_ratio(masks: Tensor, inputs: Tensor, references: Tensor) -> Tensor:
    """Mean |M - |S| / |X||, the ratio clipped to 1: eq. 4.15 of Zhang, and eq. 4.16 where ``inputs`` are parents."""
    return l1(masks, _ratio(references.abs(), inputs.abs()).clamp_max(1.0).expand_as(masks))


def mask_ratio_unclipped(masks: Tensor, inputs: Tensor, references: Tensor) -> Tensor:
    """Eq. 4.15 as printed: the ratio is not bounded, so that bins where the input nearly vanishes decide."""
    return l1(masks, _ratio(references.abs(), inputs.abs()).expand_as(masks))


def as_released(masks: Tensor, inputs: Tensor, references: Tensor) -> Tensor:
    """Mean |M - T|: the mask against an un-normalised magnitude, as the released code of HMSS has it."""
    return l1(masks, phase_sensitive(inputs, references).expand_as(masks))


def signal_tpsa(masks: Tensor, inputs: Tensor, references: Tensor) -> Tensor:
    """Mean |M |X| - T| [Zhang, eq. 4.13]."""
    return l1(masks * inputs.abs(), phase_sensitive(inputs, references).expand_as(masks))


def magnitude_l1(masks: Tensor, inputs: Tensor, references: Tensor) -> Tensor:
    """Mean |M |X| - |S|| [Zhang, eq. 4.11]."""
    return l1(masks * inputs.abs(), references.abs().expand_as(masks))


def magnitude_mse(masks: Tensor, inputs: Tensor, references: Tensor) -> Tensor:
    """Mean (M |X| - |S|)^2 [Zhang, eq. 4.10]."""
    return mse(masks * inputs.abs(), references.abs().expand_as(masks))


def magnitude_log_l1(masks: Tensor, inputs: Tensor, references: Tensor) -> Tensor:
    """10 log10 of :func:`magnitude_l1`: LogL1 of Gusó et al. 2022, which Zhang recommends (Sec. 4.3, footnote 1)."""
    return 10.0 * torch.log10(magnitude_l1(masks, inputs, references) + SILENT)


def magnitude_log_mse(masks: Tensor, inputs: Tensor, references: Tensor) -> Tensor:
    """10 log10 of :func:`magnitude_mse`: LogL2 of Gusó et al. 2022, as above."""
    return 10.0 * torch.log10(magnitude_mse(masks, inputs, references) + SILENT)


MASK_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "mask_tpsa": mask_tpsa,
    "mask_ratio": mask_ratio,
    "mask_ratio_unclipped": mask_ratio_unclipped,
    "as_released": as_released,
    "signal_tpsa": signal_tpsa,
    "magnitude_l1": magnitude_l1,
    "magnitude_mse": magnitude_mse,
    "magnitude_log_l1": magnitude_log_l1,
    "magnitude_log_mse": magnitude_log_mse,
}
SEPARATION_LOSSES = ("l1", "mse", "si_sdr", *MASK_LOSSES)
"""What a separator that masks a spectrum can be trained with: three losses of waveforms, and those of masks. One of
another package, ``package.module:function``, is of masks where it takes three arguments."""


def separation_loss(name: str) -> tuple[Callable[..., Tensor], bool]:
    """The loss of a separator by name, and whether it is one of masks.

    Raises ValueError for a name that is none, or a function that takes neither two arguments nor three.
    """
    check("separation loss", name, SEPARATION_LOSSES)
    loss = named("separation loss", name, {**LOSSES, **MASK_LOSSES})
    required = _required(loss)
    if required not in (2, 3):
        raise ValueError(
            f"separation loss {name!r} takes {required} arguments; one of waveforms takes 2 (estimates, "
            "references), one of masks 3 (masks, inputs, references)"
        )
    return loss, required == 3


@functools.cache
def _required(function: Callable[..., Tensor]) -> int:
    """How many arguments without a default a function has."""
    return sum(p.default is p.empty for p in inspect.signature(function).parameters.values())


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
