"""Two published music taggers as their package has them: musicnn and a VGG [Pons and Serra 2019].

They are other networks than those of the same name in ``systems/tagbox/taggers.py``, which follow a later
reimplementation: here the convolution comes before ReLU and batch norm after it (eps 0.001), temporal filters have even
lengths and run along every band before the maximum over bands, the pooled features pass a batch norm, and the mel bands
are Slaney's with unit area, compressed as log10(1 + 10000 x).

The package cuts the spectrogram of a whole file into patches of 187 frames and holds it in half precision, in which a
band of energy above 6.55 overflows; here each patch is a waveform of its own (two of its frames mirror its ends) in
single precision. ``seconds`` is a patch: 187 frames at a hop of 256 of 16 kHz.

Shape: (batch, time) -> features (batch, 187, 96) -> logits (batch, class).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from mss_core.audio import reflected

FFT_SIZE, FFT_HOP, PER_SECOND, N_MELS, PATCH_FRAMES = 512, 256, 16_000, 96, 187
PATCH_SECONDS = (PATCH_FRAMES - 1) * FFT_HOP / PER_SECOND
TF_EPS = 1e-3
"""Of TensorFlow's batch norm."""
MTT = tuple(
    "guitar,classical,slow,techno,strings,drums,electronic,rock,fast,piano,ambient,beat,violin,vocal,synth,female,"
    "indian,opera,male,singing,vocals,no vocals,harpsichord,loud,quiet,flute,woman,male vocal,no vocal,pop,soft,sitar,"
    "solo,man,classic,choir,voice,new age,dance,male voice,female vocal,beats,harp,cello,no voice,weird,country,metal,"
    "female voice,choral".split(",")
)
"""The tags of the MTT models in the order of their outputs: MagnaTagATune's 50 most frequent."""
MSD = tuple(
    "rock,pop,alternative,indie,electronic,female vocalists,dance,00s,alternative rock,jazz,beautiful,metal,chillout,"
    "male vocalists,classic rock,soul,indie rock,Mellow,electronica,80s,folk,90s,chill,instrumental,punk,oldies,blues,"
    "hard rock,ambient,acoustic,experimental,female vocalist,guitar,Hip-Hop,70s,party,country,easy listening,sexy,"
    "catchy,funk,electro,heavy metal,Progressive rock,60s,rnb,indie pop,sad,House,happy".split(",")
)
"""The tags of the MSD models: the Million Song Dataset's 50 most frequent of last.fm."""


