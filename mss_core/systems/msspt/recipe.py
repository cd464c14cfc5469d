"""MSSPT: separation pre-training for music tagging and genre [Garoufis, Zlatintsi and Maragos].

::

    prepare_tracks  -> pretrain ------------------+-> score_separator --------------+
                                                  v                                 v
    prepare_clips   -> train_tail -> finetune (separator + tail) -> infer -> evaluate
    prepare_weights -----^--------------^

    prepare_published -> embed -> probe -> evaluate             ``embedding``: a linear classifier in place of all that

Leaving a stage out is a departure: without ``pretrain`` the U-Net starts at random, without ``finetune`` the tail
alone is scored, without ``joining.stage2`` the joint model's tail starts from published weights or at random.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from mss_core import audio
from mss_core.augment import Augment
from mss_core.augment import check as check_augment
from mss_core.data.sets import ClipSet, TrackSet, WeightSet
from mss_core.errors import choose
from mss_core.graph import Stage
from mss_core.losses import separation_loss
from mss_core.models import check, model
from mss_core.recipe import override
from mss_core.stages.evaluate import evaluate
from mss_core.stages.infer import InferConfig, infer
from mss_core.stages.prepare import prepare_clips, prepare_tracks
from mss_core.stages.prepare_published import prepare_published
from mss_core.stages.pretrain import Mixing, pretrain
from mss_core.stages.train_tail import train_tail
from mss_core.systems.msspt.embed import Embedding, embed, probe
from mss_core.systems.msspt.finetune import Joining, finetune
from mss_core.systems.msspt.score_separator import score_separator
from mss_core.systems.msspt.weights import prepare_weights
from mss_core.training import Phase, TrainConfig

LEARNING_RATES = {"vocals": 1e-3, "bass": 1e-4, "drums": 2e-4, "other": 3e-4, "multiple": 3e-4}
"""Stage 1 learning rate of each source [released code]."""

SOURCES: dict[str, dict[str, Any]] = {
    "no U-Net": {"pretrain": None, "finetune": None},
    "random init": {"pretrain": None},
    **{
        source: {"sources": (source,), "pretrain.phases.0.lr": LEARNING_RATES[source]}
        for source in ("bass", "drums", "other", "vocals")
    },
    "bass": {"sources": ("bass",), "pretrain.phases.0.lr": LEARNING_RATES["bass"], "mixing.summed": 1},
    "multiple": {"sources": ("vocals", "other", "drums", "bass"), "pretrain.phases.0.lr": LEARNING_RATES["multiple"]},
}
"""The rows of Table I, as departures: what the separator was trained to separate. Additive augmentation is of all
sources with the exception of bass, as the paper has it; the released code sums two segments of bass as well
(``mixing.summed=2``)."""

EMBEDDINGS: dict[str, dict[str, Any]] = {
    f"musicnn, {layer}, {pooling}": {
        "pretrain": None,
        "finetune": None,
        "embedding": Embedding(layer=layer, pooling=pooling),
    }
    for layer, pooling in (
        *(("penultimate", "mean"), ("penultimate", "both"), ("max_pool", "mean"), ("mean_pool", "mean")),
        *(("cnn3", "both"), ("timbral", "both")),
    )
}
"""Frozen embeddings of the published musicnn with a linear classifier, as departures: layer and pooling over a clip."""

STARTS: dict[str, dict[str, Any]] = {"the tail": {}, "Glorot": {"joint.start": "glorot", "joining.inflation": "random"}}
"""What the joint CNN's adapters and its estimate channels start from, of which the paper says nothing: zero, so that
the model begins as the trained tail and the U-Net gets no gradient at the first step, or at random, as Keras has it."""

CNN_PHASES = (
    Phase("adam", lr=1e-4, patience=10),
    Phase("sgd", lr=1e-3, patience=10),
    Phase("sgd", lr=1e-4, patience=10),
    Phase("sgd", lr=1e-5, patience=10),
)
"""Stages 2 and 3: the next optimiser starts from the best weights after more than 10 epochs without a new best.

