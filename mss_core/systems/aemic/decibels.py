"""Spectrograms in decibels, as the AE-MIC separator and classifiers read them, and the ways back to a waveform.

Conventions [Ligtenberg; facts of the released code]: a segment's centred STFT (periodic Hann) is taken to amplitudes,
to dB re 1 (not below 1e-5, at most 80 dB below the segment's loudest bin), loses its top bin, gains one column of
zeros and is divided by 150. 132,300 samples (3 s at 44.1 kHz) give 2049 x 127 amplitudes and 2048 x 128 values.
A segment of digital silence is all zeros. Layout (..., frequency, frame).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor

from mss_core.errors import choose

SCALE = 150.0
"""dB that a value of 1 stands for."""
AMIN = 1e-5
RANGE_DB = 80.0
FLOOR = 20 * -5 / SCALE
"""The value of the lowest amplitude, 1e-5."""
QUIET, QUIET_AMPLITUDE = 0.15, 1e-3
"""A segment whose least, greatest and mean values all lie within +-0.15 is the picture of silence; the released code
turns it into a constant amplitude."""
KEPT = 1996 / 2048
"""Share of the bins, from the lowest, that the released expander works on."""
PADDINGS = ("constant", "reflect")
WAYS = ("direct", "griffin_lim", "mixture_phase")
RULES = ("gate", "expander")


@dataclass(frozen=True)
class Grid:
    """How a segment becomes a spectrogram.

    Attributes:
        size, hop: of the STFT, in samples.
        samples: length of a segment.
        padding: beyond the segment's ends, ``"constant"`` (zeros) or ``"reflect"`` (older librosa's default; the
            thesis does not say which).
    """

    size: int = 4096
    hop: int = 1050
    samples: int = 132_300
    padding: str = "constant"

    def __post_init__(self) -> None:
        choose("padding", self.padding, PADDINGS)
        if self.size < 4 or self.size % 2 or self.hop < 1 or self.samples <= self.size:
            raise ValueError(
                f"a grid needs an even 'size' of at least 4, a positive 'hop' and more 'samples' than "
                f"'size'; got {self}"
            )

    @property
    def bins(self) -> int:
        """Frequencies of the representation; the STFT has one more."""
        return self.size // 2

    @property
    def frames(self) -> int:
        """Columns of the representation; the STFT has one less.

        >>> Grid().bins, Grid().frames
        (2048, 128)
        """
        return self.samples // self.hop + 2


@dataclass(frozen=True)
class SoftBins:
    """Which soft bins of a separated spectrogram are removed.

    Attributes:
        rule: ``"gate"``: what is below ``threshold_db`` becomes the lowest amplitude (the thesis). ``"expander"``: of
            the released code; values below -7.5 dB doubled and nothing left below -49.5 dB, the top bins as they are;
            it has no other setting.
        reference: ``"relative"`` to the segment's loudest bin, or ``"absolute"`` (amplitude 1).
        threshold_db: of the gate.
    """

    rule: str = "gate"
    reference: str = "relative"
    threshold_db: float = -60.0

    def __post_init__(self) -> None:
        choose("rule", self.rule, RULES)
        choose("reference", self.reference, ("relative", "absolute"))
        if not -200 < self.threshold_db < SCALE:
            raise ValueError(f"'threshold_db' lies between -200 and {SCALE:g} dB, not {self.threshold_db}")


@dataclass(frozen=True)
class Reconstruction:
    """What becomes of a separated spectrogram before it is classified.

    Attributes:
        how: ``"direct"`` (the classifier reads the spectrogram itself), or a waveform that is analysed again:
            ``"griffin_lim"`` or ``"mixture_phase"``.
        iterations: of Griffin-Lim.
    """

    how: str = "direct"
    iterations: int = 32

    def __post_init__(self) -> None:
        choose("reconstruction", self.how, WAYS)
        if self.iterations < 1:
            raise ValueError(f"'iterations' must be at least 1, not {self.iterations}")


# ---- there


@functools.lru_cache(maxsize=8)
def _window(size: int, device: str, double: bool) -> Tensor:
    window = torch.hann_window(size, periodic=True, dtype=torch.float64, device=device)
    return window if double else window.float()


def spectrum(waveform: Tensor, grid: Grid) -> Tensor:
    """The centred STFT. Shape: (..., time) -> complex (..., bins + 1, 1 + time // hop)."""
    window = _window(grid.size, str(waveform.device), waveform.dtype == torch.float64)
    flat = torch.stft(
        waveform.reshape(-1, waveform.shape[-1]),
        grid.size,
        grid.hop,
        window=window,
        pad_mode=grid.padding,
        return_complex=True,
    )
    return flat.reshape(*waveform.shape[:-1], *flat.shape[1:])


def decibels(waveform: Tensor, grid: Grid) -> Tensor:
    """The representation of segments. Shape: (..., grid.samples) -> (..., bins, frames), in [-0.67, 0.5]."""
    levels = 20 * torch.log10(spectrum(waveform, grid).abs().clamp_min(AMIN))
    levels = torch.maximum(levels, levels.amax((-2, -1), keepdim=True) - RANGE_DB)
    values = torch.nn.functional.pad(levels[..., :-1, :], (0, 1)) / SCALE
    silent = waveform.abs().amax(-1)[..., None, None] == 0
    return values.masked_fill(silent, 0.0)


# ---- and back


def amplitudes(values: Tensor) -> Tensor:
    """Amplitudes of a representation: the last column dropped, the top row repeated in place of the lost bin.

    Exact for what :func:`decibels` made, but for the lost bin and for what lies 80 dB below the loudest.

    Shape: (..., bins, frames) -> (..., bins + 1, frames - 1).
    """
    kept = values[..., :-1]
    amplitude = torch.pow(10.0, torch.cat([kept, kept[..., -1:, :]], -2) * (SCALE / 20))
    quiet = values.abs().amax((-2, -1), keepdim=True) <= QUIET
    return amplitude.masked_fill(quiet, QUIET_AMPLITUDE)


def waveforms(values: Tensor, grid: Grid, reconstruction: Reconstruction, mixture: Tensor) -> Tensor:
    """Waveforms of a representation. Shape: (..., bins, frames) and (..., samples) -> (..., samples).

    ``"direct"`` is listened to by Griffin-Lim, as in the thesis.
    """
    magnitude = amplitudes(values)
    if reconstruction.how == "mixture_phase":
        return inverse(torch.polar(magnitude, spectrum(mixture, grid).angle()), grid)
    return griffin_lim(magnitude, grid, reconstruction.iterations)


def inverse(spectra: Tensor, grid: Grid) -> Tensor:
    """The waveform of least squared distance to an STFT. Shape: complex (..., bins + 1, frame) -> (..., samples)."""
    flat = spectra.reshape(-1, *spectra.shape[-2:])
    window = _window(grid.size, str(spectra.device), spectra.dtype == torch.complex128)
    time = torch.istft(flat, grid.size, grid.hop, window=window, length=grid.samples)
    return time.reshape(*spectra.shape[:-2], grid.samples)


def griffin_lim(magnitude: Tensor, grid: Grid, iterations: int = 32, momentum: float = 0.99) -> Tensor:
    """A waveform whose STFT has nearly these amplitudes: the fast algorithm [Griffin and Lim 1984; Perraudin, Balazs
    and Sondergaard 2013] with librosa's constants, started from zero phase so that it draws nothing.

    Shape: (..., bins + 1, frame) -> (..., grid.samples).
    """
    push = momentum / (1 + momentum)
    phases = torch.ones_like(magnitude, dtype=torch.complex64 if magnitude.dtype == torch.float32 else torch.complex128)
    before = torch.zeros_like(phases)
    for _ in range(iterations):
        rebuilt = spectrum(inverse(magnitude * phases, grid), grid)
        phases = rebuilt - push * before
        phases = phases / (phases.abs() + torch.finfo(magnitude.dtype).tiny)
        before = rebuilt
    return inverse(magnitude * phases, grid)


# ---- removal of soft bins


def remove_soft_bins(values: Tensor, removal: SoftBins) -> Tensor:
    """A representation without its soft bins; the last column, which is padding, stays as it is.

    Shape: (..., bins, frames) -> the same.
    """
    kept, padding = values[..., :-1], values[..., -1:]
    if removal.rule == "gate":
        top = kept.amax((-2, -1), keepdim=True) if removal.reference == "relative" else 0.0
        kept = kept.masked_fill(kept < top + removal.threshold_db / SCALE, FLOOR)
        return torch.cat([kept, padding], -1)
    count = round(KEPT * values.shape[-2])
    low, high = kept[..., :count, :], kept[..., count:, :]
    low = torch.where(low < -0.05, low / 0.5, low).clamp_min(-0.33)
    return torch.cat([torch.cat([low, high], -2), padding], -1)
