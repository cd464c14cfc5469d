"""The long tables a report reads: scores.csv, predictions.parquet and curves.csv, checked when
read.

One row of scores.csv is one score; columns are those of docs/formats.md. Anybody's own table
needs less: a column for the factor, `seed`, `score`, and optionally `track`, `group`, `target` and
    `metric`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from reports.contract import MACRO, Declaration, Study, Variant, check_metric, check_target, nearest
from reports.inputs.foreign import AS_OURS, Layout, as_written, read_foreign_table
from reports.inputs.spelling import one_name, one_spelling

EMPTY = "(empty)"
"""The level that an empty cell stands for."""
MOST = 1e100
"""Sums of squares of more than a few such scores leave the range of numbers."""
KEYS = ["variant", "seed", "track", "target", "metric"]


@dataclass(frozen=True)
class Scores:
    """A checked score table.

    Attributes:
        frame: columns variant, seed, track, target, metric, aggregation, score and one a factor, and `group` (of
            tracks: the song, album or artist) where the table has it; NaN scores are gone.
        undefined: rows whose score was empty or not finite, left out of `frame`.
    """

    frame: pd.DataFrame
    undefined: pd.DataFrame

    def metrics(self) -> list[str]:
        """Metric names in order of first appearance."""
        return list(self.frame["metric"].unique())

    def variants(self) -> list[str]:
        """Variant names in order of first appearance."""
        return list(self.frame["variant"].unique())


def parted(frame: pd.DataFrame) -> Scores:
    """The scores of a table that was checked: those that are finite, and the others."""
    finite = np.isfinite(frame["score"].to_numpy(float))
    return Scores(frame[finite].reset_index(drop=True), frame[~finite].reset_index(drop=True))


def read_text_table(path: Path, separator: str = ",", rows: int | None = None) -> pd.DataFrame:
    """The CSV table at `path`, or so many rows of it, every cell as text."""
    # Every cell as text: a variant may be called "None" or "NA", and pandas would read those as
    # missing.
    try:
        frame = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, nrows=rows, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a CSV table: {error}") from error
    return as_written(frame)


def read_scores(path: Path, factor: str | None = None, layout: Layout = AS_OURS) -> Scores:
    """The score table at `path`.

    Args:
        path: a CSV file; one of a study's, or where `factor` is given anybody's.
        factor: the column that names the variant; default `variant`. An empty cell of it, as pandas writes None, is
            the level "(empty)".
        layout: what anybody's table calls its columns.

    Raises:
        ValueError: a column is missing, a score or seed is no number, or a score appears twice.
    """
    column = factor or "variant"
    if factor:
        frame = read_foreign_table(path, column, layout)
    else:
        frame = read_text_table(path)
        frame.index += 2
    for needed in (column, "seed", "score"):
        if needed not in frame.columns:
            raise ValueError(f"{path} has no column {needed!r}; {nearest(needed, frame.columns)}")
    frame = frame.assign(variant=frame[column])
    if column == "group":  # here it names the variant
        frame = frame.drop(columns="group")
    for optional in ("track", "target", "metric", "aggregation"):
        if optional not in frame.columns:
            frame[optional] = "score" if optional == "metric" else ""
    empty = (frame[["variant", "seed", "score"]].apply(lambda cells: cells.str.strip()) == "").all(axis=1)
    frame = frame[~empty]  # Excel leaves rows of commas at the end
    frame = frame.assign(variant=frame["variant"].mask(frame["variant"].str.strip() == "", EMPTY))
    one_spelling(frame["variant"], path, column)
    one_name(frame, path)
    frame["seed"] = seeds_of(frame["seed"], path)
    frame["score"] = _numbers(pointed(frame["score"]), path, "score", empty=True)
    great = frame["score"].abs().between(MOST, np.inf, inclusive="left")
    if great.any():
        row = int(np.flatnonzero(great.to_numpy())[0])
        raise ValueError(
            f"{path} line {frame.index[row]}: score is {frame['score'].iloc[row]:g}; scores of {MOST:g} and more "
            "cannot be squared, write them in another unit"
        )
    twice = frame.duplicated(KEYS, keep="first")
    if twice.any():
        row = int(np.flatnonzero(twice.to_numpy())[0])
        cell = ", ".join(f"{key} {str(frame[key].iloc[row])!r}" for key in KEYS)
        raise ValueError(
            f"{path} line {frame.index[row]}: a second score for {cell}; each may appear once"
            + _told_apart(frame, {column, *KEYS, "score", "aggregation"})
        )
    if "group" in frame:
        one_group(frame, "track", str(path))
    return parted(frame)


def seeds_of(column: pd.Series, path: Path) -> pd.Series:
    """Seeds as whole numbers; `1.0`, which pandas writes beside an empty cell, is one, and so is `run1` or `seed_1`
    where all are called alike."""
    text = column.str.strip()
    called = text.str.extract(r"^([A-Za-z]+[ _-]?)(\d+)$")
    if len(called) and called[0].nunique(dropna=False) == 1 and called[0].notna().all():
        text = called[1]
    whole = text.str.fullmatch(r"[+-]?\d+(\.0*)?")
    if not whole.all():
        row = int(np.flatnonzero(~whole.to_numpy())[0])
        raise ValueError(
            f"{path} line {column.index[row]}: seed is {column.iloc[row]!r}, which is no whole number; number the "
            "runs of each variant 0, 1, 2, …"
        )
    numbers = [int(seed) for seed in text.str.replace(r"\..*", "", regex=True)]
    great = [row for row, seed in enumerate(numbers) if abs(seed) >= 2**63]
    if great:
        row = great[0]
        raise ValueError(f"{path} line {column.index[row]}: seed is {column.iloc[row]!r}; it must be below 2^63")
    return pd.Series(numbers, index=column.index, dtype="int64")


def _told_apart(frame: pd.DataFrame, known: set[str]) -> str:
    """Which column tells the rows apart that otherwise are scores of one thing."""
    for column in frame.columns:
        if column not in known and not frame.duplicated([*KEYS, column]).any():
            return (
                f"; the column {column!r} tells them apart: read it with --columns {column}=track, or report each of "
                "its values by itself"
            )
    return ""


def pointed(column: pd.Series) -> pd.Series:
    """Numbers with a decimal comma in the form with a point; others as they are. A comma before three digits may part
    thousands, so one number at least must show another number of them."""
    text = column.str.strip()
    comma = text.str.fullmatch(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
    plain = ~text.str.contains(r"[.,]")
    sure = comma & ~text.str.fullmatch(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
    return text.str.replace(",", ".") if (comma | plain).all() and sure.any() else column


def one_group(frame: pd.DataFrame, item: str, place: str) -> None:
    """Refuse an item that is of two groups."""
    pairs = frame.loc[frame[item] != "", [item, "group"]].drop_duplicates()
    twice = pairs[pairs[item].duplicated(keep=False)]
    if not twice.empty:
        name = twice[item].iloc[0]
        of = " and ".join(repr(group) for group in twice[twice[item] == name]["group"])
        raise ValueError(
            f"{place}: the {item} {name!r} is of the groups {of}; `group` says which song, album or artist a {item} is "
            f"of, one for each. If the column means something else, give it another name"
        )


def _numbers(column: pd.Series, path: Path, name: str, empty: bool) -> pd.Series:
    text = column.str.strip().str.replace("\u2212", "-")
    values = pd.to_numeric(text, errors="coerce")
    blank = text.str.lower().isin(["", "nan", "na", "none", "null"])
    bad = values.isna() & ~(blank if empty else False)
    if bad.any():
        row = int(np.flatnonzero(bad.to_numpy())[0])
        raise ValueError(
            f"{path} line {column.index[row]}: {name} is {column.iloc[row]!r}, which is no number"
            + ("; leave it empty where there is none" if empty else "")
        )
    return values.astype(float)


def select(scores: Scores, metric: str, target: str = "") -> pd.DataFrame:
    """The rows of one metric and target.

    An empty or `macro` target selects `macro` rows, else rows without a target; where a metric
    has neither, the rows of all its targets, whose mean `track_scores` and `run_scores` take.

    Raises:
        ValueError: no such metric, or no such target in it.
    """
    rows = scores.frame[scores.frame["metric"] == metric]
    if rows.empty:
        check_metric(metric, scores.metrics())
    if target not in MACRO:
        chosen = rows[rows["target"] == target]
        if chosen.empty:
            check_target(metric, target, set(rows["target"]))
        return _of_tracks(chosen)
    for name in MACRO:
        chosen = rows[rows["target"] == name]
        if not chosen.empty:
            return _of_tracks(chosen)
    return _of_tracks(rows)


def _of_tracks(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of single tracks where there are any, else all: never a track and a split mixed."""
    single = rows[rows["track"] != ""]
    return rows if single.empty else single