The paper says "the setup proposed in [32]", which is Adam with a weight decay of 1e-4, then SGD with momentum 0.9
(Nesterov) and the same decay. The released Keras code has neither momentum nor decay, and so has this;
``train_tail.phases.0.weight_decay`` and the like change it."""

AST_PHASES = (
    Phase("adam", lr=5e-5, epochs=15, decay=0.5, decay_epochs=2, decay_after=5),
    Phase("sgd", lr=1e-4, epochs=2),
)
"""Stages 2 and 3 of the AST: halved every second epoch after the fifth. The rate of the last two is not published."""

FULL_TAIL = (128, 128, 256, 256, 256, 256, 512)
"""Widths of the Short-Chunk CNN itself; MSSPT halves them."""

AST: dict[str, Any] = {
    "tail": model("ast_tail"),
    "joint": model("joint_ast"),
    "frames": 768,
    "infer.hop": 384,
    "imagenet": WeightSet(),
    "train_tail.phases": AST_PHASES,
    "train_tail.batch": 4,
    "finetune.phases": AST_PHASES,
    "finetune.batch": 4,
}
"""The AST in place of the CNN, as departures: 7.70-s segments, ImageNet weights (``--data imagenet=FOLDER``)."""

RELEASED: dict[str, Any] = {
    "joint.adapt": "concat",
    "joint.mel_of_log": True,
    "joint.start": "glorot",
    "joining.stage2": False,
    "tail.widths": (64, 128, 128, 128, 128, 128, 256),
}
"""The joint CNN of the released code, an earlier design than the paper's, as departures. For a multi-source separator
there also ``separator.pooling="average"`` and ``joining.pooling="max"``."""


Set = TypeVar("Set", TrackSet, ClipSet)


@dataclass(frozen=True)
class MSSPT:
    """The recipe: everything that decides a result, in one frozen tree.

    Attributes:
        separation, tagging, genre: the data sets.
        task: which of the last two the classifier is for, ``"tagging"`` or ``"genre"``.
        sources: what the separator separates; several give a multi-source separator.
        frames: segment length of the classifier, STFT frames (384 at 16 kHz and hop 160 are 3.862 s); the
            separator's is ``mixing.frames``.
        separator, tail, joint: models, with every argument.
        imagenet: published weights that the tail starts from; None is a random start.
        separation_loss: ``"l1"`` in the time domain (the paper), or another of SEPARATION_LOSSES.
        pretrain, train_tail, finetune: how each stage trains; None leaves it out.
        augment: of the clips in stages 2 and 3; none in the paper.
        embedding: in place of all training, a linear classifier on a published tagger's embeddings; None in the paper.
    """

    separation: TrackSet = TrackSet("musdb18")
    tagging: ClipSet = ClipSet("mtat", labels="label")
    genre: ClipSet = ClipSet("fma_medium_minus_small", labels="label")
    task: str = "tagging"
    sources: tuple[str, ...] = ("vocals",)
    frames: int = 384
    separator: dict[str, Any] = field(default_factory=lambda: model("unet"))
    tail: dict[str, Any] = field(default_factory=lambda: model("cnn_tail"))
    joint: dict[str, Any] = field(default_factory=lambda: model("joint_cnn"))
    imagenet: WeightSet | None = None
    mixing: Mixing = field(default_factory=Mixing)
    separation_loss: str = "l1"
    pretrain: TrainConfig | None = TrainConfig(
        (Phase("adam", lr=1e-3, epochs=300, decay=0.9, decay_steps=15_000),), batch=8, epoch_steps=1000, select="last"
    )
    train_tail: TrainConfig | None = TrainConfig(CNN_PHASES, batch=16, max_epochs=200)
    finetune: TrainConfig | None = TrainConfig(CNN_PHASES, batch=16, max_epochs=200)
    augment: Augment = Augment()
    joining: Joining = Joining()
    infer: InferConfig = InferConfig()
    embedding: Embedding | None = None

    def __post_init__(self) -> None:
        for source in self.sources:
            choose("source to separate (the data set's 'separation.sources' lack it)", source, self.separation.sources)
        if not self.sources:
            raise ValueError("'sources' is empty: to do without separation leave 'pretrain' and 'finetune' out (None)")
        if self.finetune is None and self.train_tail is None:
            raise ValueError("nothing to evaluate: both 'train_tail' and 'finetune' are left out (None)")
        check(self.separator, "separator")
        check(self.tail, "tail")
        channels = len(self.sources) + 1
        check(
            {
                **self.joint,
                "separator": {**self.separator, "sources": len(self.sources)},
                "tail": {**self.tail, "channels": channels},
            },
            "joint",
        )
        choose("task", self.task, ("tagging", "genre"))
        for name, rate in (
            ("separation", self.separation.samplerate),
            ("tagging", self.tagging.samplerate),
            ("genre", self.genre.samplerate),
        ):
            if rate != 16_000:
                raise ValueError(
                    f"'{name}.samplerate' must be 16000 Hz, what the STFT and mel bands are made for; not {rate}"
                )
        wanted = self.tail.get("frames", 384)
        if self.frames != wanted:
            raise ValueError(f"'frames' is {self.frames}; the tail {self.tail['name']!r} reads {wanted}")
        if self.imagenet is not None and self.tail["name"] != "ast_tail":
            raise ValueError(f"'imagenet' holds a transformer's weights; the tail is {self.tail['name']!r}")
        check_augment(self.augment, "augment", clips=True)
        if self.mixing.kind == "accompaniment" and len(self.sources) > 1:
            raise ValueError(
                f"mixing of kind 'accompaniment' is made for one source, not for {', '.join(self.sources)}"
            )
        separation_loss(self.separation_loss)
        if self.mixing.segment_seconds * self.separation.samplerate < audio.samples_of(self.mixing.frames):
            raise ValueError(
                f"'mixing.segment_seconds' ({self.mixing.segment_seconds:g} s) is shorter than a crop of "
                f"{self.mixing.frames} frames"
            )
        if self.pretrain is not None and self.finetune is None:
            raise ValueError("'pretrain' would be trained for nothing: 'finetune' is left out (None)")

    def rehearsal(self) -> MSSPT:
        """Clips of two segments that overlap by half; of one for the AST, which takes a second, and for genres, whose
        clips are many. Tracks of four segments of the separator, and of five where a mixture is of all sources, which
        takes seven of two tracks."""
        hops = 3 if len(self.sources) == 1 else 4
        seconds = self.mixing.segment_seconds + hops * self.mixing.hop_seconds
        segments = 1.0 if self.tail["name"] == "ast_tail" or self.task == "genre" else 1.5
        heard = segments * audio.samples_of(self.frames) / self.tagging.samplerate
        return replace(
            self,
            separation=_first(self.separation, seconds),
            tagging=_first(self.tagging, heard),
            genre=_first(self.genre, heard),
        )

    def pipeline(self) -> Stage:
        """The stage graph. Every edge is a keyword argument."""
        tracks = self.pretrain and Stage(
            prepare_tracks, data=self.separation, segment=audio.samples_of(self.mixing.frames)
        )
        clips = Stage(
            prepare_clips,
            data=self.genre if self.task == "genre" else self.tagging,
            segment=audio.samples_of(self.frames),
        )
        if self.embedding is not None:
            return self._probed(clips, self.embedding)
        weights = self.imagenet and Stage(prepare_weights, data=self.imagenet, frames=self.frames)
        separator = self.pretrain and Stage(
            pretrain,
            data=tracks,
            sources=self.sources,
            separator=self.separator,
            mixing=self.mixing,
            loss=self.separation_loss,
            train=self.pretrain,
        )
        separation = separator and Stage(
            score_separator, data=tracks, model=separator, sources=self.sources, frames=self.mixing.frames
        )
        tail = self.train_tail and Stage(
            train_tail,
            data=clips,
            tail=self.tail,
            frames=self.frames,
            train=self.train_tail,
            pretrained=weights,
            augment=self.augment,
        )
        stage2 = tail if self.joining.stage2 else None
        joint = self.finetune and Stage(
            finetune,
            data=clips,
            separator_model=self.separator,
            sources=len(self.sources),
            tail_model=self.tail,
            joint=self.joint,
            joining=self.joining,
            frames=self.frames,
            train=self.finetune,
            separator=separator,
            tail=stage2,
            pretrained=weights,
            augment=self.augment,
        )
        predictions = Stage(infer, data=clips, model=joint or tail, frames=self.frames, config=self.infer)
        return Stage(evaluate, data=clips, predictions=predictions, separation=separation)

    @staticmethod
    def _probed(clips: Stage, embedding: Embedding) -> Stage:
        tagger = Stage(prepare_published, data=embedding.weights, tagger=embedding.tagger)
        predictions = Stage(
            probe,
            data=clips,
            embeddings=Stage(embed, data=clips, tagger=tagger),
            layer=embedding.layer,
            pooling=embedding.pooling,
            strengths=embedding.strengths,
        )
        return Stage(evaluate, data=clips, predictions=predictions, separation=None)


def _first(data: Set, seconds: float) -> Set:
    return data if data.excerpt is None else replace(data, excerpt=seconds)


def msspt_cnn(departures: Mapping[str, Any] | None = None) -> MSSPT:
    """The CNN variant with the paper's settings and data; ``departures`` (dotted paths) change it."""
    return override(MSSPT(), departures or {})


