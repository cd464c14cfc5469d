"""Anybody's own table of scores: other names of its columns, one column per metric or target, no seeds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from reports.contract.tables import read_table, unguarded


@dataclass(frozen=True)
class Layout:
    """How somebody's own table differs from the columns of docs/formats.md.

    Attributes:
        columns: their name of a column -> ours, of `CALLED`. Several that are `score` make a wide table.
        one_run: every variant was trained once, and no column numbers its runs.
        wide: what the columns of scores are called after, of `WIDE`.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    one_run: bool = False
    wide: str = "metric"


AS_OURS = Layout()
CALLED = ("seed", "score", "track", "group", "target", "metric")
"""Columns that may have another name in somebody's own table."""
WIDE = ("metric", "target")


def layout(columns: str = "", one_run: bool = False, wide: str = "") -> Layout:
    """What a command line says of a table, as `song=track,SDR=score`.

    Raises:
        ValueError: a part has another form, names no column of ours, or one of them twice; a table is said to be wide
            and no columns of scores are named.
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
    if wide and "score" not in found.values():
        raise ValueError(f"--wide {wide}: name the columns of scores by --columns, e.g. vocals=score,drums=score")
    return Layout(found, one_run, wide or WIDE[0])


ADVICE = {
    "seed": (
        ". It numbers the trainings of each variant: name it by --columns THEIRS=seed, or say --one-run where every "
        "variant was trained once"
    ),
    "score": ". It holds the scores: name it by --columns THEIRS=score, or several in a wide table",
}
"""What helps where a column is missing."""


def read_foreign_table(path: Path, factor: str, layout: Layout) -> pd.DataFrame:
    """Somebody's own table, in whatever dialect, with our names of its columns; the index holds the lines."""
    theirs = {ours: name for name, ours in layout.columns.items()}
    scores = [name for name, ours in layout.columns.items() if ours == "score"] or ["score"]
    needed = [factor, *([] if layout.one_run else [theirs.get("seed", "seed")]), *layout.columns, *scores]
    try:
        columns, rows = read_table(path, list(dict.fromkeys(needed)))
    except ValueError as error:
        advice = [words for name, words in ADVICE.items() if f"no column {name!r}" in str(error)]
        raise ValueError(f"{error}{''.join(advice)}") from None
    table = {column: [row[column] for _, row in rows] for column in columns if column}
    frame = as_written(pd.DataFrame(table, index=[line for line, _ in rows], dtype=str))
    if factor in layout.columns:
        raise ValueError(f"--columns calls {factor!r} something else; it names the variant")
    for name, ours in layout.columns.items():
        if ours in frame and ours not in layout.columns:
            raise ValueError(f"{path} has a column {ours!r}, which --columns calls {name!r} too")
    told = layout.wide in frame or layout.wide in theirs
    if len(scores) > 1 and told:
        raise ValueError(f"{path} has a column of {layout.wide}s, and --columns names several of scores: name one")
    if "score" in theirs and not told:  # one column or several, called after what they score
        kept = [name for name in frame.columns if name not in scores]
        frame = frame.melt(kept, scores, layout.wide, "score", ignore_index=False)
    named = {name: ours for name, ours in layout.columns.items() if name in frame}
    frame = frame.rename(columns=named)
    return frame.assign(seed="0") if layout.one_run else frame


def as_written(frame: pd.DataFrame) -> pd.DataFrame:
    """A table of text without the apostrophes that keep a spreadsheet from calculating its cells."""
    marked = [name for name in frame.columns if frame[name].str.startswith("'").any()]
    return frame.assign(**{name: frame[name].map(unguarded) for name in marked}).rename(columns=unguarded)