def without(scores: Scores, names: tuple[str, ...]) -> Scores:
    """The scores without the tracks, targets and trials that were declared to be left out."""
    if not names:
        return scores

    def kept(frame: pd.DataFrame) -> pd.DataFrame:
        trials = frame["variant"] + "/seed" + frame["seed"].astype(str)
        gone = frame["track"].isin(names) | frame["target"].isin(names) | trials.isin(names)
        return frame[~gone].reset_index(drop=True)

    return Scores(kept(scores.frame), kept(scores.undefined))


def track_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """One score for each run and track: the mean over the targets of the rows."""
    return rows.groupby(["variant", "seed", "track"], sort=False, as_index=False)["score"].mean()


def run_scores(by_track: pd.DataFrame) -> dict[str, dict[int, float]]:
    """One score for each run, of what `track_scores` gives: variant -> seed -> mean over tracks."""
    means = by_track.groupby(["variant", "seed"], sort=False)["score"].mean()
    out: dict[str, dict[int, float]] = {}
    for (variant, seed), score in means.items():
        out.setdefault(str(variant), {})[int(seed)] = float(score)
    return {variant: dict(sorted(runs.items())) for variant, runs in out.items()}


def item_scores(rows: pd.DataFrame, item: str = "track") -> dict[str, pd.DataFrame]:
    """Scores per item: variant -> table (seed x item), NaN where a score is undefined; empty
    without items.
    """
    rows = rows[(rows[item] != "") & (rows[item] != "macro")] if item in rows else rows.iloc[:0]
    if rows.empty:
        return {}
    table = rows.pivot(index=["variant", "seed"], columns=item, values="score").sort_index()
    own = {str(variant): table.loc[variant] for variant in rows["variant"].unique()}
    if not table.isna().to_numpy().any():
        return own
    return {variant: scored.dropna(axis="columns", how="all") for variant, scored in own.items()}


