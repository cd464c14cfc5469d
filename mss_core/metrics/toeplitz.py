"""Least-squares filters: block Toeplitz systems, factorised once and solved for many estimates.

The matrix is T[(a, p), (b, q)] = r_pq(a - b), the inner product of reference channel p delayed by
a samples with channel q delayed by b; it is symmetric and positive semidefinite. Given are its
lags r_pq(k), k = 0 ... taps - 1, of every ordered pair, as `correlation.span_lags` returns them:
lags[q, p, k].

On a CPU its inverse is written by two block columns of itself [Gohberg and Heinig 1974], found by
the recursion of [Whittle 1963, Wiggins and Robinson 1965] in 1/40 of the time of a Cholesky
factorisation and a hundredth of its memory; each solution is refined until its residual is down
to rounding, which makes it at least as exact. Where that fails, and on a GPU, a Cholesky
factorisation takes its place, and where the matrix is numerically indefinite museval's way: LU of
T + eps. Its result then depends on rounding, and `condition` is inf.
"""

import dataclasses

import numpy as np
import torch
from torch import Tensor

EPSILON = torch.finfo(torch.float64).eps


@dataclasses.dataclass(frozen=True)
class Factor:
    """A factorised block Toeplitz matrix.

    Attributes:
        lags: (q, p, taps) of the channels kept.
        channels: number of channels there were.
        kept: indices of the channels kept: a channel that is silent, or a linear combination of
            others (dual mono), adds nothing to their span and is left out.
        columns: first block column of the inverse and the last, shifted by a block, each with
            its weight: (2, taps, m, m) and (2, m, m); or None.
        triangle: Cholesky factor, or None.
        condition: estimate of the condition number, inf where the matrix is indefinite.
    """

    lags: Tensor
    channels: int
    kept: tuple[int, ...]
    columns: tuple[Tensor, Tensor] | None
    triangle: Tensor | None
    condition: float


def factor(lags: Tensor, columns: tuple[Tensor, Tensor] | None = None) -> Factor:
    """The factorised system.

    Args:
        lags: (channel, channel, taps), float64.
        columns: those of an earlier factorisation of the same, if known.
    """
    kept = _independent(lags[..., 0])
    channels, lags = len(lags), lags[kept][:, kept].contiguous()
    if not kept:
        return Factor(lags, channels, (), None, None, 1.0)
    size = float(_spectrum(lags).abs().square().sum((1, 2)).amax().sqrt())  # bounds |T|
    known = columns is not None
    if not known and not lags.is_cuda:
        columns = _inverse_columns(lags)
    if columns is not None:
        # The columns times their weights are parts of the inverse, so no larger than it.
        parts = (columns[0] @ columns[1][:, None]).flatten(1, 2)
        condition = size * float(torch.linalg.matrix_norm(parts, 2).amax())
        system = Factor(lags, channels, tuple(kept), columns, None, condition)
        if known or _refined(system, _multiply(lags, torch.ones_like(lags[:1]))) is not None:
            return system
    triangle, info = torch.linalg.cholesky_ex(dense(lags))
    if int(info):
        return Factor(lags, channels, tuple(kept), None, None, float("inf"))
    condition = size / float(triangle.diagonal().amin()) ** 2
    return Factor(lags, channels, tuple(kept), None, triangle, condition)


def solve(system: Factor, right: Tensor) -> Tensor:
    """Filters C with T C = right; zero in the channels left out.

    Shape: right (target, channel, taps); returns the same.
    """
    out = torch.zeros_like(right)
    if not system.kept:
        return out
    kept = list(system.kept)
    right = right[:, kept]
    filters = _refined(system, right) if system.columns is not None else None
    out[:, kept] = _direct(system, right) if filters is None else filters
    return out


def dense(lags: Tensor) -> Tensor:
    """The matrix itself, (channel * taps, channel * taps), channels outside: T[(p, a), (q, b)].

    Shape: lags (channel, channel, taps).
    """
    channels, _, taps = lags.shape
    # r_pq(k) for k = taps - 1 ... -(taps - 1): lags[q, p] backwards, then lags[p, q] from 1 on.
    rows = torch.cat([lags.transpose(0, 1).flip(-1), lags[..., 1:]], dim=-1)
    matrix = lags.new_empty(channels, taps, channels, taps)
    for p in range(channels):
        for q in range(channels):
            matrix[p, :, q] = rows[p, q].unfold(0, taps, 1).flip(0)
    return matrix.view(channels * taps, channels * taps)


def _direct(system: Factor, right: Tensor) -> Tensor:
    """Solution by a factorisation of the dense matrix."""
    triangle = system.triangle
    columns = right.flatten(1).T
    if triangle is None:
        matrix = dense(system.lags)
        triangle, info = torch.linalg.cholesky_ex(matrix)
        if int(info):
            matrix.diagonal().add_(EPSILON)
            # numpy's LU: torch's has crashed on matrices of this size.
            filters = np.linalg.solve(matrix.cpu().numpy(), columns.cpu().numpy())
            return torch.from_numpy(filters).to(right.device).T.reshape(right.shape)
    return torch.cholesky_solve(columns, triangle).T.reshape(right.shape)


