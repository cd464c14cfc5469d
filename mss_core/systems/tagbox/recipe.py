"""TagBox: separation by steering frozen models [Manilow, O'Reilly, Seetharaman and Pardo 2022].

::

    prepare_test_tracks (or prepare_tracks) --------------------------+------------------------+
    (train_vqvae | prepare_vqvae) ------------+                       v                        v
    (train_tail | prepare_tagger), a tagger --+-> infer_steered, a target ----------> score_estimates
                                                  (or infer_classic, infer_separated)

Nothing in it is trained for separation, and only the tracks to be separated are packed. Where no released weights are
given, VQ-VAE and taggers are trained here, on the training tracks' mixtures and on labelled clips, and the report says
so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mss_core import audio
from mss_core.data.packaged import PACKAGED
from mss_core.data.sets import ClipSet, TrackSet, WeightSet
from mss_core.errors import choose
from mss_core.graph import Stage
from mss_core.models import check, model
from mss_core.recipe import override
from mss_core.stages.prepare import prepare_clips, prepare_tracks
from mss_core.stages.prepare_published import prepare_published
from mss_core.stages.prepare_separator import LAYOUTS, prepare_separator
from mss_core.stages.train_tail import train_tail
from mss_core.systems.tagbox.infer_classic import METHODS, infer_classic
from mss_core.systems.tagbox.infer_separated import infer_separated
from mss_core.systems.tagbox.infer_steered import infer_steered
from mss_core.systems.tagbox.judge import judge_estimates
from mss_core.systems.tagbox.mask_codec import prepare_codec
from mss_core.systems.tagbox.prepare import prepare_songs, prepare_test_tracks
from mss_core.systems.tagbox.released import prepare_tagger, prepare_vqvae
from mss_core.systems.tagbox.score import score_estimates
from mss_core.systems.tagbox.steering import TAGGER_RATE, SteerConfig
from mss_core.systems.tagbox.train_vqvae import train_vqvae
from mss_core.training import Phase, TrainConfig

TAGGERS = ("fcn", "harmonic_cnn", "short_chunk_cnn", "musicnn", "published_musicnn", "published_vgg")
SUPERVISED = ("vocals", "drums", "bass", "other")
"""What the separators with released weights give."""
SLAKH_SONGS = 50
TAGS: dict[str, dict[str, tuple[str, ...]]] = {
    "mtat": {
        "vocals": (
            "vocal",
            "female",
            "male",
            "singing",
            "vocals",
            "woman",
            "male vocal",
            "man",
            "choir",
            "voice",
            "male voice",
            "female vocal",
            "female voice",
            "choral",
        ),
        "drums": ("drums", "beat", "beats"),
        "guitar": ("guitar",),
        "piano": ("piano", "harpsichord"),
        "strings": ("strings", "violin", "cello"),
    },
    "mtg_jamendo": {
        "vocals": ("instrument---voice",),
        "bass": ("instrument---bass",),
        "drums": ("instrument---drums", "instrument---drummachine"),
        "guitar": ("instrument---acousticguitar", "instrument---electricguitar", "instrument---guitar"),
        "piano": ("instrument---piano",),
        "strings": ("instrument---strings", "instrument---violin"),
    },
    "msd": {"vocals": ("female vocalists", "male vocalists", "female vocalist"), "guitar": ("guitar",)},
    "synthetic": {
        "vocals": ("vocals", "female voice", "male voice"),
        "drums": ("drums",),
        "bass": ("bass",),
        "other": ("guitar", "piano", "organ", "strings", "saxophone"),
    },
}
"""What says a target, by the set a tagger was trained on. MTAT's are the released presets, which have no bass; the
paper does not print MTG-Jamendo's, so they are the tags of the instrument. ``msd`` are last.fm's tags of the Million
Song Dataset, of which none says drums or bass."""


@dataclass(frozen=True)
class Tagger:
    """One that listens: its name, and the folder of its released weights (None: it is trained here)."""

    name: str = "fcn"
    weights: WeightSet | None = WeightSet("fcn_mtg_jamendo")


@dataclass(frozen=True)
class TagBox:
    """The recipe; the defaults are the paper's.

    Attributes:
        tracks: what is separated (its test split).
        targets: stems to estimate, each on its own.
        limit: test tracks at most; None: all.
        method: ``"steer"``; or one of ``hpss``, ``repet_sim``, ``attenuated``, which need no model; or a supervised
            separator with released weights, ``xumx`` or ``hdemucs``.
        taggers: who listens (their losses are averaged).
        vocabulary: set that the taggers were trained on, which names the tags of each target.
        wanted: other tags for a target than those of TAGS, e.g. a genre.
        clips: labelled clips to train taggers on that have no released weights.
        vqvae_weights: folder of the released VQ-VAE; None: one is trained on the tracks' training split.
        separator_weights: folder of a supervised separator's.
        vqvae, models: every argument of the VQ-VAE and of each tagger.
        train_vqvae, vqvae_seconds, train_tagger: how they are trained where they are not released.
        steer: how latents are moved.
        codec: what is steered: the latent of a ``"vqvae"`` (the paper), or a ``"mask"`` itself, from one half on (in
            neither paper nor code), with ``steer.codebook`` "none", ``steer.mask`` false and ``steer.lr`` in log odds.
        songs: ``"test"``: test tracks are separated; ``"all"``: those of every split, where nothing is trained on them.
        seconds: with ``songs="all"``, of each track; None: the whole track.
        judges: taggers that are asked whether estimates sound like their target, at most one that steers and one that
            does not; none: nobody is asked.
        output: ``"residual"`` is the estimate, the mixture without the masked mixture (Algorithm 1, line 11), or
            ``"masked"``: the masked mixture itself (nowhere in the paper).
    """

    tracks: TrackSet = TrackSet("musdb18hq", samplerate=44_100)
    targets: tuple[str, ...] = ("vocals", "bass", "drums")
    limit: int | None = None
    method: str = "steer"
    taggers: tuple[Tagger, ...] = (Tagger(),)
    vocabulary: str = "mtg_jamendo"
    wanted: dict[str, tuple[str, ...]] = field(default_factory=dict)
    clips: ClipSet | None = None
    vqvae_weights: WeightSet | None = WeightSet("jukebox")
    separator_weights: WeightSet = WeightSet("hdemucs")
    vqvae: dict[str, Any] = field(default_factory=lambda: model("vqvae"))
    models: dict[str, dict[str, Any]] = field(default_factory=lambda: {name: model(name) for name in TAGGERS})
    train_vqvae: TrainConfig = TrainConfig((Phase("adam", lr=3e-4, epochs=100, eps=1e-8),), batch=16, epoch_steps=1000)
    vqvae_seconds: float = 1.5
    train_tagger: TrainConfig = TrainConfig(
        (
            Phase("adam", lr=1e-4, epochs=200, patience=20, eps=1e-8),
            Phase("sgd", lr=1e-3, patience=20, momentum=0.9),
            Phase("sgd", lr=1e-4, patience=20, momentum=0.9),
        ),
        batch=16,
        max_epochs=200,
    )
    steer: SteerConfig = SteerConfig()
    output: str = "residual"
    codec: str = "vqvae"
    songs: str = "test"
    seconds: float | None = None
    judges: tuple[Tagger, ...] = ()

    def __post_init__(self) -> None:
        choose("method", self.method, ("steer", *METHODS, *LAYOUTS))
        choose("output", self.output, ("masked", "residual"))
        choose("codec", self.codec, ("vqvae", "mask"))
        steer = self.steer
        if self.codec == "mask" and (len(steer.n_fft), steer.mask, steer.codebook) != (1, False, "none"):
            raise ValueError(
                "'codec' is 'mask': what is steered is the mask, so 'steer.mask' is false, 'steer.codebook' 'none' and "
                f"'steer.n_fft' one size; got {steer.mask}, {steer.codebook!r} and {steer.n_fft}"
            )
        choose("songs", self.songs, ("test", "all"))
        if self.songs == "all" and self.trains_vqvae():
            raise ValueError("'songs' is 'all', and a VQ-VAE would be trained on them: 'vqvae_weights' is None")
        if self.seconds is not None and (self.songs != "all" or self.seconds <= 0):
            raise ValueError(f"'seconds' is a length above 0 where 'songs' is 'all' (or None), not {self.seconds}")
        told = [_judge(judge, self.taggers) for judge in self.judges]
        if len(set(told)) < len(told):
            raise ValueError(
                f"'judges' holds several that give {told[0]!r}: at most one that steers and one that does not"
            )
        if not self.targets:
            raise ValueError("'targets' is empty: name at least one stem")
        for target in self.targets:
            choose("target ('tracks.sources' lack it)", target, self.tracks.sources)
        only = METHODS.get(self.method, SUPERVISED if self.method in LAYOUTS else ())
        if only and any(target not in only for target in self.targets):
            raise ValueError(
                f"method {self.method!r} estimates {', '.join(only)} and nothing else; 'targets' names "
                f"{', '.join(self.targets)}"
            )
        if self.limit is not None and self.limit < 1:
            raise ValueError(f"'limit' must be at least 1 track (or None), not {self.limit}")
        if not self.taggers:
            raise ValueError("'taggers' is empty: steering needs one to listen")
        named = [(f"taggers.{i}", tagger) for i, tagger in enumerate(self.taggers)]
        named += [(f"judges.{i}", judge) for i, judge in enumerate(self.judges)]
        for place, tagger in named:
            choose(f"tagger in '{place}.name'", tagger.name, self.models)
            check({**self.models[tagger.name], "classes": 50}, f"models.{tagger.name}")
            if tagger.weights is None and self.clips is None:
                raise ValueError(
                    f"tagger {tagger.name!r} has neither released weights ('{place}.weights') nor "
                    "clips to be trained on ('clips')"
                )
        check(self.vqvae, "vqvae")
        for target in self.targets:
            self.tags_of(target)
        if self.clips is not None and self.clips.samplerate != TAGGER_RATE:
            raise ValueError(
                f"'clips.samplerate' must be {TAGGER_RATE} Hz, what the taggers are made for; "
                f"not {self.clips.samplerate}"
            )

    def rehearsal(self) -> TagBox:
        """Tracks of one clip, with one update of the latent: a second through the full VQ-VAE takes seconds. REPET-SIM
        looks for what comes back after a second, and so needs more than one."""
        seconds = 1.5 if self.method == "repet_sim" else 0.3
        tracks = self.tracks if self.tracks.excerpt is None else replace(self.tracks, excerpt=seconds)
        return replace(self, tracks=tracks, steer=replace(self.steer, steps=2, segment_seconds=0.3))

    def tags_of(self, target: str) -> tuple[str, ...]:
        """The tags that say a target; ValueError where the vocabulary has none for it."""
        if target in self.wanted:
            return tuple(self.wanted[target])
        known = TAGS.get(self.vocabulary, {})
        if target not in known:
            raise ValueError(
                f"no tags of {self.vocabulary!r} for target {target!r} (it has some for "
                f"{', '.join(known) or 'none'}); set 'wanted' to {{{target!r}: [its tags]}}"
            )
        return known[target]

    def pipeline(self) -> Stage:
        """The stage graph: one search per target, one score stage."""
        segment = self.tracks.samplerate
        if self.songs == "all":
            tracks = Stage(prepare_songs, data=self.tracks, tracks=self.limit, seconds=self.seconds, segment=segment)
        elif self.trains_vqvae():  # training needs the other splits
            tracks = Stage(prepare_tracks, data=self.tracks, segment=segment)
        else:
            tracks = Stage(prepare_test_tracks, data=self.tracks, tracks=self.limit, segment=segment)
        estimates: tuple[Stage, ...]
        if self.method == "steer":
            taggers = tuple(self._tagger(tagger) for tagger in self.taggers)
            vqvae = self._vqvae(tracks)
            estimates = tuple(
                Stage(
                    infer_steered,
                    data=tracks,
                    vqvae=vqvae,
                    taggers=taggers,
                    target=target,
                    tracks=self.limit,
                    tags=tuple(self.tags_of(target) for _ in taggers),
                    config=self.steer.effective(),
                )
                for target in self.targets
            )
        elif self.method in LAYOUTS:
            separator = Stage(prepare_separator, data=self.separator_weights, layout=self.method)
            estimates = (Stage(infer_separated, data=tracks, separator=separator, tracks=self.limit),)
        else:
            estimates = tuple(
                Stage(infer_classic, data=tracks, method=self.method, target=target, tracks=self.limit)
                for target in self.targets
            )
        output = self.output if self.method == "steer" else "masked"
        told = {"data": tracks, "estimates": estimates, "targets": self.targets, "output": output}
        scores = Stage(score_estimates, **told)
        if not self.judges:
            return scores
        return Stage(
            judge_estimates,
            **told,
            scores=scores,
            judges=tuple(self._tagger(judge) for judge in self.judges),
            names=tuple(_judge(judge, self.taggers) for judge in self.judges),
            tags=tuple(self.tags_of(target) for target in self.targets),
        )

    def trains_vqvae(self) -> bool:
        """Whether a VQ-VAE is trained on the tracks' training split (also where ``method`` makes it of no use)."""
        return self.vqvae_weights is None and self.codec == "vqvae"

    def _vqvae(self, tracks: Stage) -> Stage:
        if self.codec == "mask":
            return Stage(prepare_codec, codec=model("mask_codec", size=self.steer.n_fft[0]))
        if self.vqvae_weights is not None:
            return Stage(prepare_vqvae, data=self.vqvae_weights, vqvae=self.vqvae)
        return Stage(
            train_vqvae, data=tracks, vqvae=self.vqvae, segment_seconds=self.vqvae_seconds, train=self.train_vqvae
        )

    def _tagger(self, tagger: Tagger) -> Stage:
        described = self.models[tagger.name]
        if tagger.weights is not None and tagger.weights.name in PACKAGED:
            return Stage(prepare_published, data=tagger.weights, tagger=described)
        if tagger.weights is not None:
            return Stage(prepare_tagger, data=tagger.weights, tagger=described)
        frames = audio.frames_of(round(described["seconds"] * TAGGER_RATE))
        clips = Stage(prepare_clips, data=self.clips, segment=audio.samples_of(frames))
        return Stage(train_tail, data=clips, tail=described, frames=frames, train=self.train_tagger)


