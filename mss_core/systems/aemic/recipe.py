"""AE-MIC: does separation before instrument classification help?  [Ligtenberg, master's thesis]

::

    prepare_tracks -> cut_tracks -> train_autoencoder -+
                          |                            +-> separate_tracks -> score_stems -----------------+
                          +----------------------------+                          ^ removal                |
                                                       v                                                   v
    prepare_clips -> cut_clips ----------------> separate_clips -> [remove_soft] -> [reconstruct]      evaluate
                          |                                             |                |                 ^
                          +--- base ------------------------------------+ raw, post -----+-> train_classifier -> infer

The classifier reads the clips themselves (``base``), the separator's output (``raw``), or that without its soft bins
(``post``). Raw and post share one separation; what removes soft bins is inference.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mss_core import audio, names
from mss_core.data.sets import ClipSet, TrackSet
from mss_core.errors import choose
from mss_core.graph import Stage
from mss_core.losses import Penalty
from mss_core.models import check, model
from mss_core.recipe import override
from mss_core.stages.evaluate import evaluate
from mss_core.stages.infer import InferConfig, infer
from mss_core.stages.prepare import prepare_clips, prepare_tracks
from mss_core.systems.aemic.augmentation import Augmentation
from mss_core.systems.aemic.classifier import THESIS
from mss_core.systems.aemic.cut import cut_clips, cut_tracks
from mss_core.systems.aemic.decibels import Grid, Reconstruction, SoftBins
from mss_core.systems.aemic.process import reconstruct, remove_soft
from mss_core.systems.aemic.score import score_stems
from mss_core.systems.aemic.separate import separate_clips, separate_tracks
from mss_core.systems.aemic.train_autoencoder import train_autoencoder
from mss_core.systems.aemic.train_classifier import Learning, train_classifier
from mss_core.training import Phase, TrainConfig

STEMS = ("base", "raw", "post")
THESIS_FILTERS = (16, 32, 64, 128, 256, 512)
"""The separator's filters as the thesis prints them; those of the released code are the default."""


