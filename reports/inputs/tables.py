"""The long tables a report reads: scores.csv, predictions.parquet and curves.csv, checked when
read.

One row of scores.csv is one score; columns are those of docs/formats.md. Anybody's own table
needs less: a column for the factor, `seed`, `score`, and optionally `track`, `group`, `target` and
    `metric`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from reports.contract import MACRO, Declaration, Study, Variant, check_metric, check_target, nearest
from reports.contract.tables import read_table, unguarded

EMPTY = "(empty)"
"""The level that an empty cell stands for."""
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
        return list(dict.fromkeys(self.frame["metric"]))

    def variants(self) -> list[str]:
        """Variant names in order of first appearance."""
        return list(dict.fromkeys(self.frame["variant"]))


def read_text_table(path: Path, separator: str = ",", rows: int | None = None) -> pd.DataFrame:
    """The CSV table at `path`, or so many rows of it, every cell as text."""
    # Every cell as text: a variant may be called "None" or "NA", and pandas would read those as
    # missing.
    try:
        frame = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False, nrows=rows, encoding="utf-8-sig")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read as a CSV table: {error}") from error
    return _as_written(frame)


def _as_written(frame: pd.DataFrame) -> pd.DataFrame:
    """A table of text without the apostrophes that keep a spreadsheet from calculating its cells."""
    marked = [name for name in frame.columns if frame[name].str.startswith("'").any()]
    return frame.assign(**{name: frame[name].map(unguarded) for name in marked}).rename(columns=unguarded)


@dataclass(frozen=True)
class Layout:
    """How somebody's own table differs from the columns of docs/formats.md.

    Attributes:
        columns: their name of a column -> ours, of `CALLED`. Several that are `score` hold the metrics that they are
            called after: a wide table.
        one_run: every variant was trained once, and no column numbers its runs.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    one_run: bool = False


CALLED = ("seed", "score", "track", "group", "target", "metric")
"""Columns that may have another name in somebody's own table."""


def layout(columns: str = "", one_run: bool = False) -> Layout:
    """What a command line says of a table, as `song=track,SDR=score`.

    Raises:
        ValueError: a part has another form, names no column of ours, or one of them twice.
    """
    found: dict[str, str] = {}
    for part in filter(None, columns.split(",")):
        theirs, equals, ours = (text.strip() for text in part.rpartition("="))
        if not (theirs and equals and ours in CALLED):
            raise ValueError(
                f"--columns holds {part!r}; write their name=ours, e.g. song=track, with ours of {', '.join(CALLED)}"
            )
        if theirs in found or (ours != "score" and ours in found.values()):
            raise ValueError(f"--columns names {theirs if theirs in found else ours!r} twice")
        found[theirs] = ours
    return Layout(found, one_run)


def _read_foreign_table(path: Path, factor: str, layout: Layout) -> pd.DataFrame:
    """Somebody's own table, in whatever dialect, with our names of its columns; the index holds the lines."""
    theirs = {ours: name for name, ours in layout.columns.items()}
    scores = [name for name, ours in layout.columns.items() if ours == "score"] or ["score"]
    needed = [factor, *([] if layout.one_run else [theirs.get("seed", "seed")]), *layout.columns, *scores]
    try:
        columns, rows = read_table(path, list(dict.fromkeys(needed)))
    except ValueError as error:
        if "no column 'seed'" not in str(error):
            raise
        raise ValueError(
            f"{error}. It numbers the trainings of each variant: name it by --columns THEIRS=seed, or say --one-run "
            "where every variant was trained once"
        ) from None
    table = {column: [row[column] for _, row in rows] for column in columns if column}
    frame = _as_written(pd.DataFrame(table, index=[line for line, _ in rows], dtype=str))
    if factor in layout.columns:
        raise ValueError(f"--columns calls {factor!r} something else; it names the variant")
    for name, ours in layout.columns.items():
        if ours in frame and ours not in layout.columns:
            raise ValueError(f"{path} has a column {ours!r}, which --columns calls {name!r} too")
    if len(scores) > 1:
        if "metric" in frame or "metric" in theirs:
            raise ValueError(f"{path} has a column of metrics, and --columns names several of scores: name one")
        kept = [name for name in frame.columns if name not in scores]
        frame = frame.melt(kept, scores, "metric", "score", ignore_index=False)
    named = {name: ours for name, ours in layout.columns.items() if name in frame}
    frame = frame.rename(columns=named)
    return frame.assign(seed="0") if layout.one_run else frame