def tagbox(targets: tuple[str, ...] = ("vocals", "bass", "drums")) -> TagBox:
    """Algorithm 1 with the settings of Sec. 5: ascent, 10 steps of 5.0, FFT 1024, codebook fixed, and the residual as
    estimate; MTG-Jamendo's FCN, which is what Table 1 holds by its numbers.
    """
    return TagBox(targets=targets)


AS_RELEASED: Mapping[str, Any] = {
    "steer.direction": "descent",
    "steer.mask_reference": "reconstruction",
    "steer.codebook": "clip",
}
"""Departures of the released code (run_tagbox in tagbox/runners.py) from Algorithm 1: it descends, masks the VQ-VAE's
reconstruction, and leaves the bottleneck in training mode, which puts the codebook on the clip. Its residual, too, is
the estimate (``jbxd_diff``)."""


def tagbox_as_released(targets: tuple[str, ...] = ("vocals", "bass", "drums")) -> TagBox:
    """The released code's reading of the method, with the steps, rate and FFT size of the paper."""
    return override(tagbox(targets), AS_RELEASED)


def listening(vocabulary: str, *names: str) -> dict[str, Any]:
    """Departures: these released taggers, trained on that set; none where it is the baseline's one.

    ``"published_musicnn"`` and ``"published_vgg"`` are those of the package musicnn, on ``"mtat"`` or ``"msd"``.
    """
    if (vocabulary, names) == ("mtg_jamendo", ("fcn",)):
        return {}
    return {
        "vocabulary": vocabulary,
        "taggers": tuple(Tagger(name, WeightSet(_weights(name, vocabulary))) for name in names),
    }


