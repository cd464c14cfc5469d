"""Windows over a track, the spans they are made of, and what is plain energy in them.

Arrays are tensors (source, time, channel).
"""

import dataclasses
import itertools

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Framing:
    """How windows cover a track.

    Attributes:
        windows: (start, stop) of each window in samples; a last partial one is left out.
        spans: pieces of the track; either they tile it and each window is a run of them, or, where
            a piece would be shorter than the filters, they are the windows and the whole track.
        members: window i is made of spans[members[i][0]:members[i][1]].
        seams: where spans that tile touch.
    """

    windows: tuple[tuple[int, int], ...]
    spans: tuple[tuple[int, int], ...]
    members: tuple[tuple[int, int], ...]
    seams: tuple[int, ...]
    tiled: bool

    @property
    def seams_apart(self) -> bool:
        """Whether some window has a seam inside, so that each seam has to be known."""
        return any(stop - start > 1 for start, stop in self.members)

    def join(self, rows: Tensor) -> Tensor:
        """Values of the windows from values of the spans that add up, (span, ...)."""
        if self.members == tuple((i, i + 1) for i in range(len(self.members))):
            return rows[: len(self.members)]  # no copy in the usual case
        return torch.stack([rows[start:stop].sum(0) for start, stop in self.members])

    def active(self, rows: Tensor) -> Tensor:
        """Whether anything is active in each window, from the same of the spans, (span, ...)."""
        return torch.stack([rows[start:stop].any(0) for start, stop in self.members])

    def join_lags(self, rows: Tensor, seams: Tensor | None) -> tuple[Tensor, Tensor]:
        """Correlations of the windows and of the whole track, from spans and seams."""
        if not self.tiled:
            return rows[:-1], rows[-1]
        windows = self.join(rows)
        whole = rows.sum(0)
        if seams is not None:
            whole += seams.sum(0)
            if self.seams_apart:
                for window, (start, stop) in zip(windows, self.members, strict=True):
                    window += seams[start : stop - 1].sum(0)
        return windows, whole


def framing(length: int, window: int, hop: int, taps: int) -> Framing:
    """Windows of `window` samples each `hop` samples, as museval places them.

    A window of the track's length or longer is one window, the whole track.

    >>> framing(100, 30, 30, 8).windows
    ((0, 30), (30, 60), (60, 90))
    >>> framing(100, 30, 15, 8).spans[-3:], framing(20, 30, 30, 8).windows
    (((60, 75), (75, 90), (90, 100)), ((0, 20),))
    """
    count = (length - window + hop) // hop if window < length else 1
    windows = tuple((i * hop, min(i * hop + window, length)) for i in range(count))
    cuts = sorted({0, length}.union(*windows))
    spans = tuple(itertools.pairwise(cuts))
    if all(stop - start >= taps - 1 for start, stop in spans[:-1]):
        members = tuple((cuts.index(start), cuts.index(stop)) for start, stop in windows)
        return Framing(windows, spans, members, tuple(cuts[1:-1]), True)
    members = tuple((i, i + 1) for i in range(count))
    return Framing(windows, (*windows, (0, length)), members, (), False)


def active(sources: Tensor, spans: tuple[tuple[int, int], ...]) -> Tensor:
    """Whether the channels of each source add up to anything but zero somewhere in each span.

    Shape: sources (source, time, channel); returns bool (span, source), on the CPU.
    """
    rows = []
    for start, stop in spans:
        row = (sources[:, start : min(start + 256, stop)].sum(-1) != 0).any(1)
        if not row.all():  # most spans are settled by their first samples
            row = (sources[:, start:stop].sum(-1) != 0).any(1)
        rows.append(row)
    return torch.stack(rows).cpu()


def energies(
    references: Tensor, estimates: Tensor, spans: tuple[tuple[int, int], ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Energies |s|^2, |e|^2 and |e - s|^2 of each source in each span.

    Shape: references and estimates (source, time, channel); returns three (span, source),
    float64.
    """
    rows = []
    for start, stop in spans:
        s = references[:, start:stop].flatten(1).double()
        e = estimates[:, start:stop].flatten(1).double()
        rows.append(torch.stack([_power(s), _power(e), _power(e - s)]))
    s, e, error = torch.stack(rows, dim=1)
    return s, e, error


def _power(x: Tensor) -> Tensor:
    return torch.stack([torch.dot(row, row) for row in x])