def _refined(system: Factor, right: Tensor, rounds: int = 8) -> Tensor | None:
    """Solution by the inverse's columns, refined to rounding; None if it does not get there.

    Shape: right (target, m, taps); returns the same.
    """
    filters = _apply_inverse(system, right)
    scale = float(_spectrum(system.lags).abs().square().sum((1, 2)).amax().sqrt())
    before = float("inf")
    for _ in range(rounds):
        residual = right - _multiply(system.lags, filters)
        error = float(residual.norm())
        floor = 4 * EPSILON * (scale * float(filters.norm()) + float(right.norm()))
        if not error < before / 2:  # it has stopped to shrink, or is not a number
            return filters if error <= floor else None
        before = error
        filters = filters + _apply_inverse(system, residual)
        if error <= floor / 16:
            return filters
    return None


def _apply_inverse(system: Factor, right: Tensor) -> Tensor:
    """T^-1 right = sum of +-L(c) w L(c)^T right over both columns c; L: lower block Toeplitz."""
    assert system.columns is not None
    taps = right.shape[-1]
    spectra = torch.fft.rfft(system.columns[0], n=2 * taps, dim=1)  # (2, frequency, m, m)
    v = torch.fft.rfft(right, n=2 * taps).permute(2, 1, 0)  # (frequency, m, target)
    inner = torch.fft.irfft(spectra.mH @ v, n=2 * taps, dim=1)[:, :taps]
    weighted = system.columns[1][:, None] @ inner
    w = torch.fft.rfft(weighted, n=2 * taps, dim=1)
    first, last = spectra @ w
    return torch.fft.irfft((first - last).permute(2, 1, 0), n=2 * taps)[..., :taps]


def _multiply(lags: Tensor, filters: Tensor) -> Tensor:
    """T filters, (target, m, taps)."""
    taps = filters.shape[-1]
    v = torch.fft.rfft(filters, n=2 * taps).permute(2, 1, 0)
    product = _spectrum(lags) @ v
    return torch.fft.irfft(product.permute(2, 1, 0), n=2 * taps)[..., :taps]


def _spectrum(lags: Tensor) -> Tensor:
    """Spectra (frequency, p, q) of the circulant matrix that T is a corner of."""
    taps = lags.shape[-1]
    forward = lags.transpose(0, 1)  # r_pq(k)
    middle = torch.zeros_like(lags[..., :1])
    circle = torch.cat([forward, middle, lags[..., 1:].flip(-1)], dim=-1)
    return torch.fft.rfft(circle, n=2 * taps).permute(2, 0, 1)


def _inverse_columns(lags: Tensor) -> tuple[Tensor, Tensor] | None:
    """First and (shifted) last block column of the inverse, normalised to a unit block, and their
    weights; None where the matrix is found to be indefinite.

    The recursion grows the system by one block at a time. A (forward) and B (backward) solve
    T A = [F, 0, ..., 0] and T B = [0, ..., 0, G], the blocks F and G being the prediction errors.
    """
    r = np.ascontiguousarray(lags.permute(2, 1, 0).numpy())  # (taps, p, q)
    taps, m, _ = r.shape
    row = np.ascontiguousarray(r[:0:-1].transpose(1, 0, 2).reshape(m, -1))  # R_taps-1 ... R_1
    ahead, back = np.zeros((2, taps * m, m))
    ahead[:m] = back[-m:] = np.eye(m)
    f, g = r[0].copy(), r[0].copy()
    try:
        for k in range(1, taps):
            a, b = ahead[: k * m], back[(taps - k) * m :]
            mismatch = row[:, (taps - 1 - k) * m :] @ a
            to_ahead = np.linalg.solve(g, mismatch)
            to_back = np.linalg.solve(f, mismatch.T)
            step = b @ to_ahead
            back[(taps - 1 - k) * m : (taps - 1) * m] -= a @ to_back
            ahead[m : (k + 1) * m] -= step
            f = f - mismatch.T @ to_ahead
            g = g - mismatch @ to_back
        np.linalg.cholesky(f), np.linalg.cholesky(g)
        weights = np.stack([np.linalg.inv(f), np.linalg.inv(g)])
    except np.linalg.LinAlgError:
        return None
    shifted = np.concatenate([np.zeros((m, m)), back[:-m]])
    columns = np.stack([ahead, shifted]).reshape(2, taps, m, m)
    if not (np.isfinite(columns).all() and np.isfinite(weights).all()):
        return None
    return torch.from_numpy(columns), torch.from_numpy(weights)


def _independent(gram: Tensor, tolerance: float = 1e-14) -> list[int]:
    """Channels none of which is a linear combination of those before it.

    `tolerance` is the share of a channel's energy below which a remainder is rounding.

    >>> _independent(torch.tensor([[1., 2., 0.], [2., 4., 0.], [0., 0., 3.]]))
    [0, 2]
    """
    gram = gram.double().cpu()
    scale = gram.diagonal().clamp(min=0).sqrt()
    kept: list[int] = []
    for p in scale.nonzero()[:, 0].tolist():
        # Correlations instead of covariances: channels may differ by 100 dB.
        own = gram[kept][:, kept] / (scale[kept][:, None] * scale[kept])
        cross = gram[kept, p] / (scale[kept] * scale[p])
        if not kept or 1 - float(cross @ torch.linalg.solve(own, cross)) > tolerance:
            kept.append(p)
    return kept