def _judge(judge: Tagger, taggers: Sequence[Tagger]) -> str:
    """The metric that a judge gives: another one where it also steers."""
    return "steered_probability" if judge in taggers else "tag_probability"


def _weights(name: str, vocabulary: str) -> str:
    packed = f"{'mtt' if vocabulary == 'mtat' else vocabulary}_{name.removeprefix('published_')}"
    return packed if name.startswith("published_") else f"{name}_{vocabulary}"


def stem(tracks: str, target: str) -> dict[str, Any]:
    """Departures: one target of MUSDB18, or of 50 songs of Slakh2100's own test set.

    The paper does not say which 50 of those with 100 onsets of each of the five instruments it took; these are the
    first 50 by track number.
    """
    if tracks != "slakh2100":
        return {"targets": (target,)}
    sources = ("bass", "drums", "guitar", "piano", "strings")
    return {
        "targets": (target,),
        "tracks.name": tracks,
        "tracks.sources": sources,
        "tracks.split": "orig",
        "tracks.subset": "onsets100",
        "tracks.mixture": "sum",
        "limit": SLAKH_SONGS,
    }


def supervised(name: str) -> dict[str, Any]:
    """Departures: a separator with released weights, ``"xumx"`` or ``"hdemucs"``, in place of steering."""
    return {"method": name, "separator_weights.name": name}
