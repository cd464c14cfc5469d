"""Separation by masks on a centred magnitude spectrum: the transform, whole tracks through a network, masks kept on
disk, and waveforms from them.

A network is called as ``module(magnitude)`` with (batch, frame, bin), or (batch, channel, frame, bin) where it hears
two channels, and returns its mask, of the same shape, and the logit of being active in each frame, (batch, frame), or
None. What stands here is for either: ``...`` is nothing, or the channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mss_core import audio
from mss_core.artefact import read_json, write_json


@dataclass(frozen=True)
class Transform:
    """The short-time transform (periodic Hann).

    Attributes:
        size, hop: samples.
        centred: whether training segments are transformed as whole tracks are (frames centred, ends reflected); the
            released code trains without centring.
    """

    size: int = 4096
    hop: int = 1024
    centred: bool = True

    def __post_init__(self) -> None:
        if self.size < 4 or self.size % 2 or not 1 <= self.hop <= self.size // 2:
            raise ValueError(
                f"a transform needs an even size of at least 4 and a hop of at most half of it; got size "
                f"{self.size} and hop {self.hop}"
            )

    @property
    def bins(self) -> int:
        return self.size // 2 + 1

    def bins_below(self, hertz: float, samplerate: int) -> int:
        """How many bins lie at or below a frequency.

        >>> Transform().bins_below(16_000, 44_100)
        1487
        """
        return min(self.bins, int(hertz * self.size / samplerate) + 1)

    def training(self, waveform: Tensor) -> Tensor:
        """Magnitudes of training segments. Shape: (..., time) -> (..., frame, bin)."""
        if self.centred:
            return audio.centred_stft(waveform, self.size, self.hop).abs()
        return audio.stft(waveform, self.size, self.hop).abs()

    def training_centres(self, samples: int) -> np.ndarray:
        """Samples at the middle of each frame of a training segment of this length."""
        if self.centred:
            return self.hop * np.arange(1 + samples // self.hop)
        return self.size // 2 + self.hop * np.arange(audio.frames_of(samples, self.size, self.hop))

    def track(self, waveform: np.ndarray, device: str = "cpu") -> Tensor:
        """The complex spectrum of a whole track. Shape: (..., time) -> (..., frame, bin)."""
        return audio.centred_stft(torch.from_numpy(np.ascontiguousarray(waveform)).to(device), self.size, self.hop)

    def track_centres(self, samples: int) -> np.ndarray:
        """Samples at the middle of each frame of a whole track."""
        return self.hop * np.arange(1 + samples // self.hop)

    def waveform(self, spectrum: Tensor, samples: int) -> np.ndarray:
        """The waveform of a track's complex spectrum, float32 (..., time)."""
        return audio.centred_istft(spectrum, self.size, self.hop, samples).cpu().numpy()


def mask_track(module: nn.Module, magnitude: Tensor, block: int = 1024) -> tuple[np.ndarray, np.ndarray | None]:
    """Mask and activity probability of a whole track.

    Frames go through in blocks with as many frames of context either side as they depend on (``module.context``), so
    the result is that of the whole track at once; a network whose frames depend on all others (None) sees it whole.

    Shape: (..., frame, bin) -> float16 (..., frame, bin) and float32 (frame,) (None without a classifier).
    """
    frames, context = magnitude.shape[-2], module.context
    if context is None:
        block, context = frames, 0
    masks: list[np.ndarray] = []
    activity: list[np.ndarray] = []
    for start in range(0, frames, block):
        first, stop = max(0, start - context), min(frames, start + block)
        mask, logit = module(magnitude[..., first : stop + context, :].unsqueeze(0))
        inside = slice(start - first, stop - first)
        masks.append(mask[0, ..., inside, :].float().cpu().numpy().astype(np.float16))
        if logit is not None:
            activity.append(torch.sigmoid(logit[0, inside].float()).cpu().numpy())
    return np.concatenate(masks, axis=-2), np.concatenate(activity) if activity else None


def apply_mask(mask: np.ndarray, gate: np.ndarray | None, spectrum: Tensor, wiener: int = 0) -> Tensor:
    """The target's spectrum: mask times gate times mixture, so with the mixture's phase.

    Args:
        mask: (..., frame, bin), >= 0.
        gate: uint8 (frame,) of 0 and 1; None for no gate.
        spectrum: complex (..., frame, bin), of the mixture.
        wiener: times that target and remainder are re-estimated as the shares of the mixture that their powers give;
            two-source single-channel Wiener filtering, the paper's future work.
    """
    estimate = torch.from_numpy(mask.astype(np.float32)).to(spectrum.device) * spectrum
    if gate is not None:
        estimate = estimate * torch.from_numpy(gate).to(spectrum.device)[:, None]
    for _ in range(wiener):
        power, rest = estimate.abs().square(), (spectrum - estimate).abs().square()
        total = power + rest
        estimate = torch.where(total > 0, power / total.clamp_min(torch.finfo(total.dtype).tiny), 0.0) * spectrum
    return estimate


# ---- masks on disk


class Masks:
    """The masks and activity probabilities of one target's tracks.

    ``tracks.json`` names each track and its files. ``<number>.mask.npy`` is float16 (..., frame, bin), left out for a
    track in which the target is silent. ``<number>.activity.npy`` is float32 (frame,), left out without a trained
    classifier.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        content: dict[str, Any] = read_json(directory, "tracks.json")
        self.classified: bool = content["classified"]
        self._numbers = {name: number for number, name in enumerate(content["tracks"])}

    def mask(self, track: str) -> np.ndarray:
        return np.load(self.directory / f"{self._numbers[track]}.mask.npy")

    def activity(self, track: str) -> np.ndarray | None:
        return np.load(self.directory / f"{self._numbers[track]}.activity.npy") if self.classified else None


def write_index(out: Path, tracks: list[str], classified: bool) -> None:
    """Write what :class:`Masks` reads first."""
    write_json(out, "tracks.json", {"classified": classified, "tracks": tracks})


def write_track(out: Path, number: int, mask: np.ndarray | None, activity: np.ndarray | None) -> None:
    """Write one track's files."""
    if mask is not None:
        np.save(out / f"{number}.mask.npy", mask)
    if activity is not None:
        np.save(out / f"{number}.activity.npy", activity)
