"""MSSPT: separation pre-training for music tagging and genre [Garoufis, Zlatintsi and Maragos].

::

    prepare_tracks -> pretrain ------------------+-> score_separator --------------+
                                                 v                                 v
    prepare_clips  -> train_tail -> finetune (separator + tail) -> infer -> evaluate

Leaving a stage out is a departure: without ``pretrain`` the U-Net starts at random, without ``finetune`` the tail
alone is scored, without ``train_tail`` the joint model's tail starts at random.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mss_core import audio
from mss_core.augment import Augment
from mss_core.augment import check as check_augment
from mss_core.data.sets import ClipSet, TrackSet
from mss_core.graph import Stage
from mss_core.losses import SEPARATION_LOSSES
from mss_core.models import check, model
from mss_core.naming import choose
from mss_core.stages.evaluate import evaluate
from mss_core.stages.finetune import Joining, finetune
from mss_core.stages.infer import InferConfig, infer
from mss_core.stages.prepare import prepare_clips, prepare_tracks
from mss_core.stages.pretrain import Mixing, pretrain
from mss_core.stages.score_separator import score_separator
from mss_core.stages.train_tail import train_tail
from mss_core.training import Phase, TrainConfig

LEARNING_RATES = {"vocals": 1e-3, "bass": 1e-4, "drums": 2e-4, "other": 3e-4, "multiple": 3e-4}
"""Stage 1 learning rate of each source [released code]."""

CNN_PHASES = (
    Phase("adam", lr=1e-4, patience=10),
    Phase("sgd", lr=1e-3, patience=10),
    Phase("sgd", lr=1e-4, patience=10),
    Phase("sgd", lr=1e-5, patience=10),
)
"""Stages 2 and 3: the next optimiser starts from the best weights after more than 10 epochs without a new best."""


@dataclass(frozen=True)
class MSSPT:
    """The recipe: everything that decides a result, in one frozen tree.

    Attributes:
        separation, tagging: the two data sets.
        sources: what the separator separates; several give a multi-source separator.
        frames: segment length of all stages, STFT frames (384 at 16 kHz and hop 160 are 3.862 s).
        separator, tail: models, with every argument.
        separation_loss: ``"l1"`` in the time domain (the paper), or another of SEPARATION_LOSSES.
        pretrain, train_tail, finetune: how each stage trains; None leaves it out.
        augment: of the clips in stages 2 and 3; none in the paper.
    """

    separation: TrackSet = TrackSet("stems")
    tagging: ClipSet = ClipSet("clips", labels="label")
    sources: tuple[str, ...] = ("vocals",)
    frames: int = 384
    separator: dict[str, Any] = field(default_factory=lambda: model("unet"))
    tail: dict[str, Any] = field(default_factory=lambda: model("cnn_tail"))
    mixing: Mixing = field(default_factory=Mixing)
    separation_loss: str = "l1"
    pretrain: TrainConfig | None = TrainConfig(
        (Phase("adam", lr=1e-3, epochs=300, decay=0.9, decay_steps=15_000),), batch=8, epoch_steps=1000,
        select="last")
    train_tail: TrainConfig | None = TrainConfig(CNN_PHASES, batch=16, max_epochs=200)
    finetune: TrainConfig | None = TrainConfig(CNN_PHASES, batch=16, max_epochs=200)
    augment: Augment = Augment()
    joining: Joining = Joining()
    infer: InferConfig = InferConfig()

    def __post_init__(self) -> None:
        for source in self.sources:
            choose("source to separate (the data set's 'separation.sources' lack it)", source, self.separation.sources)
        if not self.sources:
            raise ValueError("'sources' is empty: to do without separation leave 'pretrain' and 'finetune' out (None)")
        if self.finetune is None and self.train_tail is None:
            raise ValueError("nothing to evaluate: both 'train_tail' and 'finetune' are left out (None)")
        for field_name, described in (("separator", self.separator), ("tail", self.tail)):
            check(described, field_name)
        for name, rate in (("separation", self.separation.samplerate), ("tagging", self.tagging.samplerate)):
            if rate != 16_000:
                raise ValueError(f"'{name}.samplerate' must be 16000 Hz, what the STFT and mel bands are made for; "
                                 f"not {rate}")
        if self.frames != 384 and self.tail["name"] == "cnn_tail":
            raise ValueError(f"the CNN tail reads 384 frames, not {self.frames}")
        check_augment(self.augment, "augment", clips=True)
        if self.mixing.kind == "accompaniment" and len(self.sources) > 1:
            raise ValueError(f"mixing of kind 'accompaniment' is made for one source, not "
                             f"for {', '.join(self.sources)}")
        choose("separation loss", self.separation_loss, SEPARATION_LOSSES)
        if self.mixing.segment_seconds * self.separation.samplerate < audio.samples_of(self.frames):
            raise ValueError(f"'mixing.segment_seconds' ({self.mixing.segment_seconds:g} s) is shorter than a crop of "
                             f"{self.frames} frames")
        if self.pretrain is not None and self.finetune is None:
            raise ValueError("'pretrain' would be trained for nothing: 'finetune' is left out (None)")

    def pipeline(self) -> Stage:
        """The stage graph. Every edge is a keyword argument."""
        segment = audio.samples_of(self.frames)
        tracks = Stage(prepare_tracks, data=self.separation, segment=segment)
        clips = Stage(prepare_clips, data=self.tagging, segment=segment)
        separator = self.pretrain and Stage(
            pretrain, data=tracks, sources=self.sources, separator=self.separator,
            mixing=replace(self.mixing, frames=self.frames), loss=self.separation_loss, train=self.pretrain)
        separation = separator and Stage(
            score_separator, data=tracks, model=separator, sources=self.sources, frames=self.frames)
        tail = self.train_tail and Stage(
            train_tail, data=clips, tail=self.tail, frames=self.frames, train=self.train_tail,
            augment=self.augment)
        joint = self.finetune and Stage(
            finetune, data=clips, separator_model=self.separator, sources=len(self.sources), tail_model=self.tail,
            joining=self.joining, frames=self.frames, train=self.finetune, separator=separator, tail=tail,
            augment=self.augment)
        predictions = Stage(infer, data=clips, model=joint or tail, frames=self.frames, config=self.infer)
        return Stage(evaluate, data=clips, predictions=predictions, separation=separation)


def msspt_cnn() -> MSSPT:
    """The CNN variant with the paper's settings: MUSDB18-HQ's layout for separation, clips.csv for the task."""
    return MSSPT()


def smoke(recipe: MSSPT) -> MSSPT:
    """The same recipe on the embedded synthetic music, small enough for minutes on two CPU cores.

    A few hundred steps cannot follow the paper's schedules: learning rates are raised to at least 2e-3 (separation)
    and 1e-3, batch norm gets torch's momentum 0.1 (0.01 would not settle), each stage keeps its first phase, the
    best weights by validation loss are kept, and training runs in bfloat16 (half the time of float32 on CPUs that
    have it; ``--set finetune.precision=float32`` and the like where yours does not).
    """
    small = model("unet", widths=(4, 8, 16, 32, 48, 48), post=4, bn_momentum=0.1)
    tail = model("cnn_tail", widths=(8, 8, 16, 16, 16, 16, 32), dense=64, bn_momentum=0.1)
    return replace(
        recipe,
        separation=TrackSet("synthetic", sources=recipe.separation.sources, size=160),
        tagging=ClipSet("synthetic", labels="tags", size=180),
        separator={**recipe.separator, **{k: small[k] for k in ("widths", "post", "bn_momentum")}},
        tail={**recipe.tail, **{k: tail[k] for k in ("widths", "dense", "bn_momentum")}},
        mixing=replace(recipe.mixing, valid_segments=24),
        pretrain=_shorter(recipe.pretrain, lr=2e-3, batch=4, epochs=5, epoch_steps=50),
        train_tail=_shorter(recipe.train_tail, lr=1e-3, batch=16, epochs=20),
        finetune=_shorter(recipe.finetune, lr=1e-3, batch=16, epochs=3),
    )


def _shorter(train: TrainConfig | None, lr: float, batch: int, epochs: int,
             epoch_steps: int | None = None) -> TrainConfig | None:
    if train is None:
        return None
    first = train.phases[0]
    phase = replace(first, lr=max(first.lr, lr), epochs=epochs, patience=None, decay=1.0)
    return replace(train, phases=(phase,), batch=batch, epoch_steps=epoch_steps, select="best", precision="bfloat16")
