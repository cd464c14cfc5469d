"""Stage ``train_separator``: any separator of waveforms with any loss on any mixer, in one channel or two."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mss_core import models, names
from mss_core.artefact import write_trained
from mss_core.augment import Augment, augmented
from mss_core.data.batches import Feed, sounding, stacked, validation_segments, waveforms
from mss_core.data.channels import Sided, beside, sided
from mss_core.data.mixing import CoherentMixer, IncoherentMixer, Mixer, mix
from mss_core.data.packed import Packed
from mss_core.graph import Context
from mss_core.losses import LOSSES, weighted_sdr
from mss_core.runtime import seeded
from mss_core.training import TrainConfig, fit

KINDS = ("incoherent", "coherent")
LOSS_NAMES = ("l1", "mse", "si_sdr", "weighted_sdr")


@dataclass(frozen=True)
class Mixtures:
    """How training mixtures are made.

    Attributes:
        kind: ``"incoherent"``, every source from another place of another song; ``"coherent"``, songs as they are. Or a
            mixer of another package, ``package.module:Class``, that takes what ``CoherentMixer`` takes.
        seconds: of a training segment, which may start at any sample.
        augment: of the sources before they are summed.
        valid_segments: coherent segments scored at each validation, spread over the validation tracks.
    """

    kind: str = "incoherent"
    seconds: float = 6.0
    augment: Augment = Augment()
    valid_segments: int = 100

    def __post_init__(self) -> None:
        names.check("kind of training mixture", self.kind, KINDS)
        if self.seconds <= 0 or self.valid_segments < 1:
            raise ValueError(f"'seconds' and 'valid_segments' must be positive; got {self}")


def train_separator(
    *,
    data: Path,
    sources: tuple[str, ...],
    separator: dict[str, Any],
    mixing: Mixtures,
    loss: dict[str, Any],
    train: TrainConfig,
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Train on mixtures of the training tracks; leaves model.json, weights.pt and best.json.

    The separator is called with mixtures (batch, channel, time) and returns estimates (batch, source, channel, time).
    A source has no part in the validation loss of a track in which it is silent; where the sources sound in no
    validation track, nothing is selected and the last weights are kept. Raises ValueError for estimates of another
    shape, before anything is trained.
    """
    tracks = Sided(Packed(data))
    length = round(mixing.seconds * tracks.samplerate)
    mixer = mixer_of(tracks, sources, mixing.kind, length, train.seed)
    rows = sided(mixer.rows, tracks.channels)

    def draw(step: int) -> Any:
        where, gains = mixer.draw(step, train.batch)
        return beside(where, tracks.channels), gains

    feed = Feed(tracks.packed, rows, length, draw, ctx)
    compared = criterion(loss)
    with seeded(train.seed, ctx.device):
        described = settled(separator, sources, tracks.channels, tracks.samplerate)
        module = models.build(described)

        def batch(step: int) -> tuple[Tensor, Tensor]:
            parts, gains = feed(step)
            voices = mixer.voices(waveforms(parts)) * gains[..., None, None]
            return mix(mixer, augmented(voices, mixing.augment, train.seed, step))

        def objective(module: nn.Module, pair: tuple[Tensor, Tensor]) -> Tensor:
            return _losses(module, *pair, compared).mean()

        held_out = validation_segments(tracks, length, mixing.valid_segments, sources)  # type: ignore[arg-type]

        def validate(module: nn.Module) -> dict[str, float]:
            losses = []
            for segments in held_out:
                heard = sounding(segments[0][0], sources)
                references = [stacked(tracks, segments, sources[place], length) for place in heard]  # type: ignore[arg-type]
                mixtures = stacked(tracks, segments, "mixture", length)  # type: ignore[arg-type]
                pair = mixtures.to(ctx.device), torch.stack(references, 1).to(ctx.device)
                losses.append(_losses(module, *pair, compared, heard))
            return {"loss": float(torch.cat(losses).mean())}

        epoch_steps = train.epoch_steps or max(1, mixer.items // train.batch)
        judge = validate if held_out else None
        best = fit(module, train, epoch_steps=epoch_steps, batch=batch, loss=objective, validate=judge, ctx=ctx)
    write_trained(out, described, module, best)


def mixer_of(tracks: Sided, sources: tuple[str, ...], kind: str, length: int, seed: int) -> Mixer:
    """The mixer of the training tracks: of segments of twice the length, from which one is cut anywhere."""
    if kind == "incoherent":
        once = dict.fromkeys(sources, 1)
        return IncoherentMixer(tracks, sources, once, 2 * length, length, length, seed, summed=1)  # type: ignore[arg-type]
    found = names.named("kind of training mixture", kind, {"coherent": CoherentMixer})
    mixer: Mixer = found(tracks, sources, 2 * length, length, length, seed)
    return mixer


def settled(separator: dict[str, Any], sources: Sequence[str], channels: int, samplerate: int) -> dict[str, Any]:
    """A recipe's description of a separator with those of the facts ``sources``, ``channels`` and ``samplerate`` that
    it takes as arguments."""
    facts = {"sources": len(sources), "channels": channels, "samplerate": samplerate}
    return {**separator, **{name: facts[name] for name in facts if name in models.arguments(separator["name"])}}


def criterion(described: dict[str, Any]) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """The loss that a recipe describes, ``{"name": ..., **keyword arguments}``, as a function of (estimates,
    references, mixtures) with one value per item.

    A loss takes (estimates, references), both (batch, source, channel, time), or also the mixtures (batch, 1, channel,
    time). Raises ValueError for a name that is none, arguments that it does not take, and another number of arguments.
    """
    given = {name: value for name, value in described.items() if name != "name"}
    if "name" not in described:
        raise ValueError(f"a loss is {{'name': ..., and its keyword arguments}}, not {described!r}")
    ours = {**LOSSES, "weighted_sdr": weighted_sdr}
    names.check("loss", described["name"], LOSS_NAMES)
    loss = names.named("loss", described["name"], ours)
    needed = [
        name
        for name, parameter in inspect.signature(loss).parameters.items()
        if parameter.default is parameter.empty and name not in given
    ]
    try:
        inspect.signature(loss).bind(*needed, **given)
    except TypeError as error:
        raise ValueError(f"loss {described['name']!r}: {error}") from None
    if len(needed) not in (2, 3):
        raise ValueError(
            f"loss {described['name']!r} takes {len(needed)} arguments; it should take (estimates, references) or "
            "(estimates, references, mixtures)"
        )
    called = functools.partial(loss, **given)
    return called if len(needed) == 3 else lambda estimates, references, mixtures: called(estimates, references)


def _losses(
    module: nn.Module,
    mixtures: Tensor,
    references: Tensor,
    compared: Callable[[Tensor, Tensor, Tensor], Tensor],
    heard: Sequence[int] | None = None,
) -> Tensor:
    """The loss of each mixture, over all sources or those at the places ``heard``, of which the references are."""
    estimates = module(mixtures).float()
    if heard is not None:
        estimates = estimates[:, list(heard)]
    if estimates.shape != references.shape:
        raise ValueError(
            f"the separator returned {tuple(estimates.shape)} for mixtures {tuple(mixtures.shape)}; (batch, source, "
            f"channel, time) is {tuple(references.shape)} here"
        )
    return compared(estimates, references, mixtures[:, None])
