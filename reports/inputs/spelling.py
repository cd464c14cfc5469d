"""Names in anybody's table that are one name in two spellings."""

import re
import unicodedata
from pathlib import Path

import pandas as pd


def one_spelling(column: pd.Series, path: Path, name: str) -> None:
    """Refuse levels that differ only by blanks, case or the form of a number."""
    forms: dict[object, str] = {}
    for level in dict.fromkeys(column):
        text = " ".join(_seen(str(level)).split()).lower()
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


def _seen(text: str) -> str:
    """A text as it looks: accents composed, characters without a width gone."""
    return "".join(each for each in unicodedata.normalize("NFC", text) if unicodedata.category(each) != "Cf")


def one_name(frame: pd.DataFrame, path: Path) -> None:
    """Refuse names of tracks that differ only by case, blanks, the suffix of audio or how systems write them, where no
    run has both: one arm spells them in another way, and would be compared on fewer tracks or none."""
    forms: dict[str, list[str]] = {}
    for name in frame["track"].unique():
        form = re.sub(r"(\.stem)?\.(wav|flac|mp3|ogg|mp4|m4a)$", "", _seen(name).casefold().replace("\\", "/"))
        form = " ".join(form.replace("_", " ").split())
        forms.setdefault(form, []).append(name)
    for names in forms.values():
        if len(names) > 1:
            rows = frame[frame["track"].isin(names)]
            if rows.groupby(["variant", "seed"])["track"].nunique().max() == 1:
                raise ValueError(
                    f"{path}: the tracks {names[0]!r} and {names[1]!r} differ only by case, blanks or suffix, or by "
                    "how systems write them, and no run has both; spell each track in one way, so that variants are "
                    "compared on the same tracks"
                )
