"""Anybody's table of predictions: one row per variant, run, item and target, with truth and score; its AUCs are the
score table.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from reports.contract import nearest
from reports.contract import tables as dialects
from reports.inputs.foreign import as_written
from reports.inputs.spelling import one_spelling
from reports.inputs.tables import one_group, pointed, seeds_of

COLUMNS = ("seed", "item", "truth", "score")
KEYS = ["variant", "seed", "item", "target"]


def holds_predictions(path: Path) -> bool:
    """Whether the table has predictions in place of scores: a column `truth`."""
    try:
        return path.suffix.lower() == ".parquet" or "truth" in dialects.columns_of(path, ["truth"])
    except ValueError:  # whoever reads it as scores says what is wrong with it
        return False


def _as_text(path: Path) -> pd.DataFrame:
    """The table, every cell as text; the index holds the lines."""
    if path.suffix.lower() == ".parquet":
        try:
            frame = pd.read_parquet(path).astype(str)
        except ValueError as error:
            raise ValueError(f"{path}: not a parquet file ({error}); write it again") from None
        frame.index += 2
        return frame
    columns, rows = dialects.read_table(path, ["truth"])
    table = {column: [row[column] for _, row in rows] for column in columns if column}
    return as_written(pd.DataFrame(table, index=[line for line, _ in rows], dtype=str))


def read_table(path: Path, factor: str) -> pd.DataFrame:
    """The predictions at `path`: variant, seed, item, target, truth, score, and group where the table has it.

    Args:
        path: a CSV or parquet file.
        factor: the column that names the variant.

    Raises:
        ValueError: a column is missing, a value is none of its kind, a prediction stands twice, an item has two truths,
            or the runs do not all predict the same.
    """
    frame = _as_text(path)
    for needed in (factor, *COLUMNS):
        if needed not in frame.columns:
            raise ValueError(f"{path} has no column {needed!r}; {nearest(needed, frame.columns)}")
    frame = frame.assign(variant=frame[factor], target=frame.get("target", ""))
    one_spelling(frame["variant"], path, factor)
    frame["seed"] = seeds_of(frame["seed"], path)
    for name in ("truth", "score"):
        text = pointed(frame[name]).str.strip().replace({"True": "1", "False": "0", "TRUE": "1", "FALSE": "0"})
        values = pd.to_numeric(text, errors="coerce")
        wrong = ~(values.isin([0, 1]) if name == "truth" else np.isfinite(values))
        if wrong.any():
            row, must = int(np.flatnonzero(wrong.to_numpy())[0]), "0 or 1" if name == "truth" else "a finite number"
            raise ValueError(f"{path} line {frame.index[row]}: {name} is {frame[name].iloc[row]!r}; it must be {must}")
        frame[name] = values.astype(np.int8 if name == "truth" else float)
    twice = frame.duplicated(KEYS)
    if twice.any():
        cell = ", ".join(f"{key} {str(frame[key][twice].iloc[0])!r}" for key in KEYS)
        line = frame.index[int(np.flatnonzero(twice.to_numpy())[0])]
        raise ValueError(f"{path}: a second prediction for {cell} (line {line}); each may appear once")
    if "group" in frame and factor != "group":
        one_group(frame, "item", str(path))
    _same_questions(frame, path)
    return frame[[*KEYS, "truth", "score", *(["group"] if "group" in frame and factor != "group" else [])]]


def _same_questions(frame: pd.DataFrame, path: Path) -> None:
    """Refuse items with two truths, and runs that leave out what others predict: their AUCs would be of other clips."""
    cells = frame.groupby(["item", "target"], sort=False)
    truths = cells["truth"].nunique()
    if (truths > 1).any():
        item, target = truths.index[int(np.flatnonzero(truths.to_numpy() > 1)[0])]
        raise ValueError(f"{path}: {item!r} has truth 0 and 1 for {target or 'its target'!r}; one of them is wrong")
    runs = frame.groupby(["variant", "seed"], sort=False).size()
    if runs.nunique() > 1 or int(runs.iloc[0]) != len(truths):
        (variant, seed), many = runs.idxmin(), len(truths)
        own = frame[(frame["variant"] == variant) & (frame["seed"] == seed)].set_index(["item", "target"]).index
        item, target = truths.index.difference(own, sort=False)[0]
        raise ValueError(
            f"{path}: {variant!r} with seed {seed} has {runs.min():,} of {many:,} predictions (none for {item!r}"
            f"{f', {target!r}' if target else ''}). AUCs over different clips cannot be compared: predict them all, or "
            "take those that not every run has out of the table"
        )
