"""Artefacts that other source made than the source of now: found among a plan's hits, named, and shown as a diff."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mss_core.graph import OURS, Stage, module_of, package
from mss_core.source.following import Source
from mss_core.source.same import differing, recorded
from mss_core.source.stage import of as source_of
from mss_core.source.stage import reach_at
from mss_core.store import Store, sources
from mss_core.study.origin import at_commit, has_commit, home
from mss_core.study.plan import Plan

SHOWN = 6
"""Definitions that are named in a line."""

UNKNOWN = "what differs is not known: the store has lost the hashes"
JOINED = "the same definitions, of which one leads to another"


@dataclasses.dataclass(frozen=True)
class Hit:
    """An artefact that a plan uses as it is, though its stage's source is another now.

    Attributes:
        names: the definitions that differ.
        manifest: what the artefact says of itself.
    """

    stage: Stage
    names: tuple[str, ...]
    manifest: Mapping[str, Any]

    @property
    def commit(self) -> str:
        """The commit of the source that made it, and whether that had been changed; empty where it is not known."""
        facts = self.manifest.get("environment", {})
        made_by = package(str(self.manifest.get("function", "")))
        facts = facts if made_by == OURS else facts.get("packages", {}).get(made_by, {})
        changed = " with uncommitted changes" if facts.get("dirty") else ""
        return f"{facts['commit'][:12]}{changed}" if facts.get("commit") else str(facts.get("version", ""))


def hits(plan: Plan, store: Store) -> tuple[list[Hit], int]:
    """The artefacts among a plan's hits that other source made, and how many do not say which source made them.

    A difference that is recorded as one of no meaning (``same_meaning.json`` of the package) is none.
    """
    found, unrecorded = [], 0
    names: dict[tuple[str, str, str], tuple[str, ...]] = {}
    for key in sorted(plan.done):
        stage = plan.stages[key]
        now, manifest = source_of(stage), store.manifest(stage)
        if now is None or manifest is None:
            continue
        before = manifest.get("source")
        if before is None:
            unrecorded += 1
        elif before != now.fingerprint:
            owner = package(module_of(stage.function))
            pair = (str(before), now.fingerprint, owner)
            if pair not in names:
                names[pair] = _names(store, str(before), now, {OURS, owner})
            if names[pair]:
                found.append(Hit(stage, names[pair], manifest))
    return found, unrecorded


def _names(store: Store, before: str, now: Source, owners: Iterable[str]) -> tuple[str, ...]:
    """The definitions that differ; none where what changed was shown to mean the same."""
    kept = sources.kept(store.root, before)
    if kept is None:
        return (UNKNOWN,)
    if not differing(kept, now.functions):
        return (JOINED,)
    return tuple(differing(kept, now.functions, [e for owner in sorted(owners) for e in recorded(owner)]))


def lines(found: list[Hit], unrecorded: int) -> list[str]:
    """What a plan says of them: one line for each kind of stage and difference, and what can be done."""
    told = []
    for first, count in _alike(found):
        more = f" and {len(first.names) - SHOWN} more" if len(first.names) > SHOWN else ""
        plural = "artefacts were" if count > 1 else "artefact was"
        told.append(
            f"stale? {count} {first.stage.name} {plural} made by other source: {', '.join(first.names[:SHOWN])}{more}"
            + (f" (then {first.commit})" if first.commit else "")
        )
    if told:
        told.append(
            "  used as they are: --dry-run --diff shows what changed, --strict refuses them; raise the stage's "
            "`version` if its meaning changed"
        )
    if unrecorded:
        told.append(f"{unrecorded} artefacts are from before their source was recorded: nothing is known of it")
    return told


def refuse(found: list[Hit]) -> None:
    """Raise ValueError where there is one."""
    if found:
        raise ValueError("\n".join(["--strict: the store holds artefacts of other source", *lines(found, 0)[:-1]]))


def refuse_strangers(found: Iterable[Hit]) -> None:
    """Raise ValueError where another project's function of the same name made an artefact, while both are there.

    A function that was edited, moved or checked out elsewhere is still the same: its old file is gone, or is of a
    repository whose commits this one has too.
    """
    for hit in found:
        name = package(module_of(hit.stage.function))
        if name == OURS:
            continue
        made = hit.manifest.get("environment", {})
        commit = made.get("packages", {}).get(name, {}).get("commit")
        file = inspect.unwrap(hit.stage.function).__globals__.get("__file__")
        before = Path(made.get("paths", {}).get(name) or "/")
        if not file or not before.is_file() or before.samefile(home(name, file)) or has_commit(file, commit):
            continue
        raise ValueError(
            f"{hit.stage.name} {hit.stage.key[:12]} in the store was made by another {name!r}, {before}, with other "
            f"source than {home(name, file)}: give one of the two another name, or use another --store"
        )


def as_json(found: list[Hit], unrecorded: int) -> dict[str, Any]:
    return {
        "differing": [
            {"stage": hit.stage.name, "key": hit.stage.key, "functions": list(hit.names), "made_by": hit.commit}
            for hit in found
        ],
        "unrecorded": unrecorded,
    }


def diff(found: list[Hit]) -> Iterator[str]:
    """How each definition that differs has changed since, where the commit that made the artefact is known."""
    shown: set[tuple[str, str]] = set()
    for hit, count in _alike(found):
        yield f"{count} {hit.stage.name}, made by {hit.commit or 'unknown source'}"
        function = str(hit.manifest["function"])
        read = at_commit(hit.manifest.get("environment", {}))
        before = reach_at(read, function, hit.stage) if read else None
        now = source_of(hit.stage)
        if before is None or now is None:
            yield "  its source is not in this repository's history: there is nothing to compare with"
            continue
        for name in hit.names:
            if (hit.commit, name) not in shown:
                shown.add((hit.commit, name))
                yield from _changed(name, before, now, hit.commit)


def _changed(name: str, before: Source, now: Source, commit: str) -> Iterator[str]:
    old, new = before.texts.get(name), now.texts.get(name)
    if old is None and new is None:
        yield f"  {name}: no definition, and so nothing to show"
    elif before.functions.get(name) == now.functions.get(name):
        yield f"  {name}: as it is now in {commit}; it was changed and not committed when the artefact was made"
    else:
        yield from difflib.unified_diff(
            old[2].splitlines() if old else [],
            new[2].splitlines() if new else [],
            f"{old[0]}:{old[1]} {name} ({commit})" if old else f"no {name} ({commit})",
            f"{new[0]}:{new[1]} {name} (now)" if new else f"no {name} (now)",
            lineterm="",
        )


def _alike(found: Iterable[Hit]) -> Iterator[tuple[Hit, int]]:
    """The first of each kind of stage, difference and commit, with their number."""
    groups: dict[tuple[str, tuple[str, ...], str], list[Hit]] = {}
    for hit in found:
        groups.setdefault((hit.stage.name, hit.names, hit.commit), []).append(hit)
    for group in groups.values():
        yield group[0], len(group)
