"""Four-stem separators on other music than they were trained on [Zhang, Sec. 5.4; Sawata et al. 2021].

::

    prepare_stems -> train_stems (X-UMX) --+
    prepare_tracks -> pretrain (U-Net) ----+-> score_songs on the test songs of any data set
    prepare_separator (weights on disk) ---+

With ``released`` the weights on disk are read, and nothing is trained.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mss_core import audio
from mss_core.augment import Augment
from mss_core.data.sets import TrackSet, WeightSet
from mss_core.errors import choose
from mss_core.graph import Stage
from mss_core.models import check, model
from mss_core.stages.prepare import prepare_tracks
from mss_core.stages.prepare_separator import LAYOUTS, prepare_separator
from mss_core.stages.pretrain import Mixing, pretrain
from mss_core.stages.scoring import Scoring
from mss_core.systems.transfer.prepare import prepare_stems
from mss_core.systems.transfer.score import score_songs
from mss_core.systems.transfer.train import StemTraining, train_stems
from mss_core.training import Phase, TrainConfig

STEMS = ("bass", "drums", "vocals", "other")
SEPARATORS = ("xumx", "unet", "hdemucs")
TRAIN = TrainConfig(
    tuple(
        Phase("adam", lr=1e-3 * 0.3**fallen, epochs=1000, patience=80, weight_decay=1e-5, eps=1e-8)
        for fallen in range(5)
    ),
    batch=14,
    max_epochs=1000,
)
"""X-UMX: the rate falls to 0.3 of itself after 80 epochs without a new best [released code]."""


@dataclass(frozen=True)
class Transfer:
    """The recipe.

    Attributes:
        separator: ``"xumx"``, ``"unet"`` (MSSPT's, mono at 16 kHz) or ``"hdemucs"`` (released weights only).
        released: take the released weights of ``--data <separator>=FOLDER`` in place of training.
        weights: these weights, named as the separator.
        training: tracks to train on.
        test: tracks to score on; MS21's percussion is scored as drums.
        channels: of X-UMX.
        xumx: the network; one iteration of the Wiener filter follows it, as the released weights are scored with.
    """

    separator: str = "xumx"
    released: bool = False
    weights: WeightSet = WeightSet("xumx")
    training: TrackSet = TrackSet("musdb18hq", sources=STEMS, samplerate=44_100)
    test: TrackSet = TrackSet("musdb18hq", sources=STEMS, samplerate=44_100)
    channels: int = 2
    xumx: dict[str, Any] = field(default_factory=lambda: model("xumx", wiener_iterations=1))
    unet: dict[str, Any] = field(default_factory=lambda: model("unet", pooling="average"))
    stems: StemTraining = StemTraining()
    mixing: Mixing = field(default_factory=Mixing)
    train: TrainConfig = TRAIN
    scoring: Scoring = Scoring(30.0, 15.0)  # Table 8

    def __post_init__(self) -> None:
        choose("separator", self.separator, SEPARATORS)
        if self.channels not in (1, 2):
            raise ValueError(f"'channels' is 1 or 2, not {self.channels}")
        if self.channels == 1 and self.stems.augment.channel_swap:
            object.__setattr__(
                self, "stems", replace(self.stems, augment=replace(self.stems.augment, channel_swap=0.0))
            )
        if self.weights.name != self.separator:
            object.__setattr__(self, "weights", WeightSet(self.separator))
        if self.released:
            choose("separator with released weights", self.separator, LAYOUTS)
        elif self.separator == "hdemucs":
            raise ValueError(
                "'hdemucs' is not trained here: set released=true and pass --data hdemucs=FOLDER with "
                "torchaudio's weights"
            )
        check({**self.xumx, "channels": self.channels}, "xumx")
        missing = set(self.rows().values()) - set(self.test.sources)
        if missing:
            raise ValueError(
                f"'test.sources' lacks {', '.join(sorted(missing))}, which {self.test.name} has for "
                f"{', '.join(STEMS)}; it holds {', '.join(self.test.sources)}"
            )

    def rehearsal(self) -> Transfer:
        """Segments of two seconds and songs of three, scored in windows of two: X-UMX at full width is dear. The U-Net
        asks for songs of four segments of its own."""
        four = self.mixing.segment_seconds + 3 * self.mixing.hop_seconds
        training, test = (
            data if data.excerpt is None else replace(data, excerpt=seconds)
            for data, seconds in ((self.training, four if self.separator == "unet" else 3.0), (self.test, 3.0))
        )
        return replace(
            self,
            training=training,
            test=test,
            stems=replace(self.stems, seconds=min(2.0, self.stems.seconds)),
            scoring=replace(self.scoring, window=min(2.0, self.scoring.window), hop=min(1.0, self.scoring.hop)),
        )

    def rows(self) -> dict[str, str]:
        """Which source of the test set each stem is compared with."""
        names = {"drums": "percussion"} if self.test.name == "ms21" else {}
        return {stem: names.get(stem, stem) for stem in STEMS}

    def pipeline(self) -> Stage:
        """The stage graph. Every edge is a keyword argument."""
        return Stage(
            score_songs,
            data=self.test,
            rows=self.rows(),
            model=self._separator(),
            seen=None if self.released else self.training,
            scoring=self.scoring,
        )

    def _separator(self) -> Stage:
        if self.released:
            return Stage(prepare_separator, data=self.weights, layout=self.separator)
        if self.separator == "unet":
            tracks = Stage(
                prepare_tracks,
                data=replace(self.training, samplerate=16_000),
                segment=audio.samples_of(self.mixing.frames),
            )
            return Stage(
                pretrain,
                data=tracks,
                sources=STEMS,
                separator=self.unet,
                mixing=self.mixing,
                loss="l1",
                train=self.train,
            )
        tracks = Stage(
            prepare_stems,
            data=self.training,
            channels=self.channels,
            segment=round(self.stems.seconds * self.training.samplerate),
        )
        return Stage(
            train_stems,
            data=tracks,
            model={**self.xumx, "channels": self.channels, "stems": list(STEMS)},
            training=self.stems,
            train=self.train,
        )


def transfer() -> Transfer:
    """X-UMX trained on MUSDB18-HQ, scored on its test songs by Table 8's protocol."""
    return Transfer()


def smoke(recipe: Transfer) -> Transfer:
    """The same recipe on the embedded synthetic music: a small mono network at 16 kHz, windows of 4 s.

    Every test set becomes that music, with the mixture and levels it has: MS21 and MUSDB18 are then the same songs.
    """
    if recipe.released:
        raise ValueError("a smoke run trains a small separator of its own: leave 'released' out")
    synthetic = TrackSet("synthetic", sources=STEMS, size=30)
    first = replace(recipe.train.phases[0], lr=3e-3, epochs=3, patience=None, weight_decay=0.0)
    return replace(
        recipe,
        training=synthetic,
        test=replace(synthetic, mixture=recipe.test.mixture, rms_db=recipe.test.rms_db),
        channels=1,
        xumx=model("xumx", size=1024, hop=256, max_bin=400, hidden=32, layers=1),
        unet=model("unet", widths=(4, 8, 8, 8, 16, 16), post=4, bn_momentum=0.1),
        stems=replace(recipe.stems, seconds=1.0, valid_segments=4, augment=Augment(gain=(0.25, 1.25))),
        mixing=replace(recipe.mixing, valid_segments=8),
        train=replace(recipe.train, phases=(first,), batch=4, epoch_steps=20, select="best"),
        scoring=replace(recipe.scoring, window=4.0, hop=2.0),
    )
