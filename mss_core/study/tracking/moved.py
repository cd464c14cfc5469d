"""A store that was moved or copied: its MLflow database names files by absolute paths, which are made those of now."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

FOLDER = "mlartifacts"


def settle(root: Path) -> int:
    """Point a store's own MLflow database at the files of this store; returns how many experiments lay elsewhere.

    An experiment counts where its files were in a store's own folder, which is all that a study makes.
    """
    database, here = root / "mlflow.db", (root / FOLDER).absolute().as_uri()
    if not database.exists():
        return 0
    with contextlib.closing(sqlite3.connect(database, timeout=60)) as connection, connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if not {"experiments", "runs"} <= tables:
            return 0
        found = connection.execute("SELECT experiment_id, artifact_location FROM experiments").fetchall()
        moved = [(number, place) for number, place in found if str(place).endswith(f"/{FOLDER}") and place != here]
        for number, place in moved:
            connection.execute(
                "UPDATE runs SET artifact_uri = ? || substr(artifact_uri, ?) WHERE experiment_id = ? "
                "AND substr(artifact_uri, 1, ?) = ?",
                (here, len(place) + 1, number, len(place) + 1, f"{place}/"),
            )
            connection.execute("UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?", (here, number))
    return len(moved)
