"""What a study's folder says of it, whatever state it is in: a card, or why there is none."""

import json
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reports import FORMATS
from reports.contract import Study, from_json
from reports.drawing import thumbnail
from reports.overview.beside import Claim, claims
from reports.overview.told import Compared, Told
from reports.text import count, duration, p_phrase, visible

SHOWN = (FORMATS["html"], FORMATS["md"], "scores.csv", "study.json")
"""Files of a study that its card links to, where they are there."""

SAYS = {
    "smoke": "tiny data and training: shows that everything works, answers nothing",
    "rehearsal": "two training steps on a few items: shows that the study will run, answers nothing",
    "control failed": "an arm whose truth is known did not come out as declared",
    "significant": "a contrast of the primary metric is significant after correction",
    "null": "no contrast of the primary metric is significant, which is not to say that there is no difference",
    "untested": "no contrast of the primary metric could be tested",
    "interrupted": "trials are missing, or there is no report yet; the study may still be running",
    "failed": "trials failed",
    "outdated": "the tables are newer than the report",
}
"""What each badge means."""


@dataclass(frozen=True)
class Card:
    """One study.

    Attributes:
        folder: its folder's name; `title` is that as it can be shown.
        badges: keys of `SAYS`, what must be known first in front.
        when: when the last of its stages was finished; without one, when its last run began; None for no date.
        cost: seconds of its stages by kind of device, `CPUs` or `GPUs`.
        notes: what its folder lacks, in sentences.
        plot: a small forest plot as SVG; empty without a contrast.
        files: names of `SHOWN` that are there.
    """

    folder: str
    title: str
    question: str
    verdict: str
    badges: tuple[str, ...]
    when: datetime | None
    cost: Mapping[str, float]
    notes: tuple[str, ...] = ()
    plot: str = ""
    files: tuple[str, ...] = ()
    claims: tuple[Claim, ...] = ()

    @property
    def facts(self) -> str:
        """Date and hours, for print."""
        spent = " and ".join(f"{duration(seconds)} on {device}" for device, seconds in self.cost.items())
        made = self.when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC") if self.when else "no date"
        return f"{made} · {spent or 'no stage has run'}"


@dataclass(frozen=True)
class Unreadable:
    """A folder that no card can be made of, and why; `files` as of a card."""

    folder: str
    title: str
    why: str
    files: tuple[str, ...] = ()


def card(home: Path) -> Card | Unreadable:
    """The card of a study's folder."""
    title = shown(home.name)
    try:
        files = tuple(name for name in SHOWN if (home / name).is_file())
        return _card(home, title, files)
    except (OSError, ValueError, ArithmeticError, RecursionError) as error:
        why = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
        files = tuple(name for name in SHOWN if os.path.isfile(home / name))
        return Unreadable(home.name, title, shown(why.replace(f"{home}{os.sep}", "").replace(str(home), title)), files)


def shown(text: str) -> str:
    """A text in one line that every page can hold: names of files may be any bytes, JSON may hold half characters."""
    return visible(text.encode("utf-8", "backslashreplace").decode("utf-8"))


def _card(home: Path, title: str, files: tuple[str, ...]) -> Card:
    if not (home / "study.json").is_file():
        return _begun(home, title, files)
    study: Study = from_json(Study, {"name": title, **_object(home / "study.json"), "title": title}, "study.json")
    told = None
    if (home / FORMATS["json"]).is_file():
        place = FORMATS["json"]
        try:
            told = from_json(Told, _object(home / place), place)
        except ValueError as error:
            raise ValueError(
                f"{error}. It is damaged, or of another version: `mss report {title} --store STORE` writes it again"
            ) from None
    status = Counter(trial.status for trial in study.trials)
    badges, notes = _badges(study, told), []
    if told is None:
        notes.append(f"No report yet: {status['done']} of {count(len(study.trials), 'trial')} have scores.")
    if status["failed"]:
        notes.append(f"{status['failed']} of {count(len(study.trials), 'trial')} failed.")
    if status["missing"] and told is not None:
        notes.append(f"{status['missing']} of {count(len(study.trials), 'trial')} have no scores.")
    if "outdated" in badges:
        notes.append(f"Its tables are newer than its report: `mss report {title} --store STORE` writes that again.")
    return Card(
        home.name,
        title,
        shown(study.question or study.name),
        shown(told.headline) if told else "",
        badges,
        _last([stage.finished for stage in study.stages.values()]) or _last(_began(home)),
        _cost(study),
        tuple(notes),
        _plot(told.findings.comparisons[0]) if told and told.findings.comparisons else "",
        files,
        claims(study, told.findings if told else None),
    )


