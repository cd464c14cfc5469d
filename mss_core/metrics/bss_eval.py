"""BSS Eval v4: SDR, ISR, SIR and SAR of each source and frame, as museval computes them.

Conventions: arrays are (source, time, channel), museval's own order, numpy or torch; all is
computed in float64, on the device of the references. Scores are in dB, (source, frame).

An estimate e of source s is explained by 512-tap filters of all references, one set for the
whole track [Vincent et al. 2006, Liutkus et al. 2018; the image version]. With P the projection
of e on all references and P_s that on the reference s alone, each frame has

    SDR = |s|^2 / |e - s|^2                ISR = |s|^2 / |P_s - s|^2
    SIR = |P_s|^2 / |P - P_s|^2            SAR = |P|^2 / |e - P|^2

A frame where any source of the references or of the estimates is silent is NaN for all sources;
silent means that its channels add up to zero, so a frame with left = -right counts as silent.
"""

import dataclasses
import math

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from mss_core.metrics import frames, projection
from mss_core.metrics.cache import Cache
from mss_core.metrics.threads import one_core

TAPS = 512
ILL_CONDITIONED = 1e10


@dataclasses.dataclass(frozen=True)
class BssEval:
    """Scores of one track.

    Attributes:
        sdr, isr, sir, sar: dB, (source, frame), NaN where a source is silent.
        start: where each frame starts in seconds, (frame,).
        window, hop: seconds.
        condition: estimated condition number of the references' correlations.
    """

    sdr: np.ndarray
    isr: np.ndarray
    sir: np.ndarray
    sar: np.ndarray
    start: np.ndarray
    window: float
    hop: float
    condition: float

    @property
    def dropped(self) -> int:
        """Frames that are NaN for all sources because some source is silent there."""
        return int(np.isnan(self.sdr).all(axis=0).sum())

    @property
    def ill_conditioned(self) -> bool:
        """Whether ISR, SIR and SAR may depend on rounding by more than 1e-6 dB.

        Band-limited floating-point references do that (silence above some frequency is noise of
        1e-16): museval's scores then move by many dB if a reference is scaled by 1 + 1e-9. The
        same stems stored with 16 bits are harmless. SDR needs no filters and is always exact.
        """
        return self.condition > ILL_CONDITIONED


@one_core()
def bss_eval(
    references: ArrayLike,
    estimates: ArrayLike,
    rate: float,
    window: float = 1.0,
    hop: float = 1.0,
    *,
    taps: int = TAPS,
    silent: str = "raise",
    pad: bool = False,
    cache: Cache = None,
    track: str = "",
) -> BssEval:
    """BSS Eval v4 of one track, equal to museval 0.4.1 to 1e-6 dB up to about 100 dB.

    Takes one core; for many tracks on many cores see `tracks.parallel`.

    Args:
        references: true sources, (source, time, channel), or (source, time) for mono.
        estimates: separated sources, likewise, in the same order.
        rate: samples per second.
        window: seconds; math.inf for one frame, the whole track.
        hop: seconds from one window to the next. A last partial window is left out.
        taps: length of the filters.
        silent: "raise", or "drop": leave a source that is silent in the whole track out of the
            evaluation and give it NaN.
        pad: cut the estimates, or append zeros, to the references' length, as museval does.
        cache: where the reference side is kept: a directory, or a dict; see `cache.py`.
        track: name of the track for messages.

    Raises:
        ValueError: see `validate`.
    """
    references, estimates = validate(references, estimates, rate, pad=pad, track=track)
    plan = _framing(references.shape[1], rate, window, hop, taps)
    active = frames.active(references, plan.spans), frames.active(estimates, plan.spans)
    loud = _check_silence(*active, silent, track)
    values = np.full((4, len(references), len(plan.windows)), np.nan)
    condition = 1.0
    if loud:
        if len(loud) < len(references):
            references, estimates = references[loud], estimates[loud]
        ratios, condition = projection.ratios(references, estimates, plan, taps, cache)
        ratios[:, :, ~_heard(active, plan, loud)] = math.nan
        values[:, loud] = ratios
    start = np.array([begin / rate for begin, _ in plan.windows])
    return BssEval(*values, start, window, hop, condition)


@one_core()
def frame_sdr(
    references: ArrayLike,
    estimates: ArrayLike,
    rate: float,
    window: float = 1.0,
    hop: float = 1.0,
    *,
    silent: str = "raise",
    pad: bool = False,
    track: str = "",
) -> np.ndarray:
    """The SDR of `bss_eval` alone, in milliseconds: a plain energy ratio, no filters needed.

    Args: as for `bss_eval`. Shape: returns dB, (source, frame), NaN where a source is silent.
    """
    references, estimates = validate(references, estimates, rate, pad=pad, track=track)
    plan = _framing(references.shape[1], rate, window, hop, 1)
    active = frames.active(references, plan.spans), frames.active(estimates, plan.spans)
    loud = _check_silence(*active, silent, track)
    signal, _, error = (plan.join(x) for x in frames.energies(references, estimates, plan.spans))
    sdr = projection.decibel(signal, error).T.cpu().numpy()
    sdr[:, ~_heard(active, plan, loud).numpy()] = math.nan
    sdr[[j for j in range(len(sdr)) if j not in loud]] = math.nan
    return sdr


