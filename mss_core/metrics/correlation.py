"""Short-lag correlations of multichannel signals over spans of time, by short FFTs.

The one primitive below BSS Eval. For references x and targets y it returns, for each span of
samples, d[q, p, a] = sum over t of x_p(t - a) y_q(t) for lags a = 0 ... taps - 1, in float64, with
both signals zero outside the span: all that a least-squares filter of `taps` coefficients and the
energy of its output need. The FFTs span some thousand samples, whatever the track's length.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

Span = tuple[int, int]
BLOCKS = 10  # at most so many FFT blocks of each channel at once, so that they stay in the cache


def span_lags(references: Tensor, targets: Sequence[Tensor], spans: Sequence[Span], taps: int):
    """Correlations d[span, q, p, a] of every target channel q with every reference channel p.

    Args:
        references: x, (source, time, channel), any real dtype.
        targets: one or more y, (source, time, channel) each; their channels are laid end to end.
        spans: (start, stop) in samples.
        taps: number of lags.

    Shape: returns (span, target source * channel, source * channel, taps), float64.
    """
    out = _empty(references, targets, len(spans), taps)
    for row, (start, stop) in enumerate(spans):
        size = fft_size(taps, stop - start)
        room = size - taps + 1
        count = -(-(stop - start) // room)
        step = -(-(stop - start) // count)
        starts = [*range(start, stop, step)]
        total: Tensor | None = None
        for i in range(0, count, BLOCKS):
            group = [(t, min(t + step, stop)) for t in starts[i : i + BLOCKS]]
            past = blocks([references], group, taps - 1, 0, (start, stop), size)
            now = blocks(targets, group, 0, taps - 1, (start, stop), size)
            total = _accumulate(total, past, now)
        out[row] = _lags(total, size, taps)
    return out


def seam_lags(references: Tensor, targets: Sequence[Tensor], seams: Sequence[int], taps: int, each: bool):
    """What `span_lags` leaves out where two spans touch: x before the seam, y after it.

    The lags of two adjacent spans and of their seam add up to the lags of their union, if the
    first is at least taps - 1 long.

    Args:
        references, targets, taps: as for `span_lags`.
        seams: sample where the later span starts.
        each: one row per seam, else one row with their sum.

    Shape: returns (seam or 1, target source * channel, source * channel, taps), float64.
    """
    out = _empty(references, targets, len(seams) if each else 1, taps)
    out.zero_()
    size = fft_size(taps, taps - 1)
    whole = (0, references.shape[1])
    group_size = 1 if each else BLOCKS
    for row, i in enumerate(range(0, len(seams), group_size)):
        seam = seams[i : i + group_size]
        past = blocks([references], [(t, t) for t in seam], taps - 1, 0, whole, size)
        now = blocks(targets, [(t, t + taps - 1) for t in seam], 0, taps - 1, whole, size)
        out[row if each else 0] += _lags(_accumulate(None, past, now), size, taps)
    return out


def _empty(references: Tensor, targets: Sequence[Tensor], rows: int, taps: int) -> Tensor:
    channels = references.shape[0] * references.shape[2]
    columns = sum(y.shape[0] * y.shape[2] for y in targets)
    shape = (rows, columns, channels, taps)
    return torch.empty(shape, dtype=torch.float64, device=references.device)


def fft_size(taps: int, length: int) -> int:
    """Power of two: 4 * taps (2048 at least) for a long signal, no more than a short one needs."""
    size = 1
    while size < min(max(4 * taps, 2048), length + taps - 1):
        size *= 2
    return size


def blocks(
    signals: Sequence[Tensor], group: Sequence[Span], before: int, offset: int, limits: Span, size: int
) -> Tensor:
    """Zero-padded blocks of all channels, (channel, block, size), float64.

    Block (t0, t1) holds the samples t0 - before ... t1 that lie within `limits`, at a place where
    the sample t0 - before would be at `offset`.
    """
    channels = sum(y.shape[0] * y.shape[2] for y in signals)
    shape = (channels, len(group), size)
    buffer = torch.zeros(shape, dtype=torch.float64, device=signals[0].device)
    first = 0
    for y in signals:
        sources, _, width = y.shape
        rows = buffer[first : first + sources * width].view(sources, width, len(group), size)
        first += sources * width
        if not y.is_cuda:
            rows, y = rows.numpy(), y.numpy()  # copies small pieces in half of torch's time
        for i, (t0, t1) in enumerate(group):
            begin, end = max(t0 - before, limits[0]), min(t1, limits[1])
            if begin < end:
                at = offset + begin - (t0 - before)
                rows[:, :, i, at : at + end - begin] = y[:, begin:end].swapaxes(1, 2)
    return buffer


def _accumulate(total: Tensor | None, past: Tensor, now: Tensor) -> Tensor:
    """Cross spectra (frequency, q, p), summed over the blocks, added to `total`."""
    # Copied to (frequency, q, block) and (frequency, block, p): a product of strided views would
    # cost four times as much.
    x, y = torch.fft.rfft(past), torch.fft.rfft(now)
    channels, count, bins = x.shape
    left = y.new_empty(bins, len(y), count).copy_(y.permute(2, 0, 1))
    right = x.new_empty(bins, count, channels).copy_(x.permute(2, 1, 0).conj())
    if left.is_cuda:
        product = left @ right
    else:  # numpy takes half of torch's time for thousands of small products
        product = torch.from_numpy(np.matmul(left.numpy(), right.numpy()))
    return product if total is None else total.add_(product)


def _lags(spectrum: Tensor, size: int, taps: int) -> Tensor:
    return torch.fft.irfft(spectrum.permute(1, 2, 0).contiguous(), n=size)[..., :taps]
