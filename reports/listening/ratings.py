"""Ratings that a listening page downloaded: read, checked against the plan of the page, and as a tidy table."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from reports.contract import nearest
from reports.listening.plan import HIDDEN, Condition, Plan, Trial
from reports.statistics.listeners import SHARE, passed_over

FORMAT = "mss listen 1"
COLUMNS = ["listener", "track", "target", "variant", "seed", "rating", "trial"]


@dataclass(frozen=True)
class Sheet:
    """What one listener said: a rating by id of a condition."""

    path: Path
    listener: str
    seed: int
    ratings: Mapping[str, float]


def read(paths: Sequence[Path], study: str, plans: Mapping[str, Plan]) -> tuple[Plan, list[Sheet]]:
    """The plan that all files are of, and what each listener said.

    Raises:
        ValueError: a file is no download of a page, of another study or page, or lacks ratings; a rating lies outside
            of its scale; a listener comes twice. The message names the file.
    """
    raw = {path: _content(path) for path in paths}
    for path, content in raw.items():
        if content["study"] != study:
            raise ValueError(f"{path} is of the study {content['study']!r}, not of {study!r}")
        if content["page"] not in plans:
            there = nearest(content["page"], plans) if plans else "no page was written yet"
            raise ValueError(f"{path} is of the page {content['page']!r}, which is none of this study; {there}")
    first = next(iter(raw))
    for path, content in raw.items():
        if content["page"] != raw[first]["page"]:
            one, other = raw[first]["page"], content["page"]
            raise ValueError(f"{first} is of the page {one!r} and {path} of {other!r}: read each page by itself")
    plan = plans[raw[first]["page"]]
    sheets = [_sheet(path, content, plan) for path, content in raw.items()]
    known: dict[str, Path] = {}
    for sheet in sheets:
        earlier = known.setdefault(sheet.listener.casefold(), sheet.path)
        if earlier != sheet.path:
            raise ValueError(f"{earlier} and {sheet.path} are both of the listener {sheet.listener!r}")
    return plan, sheets


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"there is no file {path}") from None
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError(f"{path} holds no ratings: it is not what a listening page downloads")
    kinds = {"study": str, "page": str, "listener": str, "seed": int, "ratings": dict}
    for name, kind in kinds.items():
        if not isinstance(content.get(name), kind) or content[name] == "":
            raise ValueError(f"{path}: {name!r} is {content.get(name)!r}, which no listening page writes")
    return content


def _sheet(path: Path, content: Mapping[str, Any], plan: Plan) -> Sheet:
    ratings, wanted = content["ratings"], {each.id for trial in plan.trials for each in trial.conditions}
    if unknown := sorted(set(ratings) - wanted):
        raise ValueError(f"{path} rates {unknown[0]!r}, which is no sound of the page {plan.page}")
    lacking = [(trial, each) for trial in plan.trials for each in trial.conditions if each.id not in ratings]
    if lacking:
        of = {trial.id for trial, _ in lacking}
        raise ValueError(f"{path} lacks {len(lacking)} ratings, of {len(of)} items: {_name(*lacking[0])} is the first")
    for trial in plan.trials:
        values = [ratings[each.id] for each in trial.conditions]
        for each, value in zip(trial.conditions, values, strict=True):
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if plan.test == "mushra" and not (number and 0 <= value <= 100):
                raise ValueError(f"{path} rates {_name(trial, each)} {value!r}; a rating is a number from 0 to 100")
        if plan.test == "ab" and (sorted(map(str, values)) != ["0", "1"]):
            raise ValueError(f"{path} prefers neither or both of {_name(trial, trial.conditions[0])} and its other")
    return Sheet(path, content["listener"].strip(), content["seed"], ratings)


def _name(trial: Trial, each: Condition) -> str:
    where = f"{trial.track}, {trial.target}" if trial.target else trial.track
    return f"{each.variant or each.role} ({where})"


def table(plan: Plan, sheets: Sequence[Sheet]) -> pd.DataFrame:
    """One row per listener and sound, in `COLUMNS`: `variant` is the role of what is no estimate, whose seed is empty;
    `rating` is 0 to 100, or of a pair 1 for the sound that was preferred and 0 for the other."""
    rows = [
        (
            sheet.listener,
            trial.track,
            trial.target,
            each.variant or each.role,
            each.seed,
            sheet.ratings[each.id],
            trial.id,
        )
        for sheet in sheets
        for trial in plan.trials
        for each in trial.conditions
    ]
    return pd.DataFrame(rows, columns=COLUMNS).astype({"seed": "Int64"})


def screened(plan: Plan, ratings: pd.DataFrame) -> dict[str, str]:
    """Listeners to leave out, each with the reason [ITU-R BS.1534-3, post-screening]; none of a test of pairs."""
    if plan.test != "mushra":
        return {}
    found = {}
    for listener, rows in ratings[ratings["variant"] == HIDDEN].groupby("listener", sort=False):
        share = passed_over(list(rows["rating"]))
        if share > SHARE:
            found[str(listener)] = f"hidden reference below 90 in {round(share * len(rows))} of {len(rows)} items"
    return found
