"""IASS: separation that knows when an instrument plays [Hung and Lerch 2020]. One network per target.

::

    prepare_tracks -> prepare_activity, prepare_statistics      labels and input scaling, shared by all trainings
    prepare_voice                                               vocals labelled by a detector of speech (``voice``)
    prepare_accompaniment                                       MM: single tracks to mix with, shared by all trainings
    for each target:
        train_target -> infer_target -> infer_gate -> score_target
                             |                              |
                             +---> score_activity -> evaluate_targets

Everything after ``infer_target`` reads its masks and activities: gates, thresholds, filters and aggregations are swept
without running a network. ``method`` puts an ideal mask, or the mixture itself, in the place of a network.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from mss_core.data.sets import SINGLE_TRACKS, TrackSet, WeightSet
from mss_core.errors import choose
from mss_core.graph import Stage
from mss_core.models import check, model
from mss_core.recipe import override
from mss_core.stages.prepare import prepare_tracks
from mss_core.stages.prepare_channels import prepare_channels
from mss_core.systems.iass.evaluate import evaluate_targets
from mss_core.systems.iass.gate import Gate
from mss_core.systems.iass.infer import IDEAL, infer_ideal, infer_target
from mss_core.systems.iass.infer_gate import infer_gate
from mss_core.systems.iass.masking import Transform
from mss_core.systems.iass.prepare import prepare_accompaniment, prepare_activity, prepare_statistics
from mss_core.systems.iass.score import Scoring, score_target
from mss_core.systems.iass.score_activity import score_activity
from mss_core.systems.iass.train import Remix, train_target
from mss_core.systems.iass.voice import VOICE, prepare_voice
from mss_core.training import Phase, TrainConfig

MM_TARGETS = ("vocals", "electric_guitar", "acoustic_guitar", "piano", "bass", "drums")
MUSDB_TARGETS = ("vocals", "bass", "drums", "other")
METHODS = ("network", *IDEAL)
SISEC = (2048, 1024)
"""Size and hop of the transform behind SiSEC 2018's ideal masks (its oracle scripts: scipy's stft, nperseg 2048)."""

TRAIN = TrainConfig(
    (Phase("adam", lr=1e-3, epochs=1000, patience=100, weight_decay=1e-5, factor=0.3, plateau=80, eps=1e-8),), batch=8
)
"""Batch, patience and decay of the released vocals, bass and drums trainings; the text's patience is 100 for all.

The released scheduler and stopping differ in detail: a cooldown of 10 epochs, an improvement counts from a share of
1e-4 on, and training stops at ``patience`` epochs without one; here no cooldown, any improvement, more than
``patience``."""
EXCEPTIONS: dict[str, dict[str, int]] = {
    "acoustic_guitar": {"patience": 140},
    "electric_guitar": {"patience": 140},
    "piano": {"batch": 5, "patience": 10, "plateau": 4},
}
"""Where the released JSON files of single targets differ from that."""
OPEN_UNMIX: dict[str, Any] = {
    "separator": model("open_unmix"),
    "train.batch": 16,
    "train.phases.0.patience": 140,
    "exceptions": {},
    "gate.kind": "off",
}
"""Open-Unmix with its own protocol, as departures from :class:`IASS`; in mono, as all of the paper is, where STEREO is
not added: the released system hears two channels."""
MUSDB: dict[str, Any] = {
    "data.name": "musdb18hq",
    "data.sources": MUSDB_TARGETS,
    "data.mixture": "published",
    "data.rms_db": None,
    "data.valid_share": 0.14,
    "targets": MUSDB_TARGETS,
    "mixing.kind": "one of each",
}
"""MUSDB18-HQ, in mono, as departures from :class:`IASS`, which is on MM."""


STEREO_MUSIC = "mss_core.data.synthetic.stereo:survey"
"""The embedded synthetic music in two channels, as the name of a track set."""
STEREO: dict[str, Any] = {"channels": 2, "mixing.channel_swap": 0.5}
"""Two channels, and Open-Unmix's exchange of them in training, as departures from a recipe on MUSDB18-HQ."""


