"""``--dry-run --why``: of each stage that would run, what sets it apart from the nearest artefact in the store."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from mss_core import disk
from mss_core.graph import OURS, Stage, module_of, package, plain
from mss_core.store import Store
from mss_core.store.catalogue import Artefact, artefacts
from mss_core.study.binding import ABSENT
from mss_core.study.plan import Plan

NEAREST = 300
"""Artefacts of a stage that are compared with it, the latest."""

NOTHING = "nothing"


class Difference(NamedTuple):
    """One argument, input or function that is another.

    Attributes:
        stage: whose it is: the stage itself, or one upstream of it.
        path: of the argument within that stage's call.
        ours, theirs: the two values, as text.
        key: of the artefact that has the other value.
    """

    stage: str
    path: str
    ours: str
    theirs: str
    key: str


def lines(plan: Plan, store: Store, data: Mapping[str, Path]) -> list[str]:
    """One line for each stage that would run; equal ones are one line with their number.

    Args:
        data: folders of data sets by name, whose files are named where the content of a set has changed.
    """
    told = Counter((stage.label, reason) for stage, reason in Reasons(plan, store, data).all())
    return [f"  {label}{f' ({count})' if count > 1 else ''}: {reason}" for (label, reason), count in told.items()]


class Reasons:
    """Why the stages of a plan would run."""

    def __init__(self, plan: Plan, store: Store, data: Mapping[str, Path]) -> None:
        self.plan, self.store, self.data = plan, store, data
        held = artefacts(store.root) if store.root.is_dir() else []
        self.held = {each.key: each for each in held}
        self.by_stage: dict[str, list[Artefact]] = {}
        for each in sorted(held, key=lambda each: str(each.manifest.get("finished", "")), reverse=True):
            self.by_stage.setdefault(each.stage, []).append(each)
        self.readers = {
            up["key"]: f"{each.stage} {each.key[:12]} was made of it"
            for each in held
            for up in each.manifest["inputs"].values()
        }
        self.compared: dict[tuple[str, str], tuple[Difference, ...]] = {}

    def all(self) -> Iterator[tuple[Stage, str]]:
        studies = self._studies()
        for key in self.plan.needed:
            yield self.plan.stages[key], self.of(self.plan.stages[key], studies)

    def of(self, stage: Stage, studies: Mapping[str, str]) -> str:
        """One line on one stage."""
        if stage.key in self.plan.damaged:
            return f"its artefact is damaged: {self.plan.damaged[stage.key]}"
        folder = self.store.directory(stage).parent
        aside = [path.name for path in disk.entries(folder) if path.name.startswith(f"{stage.key}.damaged-")]
        if aside:
            return f"its artefact was damaged, and lies aside as {stage.name}/{aside[-1][:12]}...{aside[-1][64:]}"
        if self.store.partials(stage):
            return "it was begun and has not ended: it goes on from there"
        gone = self.readers.get(stage.key) or studies.get(stage.key)
        if gone:
            return f"its artefact is missing: the store had it once ({gone})"
        candidates = [each for each in self.by_stage.get(stage.name, ()) if each.key != stage.key][:NEAREST]
        if not candidates:
            return f"the store holds no artefact of {stage.name}"
        found = min(((self._between(stage, each), each) for each in candidates), key=lambda pair: len(pair[0]))
        return self._told(stage, *found)

    def _told(self, stage: Stage, differences: Sequence[Difference], nearest: Artefact) -> str:
        if not differences:
            return f"nothing sets it apart from {nearest.key[:12]}, which has another key"
        first, *others = differences
        more = f", and {len(others)} more: {', '.join(_where(each, stage) for each in others[:3])}" if others else ""
        return f"{self._sentence(first, stage)} (nearest: {nearest.key[:12]}){more}"

    def _sentence(self, found: Difference, stage: Stage) -> str:
        where = _where(found, stage)
        if not found.path.endswith("fingerprint"):
            return f"{where} is {found.ours}, not {found.theirs}"
        if found.ours == _short(ABSENT):
            return f"{where}: the data set is not on this machine"
        changed = self._changed(found)
        return f"{where}: the content of the data set is another" + (f" ({changed})" if changed else "")

    def _changed(self, found: Difference) -> str:
        """The files of data sets that were written since an artefact was made, as far as the store remembers them."""
        try:
            known = json.loads(disk.read(self.store.root / "fingerprints.json"))
            then = (
                datetime.fromisoformat(self.held[found.key].manifest["finished"]).timestamp() * 1e9 + 1e9
            )  # in whole seconds
            since = [path for path, entry in known.items() if max(entry[1], entry[3]) > then]
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return ""
        names = [
            f"{name}/{Path(path).relative_to(root.absolute())}"
            for name, root in self.data.items()
            for path in sorted(since)
            if Path(path).is_relative_to(root.absolute())
        ]
        more = f" and {len(names) - 2} more" if names[2:] else ""
        return f"written since: {', '.join(names[:2])}{more}" if names else ""

    def _between(self, stage: Stage, other: Artefact) -> tuple[Difference, ...]:
        """What sets a stage apart from an artefact of its name, upstream differences in place of inputs, each once."""
        pair = (stage.key, other.key)
        if pair not in self.compared:
            found = list(self._compared(stage, other))
            distinct = {(each.stage, each.path, each.ours, each.theirs): each for each in reversed(found)}
            self.compared[pair] = tuple(reversed(distinct.values()))
        return self.compared[pair]

    def _compared(self, stage: Stage, other: Artefact) -> Iterator[Difference]:
        ours, theirs = _called(stage), str(other.manifest["function"])
        if _addressed(ours) != _addressed(theirs):
            yield Difference(stage.name, "function", ours, theirs, other.key)
        values = other.manifest["arguments"]
        for name in [*stage.arguments, *(name for name in values if name not in stage.arguments)]:
            yield from self._values(
                stage, name, stage.arguments.get(name, NOTHING), values.get(name, NOTHING), other.key
            )

    def _values(self, stage: Stage, path: str, ours: Any, theirs: Any, key: str) -> Iterator[Difference]:
        if isinstance(ours, Stage):
            upstream = theirs.get("$stage") if isinstance(theirs, dict) else None
            known = self.held.get(str(upstream))
            if upstream == ours.key:
                return
            if known is not None and known.stage == ours.name:
                yield from self._between(ours, known)
            else:
                theirs = f"{str(upstream)[:12]}, which the store has lost" if upstream else _short(theirs)
                yield Difference(stage.name, path, f"{ours.name} {ours.key[:12]}", theirs, key)
            return
        if dataclasses.is_dataclass(ours) and isinstance(theirs, dict):
            ours = {name: getattr(ours, name) for name in plain(ours)}
        if isinstance(ours, Mapping) and isinstance(theirs, dict):
            for name in [*ours, *(name for name in theirs if name not in ours)]:
                yield from self._values(
                    stage, f"{path}.{name}", ours.get(name, NOTHING), theirs.get(name, NOTHING), key
                )
        elif isinstance(ours, tuple | list) and isinstance(theirs, list) and len(ours) == len(theirs):
            for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
                yield from self._values(stage, f"{path}.{number}", one, other, key)
        elif plain(ours) != theirs:
            yield Difference(stage.name, path, _short(plain(ours)), _short(theirs), key)

    def _studies(self) -> dict[str, str]:
        """By key, a study whose tables have had that stage's artefact."""
        found = {}
        for folder in disk.entries(self.store.root / "studies"):
            try:
                stages = json.loads(disk.read(folder / "study.json"))["stages"]
                found.update({key: f"study {folder.name}" for key, each in stages.items() if each["status"] == "done"})
            except (OSError, ValueError, KeyError, TypeError, AttributeError):
                continue
        return found


def _called(stage: Stage) -> str:
    return f"{module_of(stage.function)}.{stage.name}"


def _addressed(function: str) -> str:
    """A function as a key knows it: one of this project by name alone."""
    return function.rpartition(".")[2] if package(function) == OURS else function


def _where(found: Difference, stage: Stage) -> str:
    return found.path if found.stage == stage.name else f"{found.path} of {found.stage}"


def _short(value: Any) -> str:
    text = value if value is NOTHING else json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def as_json(plan: Plan, store: Store, data: Mapping[str, Path]) -> dict[str, str]:
    """By key, the line on each stage that would run."""
    return {stage.key: reason for stage, reason in Reasons(plan, store, data).all()}
