"""Stage ``evaluate``: the score table of one trial. CPU only."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mss_core.artefact import Score, read_scores, table, write_scores
from mss_core.data.packed import Packed
from mss_core.graph import Context
from mss_core.metrics.classification import accuracy, macro, pr_auc, roc_auc, weighted_accuracy

METRICS = ("roc_auc", "pr_auc", "accuracy", "weighted_accuracy")


def evaluate(
    *, data: Path, predictions: Path, separation: Path | None, version: int = 1, out: Path, ctx: Context
) -> None:
    """Leaves scores.csv: ROC-AUC and PR-AUC by tag and their mean over tags; for clips with a single label also
    plain and weighted accuracy; and the separator's own scores where the trial has one.

    A tag without both positive and negative clips has no AUC: its score is empty and the mean is over the others.
    """
    import pandas as pd  # slow to import, and every process of a study imports this module

    predicted = pd.read_parquet(predictions / "predictions.parquet")
    truth = predicted.pivot(index="item", columns="target", values="truth")
    score = predicted.pivot(index="item", columns="target", values="score")
    rows: list[Score] = []
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
    scores = table(rows) if separation is None else pd.concat([table(rows), read_scores(separation)])
    write_scores(out, scores)
    ctx.report(step=1, total=1)
