"""The columns that MLflow's page of a study opens with."""

from __future__ import annotations

import json

from mss_core.study.tracking.points import allowed
from mss_core.study.view import StudyView

VIEW = "study"
"""Key of the saved table view that links to a study name."""


def shown(view: StudyView) -> dict[str, str]:
    """Tags of the experiment: the columns of its table, their order, the question, and that it trains models."""
    columns = [
        *(f"params.`{allowed(factor)}`" for factor in view.factors),
        "tags.`seed`",
        *(f"metrics.`{metric}`" for metric in dict.fromkeys((view.metric, "pr_auc"))),
    ]
    table = {
        "orderByKey": f"metrics.`{view.metric}`",
        "orderByAsc": not view.higher_is_better,
        "selectedColumns": columns,
        "runListHidden": False,
    }
    return {
        f"mlflow.sharedViewState.{VIEW}": json.dumps(table),
        "mlflow.note.content": view.question,
        "mlflow.experimentKind": "custom_model_development",
    }
