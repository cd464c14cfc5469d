"""What a data set is to a recipe: its name, and the choices that decide what is read of it.

Two kinds: tracks with stems (:class:`TrackSet`) and clips with labels (:class:`ClipSet`). A set enters a key by name
and fingerprint (a hash of its files' content), never by path: the root is told at run time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from mss_core.errors import choose
from mss_core.graph import UNSAID, Stage, walk
from mss_core.names import check, outside

TRACKS = ("synthetic", "stems", "musdb18", "musdb18hq", "mm", "moisesdb", "ms21", "slakh2100")
CLIPS = ("synthetic", "clips", "mtat", "fma_medium", "fma_medium_minus_small", "irmas", "mtg_jamendo")
SPLIT_POLICIES = {
    "musdb18": ("published", "random"),
    "musdb18hq": ("published", "random"),
    "moisesdb": ("artists", "banquet"),
    "slakh2100": ("redux", "split2", "orig"),
    "mtat": ("folders", "lists"),
    "irmas": ("thesis", "grouped", "part1_valid", "official"),
    "clips": ("table", *(f"fold{fold}of5" for fold in range(1, 6))),
    "mtg_jamendo": ("split-0", "split-1", "split-2", "split-3", "split-4"),
}
"""How a set may be split; the first is what an empty ``split`` means."""
SUBSETS = {"slakh2100": ("all", "onsets100")}
LABELS = {"mtg_jamendo": ("top50", "instrument")}


@dataclass(frozen=True)
class TrackSet:
    """Music with separate stems.

    Attributes:
        name: data set, one of TRACKS; ``"stems"`` is any folder laid out as
            ``<root>/{train,valid,test}/<track>/<source>.wav``. Or a reader of another package,
            ``package.module:function``, called as ``function(config, root)``, that returns a ``Survey``; its folder is
            told with ``--data package.module:function=PATH``, and may be left out where ``root`` has a default.
        sources: the stems to read, beside the mixture.
        samplerate: of the packed copy, Hz; mono.
        size: tracks to render (synthetic only; the other sets are read whole).
        valid_share, split_seed: where a set has no validation split, this share of its training
            tracks, drawn by this seed, becomes one.
        split, subset: a choice of SPLIT_POLICIES and SUBSETS where the set has one; empty is the first.
        mixture: ``"published"``, ``"sum"`` for the sum of ``sources``, or ``"ms21"`` for that of ``sources`` brought to
            MS21's levels (:func:`mss_core.data.loudness.ms21_gain`).
        rms_db: level (dB re full scale, RMS) to which the down-mix of every source is brought where it sounds
            (:func:`mss_core.data.loudness.sounding_rms`); needs mixture ``"sum"``.
        tolerance_ms: milliseconds by which the files of one track may differ in length and still be cut to the
            shortest (:func:`mss_core.data.files.common_length`); None: not at all, or as a set's publishers do.
        excerpt: seconds of a few tracks only, as a rehearsal reads them (:mod:`mss_core.data.excerpts`); None: the
            whole set.
        fingerprint: filled in from the files when a study is built.
    """

    name: str = "synthetic"
    sources: tuple[str, ...] = ("vocals", "drums", "bass", "other")
    samplerate: int = 16_000
    size: int | None = None
    valid_share: float = 0.14
    split_seed: int = 0
    split: str = ""
    subset: str = ""
    mixture: str = "published"
    rms_db: float | None = None
    tolerance_ms: float | None = field(default=None, metadata=UNSAID)
    excerpt: float | None = field(default=None, metadata=UNSAID)
    fingerprint: str = ""

    def __post_init__(self) -> None:
        check("track data set", self.name, TRACKS)
        _check(self)
        choose("mixture", self.mixture, ("published", "sum", "ms21"))
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise ValueError(f"'sources' must name at least one stem, each once; got {self.sources}")
        if self.tolerance_ms is not None and not 0 <= self.tolerance_ms < math.inf:
            raise ValueError(
                f"'tolerance_ms' is a number of milliseconds of at least 0 (or None), not {self.tolerance_ms}"
            )
        for source in self.sources:
            if not source or "/" in source or source == "mixture":
                raise ValueError(f"'sources' holds {source!r}, which cannot be the name of a stem")
        if self.rms_db is not None and self.mixture != "sum":
            raise ValueError(
                "'rms_db' changes the sources, so that they no longer sum to the published mixture: set mixture 'sum'"
            )


@dataclass(frozen=True)
class ClipSet:
    """Music with labels.

    Attributes:
        name: data set, one of CLIPS; ``"clips"`` is any folder with clips.csv (path, label, split). Or a reader as
            in :class:`TrackSet`.
        labels: what to predict: for the synthetic set ``"tags"`` or ``"genre"``; for MTG-Jamendo
            ``"top50"`` or ``"instrument"``; the others have one kind of label each.
        samplerate, size, valid_share, split_seed, split, excerpt, fingerprint: as in :class:`TrackSet`.
    """

    name: str = "synthetic"
    labels: str = "tags"
    samplerate: int = 16_000
    size: int | None = None
    valid_share: float = 0.14
    split_seed: int = 0
    split: str = ""
    excerpt: float | None = field(default=None, metadata=UNSAID)
    fingerprint: str = ""

    def __post_init__(self) -> None:
        check("clip data set", self.name, CLIPS)
        if self.name in LABELS:
            choose(f"labels of {self.name}", self.labels, LABELS[self.name])
        _check(self)


@dataclass(frozen=True)
class WeightSet:
    """Published weights, one file in the folder ``--data <name>=FOLDER``; ``fingerprint`` as in :class:`TrackSet`."""

    name: str = "imagenet"
    fingerprint: str = ""


def _check(config: TrackSet | ClipSet) -> None:
    if config.size is not None and config.size < 10:
        raise ValueError(f"'size' must be at least 10 tracks, not {config.size}")
    if not 0 < config.valid_share < 1:
        raise ValueError(f"'valid_share' lies between 0 and 1, not {config.valid_share}")
    if config.excerpt is not None and config.excerpt <= 0:
        raise ValueError(f"'excerpt' is a length in seconds above 0 (or None), not {config.excerpt}")
    for what, table in (("split", SPLIT_POLICIES), ("subset", SUBSETS)):
        value = getattr(config, what, "")
        if value and outside(config.name):
            continue  # its reader knows what it offers
        if value and config.name not in table:
            raise ValueError(f"{config.name} has no choice of {what!r}; {value!r} is set")
        if value:
            choose(f"{what} of {config.name}", value, table[config.name])


def split_policy(config: TrackSet | ClipSet) -> str:
    """The split policy in force, with an empty ``split`` resolved; empty where the set has no choice."""
    return config.split or SPLIT_POLICIES.get(config.name, ("",))[0]


def read_by(root: Stage) -> list[TrackSet | ClipSet | WeightSet]:
    """What the stages below ``root`` read, as each is told to read it."""
    told = (value for stage in walk([root]).values() for value in stage.arguments.values())
    return list({repr(value): value for value in told if isinstance(value, TrackSet | ClipSet | WeightSet)}.values())