@dataclass(frozen=True)
class AEMIC:
    """The recipe: everything that decides a result, in one frozen tree.

    Attributes:
        separation, tagging: the two data sets, at one sample rate. Whole recordings are held out for validation; the
            thesis's split by excerpt is ``tagging.split="thesis"``.
        targets: the sources whose sum is separated.
        grid: segments and their spectrograms.
        augmentation: of the separator's training segments.
        autoencoder: the separator, with every argument.
        autoencoder_loss: ``"l1"`` (the thesis) or ``"mse"``, on the representation in dB.
        autoencoder_penalty: on the separator's kernels; the released code has none.
        train_autoencoder: None where the classifier reads the clips themselves.
        stem: what the classifier reads, ``"base"``, ``"raw"`` or ``"post"``.
        removal: of soft bins, for ``"post"``.
        reconstruction: how a separated spectrogram reaches the classifier. Whether the thesis re-analysed waveforms is
            not known.
        classifier: with every argument; ``models.aemic_classifier.THESIS`` is the one the thesis describes.
        train_classifier: None to score the separator alone.
    """

    separation: TrackSet = TrackSet("musdb18hq", samplerate=44_100)
    tagging: ClipSet = ClipSet("irmas", labels="label", samplerate=44_100, valid_share=0.2, split="grouped")
    targets: tuple[str, ...] = ("vocals", "other")
    grid: Grid = Grid()
    augmentation: Augmentation = Augmentation()
    autoencoder: dict[str, Any] = field(default_factory=lambda: model("spectrogram_autoencoder"))
    autoencoder_loss: str = "l1"
    autoencoder_penalty: Penalty = Penalty("l2", 1e-4)
    train_autoencoder: TrainConfig | None = TrainConfig((Phase("adam", lr=3e-4, epochs=375),), batch=8)
    stem: str = "post"
    removal: SoftBins = SoftBins()
    reconstruction: Reconstruction = Reconstruction()
    classifier: dict[str, Any] = field(default_factory=lambda: model("aemic_classifier"))
    learning: Learning = Learning()
    train_classifier: TrainConfig | None = TrainConfig((Phase("adam", lr=3e-4, epochs=500, patience=50),), batch=16)

    def __post_init__(self) -> None:
        choose("stem", self.stem, STEMS)
        names.check("autoencoder loss", self.autoencoder_loss, ("l1", "mse"))
        for source in self.targets:
            choose("target (the data set's 'separation.sources' lack it)", source, self.separation.sources)
        if not self.targets:
            raise ValueError("'targets' is empty: name the sources whose sum is separated")
        if self.separation.samplerate != self.tagging.samplerate:
            raise ValueError(
                f"'separation.samplerate' and 'tagging.samplerate' must be equal, since the separator "
                f"hears the clips; got {self.separation.samplerate} and {self.tagging.samplerate}"
            )
        shape = [self.grid.size, self.grid.hop, self.grid.samples]
        check({**self.autoencoder, "grid": shape}, "autoencoder")
        check({**self.classifier, "grid": shape}, "classifier")
        if self.train_autoencoder is None and self.stem != "base":
            raise ValueError(f"stem {self.stem!r} needs a separator: 'train_autoencoder' is left out (None)")
        if self.train_autoencoder is None and self.train_classifier is None:
            raise ValueError("nothing to evaluate: both 'train_autoencoder' and 'train_classifier' are left out (None)")

    def rehearsal(self) -> AEMIC:
        """Tracks and clips of one segment: the full autoencoder takes seconds for each."""
        seconds = self.grid.samples / self.separation.samplerate
        separation, tagging = self.separation, self.tagging
        return replace(
            self,
            separation=separation if separation.excerpt is None else replace(separation, excerpt=seconds),
            tagging=tagging if tagging.excerpt is None else replace(tagging, excerpt=seconds),
        )

    def pipeline(self) -> Stage:
        """The stage graph. Every edge is a keyword argument."""
        grid = self.grid
        needs_separator = self.stem != "base" or self.train_classifier is None
        separator = self._separator() if needs_separator else None
        removal = self.removal if self.stem == "post" else None
        scores = separator and Stage(
            score_stems,
            segments=self._segments(None),
            grid=grid,
            targets=self.targets,
            removal=removal,
            reconstruction=self.reconstruction,
            estimates=Stage(separate_tracks, data=self._segments(None), model=separator, grid=grid),
        )
        if self.train_classifier is None:
            assert scores is not None
            return scores
        clips = Stage(prepare_clips, data=self.tagging, segment=grid.samples)
        read = cut = Stage(cut_clips, data=clips, samples=grid.samples)
        if self.stem != "base":
            read = Stage(separate_clips, data=cut, model=separator, grid=grid)
            if removal is not None:
                read = Stage(remove_soft, data=read, grid=grid, removal=removal)
            if self.reconstruction.how != "direct":
                read = Stage(reconstruct, data=read, clips=cut, grid=grid, reconstruction=self.reconstruction)
        stored = self.stem != "base" and self.reconstruction.how == "direct"
        classifier = Stage(
            train_classifier,
            data=read,
            classifier=self.classifier,
            grid=grid,
            stored=stored,
            learning=self.learning,
            train=self.train_classifier,
        )
        # An item is one segment: one slice of just enough of the slicer's hops to hold it.
        frames = audio.frames_of(grid.bins * grid.frames if stored else grid.samples) + 1
        predictions = Stage(
            infer,
            data=read,
            model=classifier,
            frames=frames,
            config=InferConfig(hop=frames, aggregate="mean", split="test"),
        )
        return Stage(evaluate, data=read, predictions=predictions, separation=scores)

    def _segments(self, augmentation: Augmentation | None) -> Stage:
        tracks = Stage(prepare_tracks, data=self.separation, segment=self.grid.samples)
        return Stage(
            cut_tracks, data=tracks, targets=self.targets, samples=self.grid.samples, augmentation=augmentation
        )

    def _separator(self) -> Stage:
        when = self.augmentation.when
        return Stage(
            train_autoencoder,
            data=self._segments(self.augmentation if when == "static" else None),
            autoencoder=self.autoencoder,
            grid=self.grid,
            loss=self.autoencoder_loss,
            regularisation=self.autoencoder_penalty,
            augmentation=self.augmentation if when == "on_the_fly" else None,
            train=self.train_autoencoder,
        )