def smoke(recipe: MSSPT) -> MSSPT:
    """The same recipe on the embedded synthetic music, small enough for minutes on two CPU cores.

    A few hundred steps cannot follow the paper's schedules: learning rates are raised to at least 2e-3 (separation),
    4e-3 (a CNN before it is joined) and 1e-3, batch norm gets torch's momentum 0.1 (0.01 would not settle), each stage
    keeps its first phase, and the best weights by validation loss are kept. A CNN has no dropout, which a network that
    is too small for its data does not need, and its rate falls along a cosine: its seeds differ by an SD of 2.2 points
    of area, and did by 3 in 180 steps at a steady rate. Separators read crops of 128 frames, a third of the
    classifier's: in as many steps a separator of one source learned no less from them. An AST is a small one that
    starts at random, on segments as long as the CNN's. Slices of a clip lie side by side. No block has fewer than 8
    channels: torch's batch norm on a CPU takes 13 times as long for 4 (``benchmarks/small_steps.py``).
    """
    small = {"widths": (8, 8, 16, 32, 48, 48), "post": 8, "bn_momentum": 0.1}
    if "cnn" in recipe.tail["name"]:
        train_tail = _shorter(recipe.train_tail, lr=4e-3, batch=8, epochs=8, epoch_steps=36, cosine=0.05)
    else:
        train_tail = _shorter(recipe.train_tail, lr=1e-3, batch=16, epochs=20)
    return replace(
        recipe,
        separation=TrackSet("synthetic", sources=recipe.separation.sources, size=160),
        tagging=ClipSet("synthetic", labels="tags", size=180),
        genre=ClipSet("synthetic", labels="genre", size=180),
        separator={**recipe.separator, **small},
        tail={**recipe.tail, **_SMALL[recipe.tail["name"]]},
        joint={**recipe.joint, **_SMALL[recipe.joint["name"]]},
        imagenet=None,
        frames=384,
        infer=replace(recipe.infer, hop=384),
        mixing=replace(recipe.mixing, frames=128, valid_segments=24),
        pretrain=_shorter(recipe.pretrain, lr=2e-3, batch=4, epochs=4, epoch_steps=50),
        train_tail=train_tail,
        finetune=_shorter(recipe.finetune, lr=1e-3, batch=8, epochs=1, epoch_steps=5),
    )


_SMALL: dict[str, dict[str, Any]] = {
    "cnn_tail": {"widths": (8, 8, 16, 16, 16, 16, 32), "dense": 64, "bn_momentum": 0.1, "dropout": 0.0},
    "ast_tail": {"frames": 384, "width": 48, "depth": 6, "heads": 4, "hidden": 96},
    "joint_cnn": {},
    "joint_ast": {"inject": (2, 3, 4, 5, 6)},
}


def _shorter(
    train: TrainConfig | None,
    lr: float,
    batch: int,
    epochs: int,
    epoch_steps: int | None = None,
    cosine: float | None = None,
) -> TrainConfig | None:
    if train is None:
        return None
    first = train.phases[0]
    phase = replace(first, lr=max(first.lr, lr), epochs=epochs, patience=None, decay=1.0, decay_epochs=None)
    if cosine is not None:
        phase = replace(phase, cosine=cosine)
    return replace(train, phases=(phase,), batch=batch, epoch_steps=epoch_steps, select="best")
