"""The energies behind ISR, SIR and SAR: projections of estimates on filtered references.

Nothing is projected as a rule. With r the correlations of a frame's references at 512 lags and A
the autocorrelation of a filter, the energy of the filter's output in that frame is the plain sum
of r * A; so one matrix product gives all sources and frames, and only the correlations have to be
computed, with `correlation.span_lags`. The part of it that the estimates do not touch is the
*reference side*, which is kept across trials (`cache.py`). Where the sum would lose digits by
cancellation the frame is projected after all, in `_projected`.

Tensors are (source, time, channel); m is the number of reference channels, source * channel.
"""

import dataclasses

import torch
from torch import Tensor

from mss_core.metrics import correlation, toeplitz
from mss_core.metrics.cache import Cache, fingerprint, load, store
from mss_core.metrics.frames import Framing, energies

# A frame is projected where rounding may exceed this share of an energy: 4e-9 dB.
ROUNDING = 1e-9
EPSILON = 2.0**-53


@dataclasses.dataclass(frozen=True)
class ReferenceSide:
    """What BSS Eval needs of the references of a track, and of nothing else.

    Attributes:
        lags: correlations in each window, (window, m, m, taps), float64.
        total: those of the whole track, (m, m, taps).
        whole: the system of all references.
        apart: the system of each reference alone.
    """

    lags: Tensor
    total: Tensor
    whole: toeplitz.Factor
    apart: tuple[toeplitz.Factor, ...]


def ratios(references: Tensor, estimates: Tensor, plan: Framing, taps: int, cache: Cache) -> tuple[Tensor, float]:
    """SDR, ISR, SIR and SAR in dB, (4, source, window), on the CPU; and the condition number."""
    key = "" if cache is None else fingerprint(references, plan.windows, taps)
    side = load(cache, key, lambda state: _unpack(state, references.device))
    channels = references.shape[0] * references.shape[2]
    targets = [estimates] if side else [references, estimates]
    windows, whole = _lags(references, targets, plan, taps)
    if side is None:
        side = _reference_side(windows[:, :channels].clone(), whole[:channels].clone(), references.shape[0])
        store(cache, key, side, _pack)
    windows, whole = windows[:, -channels:], whole[-channels:]
    filters = _filters(side, whole, references.shape[2])
    plain = energies(references, estimates, plan.spans)
    signal, estimate, error = (plan.join(x) for x in plain)
    values, doubtful = _energies(side, windows, filters, estimate)
    for i in doubtful:
        values[i] = _projected(references, estimates, filters, *plan.windows[i])
    own, spatial, interference, projected, artifacts = values.permute(2, 0, 1)
    scores = [
        decibel(signal, error),
        decibel(signal, spatial),
        decibel(own, interference),
        decibel(projected, artifacts),
    ]
    return torch.stack(scores).transpose(1, 2).cpu(), side.whole.condition


def decibel(signal: Tensor, error: Tensor) -> Tensor:
    """10 log10(signal / error), inf without error."""
    return torch.where(error > 0, 10 * torch.log10(signal / error), torch.inf)


def _lags(references: Tensor, targets: list[Tensor], plan: Framing, taps: int) -> tuple[Tensor, Tensor]:
    rows = correlation.span_lags(references, targets, plan.spans, taps)
    seams = None
    if plan.seams:
        seams = correlation.seam_lags(references, targets, plan.seams, taps, plan.seams_apart)
    return plan.join_lags(rows, seams)


def _reference_side(windows: Tensor, total: Tensor, sources: int, columns: list | None = None) -> ReferenceSide:
    width = len(total) // sources
    cuts = [slice(None), *(slice(c, c + width) for c in range(0, len(total), width))]
    known = columns or [None] * len(cuts)
    systems = [toeplitz.factor(total[c, c], k) for c, k in zip(cuts, known, strict=True)]
    return ReferenceSide(windows, total, systems[0], tuple(systems[1:]))


def _pack(side: ReferenceSide) -> dict:
    columns = [s.columns for s in (side.whole, *side.apart)]
    return {"lags": side.lags.cpu(), "total": side.total.cpu(), "columns": columns}