def _begun(home: Path, title: str, files: tuple[str, ...]) -> Card:
    """The card of a study that ended before its first tables."""
    times = _began(home)
    if not times:
        raise ValueError("it holds no study.json")
    note = "Declared, but there are no tables yet."
    return Card(home.name, title, "", "", ("interrupted",), _last(times), {}, (note,), files=files)


def _object(path: Path) -> Mapping[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path.name} is not JSON: {error}") from None
    if not isinstance(raw, dict):
        raise ValueError(f"{path.name} must hold a JSON object, not {type(raw).__name__}")
    return raw


def _began(home: Path) -> list[str]:
    """When each run of the study began, of declarations.jsonl; lines that are no entries are passed over."""
    path, found = home / "declarations.jsonl", []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        found += [str(entry["time"])] if isinstance(entry, dict) and "time" in entry else []
    return found


def _last(times: Iterable[str]) -> datetime | None:
    return max(filter(None, map(_time, times)), default=None)


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _cost(study: Study) -> dict[str, float]:
    spent: dict[str, float] = {}
    for stage in study.stages.values():
        if stage.status == "done" and stage.device and 0 <= stage.seconds < math.inf:
            kind = "CPUs" if stage.device == "cpu" else "GPUs"
            spent[kind] = spent.get(kind, 0.0) + stage.seconds
    return dict(sorted(spent.items(), reverse=True))


def _badges(study: Study, told: Told | None) -> tuple[str, ...]:
    found = ["rehearsal"] if study.rehearsal else ["smoke"] if study.smoke else []
    if told is not None:
        if told.findings.a_control_failed:
            found.append("control failed")
        elif not found:
            found.append(_outcome([each for each in told.findings.comparisons if each.primary]))
    status = {trial.status for trial in study.trials}
    if told is None or "missing" in status:
        found.append("interrupted")
    if "failed" in status:
        found.append("failed")
    if told is not None and _trials(study.trials) != _trials(told.findings.study.trials):
        found.append("outdated")
    return tuple(found)


def _outcome(primary: list[Compared]) -> str:
    tested = [(each, contrast) for each in primary for contrast in each.tested]
    if not tested:
        return "untested"
    return "significant" if any(each.clear(contrast) for each, contrast in tested) else "null"


def _trials(trials: Any) -> set[tuple[str, str, tuple[tuple[str, str], ...]]]:
    return {(trial.name, trial.status, tuple(sorted(trial.stages.items()))) for trial in trials}


def _plot(main: Compared) -> str:
    style = main.style
    lines = []
    for contrast in main.contrasts:
        found = contrast.primary
        thin = [math.nan if end is None else end * style.scale for end in contrast.simultaneous]
        told = f"{style.difference(found.difference, unit=True)}, corrected {p_phrase(contrast.p_corrected)}"
        lines.append(
            thumbnail.Line(
                shown(contrast.variant),
                found.difference * style.scale,
                (found.low * style.scale, found.high * style.scale),
                tuple(thin),
                main.clear(contrast),
                shown(f"{contrast.variant} against {contrast.reference}: {told}"),
            )
        )
    against = f"the reference of the same {' and '.join(main.within)}" if main.within else main.reference
    axis = f"{style.label}{f' ({style.unit})' if style.unit else ''}, against {against}"
    return thumbnail.forest(lines, shown(axis), style.higher_is_better)
