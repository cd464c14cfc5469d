"""Models over whole tracks and clips: slicing, overlap, joining."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_core import audio

WINDOW, HOP = 512, audio.HOP


def separate_track(unet: nn.Module, mixture: np.ndarray, frames: int, device: str, batch: int = 8) -> np.ndarray:
    """Sources of a whole track with the MSSPT U-Net.

    Masks of half-overlapping slices are joined with triangular weights and applied to the track's one spectrum, so
    that slices leave no seams. The track is padded by a window at each end: its edges are exact.

    Shape: (time,) -> (source, time), float32.
    """
    hop = frames // 2
    padded_frames = audio.frames_of(len(mixture) + 2 * WINDOW + HOP, WINDOW, HOP)
    slices = max(0, -(-(padded_frames - frames) // hop)) + 1
    total = frames + (slices - 1) * hop
    length = audio.samples_of(total, WINDOW, HOP)
    waveform = torch.from_numpy(np.pad(mixture, (WINDOW, length - WINDOW - len(mixture)))).to(device)
    spectrum = audio.stft(waveform, WINDOW, HOP)  # (frame, bin + 1)
    magnitude = spectrum[:, :-1].abs().unfold(0, frames, hop).transpose(1, 2)  # (slice, frame, bin)
    ramp = torch.arange(1, hop + 1, device=device) / hop
    weight = torch.cat([ramp, ramp.flip(0), ramp.new_zeros(frames - 2 * hop)]).clamp_min(1e-3)
    joined: Tensor | None = None
    weights = torch.zeros(total, device=device)
    for first in range(0, slices, batch):
        masks = unet(magnitude[first : first + batch]).float()  # (slice, source, frame, bin)
        if joined is None:
            joined = masks.new_zeros(masks.shape[1], total, masks.shape[-1])
        for index, mask in enumerate(masks, start=first):
            joined[:, index * hop : index * hop + frames] += mask * weight[:, None]
            weights[index * hop : index * hop + frames] += weight
    assert joined is not None
    masks = functional.pad(joined / weights[:, None], (0, 1), value=1.0)
    estimates = audio.istft(masks * spectrum)  # (source, time)
    return estimates[:, WINDOW : WINDOW + len(mixture)].cpu().numpy()


def separate_stems(
    module: nn.Module, mixture: np.ndarray, samplerate: int, device: str, stems: Sequence[str]
) -> dict[str, np.ndarray]:
    """Stems of a whole track at its own rate and in its own channels, by any separator.

    A model may define ``separate_stems(waveform)``, (channel, time) -> (stem, channel, time), with ``stems``,
    ``samplerate`` and ``channels``; any other is taken for a mask network on the MSSPT transform at 16 kHz whose
    outputs are ``stems``, and hears each channel alone.

    Shape: (channel, time) -> {stem: (channel, time)}, float32.
    """
    count, length = mixture.shape
    own = getattr(module, "samplerate", 16_000)
    waveform = audio.resample(np.ascontiguousarray(mixture, np.float32), samplerate, own)
    if hasattr(module, "separate_stems"):
        stems = module.stems
        found = module.separate_stems(torch.from_numpy(waveform).to(device)).cpu().numpy()
    else:
        found = np.stack([separate_track(module, channel, 384, device) for channel in waveform], 1)
    if found.shape[1] > count:  # a stereo separator on a mono track
        found = found.mean(1, keepdims=True)
    back = audio.resample(np.ascontiguousarray(found, np.float32), own, samplerate)
    fitted = np.zeros((len(found), count, length), np.float32)
    fitted[..., : back.shape[-1]] = back[..., :length]
    return dict(zip(stems, fitted, strict=True))


WINDOWS: dict[str, Callable[[Tensor], Tensor]] = {
    "rectangle": torch.ones_like,
    "triangle": lambda place: 1.0 - (2.0 * place - 1.0).abs(),
    "hann": lambda place: torch.sin(torch.pi * place).square(),
}
"""Weights of a chunk's samples, of their places above 0 and below 1; none is 0."""