def read_scores(path: Path, factor: str | None = None, layout: Layout = Layout()) -> Scores:
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
        frame = _read_foreign_table(path, column, layout)
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
    _one_name(frame, path)
    frame["seed"] = seeds_of(frame["seed"], path)
    frame["score"] = _numbers(_pointed(frame["score"]), path, "score", empty=True)
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
    finite = np.isfinite(frame["score"].to_numpy())
    return Scores(frame[finite].reset_index(drop=True), frame[~finite].reset_index(drop=True))


def seeds_of(column: pd.Series, path: Path) -> pd.Series:
    """Seeds as whole numbers; `1.0`, which pandas writes beside an empty cell, is one."""
    text = column.str.strip()
    whole = text.str.fullmatch(r"[+-]?\d+(\.0*)?")
    if not whole.all():
        row = int(np.flatnonzero(~whole.to_numpy())[0])
        raise ValueError(
            f"{path} line {column.index[row]}: seed is {column.iloc[row]!r}, which is no whole number; number the "
            "runs of each variant 0, 1, 2, …"
        )
    return text.str.replace(r"\..*", "", regex=True).map(int).astype("int64")


def one_spelling(column: pd.Series, path: Path, name: str) -> None:
    """Refuse levels that differ only by blanks, case or the form of a number."""
    forms: dict[object, str] = {}
    for level in dict.fromkeys(column):
        text = " ".join(str(level).split()).lower()
        try:
            form: object = float(text)
        except ValueError:
            form = text
        if form in forms:
            raise ValueError(
                f"{path}: {forms[form]!r} and {level!r} in column {name!r} differ only by blanks, case or the form "
                "of a number; write one of them throughout, or give them names that differ"
            )
        forms[form] = level


def _one_name(frame: pd.DataFrame, path: Path) -> None:
    """Refuse names of tracks that differ only by case, blanks or the suffix of audio, where no run has both: one arm
    spells them in another way, and would be compared on fewer tracks or none."""
    forms: dict[str, list[str]] = {}
    for name in dict.fromkeys(frame["track"]):
        form = re.sub(r"\.(wav|flac|mp3|ogg)$", "", " ".join(name.split()).casefold())
        forms.setdefault(form, []).append(name)
    for names in forms.values():
        if len(names) > 1:
            rows = frame[frame["track"].isin(names)]
            if rows.groupby(["variant", "seed"])["track"].nunique().max() == 1:
                raise ValueError(
                    f"{path}: the tracks {names[0]!r} and {names[1]!r} differ only by case, blanks or suffix, and no "
                    "run has both; spell each track in one way, so that variants are compared on the same tracks"
                )


def _told_apart(frame: pd.DataFrame, known: set[str]) -> str:
    """Which column tells the rows apart that otherwise are scores of one thing."""
    for column in frame.columns:
        if column not in known and not frame.duplicated([*KEYS, column]).any():
            return f"; the column {column!r} tells them apart: call it 'track', or report each of its values by itself"
    return ""


def _pointed(column: pd.Series) -> pd.Series:
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
    text = column.str.strip()
    values = pd.to_numeric(text, errors="coerce")
    blank = text.str.lower().isin(["", "nan", "na", "none", "null"])
    bad = values.isna() & ~(blank if empty else False)
    if bad.any():
        row = int(np.flatnonzero(bad.to_numpy())[0])
        raise ValueError(f"{path} line {column.index[row]}: {name} is {column.iloc[row]!r}, which is no number")
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


def run_scores(rows: pd.DataFrame) -> dict[str, dict[int, float]]:
    """One score for each run: variant -> seed -> mean over tracks of the mean over targets."""
    means = track_scores(rows).groupby(["variant", "seed"], sort=False)["score"].mean()
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
    return {
        str(variant): table.loc[variant].dropna(axis="columns", how="all") for variant in dict.fromkeys(rows["variant"])
    }


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
    seeds = tuple(sorted(set(int(seed) for seed in scores.frame["seed"])))
    return Study(
        title=title,
        name=title,
        declaration=Declaration(seeds=seeds, reference=reference, metric=metric, target=target),
        variants=tuple(Variant(name, {factor: name}) for name in names),
    )
