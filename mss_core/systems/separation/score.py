"""Stages ``score_separation`` and ``score_untrained``: whole test tracks, separated in overlapping chunks or by what
needs no network, and scored by several conventions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mss_core import models
from mss_core.apply import WINDOWS, separate_waveform
from mss_core.artefact import Score, add_example, table, write_examples, write_scores
from mss_core.data.channels import Sided
from mss_core.data.packed import Packed
from mss_core.errors import choose
from mss_core.graph import Context
from mss_core.metrics.aggregate import aggregate
from mss_core.metrics.bss_eval import frame_sdr
from mss_core.metrics.perceptual import bleedless_fullness, log_wmse
from mss_core.metrics.separation import global_sdr, oracle, sdr, si_sdr, si_sir_sar
from mss_core.stages.scoring import Scoring


@dataclass(frozen=True)
class Inference:
    """How a whole track is separated; nothing of this is part of a training.

    Attributes:
        seconds: of a chunk; None: the track at once.
        overlap: the share of a chunk that the next one covers too, from 0 on and below 1.
        window: the weights with which overlapping chunks are averaged: ``"triangle"``, ``"hann"`` or ``"rectangle"``.
    """

    seconds: float | None = 6.0
    overlap: float = 0.5
    window: str = "triangle"

    def __post_init__(self) -> None:
        choose("window", self.window, WINDOWS)
        if self.seconds is not None and self.seconds <= 0:
            raise ValueError(f"'seconds' is the length of a chunk above 0 (or None), not {self.seconds}")
        if not 0 <= self.overlap < 1:
            raise ValueError(f"'overlap' is a share of a chunk from 0 on and below 1, not {self.overlap}")


Estimator = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Of a mixture (channel, time) and the true sources (source, channel, time), which only an oracle looks at, the
estimates (source, channel, time)."""


