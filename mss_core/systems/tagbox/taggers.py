"""Four published music taggers, on waveforms of 16 kHz [Won, Ferraro, Bogdanov and Serra 2020].

Each is a module from features to logits, with ``features(waveform)`` before it, so that gradients reach the waveform.
Modules are named as in the released checkpoints; what those hold beside weights (windows, filter banks) is computed
here. ``seconds`` is the length each was made for; longer audio is cut into pieces of it, and their scores averaged.
Shape: (batch, time) -> features (batch, ...) -> (batch, class).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_core.audio import reflected

SIZE, HOP, RATE = 512, 256, 16_000
FLOOR = 1e-10
"""Least power before the logarithm."""

Pool = int | Sequence[int]


def power(waveform: Tensor) -> Tensor:
    """Power spectrogram, centred, periodic Hann. Shape: (batch, time) -> (batch, 257, frame)."""
    window = torch.hann_window(SIZE, device=waveform.device)
    padded = reflected(waveform.float(), SIZE // 2)
    return torch.stft(padded, SIZE, HOP, window=window, center=False, return_complex=True).abs().square()


def mel_bank(bands: int) -> Tensor:
    """Triangles on the HTK mel scale from 0 to 8 kHz, peak 1. Shape: (257, bands)."""

    def mel(hertz: float) -> float:
        return 2595.0 * math.log10(1.0 + hertz / 700.0)

    edges = 700.0 * (10.0 ** (torch.linspace(mel(0.0), mel(RATE / 2), bands + 2, dtype=torch.float64) / 2595.0) - 1.0)
    bins = torch.linspace(0.0, RATE / 2, SIZE // 2 + 1, dtype=torch.float64)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp_min(0.0).float()


def decibel(x: Tensor) -> Tensor:
    return 10.0 * torch.log10(x.clamp_min(FLOOR))


class _Mel(nn.Module):
    """A front end shared by the taggers on mel spectrograms: (batch, time) -> (batch, 1, band, frame) in dB."""

    def __init__(self, bands: int, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.register_buffer("bank", mel_bank(bands), persistent=False)
        self.spec_bn = nn.BatchNorm2d(1)

    def features(self, waveform: Tensor) -> Tensor:
        return decibel(power(waveform).transpose(1, 2) @ self.bank).transpose(1, 2)[:, None]


class Block(nn.Module):
    """3x3 convolution, batch norm, ReLU, max pooling."""

    def __init__(self, inputs: int, outputs: int, pool: Pool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.bn = nn.BatchNorm2d(outputs)
        self.mp = nn.MaxPool2d(pool if isinstance(pool, int) else tuple(pool))

    def forward(self, x: Tensor) -> Tensor:
        return self.mp(functional.relu(self.bn(self.conv(x))))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm beside a way around them.

    The way around is the input itself and a max pooling ends the block, or (``stride``) the first convolution and
    one on the way around take steps of 2.
    """

    def __init__(self, inputs: int, outputs: int, pool: Pool | None = None, stride: int = 1) -> None:
        super().__init__()
        self.conv_1 = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.bn_1 = nn.BatchNorm2d(outputs)
        self.conv_2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.bn_2 = nn.BatchNorm2d(outputs)
        self.around = stride != 1 or inputs != outputs
        if self.around:
            self.conv_3 = nn.Conv2d(inputs, outputs, 3, stride, 1)
            self.bn_3 = nn.BatchNorm2d(outputs)
        self.pool = pool if pool is None or isinstance(pool, int) else tuple(pool)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn_2(self.conv_2(functional.relu(self.bn_1(self.conv_1(x)))))
        outer = self.bn_3(self.conv_3(x)) if self.around else x
        y = functional.relu(inner + outer)
        return y if self.pool is None else functional.max_pool2d(y, self.pool)


