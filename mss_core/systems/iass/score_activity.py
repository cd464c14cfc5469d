"""Stage ``score_activity``: how well the classifiers detect their instruments [Hung and Lerch 2020, Fig. 4]."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mss_core.artefact import Score, write_scores
from mss_core.data.activity import Confidences
from mss_core.data.channels import open_sided
from mss_core.graph import Context
from mss_core.metrics.classification import activity_auc, macro, merge_columns, roc_auc
from mss_core.systems.iass.masking import Masks, Transform

METRICS = ("activity_auc", "activity_auc_energy", "activity_auc_1s", "activity_auc_1s_energy", "activation_rate")


def targets(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What a call of ``score_activity`` scores."""
    return (*arguments["targets"], *arguments["groups"])


def score_activity(
    *,
    data: Path,
    activity: Path,
    masks: tuple[Path, ...],
    targets: tuple[str, ...],
    groups: dict[str, tuple[str, ...]],
    transform: Transform,
    label_threshold: float,
    version: int = 2,
    out: Path,
    ctx: Context,
) -> None:
    """Leaves scores.csv: ROC-AUC over all frames of all test tracks and over their seconds (medians; also as a mean
    over targets), by target, each beside the same score of the mixture's energy; and the activation rate, the share of
    the training frames in which the target sounds, as the paper has it.

    ``groups`` joins sub-categories: a group is as active as its most active member, and replaces them.
    """
    packed = open_sided(data)
    labels = Confidences(activity, packed, label_threshold)
    estimates = [Masks(path) for path in masks]
    truths, scores, energies = [], [], []
    names: list[str] = []
    for track in packed.split("test"):
        centres = transform.track_centres(track.length)
        truth = np.stack([labels.labels(track, target, centres) for target in targets], 1)
        score = np.stack([found.activity(track.name) for found in estimates], 1)
        truth, names = merge_columns(truth, targets, groups)
        truths.append(truth)
        scores.append(merge_columns(score, targets, groups)[0])
        power = transform.track(packed.read(track)).abs().square().sum(-1)
        power = (power if power.ndim == 1 else power.sum(0)).numpy().astype(np.float64)
        energies.append(np.repeat(power[:, None], len(names), 1))
    trained = [
        np.stack([labels.labels(track, target, transform.track_centres(track.length)) for target in targets], 1)
        for track in packed.split("train")
    ]
    rate = packed.samplerate / transform.hop
    every = np.concatenate(truths)
    columns = {
        ("activity_auc", "over frames"): roc_auc(every, np.concatenate(scores)),
        ("activity_auc_energy", "over frames"): roc_auc(every, np.concatenate(energies)),
        ("activity_auc_1s", "over seconds"): activity_auc(truths, scores, rate),
        ("activity_auc_1s_energy", "over seconds"): activity_auc(truths, energies, rate),
        ("activation_rate", "over training frames"): merge_columns(np.concatenate(trained), targets, groups)[0].mean(0),
    }
    rows: list[Score] = []
    for (metric, aggregation), values in columns.items():
        rows += [("", name, metric, aggregation, float(value)) for name, value in zip(names, values, strict=True)]
        if metric == "activity_auc_1s":
            rows.append(("", "macro", metric, f"{aggregation}, mean over targets", macro(values)))
    write_scores(out, rows)
    ctx.report(step=1, total=1)