def _unpack(state: dict, device: torch.device) -> ReferenceSide:
    columns = None if device.type == "cuda" else state["columns"]
    lags, total = state["lags"].to(device), state["total"].to(device)
    return _reference_side(lags, total, len(state["columns"]) - 1, columns)


def _filters(side: ReferenceSide, whole: Tensor, width: int) -> Tensor:
    """Filters to four signals of each source, (source, 4, channel, m, taps).

    The signals: P_s; P_s - s; P - P_s; P.
    """
    full = toeplitz.solve(side.whole, whole)
    out = full.new_zeros(len(side.apart), 4, width, *full.shape[1:])
    for j, system in enumerate(side.apart):
        block = slice(j * width, (j + 1) * width)
        own = toeplitz.solve(system, whole[block, block])
        out[j, 0, :, block] = own
        out[j, 1, :, block] = own
        out[j, 1, range(width), range(block.start, block.stop), 0] -= 1
        out[j, 3] = full[block]
        out[j, 2] = out[j, 3] - out[j, 0]
    return out


def _energies(side: ReferenceSide, windows: Tensor, filters: Tensor, estimate: Tensor) -> tuple[Tensor, list[int]]:
    """Energies of P_s, P_s - s, P - P_s, P and e - P, (window, source, 5), from correlations.

    Also the windows where rounding may have spoilt one of them.
    """
    sources, _, _, _, taps = filters.shape
    count = len(windows)
    spectrum = torch.fft.rfft(filters, n=2 * taps)
    power = torch.einsum("sgcpf,sgcqf->sgqpf", spectrum, spectrum.conj())
    weights = torch.fft.irfft(power, n=2 * taps)[..., :taps]
    weights[..., 1:] *= 2
    values = side.lags.view(count, -1) @ weights.reshape(sources * 4, -1).T
    values = values.view(count, sources, 4)
    # <e, P> of each channel of the estimate, summed.
    cross = windows.reshape(count, sources, -1).transpose(0, 1)
    cross = (cross @ filters[:, 3].reshape(sources, -1, 1))[..., 0].T
    artifacts = estimate - 2 * cross + values[..., 3]
    values = torch.cat([values, artifacts[..., None]], dim=-1)
    # The terms that were added up are no larger than this, and each is rounded.
    norms = side.lags[..., 0].diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    terms = torch.einsum("wp,wq,sgqp->wsg", norms, norms, weights.norm(dim=-1))
    terms = torch.cat([terms, (terms[..., 3] + estimate)[..., None]], dim=-1)
    doubtful = (EPSILON * terms > ROUNDING * values).flatten(1).any(1)
    return values, doubtful.nonzero()[:, 0].tolist()


def _projected(references: Tensor, estimates: Tensor, filters: Tensor, start: int, stop: int) -> Tensor:
    """The energies of one window from the projections themselves, (source, 5).

    Blocks of time overlap by the filters' length (overlap-save); signals are zero outside the
    window, and the last block ends where the filters' tail does.
    """
    sources, _, width, channels, taps = filters.shape
    size = correlation.fft_size(taps, stop - start + taps - 1)
    step = size - taps + 1
    response = torch.fft.rfft(filters.flatten(0, 2), n=size).permute(2, 0, 1)
    total = references.new_zeros(sources, 5, dtype=torch.float64)
    starts = range(start, stop + taps - 1, step)
    for i in range(0, len(starts), 4):
        group = [(t, t + step) for t in starts[i : i + 4]]
        past = correlation.blocks([references], group, taps - 1, 0, (start, stop), size)
        x = torch.fft.rfft(past).permute(2, 0, 1)  # (frequency, p, block)
        y = torch.fft.irfft((response @ x).permute(1, 2, 0), n=size)[..., taps - 1 :]
        y = y.reshape(sources, 4, -1)
        e = correlation.blocks([estimates], group, 0, 0, (start, stop), size)[..., :step]
        artifact = e.reshape(sources, -1) - y[:, 3]
        total += torch.cat([y, artifact[:, None]], dim=1).square().sum(-1)
    return total
