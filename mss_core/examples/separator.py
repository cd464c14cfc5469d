"""A separator of one's own, on the music that is built in: how wide must a mask's network be?"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from mss_core.artefact import write_scores
from mss_core.data.batches import stacked, validation_segments
from mss_core.data.config import TrackSet
from mss_core.data.mixing import CoherentMixer
from mss_core.data.packed import Packed
from mss_core.graph import Context, Stage
from mss_core.metrics.separation import si_sdr
from mss_core.stages.prepare import prepare_tracks
from mss_core.study import Factor, Study, run
from mss_core.training import Phase, TrainConfig, fit


def network(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(257, width), nn.ReLU(), nn.Linear(width, 257), nn.Sigmoid())


def separate(network: nn.Module, mixtures: Tensor) -> Tensor:  # (batch, time) -> (batch, time)
    window = torch.hann_window(512, device=mixtures.device)
    spectra = torch.stft(mixtures, 512, 128, window=window, return_complex=True).transpose(1, 2)
    masked = spectra * network(spectra.abs().log1p())
    return torch.istft(masked.transpose(1, 2), 512, 128, window=window, length=mixtures.shape[-1])


def train_mask(*, data: Path, width: int, config: TrainConfig, version: int = 1, out: Path, ctx: Context) -> None:
    packed = Packed(data)
    mixer = CoherentMixer(packed, ("vocals",), 32_000, 16_000, 16_000, config.seed)
    segments = validation_segments(packed, 16_000, 8)[0]
    held_out = [stacked(packed, segments, row, 16_000) for row in ("mixture", "vocals")]
    torch.manual_seed(config.seed)

    def error(module: nn.Module, pair: list[Tensor]) -> Tensor:
        mixtures, vocals = (part.to(ctx.device) for part in pair)
        return (separate(module, mixtures) - vocals.reshape(mixtures.shape)).abs().mean()

    module = network(width)
    fit(
        module,
        config,
        epoch_steps=10,
        batch=lambda step: [torch.from_numpy(part) for part in mixer.batch(step, config.batch)],
        loss=error,
        validate=lambda module: {"loss": float(error(module, held_out))},
        ctx=ctx,
    )
    torch.save(module.state_dict(), out / "weights.pt")


def score_mask(*, data: Path, model: Path, width: int, version: int = 1, out: Path, ctx: Context) -> None:
    packed, module, rows = Packed(data), network(width), []
    module.load_state_dict(torch.load(model / "weights.pt", weights_only=True, map_location="cpu"))
    for track in packed.split("test"):
        estimate = separate(module, torch.from_numpy(packed.read(track))[None])[0].detach()
        score = torch.as_tensor(si_sdr(packed.read(track, "vocals"), estimate)).item()
        rows.append((track.name, "vocals", "si_sdr", "", score))
    write_scores(out, rows)


@dataclass(frozen=True)
class Recipe:
    data: TrackSet = TrackSet(size=24)
    width: int = 64
    config: TrainConfig = TrainConfig((Phase(epochs=12),), batch=4)

    def pipeline(self) -> Stage:
        data = Stage(prepare_tracks, data=self.data, segment=32_000)
        model = Stage(train_mask, data=data, width=self.width, config=self.config)
        return Stage(score_mask, data=data, model=model, width=self.width)


study = Study(
    name="mask",
    question="How wide must a mask's network be?",
    baseline=Recipe(),
    factors=[Factor("width", {"64": {}, "4": {"width": 4}})],
    reference={"width": "64"},
    metric="si_sdr",
    target="vocals",
    seeded=["config.seed"],
    seeds=range(2),
    smoke=lambda recipe: recipe,
)
if __name__ == "__main__":
    run(study)