def separate_waveform(
    module: nn.Module, mixture: np.ndarray, length: int | None, overlap: float, window: str, device: str, batch: int = 4
) -> np.ndarray:
    """Sources of a whole track by a separator of waveforms, (batch, channel, time) -> (batch, source, channel, time).

    Chunks of ``length`` samples (None: the track at once), of which the next one begins ``1 - overlap`` of a chunk
    later, are averaged with the weights of a window. The last one is padded with silence.

    Shape: (channel, time) -> (source, channel, time), float32.
    """
    time = mixture.shape[-1]
    length = length or max(1, time)
    hop = max(1, round(length * (1 - overlap)))
    count = 1 + max(0, -(-(time - length) // hop))
    total = length + (count - 1) * hop
    padded = torch.from_numpy(np.pad(mixture, ((0, 0), (0, total - time)))).to(device)
    chunks = padded.unfold(-1, length, hop).transpose(0, 1)  # (chunk, channel, time)
    weight = WINDOWS[window]((torch.arange(length, device=device) + 0.5) / length)
    weights = torch.zeros(total, device=device)
    joined: Tensor | None = None
    for first in range(0, count, batch):
        found = module(chunks[first : first + batch]).float()  # (chunk, source, channel, time)
        if joined is None:
            joined = found.new_zeros(*found.shape[1:-1], total)
        for index, estimates in enumerate(found, start=first):
            joined[..., index * hop : index * hop + length] += estimates * weight
            weights[index * hop : index * hop + length] += weight
    assert joined is not None
    return (joined / weights)[..., :time].cpu().numpy()


def spectrum_of(waveform: np.ndarray) -> Tensor:
    """Uncentred spectrum of a waveform padded by a window at each end: :func:`equalise` takes it back exactly.

    Shape: (time,) -> complex (frame, 257).
    """
    frames = audio.frames_of(len(waveform) + 2 * WINDOW + HOP, WINDOW, HOP)
    length = audio.samples_of(frames, WINDOW, HOP)
    return audio.stft(torch.from_numpy(np.pad(waveform, (WINDOW, length - WINDOW - len(waveform)))), WINDOW, HOP)


def equalise(mixture: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """A waveform through one gain a frequency, what no model is needed for. Shapes: (time,), (257,) -> (time,)."""
    filtered = audio.istft(spectrum_of(mixture) * torch.from_numpy(gain.astype(np.float32)), WINDOW, HOP)
    return filtered[WINDOW : WINDOW + len(mixture)].numpy()


def slices_of(waveform: np.ndarray, frames: int, hop: int) -> np.ndarray:
    """Slices of ``frames`` STFT frames every ``hop`` frames; what is left over at the end is dropped, and a waveform
    shorter than one slice is padded with silence to one.

    Shape: (time,) -> (slice, samples).
    """
    length = audio.samples_of(frames, WINDOW, HOP)
    if len(waveform) < length:
        waveform = np.pad(waveform, (0, length - len(waveform)))
    return np.lib.stride_tricks.sliding_window_view(waveform, length)[:: hop * HOP]


def predict_clips(
    module: nn.Module,
    waveforms: Iterator[np.ndarray],
    frames: int,
    hop: int,
    to_probabilities: Callable[[Tensor], Tensor],
    aggregate: str,
    device: str,
    batch: int = 32,
) -> Iterator[np.ndarray]:
    """Class probabilities of each clip: the mean, or the maximum, over its slices. Yields (class,) arrays."""
    for waveform in waveforms:
        pieces = torch.from_numpy(slices_of(waveform, frames, hop).copy())
        scores = torch.cat(
            [to_probabilities(module(inputs(module, piece.to(device))).float()) for piece in pieces.split(batch)]
        )
        joined = scores.mean(0) if aggregate == "mean" else scores.amax(0)
        yield joined.cpu().numpy()


def inputs(module: nn.Module, waveform: Tensor) -> Tensor:
    """What a classifier reads of a waveform (batch, time): its own ``features(waveform)`` where it has such a method,
    else linear magnitudes."""
    features = getattr(module, "features", None)
    return magnitudes(waveform) if features is None else features(waveform)


def magnitudes(waveform: Tensor) -> Tensor:
    """What separators and tails read: linear magnitudes without the Nyquist bin.

    Shape: (..., time) -> (..., frame, 256).
    """
    return audio.stft(waveform, WINDOW, HOP)[..., :-1].abs()