def slaney_bank() -> Tensor:
    """96 triangles of unit area on Slaney's mel scale from 0 to 8 kHz, in bands per Hz. Shape: (257, 96)."""

    def mel(hertz: np.ndarray) -> np.ndarray:
        return np.where(hertz < 1000, 3 * hertz / 200, 15 + 27 * np.log(np.maximum(hertz, 1e-9) / 1000) / np.log(6.4))

    points = np.linspace(0.0, float(mel(np.array(PER_SECOND / 2))), N_MELS + 2)
    edges = np.where(points < 15, 200 * points / 3, 1000 * np.exp((points - 15) * np.log(6.4) / 27))
    bins = np.linspace(0.0, PER_SECOND / 2, FFT_SIZE // 2 + 1)[:, None]
    rising = (bins - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - bins) / np.diff(edges)[1:]
    bank = np.maximum(0.0, np.minimum(rising, falling)) * 2 / (edges[2:] - edges[:-2])
    return torch.from_numpy(bank.astype(np.float32))


class _Published(nn.Module):
    """The front end that both have. Shape: (batch, time) -> (batch, frame, 96)."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.register_buffer("bank", slaney_bank(), persistent=False)
        self.bn_input = nn.BatchNorm2d(1, TF_EPS)

    def features(self, waveform: Tensor) -> Tensor:
        wave = waveform if waveform.dtype == torch.float64 else waveform.float()
        window = torch.hann_window(FFT_SIZE, dtype=wave.dtype, device=wave.device)
        padded = reflected(wave, FFT_SIZE // 2)
        spectrum = torch.stft(padded, FFT_SIZE, FFT_HOP, window=window, center=False, return_complex=True)
        power = spectrum.real.square() + spectrum.imag.square()
        return torch.log10(10_000 * (power.transpose(1, 2) @ self.bank.to(wave.dtype)) + 1)


class BandFilters(nn.Module):
    """Convolution, ReLU, batch norm, and the maximum over bands: (batch, frame, 96) -> (batch, filter, frame).

    At every place on the bands it is a convolution over frames, with the bands below it as channels: so it takes half
    the time of one over both axes.
    """

    def __init__(self, outputs: int, length: int, height: int) -> None:
        super().__init__()
        self.height = height
        self.conv = nn.Conv1d(height, outputs, length)
        self.bn = nn.BatchNorm1d(outputs, TF_EPS)
        self.around = ((length - 1) // 2, length // 2)  # of an even length one more after, as in TensorFlow

    def forward(self, x: Tensor) -> Tensor:
        below = functional.pad(x, (0, 0, *self.around)).unfold(2, self.height, 1)  # (batch, frame, place, band)
        y = self.conv(below.permute(0, 2, 3, 1).flatten(0, 1))
        return self.bn(functional.relu(y)).unflatten(0, below.shape[:3:2]).amax(1)


class MiddleLayer(nn.Module):
    """A layer of the middle: seven frames of all channels, ReLU, batch norm. Shape: (batch, channel, frame)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(inputs, outputs, 7, padding=3)
        self.bn = nn.BatchNorm1d(outputs, TF_EPS)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(functional.relu(self.conv(x)))


class PublishedMusicnn(_Published):
    """musicnn: filters as high as 0.4 and 0.7 of the bands (timbre) and 128, 64 and 32 frames long (time), three
    layers that add up, maximum and mean over time, 200 units: 787,159 parameters with 50 tags."""

    def __init__(
        self,
        classes: int = 50,
        timbre: int = 204,
        rhythm: int = 51,
        width: int = 64,
        dense: int = 200,
        dropout: float = 0.5,
        seconds: float = PATCH_SECONDS,
    ) -> None:
        super().__init__(seconds)
        self.timbral = nn.ModuleList(BandFilters(timbre, 7, int(share * N_MELS)) for share in (0.4, 0.7))
        self.temporal = nn.ModuleList(BandFilters(rhythm, length, 1) for length in (128, 64, 32))
        front = 2 * timbre + 3 * rhythm
        self.cnn1, self.cnn2, self.cnn3 = (
            MiddleLayer(front, width),
            MiddleLayer(width, width),
            MiddleLayer(width, width),
        )
        pooled = 2 * (front + 3 * width)
        self.bn_pool = nn.BatchNorm1d(pooled, TF_EPS)
        self.dense1 = nn.Linear(pooled, dense)
        self.bn_dense = nn.BatchNorm1d(dense, TF_EPS)
        self.dropout = nn.Dropout(dropout)
        self.dense2 = nn.Linear(dense, classes)

    def layers(self, features: Tensor) -> dict[str, Tensor]:
        """The activations that the package calls features, by its names. Shape: (batch, channel, frame), the last
        three (batch, channel)."""
        x = self.bn_input(features[:, None])[:, 0]
        timbral = torch.cat([part(x) for part in self.timbral], 1)
        temporal = torch.cat([part(x) for part in self.temporal], 1)
        cnn1 = self.cnn1(torch.cat([timbral, temporal], 1))
        cnn2 = self.cnn2(cnn1) + cnn1
        cnn3 = self.cnn3(cnn2) + cnn2
        every = torch.cat([timbral, temporal, cnn1, cnn2, cnn3], 1)
        most, mean = every.amax(2), every.mean(2)
        pooled = self.bn_pool(torch.stack([most, mean], 2).flatten(1))  # maximum and mean of a channel side by side
        penultimate = self.bn_dense(functional.relu(self.dense1(self.dropout(pooled))))
        return {
            **{"timbral": timbral, "temporal": temporal, "cnn1": cnn1, "cnn2": cnn2, "cnn3": cnn3},
            **{"max_pool": most, "mean_pool": mean, "penultimate": penultimate},
        }

    def forward(self, features: Tensor) -> Tensor:
        return self.dense2(self.dropout(self.layers(features)["penultimate"]))


class PublishedVgg(_Published):
    """The package's VGG: five 3x3 convolutions with ReLU, batch norm and pooling, one dense layer: 605,748 parameters
    with 50 tags. It reads 187 frames and no other number."""

    def __init__(
        self, classes: int = 50, width: int = 128, dropout: float = 0.5, seconds: float = PATCH_SECONDS
    ) -> None:
        super().__init__(seconds)
        self.conv = nn.ModuleList(nn.Conv2d(width if i else 1, width, 3, padding=1) for i in range(5))
        self.bn = nn.ModuleList(nn.BatchNorm2d(width, TF_EPS) for _ in range(5))
        self.dropout = nn.ModuleList(nn.Dropout(dropout / 2 if i < 4 else dropout) for i in range(5))
        self.dense = nn.Linear(2 * width, classes)

    def layers(self, features: Tensor) -> dict[str, Tensor]:
        """``pool1`` to ``pool5``, as the package calls them. Shape: (batch, channel, frame, band)."""
        x, found = self.bn_input(features[:, None]), {}
        for i, (size, stride) in enumerate((((4, 1), 2), (2, 2), (2, 2), (2, 2), (4, 4))):
            x = functional.max_pool2d(self.bn[i](functional.relu(self.conv[i](x))), size, stride)
            found[f"pool{i + 1}"] = x
            x = self.dropout[i](x)
        return found

    def forward(self, features: Tensor) -> Tensor:
        last = self.layers(features)["pool5"]
        return self.dense(self.dropout[4](last.permute(0, 2, 3, 1).flatten(1)))


# ---- the bundles' arrays under these names


def _norms(number: int, ours: str) -> dict[str, str]:
    theirs = "batch_normalization" + (f"_{number}" if number else "")
    parts = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    return {f"{ours}.{part}": f"{theirs}/{name}" for part, name in parts.items()}


def _layers(theirs: str, ours: Sequence[str], begin: int = 0) -> dict[str, str]:
    numbered = {name: f"{theirs}_{i}" if i else theirs for i, name in enumerate(ours, begin)}
    return {
        f"{n}.{part}": f"{t}/{p}" for n, t in numbered.items() for part, p in (("weight", "kernel"), ("bias", "bias"))
    }


_MUSICNN = ("timbral.0", "timbral.1", "temporal.0", "temporal.1", "temporal.2", "cnn1", "cnn2", "cnn3")
_PLACES: dict[str, dict[str, str]] = {
    "published_musicnn": {
        **_layers("conv2d", [f"{name}.conv" for name in _MUSICNN]),
        **_layers("dense", ("dense1", "dense2")),
        **{
            key: value
            for i, name in enumerate(("bn_input", *(f"{n}.bn" for n in _MUSICNN), "bn_pool", "bn_dense"))
            for key, value in _norms(i, name).items()
        },
    },
    "published_vgg": {
        **{
            f"conv.{i}.{part}": f"{i + 1}CNN/{name}"
            for i in range(5)
            for part, name in (("weight", "kernel"), ("bias", "bias"))
        },
        **_layers("dense", ("dense",)),
        **{
            key: value
            for i, name in enumerate(("bn_input", *(f"bn.{n}" for n in range(5))))
            for key, value in _norms(i, name).items()
        },
    },
}


def trained(name: str) -> bool:
    """Whether an array of a bundle is a weight, and no state of the optimiser."""
    return "Adam" not in name and not name.startswith("beta")


def from_bundle(model: str, arrays: Mapping[str, np.ndarray], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The arrays of a bundle as the tensors of a model, in its order of axes.

    Args:
        model: ``"published_musicnn"`` or ``"published_vgg"``.
        like: the model's own tensors, whose number of axes tells how a kernel is laid.

    Raises ValueError where arrays are missing or left over.
    """
    places = _PLACES[model]
    missing, left = sorted(set(places.values()) - arrays.keys()), sorted(arrays.keys() - set(places.values()))
    if missing or left:
        what = f"no array {missing[0]!r}" if missing else f"an array {left[0]!r} that this model has no place for"
        raise ValueError(f"the bundle is not that of {model!r}: {what} ({len(missing)} missing, {len(left)} left over)")
    found: dict[str, Tensor] = {}
    for ours, theirs in places.items():
        array: Any = arrays[theirs]
        if theirs.endswith("/kernel"):  # (frame, band, in, out), of a dense layer (in, out)
            array = array[:, :, 0] if like[ours].dim() == 3 else array
            array = array.transpose({2: (1, 0), 3: (2, 1, 0), 4: (3, 2, 0, 1)}[like[ours].dim()])
        found[ours] = torch.from_numpy(np.ascontiguousarray(array))
    for ours, value in like.items():
        if ours.endswith("num_batches_tracked"):
            found[ours] = torch.zeros_like(value)
    return found