class Fcn(_Mel):
    """Five convolution blocks on 96 mel bands [Choi et al. 2016]: 447,732 parameters with 50 tags."""

    def __init__(
        self,
        classes: int,
        widths: Sequence[int] = (64, 128, 128, 128, 64),
        pools: Sequence[Pool] = ((2, 4), (2, 4), (2, 4), (3, 5), (4, 4)),
        dropout: float = 0.5,
        seconds: float = 29.0,
    ) -> None:
        super().__init__(96, seconds)
        channels = (1, *widths)
        for i, pool in enumerate(pools):
            setattr(self, f"layer{i + 1}", Block(channels[i], channels[i + 1], pool))
        self.blocks = len(pools)
        self.dropout = nn.Dropout(dropout)
        self.dense = nn.Linear(widths[-1], classes)

    def forward(self, features: Tensor) -> Tensor:
        x = self.spec_bn(features)
        for i in range(self.blocks):
            x = getattr(self, f"layer{i + 1}")(x)
        return self.dense(self.dropout(x.amax((2, 3))))  # one value per channel is left of the full 29 s


class ShortChunkCnn(_Mel):
    """Seven blocks on 128 mel bands of 3.7 s: 3,687,348 parameters, 12,104,244 with residual blocks."""

    def __init__(
        self,
        classes: int,
        width: int = 128,
        residual: bool = False,
        dropout: float = 0.5,
        seconds: float = 59_049 / RATE,
    ) -> None:
        super().__init__(128, seconds)
        channels = (1, width, width, 2 * width, 2 * width, 2 * width, 2 * width, 4 * width)
        for i in range(7):
            layer = (
                ResidualBlock(channels[i], channels[i + 1], stride=2)
                if residual
                else Block(channels[i], channels[i + 1], 2)
            )
            setattr(self, f"layer{i + 1}", layer)
        self.dense1 = nn.Linear(4 * width, 4 * width)
        self.bn = nn.BatchNorm1d(4 * width)
        self.dropout = nn.Dropout(dropout)
        self.dense2 = nn.Linear(4 * width, classes)

    def forward(self, features: Tensor) -> Tensor:
        x = self.spec_bn(features)
        for i in range(7):
            x = getattr(self, f"layer{i + 1}")(x)
        x = functional.relu(self.bn(self.dense1(x.amax((2, 3)))))
        return self.dense2(self.dropout(x))


