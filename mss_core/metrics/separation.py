"""Scores of separated sources other than BSS Eval, which is in bss_eval.py.

Conventions: `reference` is the truth, `estimate` what a separator returned, `mixture` its input;
numpy arrays or torch tensors of one shape (..., time), or one that broadcasts. `axis` names the
axes that one score spans: -1 scores each channel apart, (-2, -1) a whole (channel, time) track.
All is computed in float64; scores come back as a numpy array, or, where any argument is a tensor,
as a tensor on its device. Ratios are in dB. A ratio is NaN where it is undefined (a silent
reference), inf where nothing is wrong with the estimate and -inf where nothing of the reference
is in it. A result is never clipped or padded by an epsilon unless the docstring says so.
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

Axis = int | tuple[int, ...]


def si_sdr(
    reference: ArrayLike,
    estimate: ArrayLike,
    zero_mean: bool = False,
    axis: Axis = -1,
    delta: float = 0.0,
) -> ArrayLike:
    """Scale-invariant SDR in dB [Le Roux et al. 2019]: |as|^2 / |e - as|^2, a = <e, s> / |s|^2.

    Args:
        reference: s, (..., time).
        estimate: e, (..., time).
        zero_mean: remove the mean of both first, as the hierarchical separation code of
            [Manilow et al. 2020] does. Off, an offset of the estimate is an error like another.
        axis: axes one score spans.
        delta: added to both energies; 1e-8 keeps every score finite at the price of the
            invariance. 0: NaN where reference or estimate is silent, inf for a perfect estimate.

    Shape: returns (...), without `axis`.

    >>> float(si_sdr([1., 1., 0., 0.], [2., 2., 2., 0.]).round(3))
    3.01
    """
    (s, e), back = _tensors(reference=reference, estimate=estimate)
    if zero_mean:
        s, e = _centred(s, axis), _centred(e, axis)
    energy = (s * s).sum(axis, keepdim=True)
    target = (e * s).sum(axis, keepdim=True) / energy.where(energy > 0, 1.0) * s
    silent = (energy.amax(axis) == 0) | ((e * e).sum(axis) == 0)
    score = _ratio(target, e - target, axis, delta)
    return back(score if delta else score.masked_fill(silent, float("nan")))


def l1(reference: ArrayLike, estimate: ArrayLike, axis: Axis = -1) -> ArrayLike:
    """Mean absolute difference in the time domain, in units of amplitude; 0 is perfect.

    Shape: reference and estimate (..., time); returns (...), without `axis`.

    >>> float(l1([0., 1.], [1., 1.]))
    0.5
    """
    (s, e), back = _tensors(reference=reference, estimate=estimate)
    return back((s - e).abs().mean(axis))


def best_scalar(reference: ArrayLike, mixture: ArrayLike, axis: Axis = -1) -> ArrayLike:
    """The g for which g * mixture has the highest SDR: <m, s> / |m|^2, NaN for a silent mixture.

    Not a separator, yet its SDR improvement is large where the source is quiet: report it beside
    every SDR improvement.

    Shape: reference and mixture (..., time); returns (...), without `axis`.

    >>> float(best_scalar([1., 0.], [1., 2.]))
    0.2
    """
    (s, m), back = _tensors(reference=reference, mixture=mixture)
    return back((m * s).sum(axis) / (m * m).sum(axis))


def _ratio(signal: Tensor, error: Tensor, axis: Axis, delta: float = 0.0) -> Tensor:
    """10 log10(|signal|^2 / |error|^2) in dB; 0 / 0 is NaN."""
    return 10 * torch.log10(
        ((signal * signal).sum(axis) + delta) / ((error * error).sum(axis) + delta)
    )


def _centred(x: Tensor, axis: Axis) -> Tensor:
    """x without its mean, exactly 0 where x was constant up to rounding."""
    centred = x - x.mean(axis, keepdim=True)
    floor = 1e-12 * x.abs().amax(axis, keepdim=True)
    return centred.where(centred.abs().amax(axis, keepdim=True) > floor, 0.0)


def _tensors(**arrays: ArrayLike) -> tuple[list[Tensor], Callable[[Tensor], ArrayLike]]:
    """The arrays as float64 tensors on one device, checked, and the way back for a result."""
    given = [x for x in arrays.values() if isinstance(x, Tensor)]
    device = given[0].device if given else torch.device("cpu")
    out = []
    for name, x in arrays.items():
        x = x if isinstance(x, Tensor) else torch.from_numpy(np.array(x, dtype=np.float64))
        out.append(x.to(device, torch.float64))
        if out[-1].ndim == 0:
            raise ValueError(f"{name} is a single number, should be (..., time)")
        if not torch.isfinite(out[-1]).all():
            raise ValueError(f"{name} holds a value that is not finite")
    try:
        torch.broadcast_shapes(*(x.shape for x in out))
    except RuntimeError:
        named = zip(arrays, out, strict=True)
        shapes = " and ".join(f"{name} {tuple(x.shape)}" for name, x in named)
        raise ValueError(f"shapes do not match: {shapes}, should be one (..., time)") from None
    return out, (lambda y: y) if given else (lambda y: y.numpy())
