"""X-UMX: one Open-Unmix a stem, bridged by averages [Sawata et al. 2021].

Each stem has its own scaling, dense encoder, LSTM and decoder. The encoders' outputs are averaged before the LSTMs, and
what Open-Unmix joins (encoder and LSTM) is averaged before the decoders, so that every stem hears of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mss_core.models import take_all
from mss_core.models.wiener import wiener


class XUMX(nn.Module):
    """Magnitude masks of all stems, and their waveforms.

    Args:
        stems: names, in the order of the outputs.
        channels: of the audio, 1 or 2; a mono network separates channels one by one.
        samplerate: Hz.
        size, hop: of the centred Hann transform, samples.
        max_bin: frequencies read, from the lowest (1487 are 16 kHz at 44.1 kHz and size 4096).
        hidden: units, shared by both directions of the LSTM.
        layers, dropout: of the LSTMs.
        bridges: False leaves the averages out: separate Open-Unmix networks.
        wiener_iterations: of the multichannel Wiener filter behind :meth:`separate_stems`; 0: mixture phase.
    """

    def __init__(
        self,
        stems: Sequence[str] = ("bass", "drums", "vocals", "other"),
        channels: int = 2,
        samplerate: int = 44_100,
        size: int = 4096,
        hop: int = 1024,
        max_bin: int = 1487,
        hidden: int = 512,
        layers: int = 3,
        dropout: float = 0.4,
        bridges: bool = True,
        wiener_iterations: int = 0,
    ) -> None:
        super().__init__()
        if hidden % 2:
            raise ValueError(f"'hidden' is shared by two directions and must be even, not {hidden}")
        bins = size // 2 + 1
        if not 1 <= max_bin <= bins:
            raise ValueError(f"'max_bin' must lie between 1 and {bins}, not {max_bin}")
        self.stems, self.channels, self.samplerate = tuple(stems), channels, samplerate
        self.size, self.hop, self.max_bin, self.bins = size, hop, max_bin, bins
        self.bridges, self.wiener_iterations = bridges, wiener_iterations
        self.scaling = nn.ParameterDict()
        self.enter, self.recurrent, self.leave = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for stem in self.stems:
            self.scaling[f"{stem}_input_mean"] = nn.Parameter(torch.zeros(max_bin))
            self.scaling[f"{stem}_input_scale"] = nn.Parameter(torch.ones(max_bin))
            self.scaling[f"{stem}_output_mean"] = nn.Parameter(torch.ones(bins))
            self.scaling[f"{stem}_output_scale"] = nn.Parameter(torch.ones(bins))
            self.enter[stem] = nn.Sequential(nn.Linear(max_bin * channels, hidden, bias=False), nn.BatchNorm1d(hidden))
            self.recurrent[stem] = nn.LSTM(
                hidden,
                hidden // 2,
                layers,
                batch_first=True,
                bidirectional=True,
                dropout=dropout if layers > 1 else 0.0,
            )
            self.leave[stem] = nn.Sequential(
                nn.Linear(2 * hidden, hidden, bias=False),
                nn.BatchNorm1d(hidden),
                nn.ReLU(),
                nn.Linear(hidden, bins * channels, bias=False),
                nn.BatchNorm1d(bins * channels),
            )

    def set_scaling(self, mean: Tensor, deviation: Tensor) -> None:
        """Start from the training data's statistics. Shape: (bin,) magnitudes' mean and standard deviation."""
        with torch.no_grad():
            for stem in self.stems:
                self.scaling[f"{stem}_input_mean"].copy_(-mean[: self.max_bin])
                self.scaling[f"{stem}_input_scale"].copy_(1.0 / deviation[: self.max_bin])

    def forward(self, magnitude: Tensor) -> Tensor:
        """Masks, >= 0. Shape: (batch, channel, frame, bin) -> (batch, stem, channel, frame, bin)."""
        batch, channels, frames, _ = magnitude.shape
        inputs = []
        for stem in self.stems:
            x = (magnitude[..., : self.max_bin] + self.scaling[f"{stem}_input_mean"]) * self.scaling[
                f"{stem}_input_scale"
            ]
            x = self.enter[stem](x.transpose(1, 2).reshape(batch * frames, channels * self.max_bin))
            inputs.append(torch.tanh(x).reshape(batch, frames, -1))
        bridge = self._bridge(inputs)
        joined = self._bridge(
            [
                torch.cat([x, self.recurrent[stem](crossed)[0]], -1)
                for stem, x, crossed in zip(self.stems, inputs, bridge, strict=True)
            ]
        )
        masks = []
        for stem, x in zip(self.stems, joined, strict=True):
            x = self.leave[stem](x.reshape(batch * frames, -1)).reshape(batch, frames, channels, self.bins)
            x = x * self.scaling[f"{stem}_output_scale"] + self.scaling[f"{stem}_output_mean"]
            masks.append(torch.relu(x).transpose(1, 2))
        return torch.stack(masks, 1)

    def _bridge(self, values: list[Tensor]) -> list[Tensor]:
        if not self.bridges:
            return values
        return [torch.stack(values).mean(0)] * len(values)

    def spectrum(self, waveform: Tensor) -> Tensor:
        """Centred Hann transform, edges reflected. Shape: (..., time) -> complex (..., frame, bin)."""
        flat = waveform.reshape(-1, waveform.shape[-1])
        window = torch.hann_window(self.size, device=waveform.device)
        found = torch.stft(flat, self.size, self.hop, window=window, return_complex=True)
        return found.transpose(1, 2).reshape(*waveform.shape[:-1], found.shape[2], found.shape[1])

    def waveform(self, spectrum: Tensor, length: int) -> Tensor:
        """Shape: complex (..., frame, bin) -> (..., length)."""
        flat = spectrum.reshape(-1, *spectrum.shape[-2:]).transpose(1, 2)
        window = torch.hann_window(self.size, device=spectrum.device)
        return torch.istft(flat, self.size, self.hop, window=window, length=length).reshape(
            *spectrum.shape[:-2], length
        )

    def separate_stems(self, waveform: Tensor) -> Tensor:
        """Waveforms of the stems. Shape: (channel, time) -> (stem, channel, time)."""
        x = waveform[:, None] if self.channels == 1 else waveform.expand(self.channels, -1)[None]
        mixture = self.spectrum(x)  # (batch, channel, frame, bin)
        magnitudes = self(mixture.abs()) * mixture[:, None].abs()
        if self.channels == 1:  # the waveform's channels are the batch here
            mixture, magnitudes = mixture.transpose(0, 1), magnitudes.permute(2, 1, 0, 3, 4)
        estimates = wiener(magnitudes[0], mixture[0], self.wiener_iterations)
        return self.waveform(estimates, waveform.shape[-1])


# ---- released weights

_PARTS = {"layer_enc": "enter", "layer_lstm": "recurrent", "layer_dec": "leave"}


def from_released(
    state: Mapping[str, Tensor], what: str, samplerate: int = 44_100, wiener_iterations: int = 1
) -> tuple[dict[str, Any], XUMX]:
    """Description and module of X-UMX weights in the layout of the released PyTorch models; ``what`` names them.

    Sizes are read off the tensors, the hop is a quarter of the window. Raises ValueError naming what is missing or of
    another size.
    """
    stems = tuple(dict.fromkeys(name.split(".")[1] for name in state if name.startswith("layer_enc.")))
    if not stems:
        raise ValueError(
            f"{what}: not X-UMX in the released layout: no tensor 'layer_enc.<stem>.enc.0.weight' (it "
            f"holds {', '.join(list(state)[:3])}, ...)"
        )
    mapped = {}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        if part in _PARTS:
            stem, _, rest = rest.partition(".")
            mapped[f"{_PARTS[part]}.{stem}.{rest.removeprefix('enc.').removeprefix('dec.')}"] = value
        elif part == "mean_scale":
            kind, _, stem = rest.rpartition("_")
            mapped[f"scaling.{stem}_{kind}"] = value
    try:
        bins = len(mapped[f"scaling.{stems[0]}_output_mean"])
        max_bin = len(mapped[f"scaling.{stems[0]}_input_mean"])
        hidden, width = mapped[f"enter.{stems[0]}.0.weight"].shape
    except KeyError as error:
        raise ValueError(f"{what}: X-UMX without {error.args[0]!r}") from None
    layers = sum(
        name.startswith(f"recurrent.{stems[0]}.weight_ih_l") and not name.endswith("reverse") for name in mapped
    )
    size = 2 * (bins - 1)
    described = {
        "stems": list(stems),
        "channels": width // max_bin,
        "samplerate": samplerate,
        "size": size,
        "hop": size // 4,
        "max_bin": max_bin,
        "hidden": hidden,
        "layers": layers,
        "wiener_iterations": wiener_iterations,
    }
    module = XUMX(**described)
    take_all(module, mapped, f"{what}, read as X-UMX")
    return {"name": "xumx", **described}, module.eval()