class HarmonicFilters(nn.Module):
    """Six harmonics of 128 half-semitone bands from C1 up, of one trainable sharpness [Won et al. 2020, Sec. 3].

    Shape: (batch, 257, frame) power -> (batch, harmonic, band, frame).
    """

    def __init__(self, harmonics: int = 6) -> None:
        super().__init__()
        # The highest note whose last harmonic lies below the Nyquist frequency.
        lowest = 24
        highest = round(69 + 12 * math.log2(RATE / (2 * harmonics) / 440.0))
        self.bands = 2 * (highest - lowest)
        notes = lowest + torch.arange(self.bands, dtype=torch.float64) / 2
        fundamental = 440.0 * 2.0 ** ((notes - 69.0) / 12.0)
        centres = (torch.arange(1, harmonics + 1, dtype=torch.float64)[:, None] * fundamental).reshape(-1)
        self.harmonics = harmonics
        self.register_buffer("centres", centres.float(), persistent=False)
        self.register_buffer("bins", torch.linspace(0.0, RATE / 2, SIZE // 2 + 1), persistent=False)
        self.bw_Q = nn.Parameter(torch.ones(1))

    def forward(self, spectrogram: Tensor) -> Tensor:
        width = (0.1079 * self.centres + 24.7) / self.bw_Q
        distance = (self.bins[:, None] - self.centres).abs()
        bank = (1.0 - 2.0 * distance / width).clamp_min(0.0)
        bands = spectrogram.transpose(1, 2) @ bank  # (batch, frame, harmonic * band)
        return bands.unflatten(-1, (self.harmonics, self.bands)).permute(0, 2, 3, 1)


class HarmonicCnn(nn.Module):
    """Residual blocks on harmonic bands of 5 s: 3,631,551 parameters.

    ``pools`` are those of the seven layers; the last two pool 2 bands and 3 frames [released code of Won et al. 2020].
    No tensor of a checkpoint tells them.
    """

    def __init__(
        self,
        classes: int,
        width: int = 128,
        harmonics: int = 6,
        pools: Sequence[Pool] = (2, 2, 2, 2, 2, (2, 3), (2, 3)),
        dropout: float = 0.5,
        seconds: float = 5.0,
    ) -> None:
        super().__init__()
        self.seconds = seconds
        self.hstft = HarmonicFilters(harmonics)
        self.hstft_bn = nn.BatchNorm2d(harmonics)
        self.layer1 = Block(harmonics, width, pools[0])
        for i in (2, 3, 4):
            setattr(self, f"layer{i}", ResidualBlock(width, width, pools[i - 1]))
        self.layer5 = Block(width, 2 * width, pools[4])
        for i in (6, 7):
            setattr(self, f"layer{i}", ResidualBlock(2 * width, 2 * width, pools[i - 1]))
        self.dense1 = nn.Linear(2 * width, 2 * width)
        self.bn = nn.BatchNorm1d(2 * width)
        self.dropout = nn.Dropout(dropout)
        self.dense2 = nn.Linear(2 * width, classes)

    def features(self, waveform: Tensor) -> Tensor:
        return power(waveform)

    def forward(self, features: Tensor) -> Tensor:
        x = self.hstft_bn(decibel(self.hstft(features)))
        for i in range(1, 8):
            x = getattr(self, f"layer{i}")(x)
        x = functional.relu(self.bn(self.dense1(x.amax((2, 3)))))
        return self.dense2(self.dropout(x))


class Vertical(nn.Module):
    """Filters as high as a share of the spectrum, maximum over frequency: timbre."""

    def __init__(self, outputs: int, height: int, length: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, outputs, (height, length), padding=(0, length // 2))
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x))).amax(2)


class Horizontal(nn.Module):
    """Long filters on the mean over frequency: rhythm. Also, on many channels, one layer of the back end."""

    def __init__(self, inputs: int, outputs: int, length: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, length, padding=length // 2)
        self.bn = nn.BatchNorm1d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


class Musicnn(_Mel):
    """Vertical and horizontal filters, three convolutions that add up, mean and maximum [Pons and Serra 2019]:
    784,300 parameters."""

    def __init__(
        self,
        classes: int,
        timbre: int = 204,
        rhythm: int = 51,
        width: int = 64,
        dense: int = 200,
        dropout: float = 0.5,
        seconds: float = 3.0,
    ) -> None:
        super().__init__(96, seconds)
        self.layers = nn.ModuleList(
            [
                *(Vertical(timbre, int(share * 96), 7) for share in (0.7, 0.4)),
                *(Horizontal(1, rhythm, length) for length in (129, 65, 33)),
            ]
        )
        front = 2 * timbre + 3 * rhythm
        self.layer1 = Horizontal(front, width, 7)
        self.layer2 = Horizontal(width, width, 7)
        self.layer3 = Horizontal(width, width, 7)
        self.dense1 = nn.Linear(2 * (front + 3 * width), dense)
        self.bn = nn.BatchNorm1d(dense)
        self.dropout = nn.Dropout(dropout)
        self.dense2 = nn.Linear(dense, classes)

    def forward(self, features: Tensor) -> Tensor:
        x = self.spec_bn(features)
        rows = x.mean(2)
        x = torch.cat([layer(x) if isinstance(layer, Vertical) else layer(rows) for layer in self.layers], 1)
        first = self.layer1(x)
        second = self.layer2(first) + first
        third = self.layer3(second) + second
        x = torch.cat([x, first, second, third], 1)
        x = torch.cat([x.amax(2), x.mean(2)], 1)
        return self.dense2(self.dropout(functional.relu(self.bn(self.dense1(x)))))


def from_released(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A released checkpoint's weights under the names used here: without windows, filter banks and counters of
    tables that are computed."""
    computed = ("spec.", "to_db.", "hstft.stft", "hstft.spec", "hstft.amplitude_to_db", "hstft.fft_bins", "hstft.zero")
    return {name: value for name, value in state.items() if not name.startswith(computed)}