@dataclass(frozen=True)
class IASS:
    """The recipe: everything that decides a result, in one frozen tree.

    Attributes:
        data: tracks with stems; ``targets`` are among its sources.
        transform, bandwidth: of the network's input; it reads the frequencies up to ``bandwidth`` Hz.
        method: ``"network"``, or what needs none: ``"ibm"`` (SiSEC's ideal binary mask, of a 2048/1024 transform),
            ``"ibm_dominant"`` (the target louder than all else), ``"irm"`` (ideal ratio mask), ``"mixture"``.
        separator: the model, with every argument; ``widths`` of its blocks.
        mixing: how training mixtures are made.
        alpha: weight of the activity loss; 0 trains without labels. The paper has no value ("manually tuned"); a
            deleted script of the authors' repository has 2, for an LSTM forerunner. studies/label_weight.py varies it.
        voice: weights of a detector of speech, ``WeightSet("silero_vad")``, that labels the vocals in place of energy
            tracking and published confidences; None in the paper.
        label_threshold: confidence from which a source counts as active.
        train: how a target is trained; ``exceptions`` gives single targets another batch, patience or plateau.
        gate: post-processing by activity.
        wiener: Wiener filter iterations after the gate; 0 for none, as in the paper.
        scoring: frames and aggregation of BSS Eval.
        channels: 1, the down-mix, as in the paper; or 2, each with a mask of its own, from a network that hears both.
        groups: targets whose activities are scored as one, ``{"vocals": ("male singer", "female singer")}``.
    """

    data: TrackSet = TrackSet(
        "mm", sources=(*MM_TARGETS, "other"), samplerate=44_100, mixture="sum", rms_db=-20.0, valid_share=0.1
    )
    targets: tuple[str, ...] = MM_TARGETS
    transform: Transform = Transform()
    bandwidth: float = 16_000.0
    method: str = "network"
    separator: dict[str, Any] = field(default_factory=lambda: model("iass_unet"))
    mixing: Remix = Remix()
    alpha: float = 1.0
    label_threshold: float = 0.5
    train: TrainConfig = TRAIN
    exceptions: dict[str, dict[str, int]] = field(default_factory=lambda: dict(EXCEPTIONS))
    gate: Gate = Gate()
    wiener: int = 0
    scoring: Scoring = Scoring()
    groups: dict[str, tuple[str, ...]] = field(default_factory=dict)
    voice: WeightSet | None = None
    channels: int = 1

    def __post_init__(self) -> None:
        choose("method", self.method, METHODS)
        check(self.separator, "separator")
        if not self.targets or len(set(self.targets)) < len(self.targets):
            raise ValueError(f"'targets' must name at least one source, each once; got {self.targets}")
        for target in self.targets:
            choose("target (the data set's 'data.sources' lack it)", target, self.data.sources)
        for group, members in self.groups.items():
            for member in members:
                choose(f"member of 'groups.{group}' among the targets", member, self.targets)
        for target, changes in self.exceptions.items():
            for name in changes:
                choose(f"setting in 'exceptions.{target}'", name, ("batch", "patience", "plateau"))
        if self.alpha < 0 or self.bandwidth <= 0 or self.wiener < 0:
            raise ValueError(
                f"'alpha' and 'wiener' are at least 0 and 'bandwidth' above it; got {self.alpha}, "
                f"{self.wiener} and {self.bandwidth}"
            )
        if self.channels not in (1, 2):
            raise ValueError(f"'channels' is 1 or 2, not {self.channels}")
        if self.channels == 2 and self.mixing.kind == "accompaniment":
            raise ValueError("'channels' 2 needs mixing.kind 'one of each': tracks of accompaniment are packed in mono")
        if self.channels == 1 and self.mixing.channel_swap:
            raise ValueError("'mixing.channel_swap' needs 'channels' 2")
        if self.voice is not None:
            choose("source that 'voice' labels (of 'data.sources')", VOICE, self.data.sources)
        if self.gate.classified:
            self._require_labels()
        if self.data.name == "mm":
            self._require_mm()

    def _require_mm(self) -> None:
        """Raise ValueError where MM would be read with MUSDB18's settings."""
        wanted = {
            "data.mixture": (self.data.mixture, "sum"),
            "data.rms_db": ("a level" if self.data.rms_db is not None else None, "a level"),
            "mixing.kind": (self.mixing.kind, "accompaniment"),
        }
        if ":" in self.mixing.kind:  # a mixer of another package, which knows what it makes
            wanted.pop("mixing.kind")
        wrong = [f"{path}={value!r}" for path, (value, right) in wanted.items() if value != right]
        if wrong or "other" not in self.data.sources or not set(self.targets) <= set(MM_TARGETS):
            raise ValueError(
                f"data set 'mm' has mixtures that are the sum of levelled rows, targets {', '.join(MM_TARGETS)} beside "
                f"'other', and accompaniments; this recipe has {', '.join([*wrong, f'targets={list(self.targets)}'])}. "
                "Start from iass_mm(), or set data.mixture, data.rms_db, data.sources, targets and mixing.kind as well"
            )

    def rehearsal(self) -> IASS:
        """Batches of two for every target, chunks of 1.5 s, and a gate that an untrained classifier opens. Tracks of
        six seconds: in fewer a source may sound throughout, which leaves its activity without a score."""
        exceptions = {
            t: {n: 2 if n == "batch" else v for n, v in found.items()} for t, found in self.exceptions.items()
        }
        return replace(
            self,
            data=self.data if self.data.excerpt is None else replace(self.data, excerpt=6.0),
            mixing=replace(self.mixing, seconds=min(1.5, self.mixing.seconds)),
            exceptions=exceptions,
            gate=replace(self.gate, threshold=min(self.gate.threshold, 0.2)),
        )

    def _require_labels(self) -> None:
        """Raise ValueError where the gate asks for a classifier that nothing trains."""
        wanted = f"gate {self.gate.kind!r} needs the activity that a trained classifier predicts"
        if self.method != "network":
            raise ValueError(f"{wanted}, and method {self.method!r} has none; choose gate 'off' or 'oracle'")
        if not self.separator.get("classifier"):
            raise ValueError(
                f"{wanted}, and separator {self.separator['name']!r} has none; choose gate 'off' or 'oracle'"
            )
        if self.alpha == 0:
            raise ValueError(
                f"{wanted}, and 'alpha' is 0 (trained without labels); choose gate 'off' or 'oracle', or "
                "give 'alpha' a value above 0"
            )

    def labelled(self) -> bool:
        """Whether the networks are trained with activity labels."""
        return self.method == "network" and self.alpha > 0 and bool(self.separator.get("classifier"))

    def pipeline(self) -> Stage:
        """The stage graph. Every edge is a keyword argument."""
        segment = round(self.mixing.seconds * self.data.samplerate)
        whole = self._analysis()
        tracks = (
            Stage(prepare_tracks, data=self.data, segment=segment)
            if self.channels == 1
            else Stage(prepare_channels, data=self.data, channels=self.channels, segment=segment)
        )
        labels = Stage(prepare_activity, data=tracks, tracks=self.data)
        if self.voice is not None:
            labels = Stage(prepare_voice, data=tracks, activity=labels, voice=self.voice)
        masks = tuple(self._masks(target, tracks, labels) for target in self.targets)
        scores = []
        for target, mask in zip(self.targets, masks, strict=True):
            gate = Stage(
                infer_gate,
                data=tracks,
                activity=labels,
                masks=mask,
                target=target,
                transform=whole,
                label_threshold=self.label_threshold,
                gate=self.gate.settled(),
            )
            scores.append(
                Stage(
                    score_target,
                    data=tracks,
                    masks=mask,
                    gate=gate,
                    target=target,
                    transform=whole,
                    wiener=self.wiener,
                    remainder="mixture" if self.method == "mixture" else "difference",
                    window=self.scoring.window,
                    hop=self.scoring.hop,
                    over_frames=self.scoring.over_frames,
                )
            )
        activity = (
            Stage(
                score_activity,
                data=tracks,
                activity=labels,
                masks=masks,
                targets=self.targets,
                groups=self.groups,
                transform=whole,
                label_threshold=self.label_threshold,
            )
            if self.labelled()
            else None
        )
        return Stage(
            evaluate_targets,
            scores=tuple(scores),
            targets=self.targets,
            activity=activity,
            over_tracks=self.scoring.over_tracks,
        )

    def _analysis(self) -> Transform:
        """The transform of whole tracks: centred, whatever training segments are; SiSEC's for its binary mask."""
        return Transform(*SISEC) if self.method == "ibm" else replace(self.transform, centred=True)

    def _pool(self) -> Stage | None:
        """The single tracks that accompaniments are drawn from, of a set that has them."""
        if self.mixing.kind != "accompaniment" or self.data.name not in SINGLE_TRACKS:
            return None
        segment = round(self.mixing.seconds * self.data.samplerate)
        return Stage(prepare_accompaniment, data=self.data, segment=segment)

    def _masks(self, target: str, tracks: Stage, labels: Stage) -> Stage:
        whole = self._analysis()
        if self.method != "network":
            return Stage(infer_ideal, data=tracks, target=target, kind=self.method, transform=whole)
        trained = Stage(
            train_target,
            data=tracks,
            pool=self._pool(),
            activity=labels if self.labelled() else None,
            statistics=Stage(prepare_statistics, data=tracks, transform=whole),
            target=target,
            separator=self.separator,
            transform=self.transform,
            bandwidth=self.bandwidth,
            mixing=self.mixing,
            alpha=self.alpha if self.labelled() else 0.0,
            label_threshold=self.label_threshold if self.labelled() else 0.5,
            train=self._train(target),
        )
        return Stage(infer_target, data=tracks, model=trained, target=target, transform=whole)

    def _train(self, target: str) -> TrainConfig:
        changes: dict[str, Any] = dict(self.exceptions.get(target, {}))
        train = replace(self.train, batch=changes.pop("batch", self.train.batch))
        return replace(train, phases=tuple(replace(phase, **changes) for phase in train.phases))


