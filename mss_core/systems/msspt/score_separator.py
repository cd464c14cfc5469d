"""Stage ``score_separator``: how well a pre-trained separator separates whole held-out songs.

Each score stands beside what needs no model: silence, the mixture itself, the best scalar times the mixture, and one
gain a frequency fitted on the training tracks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mss_core import models
from mss_core.apply import equalise, separate_track, spectrum_of
from mss_core.artefact import Score, add_example, write_examples, write_scores
from mss_core.data.packed import Packed
from mss_core.graph import Context
from mss_core.metrics.separation import si_sdr, static_wiener

METRICS = ("l1", "l1_silence", "l1_best_scalar", "si_sdr", "si_sdr_mixture", "si_sdr_wiener", "si_sdr_improvement")


def targets(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What a call of ``score_separator`` scores."""
    return tuple(arguments["sources"])


def score_separator(
    *, data: Path, model: Path, sources: tuple[str, ...], frames: int, version: int = 2, out: Path, ctx: Context
) -> None:
    """Leaves scores.csv (track, target, metric, aggregation, score) and a few seconds of audio, twice a source.

    A source that is silent in a track is left out of that track's scores (the packed set's notes name it).
    """
    packed = Packed(data)
    module = models.load(model).to(ctx.device)
    tracks = packed.split("test")
    gains = [
        static_wiener(
            (spectrum_of(packed.read(track)).numpy(), spectrum_of(packed.read(track, source)).numpy())
            for track in packed.split("train")
        )
        for source in sources
    ]
    rows: list[Score] = []
    examples: list[dict[str, str]] = []
    for number, track in enumerate(tracks, start=1):
        mixture = packed.read(track)
        with torch.inference_mode():
            estimates = separate_track(module, mixture, frames, ctx.device)
        for source, estimate, gain in zip(sources, estimates, gains, strict=True):
            if source in track.silent:
                continue
            reference = packed.read(track, source)
            rows += [
                (track.name, source, metric, "", score)
                for metric, score in _scores(reference, estimate, mixture, gain).items()
            ]
            sounds = {"mixture": mixture, "reference": reference, "estimate": estimate}
            add_example(examples, out, track.name, source, sounds, packed.samplerate)
        ctx.report(step=number, total=len(tracks))
    write_scores(out, rows)
    write_examples(out, examples)


def _scores(reference: np.ndarray, estimate: np.ndarray, mixture: np.ndarray, gain: np.ndarray) -> dict[str, float]:
    quality = float(si_sdr(reference, estimate))
    before = float(si_sdr(reference, mixture))
    return {
        "l1": float(np.abs(reference - estimate).mean()),
        "l1_silence": float(np.abs(reference).mean()),
        "l1_best_scalar": float(np.abs(reference - l1_scalar(reference, mixture) * mixture).mean()),
        "si_sdr": quality,
        "si_sdr_mixture": before,
        "si_sdr_wiener": float(si_sdr(reference, equalise(mixture, gain))),
        "si_sdr_improvement": quality - before,
    }


def l1_scalar(reference: np.ndarray, mixture: np.ndarray) -> float:
    """The g for which ``mean |reference - g * mixture|`` is least: the median of reference / mixture weighted by
    ``|mixture|``.

    >>> l1_scalar(np.array([1.0, 2.0, -3.0]), np.array([2.0, 4.0, -6.0]))
    0.5
    """
    kept = mixture != 0
    if not kept.any():
        return 0.0
    ratio, weight = reference[kept] / mixture[kept], np.abs(mixture[kept]).astype(np.float64)
    order = np.argsort(ratio)
    middle = np.searchsorted(np.cumsum(weight[order]), weight.sum() / 2)
    return float(ratio[order][middle])
