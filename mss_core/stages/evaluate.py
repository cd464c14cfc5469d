"""Stage ``evaluate``: the score table of one trial. CPU only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from mss_core.data.packed import Packed
from mss_core.graph import Context
from mss_core.metrics.classification import accuracy, macro, pr_auc, roc_auc, weighted_accuracy

COLUMNS = ["track", "target", "metric", "aggregation", "score"]


def evaluate(
    *, data: Path, predictions: Path, separation: Path | None, version: int = 1, out: Path, ctx: Context
) -> None:
    """Leaves scores.csv: ROC-AUC and PR-AUC by tag and their mean over tags; for clips with a single label also
    plain and weighted accuracy; and the separator's own scores where the trial has one.

    A tag without both positive and negative clips has no AUC: its score is empty and the mean is over the others.
    """
    table = pd.read_parquet(predictions / "predictions.parquet")
    truth = table.pivot(index="item", columns="target", values="truth")
    score = table.pivot(index="item", columns="target", values="score")
    rows: list[tuple[str, str, str, str, float]] = []
    for metric, values in (
        ("roc_auc", roc_auc(truth.values, score.values)),
        ("pr_auc", pr_auc(truth.values, score.values)),
    ):
        rows += [
            ("", str(target), metric, "", float(value)) for target, value in zip(truth.columns, values, strict=True)
        ]
        rows.append(("", "macro", metric, "mean over tags", float(macro(values))))
    if Packed(data).single_label:
        index = np.argmax(truth.values, axis=1)
        rows.append(("", "", "accuracy", "", float(accuracy(index, score.values))))
        rows.append(("", "", "weighted_accuracy", "mean over classes", float(weighted_accuracy(index, score.values))))
    scores = pd.DataFrame(rows, columns=COLUMNS)
    if separation is not None:
        scores = pd.concat([scores, _read(separation)[COLUMNS]])
    scores.to_csv(out / "scores.csv", index=False)
    ctx.report(step=1, total=1)


def _read(separation: Path) -> pd.DataFrame:
    names = {"track": str, "target": str}  # a track named 001 stays that
    return pd.read_csv(separation / "scores.csv", keep_default_na=False, dtype=names)