AS_DESCRIBED: dict[str, Any] = {
    "tagging.split": "thesis",
    "autoencoder.filters": THESIS_FILTERS,
    "autoencoder.bottleneck_skip": False,
    "autoencoder.output": "transposed",
    **{f"classifier.{name}": value for name, value in THESIS.items()},
}
"""The system as the thesis describes it, as departures from :func:`aemic`: filters 16 to 512, a last block of one
channel, a strided classifier with batch norm, the gate at -60 dB, L2, excerpts held out at random. One thing is not as
printed: kernels start with a deviation of 0.05, since with the printed 1.0 the tanh saturates."""
AS_RUN: dict[str, Any] = {
    "tagging.split": "part1_valid",
    "augmentation.stretch": (0.5, 0.5),
    "augmentation.semitones": (-4, -3, -2, 2, 3, 4),
    "autoencoder_penalty.weight": 0.0,
    "removal.rule": "expander",
    "learning.select_on": "test",
    "learning.regularisation.kind": "l1",
    "learning.regularisation.weight": 1e-5,
    "train_classifier.phases.0.lr": 2.5e-4,
}
"""The system as the released code ran it, as departures from :func:`aemic`: its augmentation, no penalty on the
separator, the expander, L1, its rate, the epoch chosen by the test clips and all 8,006 excerpts trained on."""


def aemic() -> AEMIC:
    """The released code's networks with the thesis's settings and honest validation, on MUSDB18-HQ and IRMAS: a mixture
    of two readings, each of which has a name of its own (:func:`aemic_thesis`, :func:`aemic_as_run`)."""
    return AEMIC()


def aemic_thesis() -> AEMIC:
    """As the thesis describes it (:data:`AS_DESCRIBED`)."""
    return override(AEMIC(), AS_DESCRIBED)


def aemic_as_run() -> AEMIC:
    """As the released code ran it (:data:`AS_RUN`)."""
    return override(AEMIC(), AS_RUN)


def separator_only(epochs: int) -> AEMIC:
    """The separator on its own, its output scored as it is."""
    return AEMIC(
        stem="raw",
        train_autoencoder=TrainConfig((Phase("adam", lr=3e-4, epochs=epochs),), batch=8),
        train_classifier=None,
    )


def smoke(recipe: AEMIC) -> AEMIC:
    """The same recipe on the embedded synthetic music, small enough for minutes on two CPU cores.

    16 kHz, segments of 2 s as 256 bins x 128 frames, narrow networks whose batch norm follows quickly, higher rates.
    The classifier strides and has batch norm, as the thesis describes it: a hundred steps do not train seven layers
    without.
    """
    return replace(
        recipe,
        separation=TrackSet("synthetic", sources=recipe.separation.sources, size=48),
        tagging=ClipSet("synthetic", labels="tags", size=160),
        grid=Grid(512, 256, 32_256),
        autoencoder={
            **recipe.autoencoder,
            "filters": (8, 8, 16, 16, 32, 64),
            "latent": 32,
            "last": 8,
            "bn_momentum": 0.1,
        },
        train_autoencoder=_shorter(recipe.train_autoencoder, lr=5e-3, batch=8, epochs=5, epoch_steps=80),
        classifier={
            **recipe.classifier,
            **THESIS,
            "filters": (8, 16, 16, 32, 32, 64, 64),
            "bn_momentum": 0.1,
            "dropout": 0.1,
        },
        train_classifier=_shorter(recipe.train_classifier, lr=3e-3, batch=8, epochs=12),
    )


def _shorter(
    train: TrainConfig | None, lr: float, batch: int, epochs: int, epoch_steps: int | None = None
) -> TrainConfig | None:
    if train is None:
        return None
    phase = replace(train.phases[0], lr=lr, epochs=epochs, patience=None)
    return replace(train, phases=(phase,), batch=batch, epoch_steps=epoch_steps)
