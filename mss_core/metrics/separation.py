"""Scores of separated sources other than BSS Eval, which is in bss_eval.py.

Conventions: `reference` is the truth, `estimate` what a separator returned, `mixture` its input;
numpy arrays or torch tensors of one shape (..., time), or one that broadcasts. `axis` names the
axes that one score spans: -1 scores each channel apart, (-2, -1) a whole (channel, time) track.
All is computed in float64; scores come back as a numpy array, or, where any argument is a tensor,
as a tensor on its device. Ratios are in dB. A ratio is NaN where it is undefined (a silent
reference), inf where nothing is wrong with the estimate and -inf where nothing of the reference
is in it. A result is never clipped or padded by an epsilon unless the docstring says so.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

Axis = int | tuple[int, ...]


def si_sdr(
    reference: ArrayLike, estimate: ArrayLike, zero_mean: bool = False, axis: Axis = -1, delta: float = 0.0
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


def sdr(reference: ArrayLike, estimate: ArrayLike, axis: Axis = -1, delta: float = 0.0) -> ArrayLike:
    """SDR in dB, the plain energy ratio |s|^2 / |s - e|^2: BSS Eval v4's, over the whole signal.

    Args:
        reference: s, (..., time).
        estimate: e, (..., time).
        axis: axes one score spans.
        delta: added to both energies.

    Shape: returns (...), without `axis`. A silent estimate has 0 dB.

    >>> float(sdr([1., 1.], [1., 0.]).round(3))
    3.01
    """
    (s, e), back = _tensors(reference=reference, estimate=estimate)
    score = _ratio(s, s - e, axis, delta)
    silent = (s * s).sum(axis) == 0
    return back(score if delta else score.masked_fill(silent, float("nan")))


def si_sir_sar(references: ArrayLike, estimates: ArrayLike) -> tuple[ArrayLike, ArrayLike]:
    """Scale-invariant SIR and SAR in dB [Le Roux et al. 2019, Section 3].

    What is wrong with an estimate is split in two: interference, its projection on the span of all references without
    that on its own, and artefacts, the rest. 10^(-SI-SDR / 10) is the sum of 10^(-SI-SIR / 10) and 10^(-SI-SAR / 10).
    NaN where the reference or the estimate is silent.

    Args:
        references: (source, ..., time); all axes but the first are spanned by a score.
        estimates: as the references, one for each source.

    Shape: returns twice (source,).
    """
    (s, e), back = _tensors(references=references, estimates=estimates)
    s, e = s.flatten(1), e.flatten(1)
    among = e @ s.T
    own = (among.diagonal() / (s * s).sum(1))[:, None] * s
    spanned = among @ torch.linalg.pinv(s @ s.T, hermitian=True) @ s
    silent = (s.abs().amax(1) == 0) | (e.abs().amax(1) == 0)
    interference, artefacts = (
        _ratio(own, wrong, -1).masked_fill(silent, float("nan")) for wrong in (spanned - own, e - spanned)
    )
    return back(interference), back(artefacts)


def global_sdr(reference: ArrayLike, estimate: ArrayLike) -> ArrayLike:
    """SDR of whole songs over all channels, 1e-7 added to both energies [Mitsufuji et al. 2022].

    The score of the music demixing challenges ("MDX", "new SDR"). Always finite: a silent
    reference with a silent estimate has 0 dB.

    Shape: (..., channel, time); returns (...).

    >>> float(global_sdr([[1., 1.], [0., 0.]], [[1., 0.], [0., 0.]]).round(3))
    3.01
    """
    return sdr(reference, estimate, axis=(-2, -1), delta=1e-7)


def spectrogram_sdr(reference: ArrayLike, estimate: ArrayLike) -> ArrayLike:
    """SDR between amplitude spectrograms, 1e-7 added to both energies [Ligtenberg, AE-MIC].

    The phase does not enter, so it cannot be compared with any SDR of signals. The thesis takes
    the mean over a song's 3 s segments, then the mean over songs.

    Shape: (..., frequency, frame); returns (...).
    """
    return sdr(reference, estimate, axis=(-2, -1), delta=1e-7)


def oracle(
    references: ArrayLike,
    mixture: ArrayLike | None = None,
    kind: str = "irm",
    fft_size: int = 4096,
    hop: int = 1024,
    power: float = 1.0,
) -> ArrayLike:
    """Estimates of an oracle that masks the mixture's STFT knowing the references.

    "irm", the ideal ratio mask |s|^power / sum of all |s|^power; "ibm", the ideal binary mask, 1
    where a source is louder than the sum of all others [Wang 2005]; "mixture", the mixture as
    the estimate of every source, the floor. Each channel is masked on its own.

    Args:
        references: (source, ..., time).
        mixture: (..., time); the sum of the references if None.
        fft_size, hop: of the STFT (Hann window) in samples.
        power: of the ratio mask: 1 amplitudes, 2 energies.

    Shape: returns (source, ..., time).
    """
    if kind not in ("irm", "ibm", "mixture"):
        raise ValueError(f"kind of oracle is {kind!r}, should be 'irm', 'ibm' or 'mixture'")
    given = {} if mixture is None else {"mixture": mixture}
    (s, *rest), back = _tensors(references=references, **given)
    x = rest[0] if rest else s.sum(0)
    if kind == "mixture":
        return back(x.expand_as(s).clone())
    window = torch.hann_window(fft_size, dtype=torch.float64, device=s.device)

    def spectra(y: Tensor) -> Tensor:
        flat = y.reshape(-1, y.shape[-1])
        out = torch.stft(flat, fft_size, hop, window=window, pad_mode="constant", return_complex=True)
        return out.reshape(*y.shape[:-1], *out.shape[1:])

    masked = ideal_mask(spectra(s), kind, power) * spectra(x)
    flat = masked.reshape(-1, *masked.shape[-2:])
    return back(torch.istft(flat, fft_size, hop, window=window, length=s.shape[-1]).reshape(s.shape))


def ideal_mask(spectra: Tensor, kind: str, power: float = 1.0) -> Tensor:
    """Masks in [0, 1] of complex spectra of the references; see `oracle`. 0 where all are silent.

    Shape: spectra (source, ...); returns the same.

    >>> ideal_mask(torch.tensor([[3.], [1.]]), "irm").flatten().tolist()
    [0.75, 0.25]
    """
    if kind == "ibm":
        return (spectra.abs() > (spectra.sum(0) - spectra).abs()).double()
    loudness = spectra.abs() ** power
    total = loudness.sum(0)
    return loudness / total.where(total > 0, 1.0)


def static_wiener(spectra: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """One real gain a frequency that takes mixtures to references with the least squared error over all frames.

    What an equaliser fitted on training music reaches without hearing the song: a separator that does not beat it has
    learned nothing but the average spectrum. A frequency at which no mixture has energy gets 0.

    Args:
        spectra: pairs (mixture, reference), complex (frame, bin); any number of frames each.

    Shape: returns (bin,).

    >>> mixture = np.array([[1.0, 2.0j], [1.0, 4.0j]])
    >>> static_wiener([(mixture, mixture * [0.5, 0.25])])
    array([0.5 , 0.25])
    """
    cross: np.ndarray | float = 0.0
    power: np.ndarray | float = 0.0
    for mixture, reference in spectra:
        cross = cross + (reference * mixture.conj()).real.sum(0, dtype=np.float64)
        power = power + (mixture.real**2 + mixture.imag**2).sum(0, dtype=np.float64)
    return np.divide(cross, power, out=np.zeros_like(power), where=np.asarray(power) > 0)


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
    return 10 * torch.log10(((signal * signal).sum(axis) + delta) / ((error * error).sum(axis) + delta))


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