def ideal(mixture: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Of the ideal ratio mask, in which what is in none of the sources counts as one more."""
    rest = mixture - references.sum(0)
    return np.asarray(oracle(np.concatenate([references, rest[None]]), mixture, "irm"), np.float32)[:-1]


def attenuated(mixture: np.ndarray, references: np.ndarray) -> np.ndarray:
    """A quarter of the mixture for every source. It is what comes nearest to each of four that have nothing in common
    and the same energy: a higher SDR than the mixture's, with nothing separated."""
    return np.repeat(np.float32(0.25) * mixture[None], len(references), 0)


UNTRAINED: dict[str, Estimator] = {"ideal_mask": ideal, "attenuated": attenuated}
"""Estimates that no training made."""
STAGE_RESOURCES = {"score_separation": {"gpu": 0.25, "warm": 1}}
METRICS = (
    "sdr", "usdr", "usdr_mixture", "global_sdr", "si_sdr", "si_sdr_mixture", "si_sir", "si_sar", "log_wmse",
    "bleedless", "fullness",
)  # fmt: skip


def targets(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What a call of a stage here scores."""
    return (*arguments["sources"], "macro")


def score_separation(
    *,
    data: Path,
    model: Path,
    sources: tuple[str, ...],
    inference: Inference,
    scoring: Scoring,
    version: int = 3,
    out: Path,
    ctx: Context,
) -> None:
    """Leaves scores.csv, and examples.json with a few seconds in all channels.

    Metrics, all over both channels at once: ``sdr``, BSS Eval v4's by frames, without those in which a reference or an
    estimate is silent, as museval; ``usdr``, one energy ratio a track [Luo and Yu 2023]; ``global_sdr``, the same with
    1e-7 added to both energies [Mitsufuji et al. 2022]; ``si_sdr``, ``si_sir``, ``si_sar`` [Le Roux et al. 2019]; two
    of them of the mixture; ``log_wmse``, ``bleedless`` and ``fullness`` as in ``mss_core.metrics.perceptual``. A source
    that is silent in a track has no score there, but for ``log_wmse``, which is defined for silence. Target ``macro``
    is the mean over the sources; rows without a track are over all tracks.
    """
    module = models.load(model).to(ctx.device)
    tracks = Sided(Packed(data))
    length = None if inference.seconds is None else round(inference.seconds * tracks.samplerate)

    def estimated(mixture: np.ndarray, references: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return separate_waveform(module, mixture, length, inference.overlap, inference.window, ctx.device)

    _score(tracks, estimated, sources, scoring, out, ctx)


def score_untrained(
    *, data: Path, method: str, sources: tuple[str, ...], scoring: Scoring, version: int = 2, out: Path, ctx: Context
) -> None:
    """As ``score_separation``, of estimates that no training made: see ``UNTRAINED``."""
    choose("method", method, UNTRAINED)
    _score(Sided(Packed(data)), UNTRAINED[method], sources, scoring, out, ctx)


def _score(
    tracks: Sided, estimated: Estimator, sources: tuple[str, ...], scoring: Scoring, out: Path, ctx: Context
) -> None:
    found = tracks.split("test")
    rows: list[Score] = []
    examples: list[dict[str, str]] = []
    framewise = f"{scoring.frames} over frames"
    for number, track in enumerate(found, start=1):
        mixture = tracks.read(track)
        places = [place for place, source in enumerate(sources) if source not in track.silent]
        references = np.stack([tracks.read(track, source) for source in sources])
        estimates = estimated(mixture, references)
        framed = frame_sdr(
            references.transpose(0, 2, 1),
            estimates.transpose(0, 2, 1),
            tracks.samplerate,
            scoring.window,
            scoring.hop,
            silent="drop",
            track=track.name,
        )
        interference, artefacts = si_sir_sar(references, estimates)
        weighted = np.asarray(log_wmse(mixture, references, estimates, tracks.samplerate))
        rows += [(track.name, source, "log_wmse", "", float(weighted[k])) for k, source in enumerate(sources)]
        for place in places:
            reference, estimate = references[place], estimates[place]
            bleedless, fullness = bleedless_fullness(reference, estimate, tracks.samplerate)
            whole = {
                "usdr": sdr(reference, estimate, axis=(-2, -1)),
                "usdr_mixture": sdr(reference, mixture, axis=(-2, -1)),
                "global_sdr": global_sdr(reference, estimate),
                "si_sdr": si_sdr(reference, estimate, axis=(-2, -1)),
                "si_sdr_mixture": si_sdr(reference, mixture, axis=(-2, -1)),
                "si_sir": interference[place],
                "si_sar": artefacts[place],
                "bleedless": bleedless,
                "fullness": fullness,
            }
            rows.append((track.name, sources[place], "sdr", framewise, aggregate(framed[place], scoring.frames)))
            rows += [(track.name, sources[place], metric, "", float(value)) for metric, value in whole.items()]
            sounds = {"mixture": mixture, "reference": reference, "estimate": estimate}
            add_example(examples, out, track.name, sources[place], sounds, tracks.samplerate, most=1)
        ctx.report(step=number, total=len(found))
    write_scores(out, summarised(table(rows), scoring.tracks))
    write_examples(out, examples)


def summarised(scores: pd.DataFrame, over_tracks: str) -> pd.DataFrame:
    """The scores of tracks with their mean over the sources of each track, and all of these over the tracks."""
    means = [
        (str(track), "macro", str(metric), f"{how}, mean over sources".removeprefix(", "), _mean(group.score))
        for (track, metric, how), group in scores.groupby(["track", "metric", "aggregation"], sort=False)
    ]
    by_track = pd.concat([scores, table(means)], ignore_index=True)
    lines = [
        (
            "",
            str(target),
            str(metric),
            f"{how}, {over_tracks} over tracks".removeprefix(", "),
            _over(group, over_tracks),
        )
        for (target, metric, how), group in by_track.groupby(["target", "metric", "aggregation"], sort=False)
    ]
    return pd.concat([by_track, table(lines)], ignore_index=True)


def _mean(scores: pd.Series) -> float:
    return float(np.mean(scores.to_numpy()))


def _over(group: pd.DataFrame, how: str) -> float:
    return aggregate(group.score.to_numpy(), how)
