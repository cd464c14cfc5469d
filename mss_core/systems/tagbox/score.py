"""Stage ``score_estimates``: SDR and SI-SDR improvements of stored estimates, beside what needs no separation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mss_core.artefact import Score, add_example, table, write_examples, write_scores
from mss_core.data.packed import Packed
from mss_core.errors import choose
from mss_core.graph import Context
from mss_core.metrics.bss_eval import bss_eval
from mss_core.metrics.separation import best_scalar, si_sdr
from mss_core.systems.tagbox.estimates import files_of, read_index

METRICS = (
    "sdr_improvement",
    "sdr_improvement_silence",
    "sdr_improvement_best_scalar",
    "sdr_improvement_mean",
    "si_sdr_improvement",
    "si_sdr_improvement_silence",
    "si_sdr_improvement_best_scalar",
    "mixture_sdr",
)


def targets(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What a call of ``score_estimates`` scores."""
    return tuple(arguments["targets"])


def score_estimates(
    *,
    data: Path,
    estimates: Sequence[Path],
    targets: tuple[str, ...],
    output: str,
    version: int = 2,
    out: Path,
    ctx: Context,
) -> None:
    """Leaves scores.csv: one row per track, target and metric, and the mean over targets as target ``macro``.

    Args:
        estimates: artefacts of ``infer_*`` stages, one per target or one of several targets.
        targets: which of them are scored.
        output: ``"residual"``: the masked reference taken from the reference, or ``"masked"``: that itself.

    Metrics: ``sdr_improvement``, BSS Eval v4 with the rest of the mixture as second source, median over the frames of
    one second, estimate minus mixture [the aggregation is not published]; ``sdr_improvement_mean``, means over frames
    instead; ``si_sdr_improvement`` over the whole track; the first and last also for the mixture 60 dB down
    (``_silence``) and for the best scalar times the mixture (``_best_scalar``). A target that is silent in a track has
    no score there; an estimate of pure silence has no SI-SDR.
    """
    choose("output", output, ("masked", "residual"))
    packed = Packed(data)
    by_name = {item.name: item for item in packed.split("test")}
    rows: list[Score] = []
    examples: list[dict[str, str]] = []
    places = {target: (folder, name) for folder in estimates for target, name in files_of(folder).items()}
    for target in targets:
        choose("target of the estimates", target, places)
    told = sum(len(read_index(places[target][0])["tracks"]) for target in targets)
    for target in targets:
        folder, kind = places[target]
        for track in read_index(folder)["tracks"]:
            item = by_name[track]
            masked, reference = (np.load(folder / track / f"{name}.npy") for name in (kind, "reference"))
            estimate = masked if output == "masked" else reference - masked
            ctx.report(step=len({(r[0], r[1]) for r in rows}), total=told)
            if target in item.silent:
                continue
            source, mixture = packed.read(item, target), packed.read(item)
            rows += [
                (track, target, metric, how, score)
                for (metric, how), score in scores(source, estimate, mixture, packed.samplerate).items()
            ]
            sounds = {"mixture": mixture, "reference": source, "estimate": estimate}
            add_example(examples, out, track, target, sounds, packed.samplerate)
    tracks = table(rows)
    means = tracks.groupby(["track", "metric", "aggregation"], sort=False, as_index=False)["score"].mean()
    means.insert(1, "target", "macro")
    write_scores(out, pd.concat([tracks, means]))
    write_examples(out, examples)


def scores(
    source: np.ndarray, estimate: np.ndarray, mixture: np.ndarray, samplerate: int
) -> dict[tuple[str, str], float]:
    """All metrics of one estimate by (metric, aggregation), dB; NaN where undefined. Shape: (time,) each."""
    gain = float(best_scalar(source, mixture))
    candidates = {"": estimate, "_silence": mixture * 1e-3, "_best_scalar": gain * mixture}
    framed = {name: _frames(source, x, mixture, samplerate) for name, x in (*candidates.items(), ("_mixture", mixture))}
    before = float(si_sdr(source, mixture))
    found = {}
    for name, x in candidates.items():
        found[f"sdr_improvement{name}", "median over frames"] = _median(framed[name]) - _median(framed["_mixture"])
        found[f"si_sdr_improvement{name}", ""] = float(si_sdr(source, x)) - before
    found["sdr_improvement_mean", "mean over frames"] = _mean(framed[""]) - _mean(framed["_mixture"])
    found["mixture_sdr", "median over frames"] = _median(framed["_mixture"])
    return found


def _frames(source: np.ndarray, estimate: np.ndarray, mixture: np.ndarray, samplerate: int) -> np.ndarray:
    """SDR a frame of one second; NaN where museval would have none."""
    if not np.any(estimate):
        return np.full(1, np.nan)
    references = np.stack([source, mixture - source])
    estimates = np.stack([estimate, mixture - estimate])
    if not np.any(references[1]) or not np.any(estimates[1]):
        return bss_eval(references[:1], estimates[:1], samplerate).sdr[0]
    return bss_eval(references, estimates, samplerate).sdr[0]


def _median(values: np.ndarray) -> float:
    return float(np.nanmedian(values)) if np.isfinite(values).any() else float("nan")


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