def iass_mm() -> IASS:
    """The six instruments of MedleyDB and Mixing Secrets, with the paper's settings."""
    return IASS()


def iass_musdb() -> IASS:
    """The four sources of MUSDB18-HQ, with the paper's settings (mono)."""
    return override(IASS(), MUSDB)


def iass_musdb_stereo() -> IASS:
    """The same in stereo."""
    return override(iass_musdb(), STEREO)


def smoke(recipe: IASS) -> IASS:
    """The same recipe on the embedded synthetic music, small enough for minutes on two CPU cores.

    Targets that the synthetic set lacks give way to its four sources; a shorter transform at 16 kHz, narrow blocks,
    short chunks, and a few hundred steps without the paper's schedule.
    """
    sources = ("vocals", "drums", "bass", "other")
    widths = (8, 12, 16, 20)[: len(recipe.separator.get("widths", ()))]
    narrow = {"widths": widths, "classifier": (16, 16, 16), "hidden": 64}
    kept = {name: value for name, value in narrow.items() if recipe.separator.get(name)}
    first = replace(recipe.train.phases[0], lr=3e-3, epochs=6, patience=None, plateau=None)
    return replace(
        recipe,
        data=TrackSet(STEREO_MUSIC if recipe.channels == 2 else "synthetic", sources=sources, size=100),
        targets=tuple(target for target in recipe.targets if target in sources),
        transform=Transform(1024, 512, recipe.transform.centred),
        separator={**recipe.separator, **kept},
        mixing=replace(recipe.mixing, kind="one of each", seconds=3.0, valid_segments=30),
        train=replace(recipe.train, phases=(first,), batch=8, epoch_steps=50),
        exceptions={},
    )
