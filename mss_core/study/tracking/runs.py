"""Runs of MLflow: found again by their keys, and what a finished trial's shows."""

from __future__ import annotations

import math
from pathlib import Path

from mlflow.entities import Metric, Run, ViewType
from mlflow.tracking import MlflowClient

from mss_core.artefact import read_score_rows
from mss_core.graph import digest
from mss_core.study.tracking.points import allowed
from mss_core.study.view import StudyView, TrialView

WHOLE = "mss.whole"
"""Tag of a parent run: the checksum of the trials of which every run was written and ended as FINISHED."""


def checksum_of(view: StudyView) -> str:
    """Of all that the runs of a study's trials show."""
    return digest([[trial.key, trial.labels(), trial.params(), trial.seed] for trial in view.trials])


def existing_runs(client: MlflowClient, experiment: str, wanted: str) -> dict[str, Run]:
    """Runs that MLflow's filter ``wanted`` lets through, by their key.

    Of two with one key (made by something else than this package) the older one counts.
    """
    found: dict[str, Run] = {}
    token = None
    while True:
        page = client.search_runs(
            [experiment],
            wanted,
            run_view_type=ViewType.ACTIVE_ONLY,
            max_results=1000,
            page_token=token,
            order_by=["attributes.start_time ASC"],
        )
        for run in page:
            found.setdefault(run.data.tags.get("mss.key", run.info.run_id), run)
        token = page.token
        if not token:
            return found


def means(root: Path, trial: TrialView) -> list[Metric]:
    """Means over tracks of a trial's scores; a score over all tracks is taken where there is one."""
    _, rows = read_score_rows(root / trial.stages[trial.root] / trial.root)
    whole, single = dict[tuple[str, str], list[float]](), dict[tuple[str, str], list[float]]()
    for track, target, metric, _, score in rows:
        if not math.isnan(score):
            (single if track else whole).setdefault((metric, target), []).append(score)
    return [
        Metric(allowed(metric if target in ("", "macro") else f"{metric}/{target}"), math.fsum(of) / len(of), 0, 0)
        for (metric, target), of in sorted((single | whole).items())
    ]
