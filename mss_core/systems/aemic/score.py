"""Stage ``score_stems``: SDR of separated spectrograms of whole held-out songs [Ligtenberg, 3.4].

The score compares amplitude spectrograms segment by segment and takes the mean over a song's segments; it says nothing
of phase and compares with no other SDR. Beside it stand the mixture as the estimate, the best scalar times the mixture
in each segment, and silence (0 dB).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mss_core.artefact import example, note, write_examples, write_notes, write_scores
from mss_core.data.packed import Packed, PackedItem
from mss_core.graph import Context
from mss_core.metrics.separation import spectrogram_sdr
from mss_core.systems.aemic.decibels import (
    Grid,
    Reconstruction,
    SoftBins,
    amplitudes,
    decibels,
    remove_soft_bins,
    spectrum,
    waveforms,
)

EXAMPLES = 2
AGGREGATION = "mean over segments"


METRICS = (
    "spectrogram_sdr",
    "spectrogram_sdr_mixture",
    "spectrogram_sdr_best_scalar",
    "spectrogram_sdr_silence",
    "mae",
    "mae_mixture",
)


def targets(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What a call of ``score_stems`` scores: the sum of its targets."""
    return ("+".join(arguments["targets"]),)


def score_stems(
    *,
    segments: Path,
    estimates: Path,
    grid: Grid,
    targets: tuple[str, ...],
    removal: SoftBins | None,
    reconstruction: Reconstruction,
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Leaves scores.csv (track, target, metric, aggregation, score), notes.json where segments were left out, and a
    segment of sound from each of two songs.

    ``estimates`` is what ``separate_tracks`` left of ``segments``; ``removal`` is applied to it first. Segments whose
    target is silent have no score.
    """
    packed, separated = Packed(segments), Packed(estimates)
    references = {item.name: item for item in packed.split("test")}
    target = "+".join(targets)
    tables: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    loudest: dict[str, tuple[float, PackedItem]] = {}
    silent = []
    for number, item in enumerate(separated.items, start=1):
        reference = torch.from_numpy(packed.read(references[item.name], "target"))
        mixture = torch.from_numpy(packed.read(references[item.name], "mixture"))
        track = item.name.rsplit("/", 1)[0]
        if "target" in references[item.name].silent:
            silent.append(item.name)
            continue
        values = _values(separated, item, grid, removal)
        for metric, score in _scores(reference, mixture, values, grid).items():
            tables[track][metric].append(score)
        loudest[track] = max(
            loudest.get(track, (-1.0, item)), (float(reference.square().mean()), item), key=lambda pair: pair[0]
        )
        if number % 50 == 0 or number == len(separated.items):
            ctx.report(step=number, total=len(separated.items))
    rows = [
        (track, target, metric, AGGREGATION, float(np.mean(values)))
        for track, metrics in tables.items()
        for metric, values in metrics.items()
    ]
    write_scores(out, rows)
    examples = []
    for index, (track, (_, item)) in enumerate(list(loudest.items())[:EXAMPLES], start=1):
        values = _values(separated, item, grid, removal)
        sounds = _sounds(packed, references[item.name], values, grid, reconstruction)
        examples.append(example(out, f"examples/{index}/{target}", track, target, sounds, packed.samplerate))
    write_examples(out, examples)
    write_notes(out, [note("silent", "segments whose target is silent, left out of their song's score", silent)])


def _values(separated: Packed, item: PackedItem, grid: Grid, removal: SoftBins | None) -> torch.Tensor:
    values = torch.from_numpy(separated.read(item)).reshape(grid.bins, grid.frames)
    return values if removal is None else remove_soft_bins(values, removal)


def _scores(reference: torch.Tensor, mixture: torch.Tensor, values: torch.Tensor, grid: Grid) -> dict[str, float]:
    true, mixed = (spectrum(waveform, grid).abs().double() for waveform in (reference, mixture))
    energy = (mixed * mixed).sum()
    gain = (mixed * true).sum() / energy if energy > 0 else energy
    estimates = {
        "": amplitudes(values).double(),
        "_mixture": mixed,
        "_best_scalar": gain * mixed,
        "_silence": torch.zeros_like(true),
    }
    scores = {f"spectrogram_sdr{name}": float(spectrogram_sdr(true, estimate)) for name, estimate in estimates.items()}
    wanted = decibels(reference, grid)
    return {
        **scores,
        "mae": float((values - wanted).abs().mean()),
        "mae_mixture": float((decibels(mixture, grid) - wanted).abs().mean()),
    }


def _sounds(
    packed: Packed, item: PackedItem, values: torch.Tensor, grid: Grid, reconstruction: Reconstruction
) -> dict[str, np.ndarray]:
    mixture = packed.read(item, "mixture")
    estimate = waveforms(values, grid, reconstruction, torch.from_numpy(mixture)).numpy()
    return {"mixture": mixture, "reference": packed.read(item, "target"), "estimate": estimate}
