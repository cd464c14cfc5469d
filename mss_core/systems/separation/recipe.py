"""A separator of anybody's, trained and scored: the network, its loss and its mixer by name, in mono or stereo.

::

    prepare_channels -> train_separator -> score_separation
              |                                   ^
              +-----------------------------------+
              +--> score_untrained                  where ``method`` needs no network

How tracks are cut into chunks at inference, and how they are scored, is no part of a training: such factors are swept
without training again.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mss_core.data.sets import TrackSet
from mss_core.errors import choose
from mss_core.graph import Stage
from mss_core.models import check
from mss_core.stages.prepare_channels import prepare_channels
from mss_core.stages.scoring import Scoring
from mss_core.systems.separation.score import UNTRAINED, Inference, score_separation, score_untrained
from mss_core.systems.separation.train import Mixtures, criterion, settled, train_separator
from mss_core.training import Phase, TrainConfig

STEREO = "mss_core.data.synthetic.stereo:survey"
"""The embedded synthetic music in two channels, as the name of a track set."""
TRAIN = TrainConfig((Phase("adamw", lr=1e-3, epochs=100, weight_decay=1e-2, eps=1e-8, clip_norm=5.0),), batch=8)


@dataclass(frozen=True)
class Separation:
    """The recipe.

    Attributes:
        separator: the network, ``mss_core.models.model("package.module:Class", ...)``. It is called with mixtures
            (batch, channel, time) and returns (batch, source, channel, time). Arguments ``sources`` (how many),
            ``channels`` and ``samplerate`` are filled in where it takes them.
        data: tracks with stems.
        sources: what is separated, among those of ``data``; empty: all of them.
        channels: 1 or 2.
        method: ``"network"``, or what needs none: ``"ideal_mask"`` (the ideal ratio mask, of the true sources) or
            ``"attenuated"`` (the mixture 12 dB down, as every source).
        mixing: how training mixtures are made.
        loss: ``{"name": ..., and keyword arguments}``: ``l1``, ``mse``, ``si_sdr``, ``weighted_sdr`` or
            ``package.module:function`` of (estimates, references) or (estimates, references, mixtures), with one value
            an item.
        train, inference, scoring: see there.
    """

    separator: dict[str, Any]
    data: TrackSet = TrackSet("musdb18hq", samplerate=44_100)
    sources: tuple[str, ...] = ()
    channels: int = 2
    method: str = "network"
    mixing: Mixtures = Mixtures()
    loss: dict[str, Any] = field(default_factory=lambda: {"name": "l1"})
    train: TrainConfig = TRAIN
    inference: Inference = Inference()
    scoring: Scoring = Scoring(1.0, 1.0)

    def __post_init__(self) -> None:
        if self.channels not in (1, 2):
            raise ValueError(f"'channels' is 1 or 2, not {self.channels}")
        choose("method", self.method, ("network", *UNTRAINED))
        for source in self.sources:
            choose("source of the data set", source, self.data.sources)
        if self.channels == 1 and self.mixing.augment.channel_swap:
            raise ValueError("'mixing.augment.channel_swap' needs 'channels' 2")
        criterion(self.loss)
        check(settled(self.separator, self.targets(), self.channels, self.data.samplerate), "separator")

    def targets(self) -> tuple[str, ...]:
        """The sources that are separated."""
        return self.sources or self.data.sources

    def rehearsal(self) -> Separation:
        """Segments of two seconds at most: items of a rehearsal are short."""
        seconds = min(2.0, self.mixing.seconds)
        return replace(self, mixing=replace(self.mixing, seconds=seconds))

    def pipeline(self) -> Stage:
        """The stage graph. Every edge is a keyword argument."""
        data = Stage(
            prepare_channels,
            data=self.data,
            channels=self.channels,
            segment=round(self.mixing.seconds * self.data.samplerate),
        )
        if self.method != "network":
            return Stage(score_untrained, data=data, method=self.method, sources=self.targets(), scoring=self.scoring)
        trained = Stage(
            train_separator,
            data=data,
            sources=self.targets(),
            separator=self.separator,
            mixing=self.mixing,
            loss=self.loss,
            train=self.train,
        )
        return Stage(
            score_separation,
            data=data,
            model=trained,
            sources=self.targets(),
            inference=self.inference,
            scoring=self.scoring,
        )


def smoke(recipe: Separation) -> Separation:
    """The same recipe on the embedded music, in as many channels and at the same rate: sixteen tracks of eight seconds,
    segments of a second, forty steps of two items a batch. The network stays as it is."""
    name = STEREO if recipe.channels == 2 else "synthetic"
    first = replace(recipe.train.phases[0], epochs=4, patience=None, warmup=recipe.train.phases[0].warmup and 10)
    return replace(
        recipe,
        data=replace(recipe.data, name=name, size=16, split="", subset="", excerpt=None),
        mixing=replace(recipe.mixing, seconds=1.0, valid_segments=8),
        train=replace(recipe.train, phases=(first,), batch=2, epoch_steps=10),
        inference=replace(recipe.inference, seconds=recipe.inference.seconds and 2.0),
    )
