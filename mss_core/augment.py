"""Augmentations of source waveforms, on whatever device they are; each drawn from a generator that is passed.

Draws are made on the CPU, so that one seed gives one augmentation on every device. A mixture is the sum of the sources
after augmentation. ``probability`` is by source of an item where it is asked for.

Shape: (batch, source, channel, time) in and out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """Which augmentations a training uses; by default none. They are applied in this order, each with draws of its
    own, so that one does not change another.

    Attributes:
        remix: each source permuted over the batch on its own (:func:`remix`).
        add_same_source: probability that another item's same source is added.
        pitch: lowest and highest shift of an item in semitones.
        stretch: lowest and highest speed of an item.
        reversal, polarity: probability, by source, of playing backwards and of turning upside down.
        channel_swap: probability, by source, of exchanging left and right (stereo only).
        gain: lowest and highest factor of a source.
    """

    remix: bool = False
    add_same_source: float = 0.0
    pitch: tuple[float, float] | None = None
    stretch: tuple[float, float] | None = None
    reversal: float = 0.0
    polarity: float = 0.0
    channel_swap: float = 0.0
    gain: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("add_same_source", "reversal", "polarity", "channel_swap"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"'{name}' is a probability from 0 to 1, not {getattr(self, name)}")
        for name, least in (("pitch", -24.0), ("stretch", 0.25), ("gain", 0.0)):
            value = getattr(self, name)
            if value is not None and (len(value) != 2 or not least <= value[0] <= value[1]):
                raise ValueError(f"'{name}' is a pair, lowest (at least {least:g}) and highest, or None; not {value}")


UNCHANGED = Augment()


def check(config: Augment, what: str, clips: bool = False) -> None:
    """Raise ValueError for what packed sets, which are mono, or clips, which have no sources, cannot be given."""
    if config.channel_swap:
        raise ValueError(f"'{what}.channel_swap' needs stereo; packed sets are mono")
    if clips and (config.remix or config.add_same_source):
        raise ValueError(
            f"'{what}.remix' and '{what}.add_same_source' need sources; clips have labels only, which "
            "would no longer be true"
        )


def augmented(sources: Tensor, config: Augment, seed: int, step: int) -> Tensor:
    """``sources`` (batch, source, channel, time) with the augmentations of one training step."""

    def rng(name: str) -> torch.Generator:
        return generator(seed, step, list(Augment.__dataclass_fields__).index(name) + 1)

    if config.remix:
        sources = remix(sources, rng("remix"))
    if config.add_same_source:
        sources = add_same_source(sources, config.add_same_source, rng("add_same_source"))
    if config.pitch is not None:
        sources = pitch_shift(sources, *config.pitch, rng("pitch"))
    if config.stretch is not None:
        sources = time_stretch(sources, *config.stretch, rng("stretch"))
    if config.reversal:
        sources = time_reversal(sources, config.reversal, rng("reversal"))
    if config.polarity:
        sources = polarity(sources, config.polarity, rng("polarity"))
    if config.channel_swap:
        sources = channel_swap(sources, config.channel_swap, rng("channel_swap"))
    if config.gain is not None:
        sources = random_gain(sources, *config.gain, rng("gain"))
    return sources


def generator(seed: int, step: int, which: int = 0) -> torch.Generator:
    """Randomness of one training step, a function of seed, step and the augmentation it is for."""
    mixed = (
        seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + which * 0xD6E8FEB86659FD93 + 0x94D049BB133111EB
    ) % (1 << 63)
    return torch.Generator().manual_seed(mixed)


def random_gain(sources: Tensor, low: float, high: float, rng: torch.Generator) -> Tensor:
    """Each source of each item times a factor from U(low, high)."""
    if not 0 <= low <= high:
        raise ValueError(f"gains lie between 0 <= low <= high, not {low} and {high}")
    return sources * _each(sources, rng).mul_(high - low).add_(low).to(sources.device)


def polarity(sources: Tensor, probability: float, rng: torch.Generator) -> Tensor:
    """Sources turned upside down with a probability."""
    return sources * (1 - 2 * _chosen(sources, probability, rng).to(sources.dtype))


def channel_swap(sources: Tensor, probability: float, rng: torch.Generator) -> Tensor:
    """Left and right exchanged with a probability; mono passes unchanged."""
    return torch.where(_chosen(sources, probability, rng), sources.flip(2), sources)


def time_reversal(sources: Tensor, probability: float, rng: torch.Generator) -> Tensor:
    """Sources played backwards with a probability."""
    return torch.where(_chosen(sources, probability, rng), sources.flip(3), sources)


def remix(sources: Tensor, rng: torch.Generator) -> Tensor:
    """Incoherent mixes: each source permuted over the batch on its own, so that an item's come from many tracks."""
    batch, count = sources.shape[:2]
    order = torch.stack([torch.randperm(batch, generator=rng) for _ in range(count)], 1).to(sources.device)
    return sources[order, torch.arange(count, device=sources.device)]


def add_same_source(sources: Tensor, probability: float, rng: torch.Generator) -> Tensor:
    """With a probability, the same source of another item on top of a source [Garoufis et al.: two of a kind].

    Raises ValueError for a batch of one, which has no other item.
    """
    batch, count = sources.shape[:2]
    if batch < 2:
        raise ValueError("adding a source of another item needs a batch of at least 2")
    shift = torch.randint(1, batch, (batch, count), generator=rng)
    other = (torch.arange(batch)[:, None] + shift).remainder(batch).to(sources.device)
    added = sources[other, torch.arange(count, device=sources.device)]
    return sources + added * _chosen(sources, probability, rng)