def tag_scores(scores: Scores, metric: str) -> dict[str, pd.DataFrame]:
    """Scores per tag of a split-level metric (no track): variant -> table (seed x tag)."""
    rows = scores.frame[(scores.frame["metric"] == metric) & (scores.frame["track"] == "")]
    return item_scores(rows, "target")


def read_predictions(path: Path) -> pd.DataFrame | None:
    """predictions.parquet, or None where there is no such file.

    Raises:
        ValueError: a column is missing or a truth is neither 0 nor 1.
    """
    if not path.exists():
        return None
    frame = pd.read_parquet(path)
    for needed in ("variant", "seed", "item", "target", "truth", "score"):
        if needed not in frame.columns:
            raise ValueError(f"{path} has no column {needed!r}; {nearest(needed, frame.columns)}")
    wrong = ~frame["truth"].isin([0, 1])
    if wrong.any():
        raise ValueError(f"{path}: truth holds {frame['truth'][wrong].iloc[0]!r}; it must be 0 or 1")
    if "group" in frame:
        one_group(frame, "item", str(path))
    return frame


def read_curves(path: Path) -> pd.DataFrame | None:
    """curves.csv (stage, key, step, metric, value), or None where there is none."""
    if not path.exists():
        return None
    frame = read_text_table(path)
    for needed in ("stage", "key", "step", "metric", "value"):
        if needed not in frame.columns:
            raise ValueError(f"{path} has no column {needed!r}; {nearest(needed, frame.columns)}")
    frame.index += 2
    frame["step"] = _numbers(frame["step"], path, "step", empty=False)
    frame["value"] = _numbers(frame["value"], path, "value", empty=True)
    return frame[np.isfinite(frame["value"].to_numpy())]


def bare_study(scores: Scores, title: str, factor: str, reference: str, metric: str, target: str) -> Study:
    """A study for a table that came without study.json: its variants and seeds are those found in
    the table.

    Raises:
        ValueError: the reference is no level of the factor.
    """
    names = list(dict.fromkeys([*scores.variants(), *scores.undefined["variant"]]))
    if reference not in names:
        raise ValueError(f"--reference {reference!r} is no level of {factor!r}; {nearest(reference, names)}")
    seeds = tuple(sorted(set(int(seed) for seed in scores.frame["seed"].unique())))
    return Study(
        title=title,
        name=title,
        declaration=Declaration(seeds=seeds, reference=reference, metric=metric, target=target),
        variants=tuple(Variant(name, {factor: name}) for name in names),
    )
