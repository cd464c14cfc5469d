"""Stage ``score_levels``: SI-SDR of every level on salient chunks of held-out tracks, beside the mixture's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mss_core import models
from mss_core.artefact import COLUMNS, example, note, write_examples, write_notes, write_scores
from mss_core.data.batches import spread
from mss_core.data.packed import Packed
from mss_core.graph import Context
from mss_core.metrics.separation import si_sdr
from mss_core.pictures import EXAMPLE_SECONDS
from mss_core.systems.hmss.saliency import Chunk, ChunkReader, Sampling, chunks

BATCH = 8


METRICS = ("si_sdr", "si_sdr_mixture", "si_sdr_improvement")


def targets(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What a call of ``score_levels`` scores: levels, and leaves where there are several."""
    paths = arguments["paths"]
    leaves = [path[0] for path in paths] if len(paths) > 1 else []
    return (*(f"level {level}" for level in range(1, 1 + len(paths[0]))), *leaves)


def score_levels(
    *,
    data: Path,
    trained: tuple[Path, ...],
    levels: tuple[tuple[int, ...], ...],
    paths: tuple[tuple[str, ...], ...],
    query: bool,
    sampling: Sampling,
    seed: int = 0,
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Leaves scores.csv, examples.json and notes.json.

    ``levels[i]`` are the levels of ``trained[i]``, counted from the leaf. Targets are ``level 1`` (the leaf) upward,
    over all paths; with several paths also each leaf by name. Chunks without a finite score are dropped and named.
    Scores are the mean over chunks of a track (a row with ``track``) and over all chunks; target ``macro`` is the mean
    of the levels. ``seed`` draws the queries.
    """
    packed = Packed(data)
    length = round(sampling.seconds * packed.samplerate)
    found = spread(chunks(packed, "test", paths, sampling), sampling.test_items)
    reader = ChunkReader(packed, found, paths, length, seed, [path[0] for path in paths] if query else None)
    separators = [models.load(directory).to(ctx.device) for directory in trained]
    rows: list[tuple[str, str, int, float, float]] = []
    examples: list[dict[str, str]] = []
    for number, (mixtures_, references_, queries) in enumerate(reader.batches(BATCH, ctx.device)):
        first = number * BATCH
        group = found[first : first + BATCH]
        mixtures, references = mixtures_.cpu().numpy(), references_.cpu().numpy()
        estimates = np.zeros_like(references)
        with torch.inference_mode():
            for separator, mine in zip(separators, levels, strict=True):
                estimates[:, list(mine)] = separator(mixtures_, queries).cpu().numpy()
        quality = si_sdr(references, estimates, zero_mean=True)
        before = si_sdr(references, np.repeat(mixtures[:, None], references.shape[1], 1), zero_mean=True)
        rows += [
            (chunk.item.name, paths[chunk.path][0], level, float(quality[line, level]), float(before[line, level]))
            for line, chunk in enumerate(group)
            for level in range(references.shape[1])
        ]
        if first == 0:
            examples = _examples(
                out, group[0], paths[group[0].path], mixtures[0], references[0], estimates[0], packed.samplerate
            )
        ctx.report(step=min(first + BATCH, len(found)), total=len(found))
    table = pd.DataFrame(rows, columns=["track", "leaf", "level", "si_sdr", "si_sdr_mixture"])
    table["si_sdr_improvement"] = table.si_sdr - table.si_sdr_mixture
    finite = np.isfinite(table[["si_sdr", "si_sdr_mixture"]]).all(axis=1)
    write_scores(out, summarise(table[finite], several=len(paths) > 1))
    write_examples(out, examples)
    dropped = table[~finite]
    places = sorted({f"{row.track}: level {row.level + 1}" for row in dropped.itertuples()})
    text = "chunks without a finite SI-SDR (something in them is silent), left out"
    write_notes(out, [note("silent", text, places, len(dropped))])


def summarise(table: pd.DataFrame, several: bool) -> pd.DataFrame:
    """scores.csv of a table of chunks (track, leaf, level, and a column for each metric)."""
    parts = []
    for metric in ("si_sdr", "si_sdr_mixture", "si_sdr_improvement"):
        by_track = table.groupby(["track", "level"])[metric].mean().reset_index()
        over = table.groupby("level")[metric].mean()
        lines = [
            (row.track, f"level {row.level + 1}", "mean over chunks", getattr(row, metric))
            for row in by_track.itertuples()
        ]
        lines += [("", f"level {level + 1}", "mean over chunks", score) for level, score in over.items()]
        if several:
            lines += [
                ("", leaf, "mean over chunks", score)
                for leaf, score in table[table.level == 0].groupby("leaf")[metric].mean().items()
            ]
        tracks = by_track.groupby("track")[metric].mean()
        lines += [(track, "macro", "mean over levels", score) for track, score in tracks.items()]
        lines.append(("", "macro", "mean over levels", over.mean()))
        part = pd.DataFrame(lines, columns=["track", "target", "aggregation", "score"])
        part.insert(2, "metric", metric)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)[COLUMNS]


def _examples(
    out: Path,
    chunk: Chunk,
    path: tuple[str, ...],
    mixture: np.ndarray,
    references: np.ndarray,
    estimates: np.ndarray,
    samplerate: int,
) -> list[dict[str, str]]:
    """The first seconds of a chunk, once for each level."""
    cut = round(EXAMPLE_SECONDS * samplerate)
    examples = []
    for level, node in enumerate(path):
        folder = f"examples/{chunk.item.name}-{chunk.start}/{node}".replace(" ", "_")
        sounds = {"mixture": mixture[:cut], "reference": references[level][:cut], "estimate": estimates[level][:cut]}
        examples.append(example(out, folder, chunk.item.name, node, sounds, samplerate, picture=False))
    return examples
