"""Names in anybody's table that are one name in two spellings."""

import contextlib
import re
from pathlib import Path

import pandas as pd

from reports.contract.names import as_seen, spelled_alike


def one_spelling(column: pd.Series, path: Path, name: str) -> None:
    """Refuse levels that differ only by blanks, case or the form of a number."""
    pair = spelled_alike(column)
    if pair:
        raise ValueError(
            f"{path}: {pair[0]!r} and {pair[1]!r} in column {name!r} differ only by blanks, case or the form of a "
            "number; write one of them throughout, or give them names that differ"
        )


def one_name(frame: pd.DataFrame, path: Path) -> None:
    """Refuse names of tracks that differ only by case, blanks, the suffix of audio, the form of a number or how systems
    write them, where no run has both: one arm spells them otherwise, and would be compared on fewer tracks or none."""
    forms: dict[str, list[str]] = {}
    for name in frame["track"].unique():
        form = re.sub(r"(\.stem)?\.(wav|flac|mp3|ogg|mp4|m4a)$", "", as_seen(name).casefold().replace("\\", "/"))
        form = " ".join(form.replace("_", " ").split())
        with contextlib.suppress(ValueError):
            form = str(float(form))  # 7 and 7.0, as a table that was read and written again has them
        forms.setdefault(form, []).append(name)
    for names in forms.values():
        if len(names) > 1:
            rows = frame[frame["track"].isin(names)]
            if rows.groupby(["variant", "seed"])["track"].nunique().max() == 1:
                raise ValueError(
                    f"{path}: the tracks {names[0]!r} and {names[1]!r} differ only by case, blanks or suffix, by the "
                    "form of a number, or by how systems write them, and no run has both; spell each track in one way, "
                    "so that variants are compared on the same tracks"
                )