def time_stretch(sources: Tensor, low: float, high: float, rng: torch.Generator, size: int = 1024) -> Tensor:
    """All sources of an item slower (factor below 1) or faster by one factor from U(low, high), pitch kept.

    A phase vocoder; what becomes too short is padded with zeros, what becomes too long is cut.
    """
    factors = _factors(sources, low, high, rng)
    return torch.stack(
        [_fit(_stretch(item, factor, size), sources.shape[-1]) for item, factor in zip(sources, factors, strict=True)]
    )


def pitch_shift(sources: Tensor, low: float, high: float, rng: torch.Generator, size: int = 1024) -> Tensor:
    """All sources of an item moved by one interval from U(low, high) semitones, duration kept."""
    draws = torch.rand(len(sources), generator=rng, dtype=torch.float64).mul_(high - low).add_(low)
    moved = []
    for item, ratio in zip(sources, torch.exp2(draws / 12).tolist(), strict=True):
        longer = _stretch(item, 1 / ratio, size)
        moved.append(_fit(_speed(longer, ratio), sources.shape[-1]))
    return torch.stack(moved)


def _each(sources: Tensor, rng: torch.Generator) -> Tensor:
    return torch.rand(*sources.shape[:2], 1, 1, generator=rng)


def _chosen(sources: Tensor, probability: float, rng: torch.Generator) -> Tensor:
    if not 0 <= probability <= 1:
        raise ValueError(f"a probability lies between 0 and 1, not {probability}")
    return (_each(sources, rng) < probability).to(sources.device)


def _factors(sources: Tensor, low: float, high: float, rng: torch.Generator) -> list[float]:
    if not 0 < low <= high:
        raise ValueError(f"stretch factors lie between 0 < low <= high, not {low} and {high}")
    return torch.rand(len(sources), generator=rng, dtype=torch.float64).mul_(high - low).add_(low).tolist()


def _fit(waveform: Tensor, length: int) -> Tensor:
    return torch.nn.functional.pad(waveform, (0, max(0, length - waveform.shape[-1])))[..., :length]


def _stretch(waveform: Tensor, factor: float, size: int) -> Tensor:
    """(source, channel, time) at ``factor`` times the speed."""
    if factor == 1:
        return waveform
    *lead, length = waveform.shape
    hop = size // 4
    # In float64: the phase of a bin that is all but silent hangs on the last bits, and stays in all sums after it.
    flat = waveform.reshape(-1, length).double()
    window = torch.hann_window(size, dtype=flat.dtype, device=flat.device)
    spectrum = torch.stft(flat, size, hop, window=window, return_complex=True)
    frames = spectrum.shape[-1]
    places = torch.arange(0, frames, factor, device=flat.device, dtype=flat.dtype)
    left = places.long()
    share = places - left
    padded = torch.nn.functional.pad(spectrum, (0, 2))
    first, second = padded[..., left], padded[..., left + 1]
    magnitude = (1 - share) * first.abs() + share * second.abs()
    angle = first.angle()
    turn = second.angle() - angle  # whole turns change nothing, and are left out
    phase = spectrum[..., :1].angle() + _running_sum(torch.nn.functional.pad(turn[..., :-1], (1, 0)))
    peaks = _nearest_peak(first.abs())
    phase = phase.gather(1, peaks) + angle - angle.gather(1, peaks)
    result = torch.istft(torch.polar(magnitude, phase), size, hop, window=window, length=round(length / factor))
    return result.reshape(*lead, -1).to(waveform.dtype)


def _running_sum(values: Tensor) -> Tensor:
    """Sums of all values up to each along the last axis, by doubling: the same on every device, where cumsum has no
    deterministic kernel on a GPU."""
    step = 1
    while step < values.shape[-1]:
        values = values + torch.nn.functional.pad(values[..., :-step], (step, 0))
        step *= 2
    return values


def _nearest_peak(magnitude: Tensor) -> Tensor:
    """For each bin of (item, bin, frame) the closest local maximum: a peak's bins keep their phases to one another
    [Laroche and Dolson 1999], without which a stretched tone fades."""
    bins = magnitude.shape[1]
    around = torch.nn.functional.pad(magnitude, (0, 0, 1, 1), value=-1.0)
    is_peak = (magnitude >= around[:, :-2]) & (magnitude > around[:, 2:])
    is_peak[:, 0] |= ~is_peak.any(1)
    index = torch.arange(bins, device=magnitude.device)[:, None].expand_as(magnitude)
    below = torch.where(is_peak, index, -bins).cummax(1).values
    above = torch.where(is_peak, index, 2 * bins).flip(1).cummin(1).values.flip(1)
    return torch.where(index - below <= above - index, below, above)


def _speed(waveform: Tensor, ratio: float) -> Tensor:
    """Played ``ratio`` times as fast, pitch included: resampled in the frequency domain."""
    *lead, length = waveform.shape
    new = max(1, round(length / ratio))
    spectrum = torch.fft.rfft(waveform.reshape(-1, length))
    bins = new // 2 + 1
    kept = spectrum[:, :bins]
    kept = torch.nn.functional.pad(kept, (0, bins - kept.shape[-1]))
    return torch.fft.irfft(kept, n=new).reshape(*lead, new) * (new / length)
