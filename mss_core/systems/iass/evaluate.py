"""Stage ``evaluate_targets``: the tables of all targets of one trial, as one."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from mss_core.artefact import read_scores, table, write_scores
from mss_core.graph import Context
from mss_core.metrics.aggregate import aggregate

AVERAGED = ("sdr", "sir", "sar")
"""What Table 4 of [Hung and Lerch 2020] averages."""


METRICS = ("avg",)


def targets(arguments: Mapping[str, Any]) -> tuple[str, ...]:
    """What a call of ``evaluate_targets`` scores."""
    return tuple(arguments["targets"])


def evaluate_targets(
    *,
    scores: tuple[Path, ...],
    targets: tuple[str, ...],
    activity: Path | None,
    over_tracks: str,
    version: int = 1,
    out: Path,
    ctx: Context,
) -> None:
    """Leaves scores.csv: each track, each target over its tracks, the mean over targets (``macro``), with ``avg``, the
    mean of SDR, SIR and SAR; the detection scores where there are any; frames.csv and one panel per target.

    Where a target has no defined score the mean over targets has none either: a gate that silences one instrument
    altogether must not raise the mean by taking it out.
    """
    tracks = pd.concat([read_scores(path) for path in scores])
    rows = []
    for (target, metric, aggregation), group in tracks.groupby(["target", "metric", "aggregation"], sort=False):
        named = ", ".join(filter(None, [aggregation, f"{over_tracks} over tracks"]))
        rows.append(("", target, metric, named, aggregate(group.score, over_tracks)))
    split = table(rows)
    averages = []
    for target in targets:
        parts = split[(split.target == target) & split.metric.isin(AVERAGED)]
        if not parts.empty:
            averages.append(("", target, "avg", parts.aggregation.iloc[0], parts.score.mean(skipna=False)))
    split = pd.concat([split, table(averages)])
    means = [
        (
            "",
            "macro",
            metric,
            f"{aggregation}, mean over targets",
            group.score.mean(skipna=False) if len(group) == len(targets) else float("nan"),
        )
        for (metric, aggregation), group in split.groupby(["metric", "aggregation"], sort=False)
    ]
    tables = [split, table(means), tracks]
    if activity is not None:
        tables.insert(2, read_scores(activity))
    write_scores(out, pd.concat(tables))
    frames = [
        pd.read_csv(path / "frames.csv", keep_default_na=False, dtype={"track": str, "target": str}) for path in scores
    ]
    pd.concat(frames).to_csv(out / "frames.csv", index=False)
    for target, path in zip(targets, scores, strict=True):
        if (path / "panel.npz").exists():
            (out / "panels").mkdir(exist_ok=True)
            shutil.copyfile(path / "panel.npz", out / "panels" / f"{target}.npz")
    ctx.report(step=1, total=1)
