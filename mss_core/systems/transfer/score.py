"""Stage ``score_songs``: global and framewise SDR of whole songs, for any separator of stems [Zhang, Sec. 5.4]."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from mss_core import models
from mss_core.apply import separate_stems
from mss_core.artefact import Score, add_example, note, table, write_examples, write_groups, write_notes, write_scores
from mss_core.data.files import facts
from mss_core.data.sets import TrackSet, survey
from mss_core.errors import choose
from mss_core.graph import Context
from mss_core.metrics.aggregate import aggregate
from mss_core.metrics.bss_eval import frame_sdr
from mss_core.metrics.separation import global_sdr, oracle, si_sdr
from mss_core.stages.scoring import Scoring

METRICS = ("global_sdr", "global_sdr_mixture", "global_sdr_ideal_mask", "sdr", "si_sdr")


def targets(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What a call of ``score_songs`` scores."""
    return tuple(arguments["rows"])


def score_songs(
    *,
    data: TrackSet,
    rows: dict[str, str],
    model: Path,
    seen: TrackSet | None,
    scoring: Scoring,
    version: int = 2,
    out: Path,
    ctx: Context,
) -> None:
    """Leaves scores.csv, examples.json and notes.json; songs are read and scored at their own rate and in all their
    channels.

    ``rows`` says which source of the data set each stem of the separator is compared with. Metrics: ``global_sdr``
    (over the whole song, as the demixing challenges), beside it that of the mixture and of an ideal ratio mask, since
    songs differ; ``sdr`` (framewise) and ``si_sdr``. A silent stem is left out of its song and named. Rows without a
    track are over all tracks, and target ``macro`` is their mean over the stems.

    ``seen`` is what the separator was trained on; None: MUSDB18, as the released ones were. A test song that is among
    its training songs, or is by an artist of theirs, is named in a note and scored all the same.
    """
    tracks = [item for item in survey(data, ctx.data).items if item.split == "test"]
    module = models.load(model).to(ctx.device)
    scores: list[Score] = []
    examples: list[dict[str, str]] = []
    silent = []
    framewise = f"{scoring.frames} over frames of {scoring.window:g} s"
    for number, item in enumerate(tracks, start=1):
        sound = item.read()
        mixture = sound.rows["mixture"]
        references = np.stack([np.broadcast_to(sound.rows[source], mixture.shape) for source in rows.values()])
        estimates = _estimates(module, tuple(rows), mixture, sound.samplerate, ctx.device)
        ideal = np.asarray(oracle(references, mixture, "irm"))
        sdr = frame_sdr(
            references.transpose(0, 2, 1),
            estimates.transpose(0, 2, 1),
            sound.samplerate,
            scoring.window,
            scoring.hop,
            silent="drop",
            track=item.name,
        )
        for index, stem in enumerate(rows):
            if not references[index].any():
                silent.append(f"{item.name}: {stem}")
                continue
            scores += [
                (item.name, stem, "global_sdr", "", float(global_sdr(references[index], estimates[index]))),
                (item.name, stem, "global_sdr_mixture", "", float(global_sdr(references[index], mixture))),
                (item.name, stem, "global_sdr_ideal_mask", "", float(global_sdr(references[index], ideal[index]))),
                (item.name, stem, "sdr", framewise, aggregate(sdr[index], scoring.frames)),
                (item.name, stem, "si_sdr", "", float(si_sdr(references[index], estimates[index], axis=(-2, -1)))),
            ]
            if number == 1:
                channels = {"mixture": mixture, "reference": references[index], "estimate": estimates[index]}
                sounds = {name: waveform.mean(0) for name, waveform in channels.items()}
                add_example(examples, out, item.name, stem, sounds, sound.samplerate)
        ctx.report(step=number, total=len(tracks))
    write_scores(out, summarise(table(scores), scoring))
    write_groups(out, {item.name: item.artist for item in tracks})
    write_examples(out, examples)
    leaking = known_songs([item.name for item in tracks], _seen(seen, ctx))
    notes = [
        note("silent", "stems silent in a song, left out of its scores", silent),
        note(
            "leak",
            "test songs that the separator was trained on, or whose artists it was; scored all the same",
            leaking,
        ),
    ]
    write_notes(out, notes)


def known_songs(tracks: Sequence[str], seen: Iterable[str]) -> list[str]:
    """Those of the tracks ("Artist - Title") that are among the seen ones, or by an artist of theirs.

    >>> known_songs(["A - 1", "A - 2", "B - 3", "C"], ["A - 1", "D - 4"])
    ['A - 1', 'A - 2 (another song of A)']
    """
    names = set(seen)
    artists = {name.split(" - ")[0] for name in names if " - " in name}
    found = [(track, track.split(" - ")[0]) for track in tracks]
    return [
        track if track in names else f"{track} (another song of {artist})"
        for track, artist in found
        if track in names or artist in artists
    ]


def _seen(config: TrackSet | None, ctx: Context) -> list[str]:
    """Names of the songs that a separator was trained on; MUSDB18's are known without its files."""
    if config is None or config.name in ("musdb18", "musdb18hq"):
        return list(facts()["musdb18"]["train"])
    return [item.name for item in survey(config, ctx.data).items if item.split != "test"]


def _estimates(module: nn.Module, stems: tuple[str, ...], mixture: np.ndarray, rate: int, device: str) -> np.ndarray:
    """Shape: (channel, time) -> (stem, channel, time)."""
    with torch.inference_mode():
        found = separate_stems(module, mixture, rate, device, stems)
    for stem in stems:
        choose("stem of the separator", stem, found)
    return np.stack([found[stem] for stem in stems])


def summarise(tracks: pd.DataFrame, scoring: Scoring) -> pd.DataFrame:
    """The scores of tracks with, for each stem, their median or mean, and the mean of that over the stems."""
    lines = []
    for (metric, before), group in tracks.groupby(["metric", "aggregation"], sort=False):
        over = f"{before}, {scoring.tracks} over tracks".removeprefix(", ")
        found = {
            stem: aggregate(rows.score.to_numpy(), scoring.tracks) for stem, rows in group.groupby("target", sort=False)
        }
        lines += [("", stem, metric, over, score) for stem, score in found.items()]
        lines.append(("", "macro", metric, f"{over}, mean over stems", float(np.mean(list(found.values())))))
        lines += [
            (track, "macro", metric, "mean over stems", float(rows.score.mean()))
            for track, rows in group.groupby("track", sort=False)
        ]
    return pd.concat([tracks, table(lines)], ignore_index=True)