def validate(
    references: ArrayLike,
    estimates: ArrayLike,
    rate: float,
    *,
    estimate_rate: float | None = None,
    pad: bool = False,
    track: str = "",
) -> tuple[Tensor, Tensor]:
    """References and estimates as tensors (source, time, channel), or an error naming the track.

    Args:
        references, estimates: (source, time, channel) or (source, time), any real dtype.
        rate: samples per second, of the estimates too unless `estimate_rate` is given.
        pad: cut or zero-pad estimates of another length.
        track: named in the message.

    Raises:
        ValueError: an array is empty or not (source, time, channel), their shapes or rates
            differ, or a sample is not finite; the message names track, source and sample.
    """
    place = f"track {track!r}: " if track else ""
    if not (math.isfinite(rate) and rate > 0):
        raise ValueError(f"{place}rate is {rate}, should be samples per second, e.g. 44100")
    if estimate_rate is not None and estimate_rate != rate:
        raise ValueError(f"{place}estimates have {estimate_rate} samples per second and references {rate}")
    r = _tensor(references, f"{place}references")
    e = _tensor(estimates, f"{place}estimates").to(r.device)
    if len(r) != len(e):
        raise ValueError(f"{place}{len(e)} estimates for {len(r)} references")
    if r.shape[2] != e.shape[2]:
        raise ValueError(f"{place}estimates have {e.shape[2]} channels and references {r.shape[2]}")
    if r.shape[1] != e.shape[1]:
        if not pad:
            raise ValueError(
                f"{place}estimates have {e.shape[1]} samples and references {r.shape[1]}; "
                "pad=True cuts them or appends zeros, as museval does"
            )
        e = torch.nn.functional.pad(e, (0, 0, 0, r.shape[1] - e.shape[1]))
    for x, name in ((r, "reference"), (e, "estimate")):
        # One cheap pass; which sample it is, is looked up only if need be.
        if not math.isfinite(float(x.sum())) and not torch.isfinite(x).all():
            source, sample, _ = (int(i) for i in (~torch.isfinite(x)).nonzero()[0])
            raise ValueError(f"{place}{name} {source} is not finite at sample {sample}")
    return r, e


def _tensor(x: ArrayLike, name: str) -> Tensor:
    if not isinstance(x, Tensor):
        x = np.asarray(x)
        if x.dtype not in (np.float64, np.float32, np.int32, np.int16):
            x = x.astype(np.float64)
        if not x.flags.writeable or min(x.strides, default=0) < 0:
            x = x.copy()
        x = torch.from_numpy(x)
    elif x.dtype not in (torch.float64, torch.float32, torch.int32, torch.int16):
        x = x.double()
    x = x.detach()
    if x.ndim == 2:
        x = x[:, :, None]
    if x.ndim != 3 or 0 in x.shape:
        raise ValueError(f"{name} have the shape {tuple(x.shape)}, should be (source, time, channel)")
    if x.shape[2] > x.shape[1]:
        raise ValueError(
            f"{name} have {x.shape[1]} samples of {x.shape[2]} channels: "
            "should be (source, time, channel), not (source, channel, time)"
        )
    return x


def _framing(length: int, rate: float, window: float, hop: float, taps: int) -> frames.Framing:
    if taps < 1:
        raise ValueError(f"taps is {taps}, should be at least 1; museval has 512")
    for name, value in (("window", window), ("hop", hop)):
        if not value * rate >= 1:
            raise ValueError(f"{name} is {value} s, shorter than a sample at {rate} per second")
        if 3600 < value < math.inf:
            raise ValueError(f"{name} is {value} s: seconds are meant here, not samples")
    samples = [length if math.isinf(x) else int(x * rate) for x in (window, hop)]
    return frames.framing(length, *samples, taps)


def _heard(active: tuple[Tensor, Tensor], plan: frames.Framing, sources: list[int]) -> Tensor:
    """Whether all of these references and estimates are active in each window, (window,)."""
    both = plan.active(active[0]) & plan.active(active[1])
    return both[:, sources].all(1)


def _check_silence(references: Tensor, estimates: Tensor, silent: str, track: str) -> list[int]:
    """Indices of the sources to evaluate, from what is active, (span, source)."""
    if silent not in ("raise", "drop"):
        raise ValueError(f"silent is {silent!r}, should be 'raise' or 'drop'")
    place = f"track {track!r}: " if track else ""
    for active, name in ((references, "reference"), (estimates, "estimate")):
        if silent == "raise" and not active.any(0).all():
            source = int((~active.any(0)).nonzero()[0])
            raise ValueError(
                f"{place}{name} {source} is silent in the whole track, where BSS Eval is "
                "undefined; silent='drop' leaves that source out"
            )
    return (references.any(0) & estimates.any(0)).nonzero()[:, 0].tolist()
