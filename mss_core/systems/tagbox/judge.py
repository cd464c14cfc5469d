"""Stage ``judge_estimates``: do separated stems sound like their source to a tagger?

A tagger that was not steered is a judge that never saw the search: steering can make the tagger that it follows say
anything, as adversarial examples do. What is judged is brought to the level of the mixture first, since a tagger hears
level and no estimate should win by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mss_core import audio, models
from mss_core.artefact import Score, read_json, read_scores, table, write_scores
from mss_core.data.packed import Packed
from mss_core.errors import choose
from mss_core.graph import Context
from mss_core.systems.tagbox import score as of_separation
from mss_core.systems.tagbox.estimates import files_of, read_index
from mss_core.systems.tagbox.steering import TAGGER_RATE, score

JUDGES = ("tag_probability", "steered_probability")
"""Metrics by who judges: a tagger that was not steered, and the one that was."""
METRICS = (*of_separation.METRICS, *(f"{name}{of}" for name in JUDGES for of in ("", "_mixture", "_reference")))
STAGE_RESOURCES = {"judge_estimates": {"gpu": 0.25, "warm": 1}}


def targets(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What a call of ``judge_estimates`` judges."""
    return tuple(arguments["targets"])


def judge_estimates(
    *,
    data: Path,
    estimates: Sequence[Path],
    scores: Path,
    judges: Sequence[Path],
    names: Sequence[str],
    tags: Sequence[str],
    targets: tuple[str, ...],
    output: str,
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Leaves scores.csv: the rows of ``scores`` and, per track, target and judge, the mean probability of the tags that
    say the target, in the estimate, in the mixture (``_mixture``) and in the source itself (``_reference``).

    Args:
        names: the metric that each judge gives, of JUDGES.
        tags: the tags of each target.
        output: as in ``score_estimates``.

    A target that is silent in a track is not judged there, nor an estimate that is pure silence.
    Raises ValueError for a tag that a judge does not know.
    """
    packed = Packed(data)
    by_name = {item.name: item for item in packed.split("test")}
    places = {target: (folder, name) for folder in estimates for target, name in files_of(folder).items()}
    rows: list[Score] = []
    for judge, metric in zip(judges, names, strict=True):
        module, labels = models.load(judge).to(ctx.device), read_json(judge, "labels.json")
        for target, wanted in zip(targets, tags, strict=True):
            for tag in wanted:
                choose("tag of the judge", tag, labels)
            columns = [labels.index(tag) for tag in wanted]
            folder, kind = places[target]
            for track in read_index(folder)["tracks"]:
                item = by_name[track]
                if target in item.silent:
                    continue
                masked, reference = (np.load(folder / track / f"{name}.npy") for name in (kind, "reference"))
                mixture = packed.read(item)
                sounds = {
                    "": masked if output == "masked" else reference - masked,
                    "_mixture": mixture,
                    "_reference": packed.read(item, target),
                }
                for of, wave in sounds.items():
                    said = heard(module, wave, mixture, packed.samplerate, ctx.device)
                    rows.append((track, target, f"{metric}{of}", "", float(said[columns].mean())))
                ctx.report(step=len(rows), total=len(rows))
    judged = table(rows)
    means = judged.groupby(["track", "metric", "aggregation"], sort=False, as_index=False)["score"].mean()
    means.insert(1, "target", "macro")
    write_scores(out, pd.concat([read_scores(scores), judged, means]))


def heard(module: torch.nn.Module, wave: np.ndarray, mixture: np.ndarray, samplerate: int, device: str) -> np.ndarray:
    """Probabilities of all tags of a waveform at the RMS level of the mixture; NaN where it is silent.

    Shape: (time,) twice -> (class,).
    """
    level, wanted = (float(np.sqrt(np.mean(np.square(x, dtype=np.float64)))) for x in (wave, mixture))
    with torch.inference_mode():
        levelled = torch.from_numpy((wave * (wanted / level if level else 0.0)).astype(np.float32))[None].to(device)
        said = score(module, audio.resample_tensor(levelled, samplerate, TAGGER_RATE))[0].cpu().numpy()
    return said if level else np.full_like(said, np.nan)
