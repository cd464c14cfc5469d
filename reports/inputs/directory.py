"""The tables of a study's directory as one value, each read once, when it is first asked for."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from reports.contract import Study, nearest
from reports.inputs import searches
from reports.inputs.searches import Searches
from reports.inputs.study import read_study
from reports.inputs.tables import Scores, read_curves, read_predictions, read_scores


def study_directory(name: str, store: Path) -> Path:
    """The directory of a study given by title or path.

    Raises:
        ValueError: there is no such study.
    """
    places = [Path(name), store / "studies" / name]
    for place in [*(place for place in places if (place / "study.json").is_file()), *places]:
        if place.is_dir():  # a folder of somebody's code may be called as its study
            return place
    known = sorted(p.name for p in (store / "studies").glob("*") if p.is_dir())
    raise ValueError(f"no study {name!r} in {store / 'studies'}; {nearest(name, known)}")


@dataclass(frozen=True)
class Tables:
    """What a study left to be read.

    Attributes:
        directory: <store>/studies/<title>; None for the findings of a bare table, beside which there is nothing.
        store: what the paths in study.json start from.
    """

    directory: Path | None
    store: Path

    @cached_property
    def study(self) -> Study:
        """study.json."""
        return read_study(self._existing("study.json"))

    @cached_property
    def scores(self) -> Scores:
        """scores.csv."""
        return read_scores(self._existing("scores.csv"))

    @cached_property
    def predictions(self) -> pd.DataFrame | None:
        """predictions.parquet; None where there is none."""
        return read_predictions(self.directory / "predictions.parquet") if self.directory else None

    @cached_property
    def curves(self) -> pd.DataFrame | None:
        """curves.csv; None where there is none."""
        return read_curves(self.directory / "curves.csv") if self.directory else None

    @cached_property
    def searches(self) -> Searches | None:
        """search.json and search.csv; None where nothing was searched."""
        return searches.read(self.directory) if self.directory else None

    def stored(self, path: str) -> Path | None:
        """Where a path of study.json leads; None where it is empty or leads out of the store, by `..`, from the root or
        over a link: study.json may be anybody's, and a report embeds what it finds."""
        if not path or "\0" in path:
            return None
        found = Path(os.path.realpath(self.store / path))
        return found if found.is_relative_to(os.path.realpath(self.store)) else None

    def _existing(self, name: str) -> Path:
        if self.directory is None or not (self.directory / name).exists():
            raise ValueError(f"{self.directory} has no {name}: it is no study directory, or the study has not run yet")
        return self.directory / name
