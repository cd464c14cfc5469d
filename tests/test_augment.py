"""Augmentations: what each does to a known signal, its seed, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch

from mss_core import augment
from mss_core.augment import generator

RATE = 16_000


def sources(batch: int = 4, count: int = 3, channels: int = 2, length: int = 4000) -> torch.Tensor:
    return torch.randn(batch, count, channels, length, generator=torch.Generator().manual_seed(5))


def tone(frequency: float, seconds: float = 1.0) -> torch.Tensor:
    time = torch.arange(round(seconds * RATE)) / RATE
    return torch.sin(2 * math.pi * frequency * time).expand(2, 1, 1, -1).clone()


def peak(waveform: torch.Tensor) -> float:
    middle = waveform[3000:11_000] * torch.hann_window(8000)
    return float(torch.fft.rfft(middle, n=1 << 16).abs().argmax()) * RATE / (1 << 16)


CALLS = {
    "random_gain": lambda x, rng: augment.random_gain(x, 0.25, 1.25, rng),
    "polarity": lambda x, rng: augment.polarity(x, 0.5, rng),
    "channel_swap": lambda x, rng: augment.channel_swap(x, 0.5, rng),
    "time_reversal": lambda x, rng: augment.time_reversal(x, 0.5, rng),
    "remix": augment.remix,
    "add_same_source": lambda x, rng: augment.add_same_source(x, 0.5, rng),
    "time_stretch": lambda x, rng: augment.time_stretch(x, 0.7, 1.3, rng),
    "pitch_shift": lambda x, rng: augment.pitch_shift(x, -4, 4, rng),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_seed_gives_one_augmentation(name: str) -> None:
    x = sources()
    first, again, other = (CALLS[name](x, generator(seed, 7)) for seed in (0, 0, 1))
    assert first.shape == x.shape and torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(first, CALLS[name](x, generator(0, 8))) and torch.equal(x, sources())
    assert torch.isfinite(first).all() and not torch.equal(first, x)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", CALLS)
def test_a_device_draws_the_same(name: str) -> None:
    here = CALLS[name](sources(), generator(0, 7))
    there = CALLS[name](sources().cuda(), generator(0, 7)).cpu()
    assert torch.allclose(here, there, atol=1e-4)


def test_gains_lie_in_their_range() -> None:
    x = torch.ones(64, 4, 2, 3)
    gains = augment.random_gain(x, 0.25, 1.25, generator(0, 0))
    assert 0.25 <= gains.min() < 0.3 and 1.2 < gains.max() <= 1.25
    assert (gains == gains[..., :1, :1]).all()


def test_polarity_swap_and_reversal_are_by_source() -> None:
    x = sources(batch=64)
    for name, changed in (("polarity", -x), ("channel_swap", x.flip(2)), ("time_reversal", x.flip(3))):
        y = getattr(augment, name)(x, 0.25, generator(2, 0))
        moved = (y == changed).flatten(2).all(-1)
        assert (moved | (y == x).flatten(2).all(-1)).all() and 0.15 < moved.float().mean() < 0.35
        assert torch.equal(getattr(augment, name)(x, 0.0, generator(2, 0)), x)
        assert torch.equal(getattr(augment, name)(x, 1.0, generator(2, 0)), changed)
    mono = x[:, :, :1]
    assert torch.equal(augment.channel_swap(mono, 1.0, generator(0, 0)), mono)


def test_remix_keeps_each_source_and_mixes_tracks() -> None:
    batch, count = 32, 3
    x = (torch.arange(batch)[:, None] * 10 + torch.arange(count)).float()[..., None, None].expand(-1, -1, 2, 5)
    y = augment.remix(x, generator(0, 0))[:, :, 0, 0]
    for source in range(count):
        assert torch.equal(y[:, source].sort().values, x[:, source, 0, 0])
    tracks = y.div(10, rounding_mode="floor")
    assert (tracks != tracks[:, :1]).any(1).float().mean() > 0.8


def test_the_added_source_is_another_item_s_of_the_same_kind() -> None:
    x = sources(batch=5, length=50)
    y = augment.add_same_source(x, 1.0, generator(0, 0)) - x
    for item in range(5):
        for source in range(3):
            assert [i for i in range(5) if torch.allclose(y[item, source], x[i, source], atol=1e-5)] not in ([], [item])
    with pytest.raises(ValueError, match="a batch of at least 2"):
        augment.add_same_source(x[:1], 1.0, generator(0, 0))


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.25])
def test_stretching_keeps_the_pitch_and_moves_events(factor: float) -> None:
    x = tone(440.0, 2.0)
    y = augment.time_stretch(x, factor, factor, generator(0, 0))
    assert y.shape == x.shape and abs(peak(y[0, 0, 0]) - 440) < 2
    click = torch.zeros(1, 1, 1, 16_000)
    click[..., 6000:6040] = 1.0
    moved = augment.time_stretch(click, factor, factor, generator(0, 0), size=256)[0, 0, 0]
    assert abs(int(moved.abs().argmax()) - 6000 / factor) < 300
    if factor > 1:
        assert not y[..., round(32_000 / factor) + 10 :].any()


def test_a_stretch_does_not_hang_on_the_last_bits_of_a_long_signal() -> None:
    """Phases summed in float32 were off by 0.01 after 4 s (and 0.1 after 30 s), and so from one device to another."""
    x = torch.randn(1, 1, 2, 4 * RATE, generator=torch.Generator().manual_seed(5))
    here, nearby = (augment.time_stretch(y, 1.2, 1.2, generator(0, 7)) for y in (x, x + 1e-7 * x.roll(9)))
    assert torch.allclose(here, nearby, atol=1e-4)


@pytest.mark.parametrize("semitones", [-4.0, 0.0, 3.0])
def test_pitch_moves_by_semitones(semitones: float) -> None:
    y = augment.pitch_shift(tone(440.0), semitones, semitones, generator(0, 0))
    assert y.shape == (2, 1, 1, RATE) and abs(peak(y[0, 0, 0]) - 440 * 2 ** (semitones / 12)) < 3
    level = y[0, 0, 0, 4000:12_000].square().mean().sqrt() / math.sqrt(0.5)
    assert 0.8 < level < 1.2


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="0 <= low <= high, not 2 and 1"):
        augment.random_gain(sources(), 2, 1, generator(0, 0))
    with pytest.raises(ValueError, match="a probability lies between 0 and 1, not 1.5"):
        augment.polarity(sources(), 1.5, generator(0, 0))
    with pytest.raises(ValueError, match="stretch factors lie between"):
        augment.time_stretch(sources(), 0, 1, generator(0, 0))
