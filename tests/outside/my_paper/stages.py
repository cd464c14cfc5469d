import torch

from mss_core import artefact, models
from mss_core.data.batches import stacked, validation_segments
from mss_core.data.mixing import CoherentMixer
from mss_core.data.packed import Packed
from mss_core.losses import separation_loss
from mss_core.training import fit

STAGE_RESOURCES = {"evaluate": {"gpu": 0.25, "warm": 1}}  # a training gets a GPU and a process of its own unasked


def train(*, data, network, loss, config, version: int = 1, out, ctx) -> None:
    packed, criterion = Packed(data), separation_loss(loss)[0]
    mixer = CoherentMixer(packed, ("vocals",), 32_000, 16_000, 16_000, config.seed)
    segments = validation_segments(packed, 16_000, 8)[0]
    held_out = stacked(packed, segments, "mixture", 16_000), stacked(packed, segments, "vocals", 16_000)[:, None]
    torch.manual_seed(config.seed)
    module = models.build(network)

    def batch(step):
        return [torch.from_numpy(part) for part in mixer.batch(step, config.batch)]

    def error(module, pair):
        return criterion(module(pair[0].to(ctx.device)), pair[1].to(ctx.device)).mean()

    def validate(module):
        return {"loss": float(error(module, held_out))}

    best = fit(module, config, epoch_steps=4, batch=batch, loss=error, validate=validate, ctx=ctx)
    artefact.write_trained(out, network, module, best)


def evaluate(*, data, model, version: int = 1, out, ctx) -> None:
    packed, module, rows = Packed(data), models.load(model), []
    for track in packed.split("test"):
        estimate = module(torch.from_numpy(packed.read(track))[None])[0, 0].detach().numpy()
        error = float(((estimate - packed.read(track, "vocals")) ** 2).mean() ** 0.5)
        rows.append((track.name, "vocals", "rms_error", "", error))
    artefact.write_scores(out, rows)
