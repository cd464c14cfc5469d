"""TagBox on real songs without a GPU, and at smoke size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from mss_core.data.sets import ClipSet, TrackSet, WeightSet
from mss_core.models import model
from mss_core.models.musicnn import PATCH_SECONDS
from mss_core.stages.prepare_separator import LAYOUTS
from mss_core.systems.tagbox.recipe import TAGS, TagBox, Tagger
from mss_core.systems.tagbox.steering import SteerConfig
from mss_core.training import Phase, TrainConfig


def real_tagger() -> TagBox:
    """The package musicnn's tagger steers a mask on a folder of stems; its VGG judges. Of every song two of the
    tagger's pieces at its rate; twelve steps of a third in log odds. None of these was tuned."""
    musicnn = Tagger("published_musicnn", WeightSet("mtt_musicnn"))
    return TagBox(
        tracks=TrackSet("stems", samplerate=16_000),
        targets=("drums",),
        taggers=(musicnn,),
        vocabulary="mtat",
        steer=SteerConfig(
            steps=12, lr=0.33, direction="descent", segment_seconds=2 * PATCH_SECONDS, codebook="none", mask=False
        ),
        codec="mask",
        output="masked",
        songs="all",
        seconds=2 * PATCH_SECONDS,
        judges=(musicnn, Tagger("published_vgg", WeightSet("mtt_vgg"))),
    )


SMALL: Mapping[str, Mapping[str, Any]] = {
    "fcn": {"widths": (8, 16, 16, 32, 32), "pools": ((2, 4), (2, 4), (2, 4), (3, 3), (4, 1)), "seconds": 4.0},
    "harmonic_cnn": {"width": 8},
    "short_chunk_cnn": {"width": 8},
    "musicnn": {"timbre": 16, "rhythm": 8, "width": 8, "dense": 32},
}
STAND_IN = {"published_musicnn": "fcn", "published_vgg": "harmonic_cnn"}
"""Networks that a package carries trained are not trained anew: at smoke size another one stands in."""


def smoke(recipe: TagBox) -> TagBox:
    """Small models trained on the synthetic music in place of the released ones; a few short tracks are steered.

    Guitar, piano and strings become the synthetic set's "other"; MTAT and MTG-Jamendo become one set of clips, so
    their rows are equal. Raises ValueError for a supervised separator, of which there is no small one.
    """
    if recipe.method in LAYOUTS:
        raise ValueError(f"a smoke run has no released weights for {recipe.method!r}")
    targets = tuple(dict.fromkeys(t if t in TAGS["synthetic"] else "other" for t in recipe.targets))
    return replace(
        recipe,
        tracks=TrackSet("synthetic", samplerate=16_000, size=40),
        targets=targets,
        limit=8,
        vocabulary="synthetic",
        wanted={},
        taggers=tuple(Tagger(STAND_IN.get(tagger.name, tagger.name), None) for tagger in recipe.taggers),
        judges=tuple(Tagger(STAND_IN.get(judge.name, judge.name), None) for judge in recipe.judges),
        clips=ClipSet("synthetic", labels="tags", size=200),
        models={name: {**described, **SMALL.get(name, {})} for name, described in recipe.models.items()},
        vqvae_weights=None,
        vqvae=model("vqvae", downs=((3,),), widths=(16,), depths=(3,), embedding=16, codes=128),
        vqvae_seconds=0.5,
        train_vqvae=TrainConfig(
            (Phase("adam", lr=1e-3, epochs=6, eps=1e-8),), batch=8, epoch_steps=50, seed=recipe.train_vqvae.seed
        ),
        train_tagger=TrainConfig(
            (Phase("adam", lr=2e-3, epochs=12, eps=1e-8),), batch=16, seed=recipe.train_tagger.seed
        ),
        steer=replace(
            recipe.steer,
            segment_seconds=8.0,
            lr=recipe.steer.lr / (50 if recipe.codec == "vqvae" else 1),
            steps=min(recipe.steer.steps, 20),
        ),
    )
