"""Which two variants a contrast compares, what their recipes differ in, and whether that was
declared.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from reports.contract import Declaration, Study, Variant
from reports.text import listing

ABSENT = "(absent)"


@dataclass(frozen=True)
class Change:
    """One dotted path whose value differs between the two recipes."""

    path: str
    reference: Any
    variant: Any


@dataclass(frozen=True)
class Comparability:
    """What a contrast changes.

    Attributes:
        changes: every path that differs.
        undeclared: the paths among them that no level of the differing factors declares.
        refusal: why the contrast is not computed; empty if it is.
        bundle: what the contrast changes, as a predicate, where that is several things; empty if
            it is one.
    """

    changes: tuple[Change, ...]
    undeclared: tuple[str, ...]
    refusal: str
    bundle: str


def differing(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[Change]:
    """Paths at which two flat recipes differ, `a` the reference's; a path one lacks counts."""
    paths = sorted(set(a) | set(b))
    return [
        Change(path, a.get(path, ABSENT), b.get(path, ABSENT))
        for path in paths
        if a.get(path, ABSENT) != b.get(path, ABSENT)
    ]


def _unread(change: Change) -> bool:
    """Whether it is the fingerprint of data that only one of the two variants reads."""
    return change.path.endswith(".fingerprint") and "" in (change.reference, change.variant)


def excerpted(path: str, changes: Iterable[Change]) -> bool:
    """Whether a path says which seconds a rehearsal reads, which are fewer where a method is dear: the seconds, or the
    fingerprint of a data set of which others are read."""
    owner, _, name = path.rpartition(".")
    return name in ("excerpt", "fingerprint") and any(change.path == f"{owner}.excerpt" for change in changes)


def _follows(path: str, declared: Iterable[str]) -> bool:
    """Whether a path is the fingerprint of a data set whose name is declared: from the name it follows."""
    name = path.removesuffix(".fingerprint") + ".name"
    return path.endswith(".fingerprint") and any(covers(one, name) for one in declared)


def covers(declared: str, path: str) -> bool:
    """Whether a declared path speaks for `path`: the same, or one holds the other.

    >>> covers("pretrain", "pretrain.lr"), covers("pre", "pretrain.lr")
    (True, False)
    """
    return path == declared or path.startswith(declared + ".") or declared.startswith(path + ".")


def declared_paths(declaration: Declaration, variant: Variant, reference: Variant) -> list[str]:
    """Every path in any level of the factors in which the two variants differ, so either
    direction is declared.
    """
    paths: dict[str, None] = {}
    for factor in declaration.factors:
        levels = {variant.levels.get(factor.name), reference.levels.get(factor.name)}
        if len(levels) > 1:
            for level in levels:
                paths.update(dict.fromkeys(factor.levels.get(str(level), {})))
    return list(paths)


def compare(study: Study, variant: Variant, reference: Variant) -> Comparability:
    """What the contrast variant - reference changes, and whether study.json allows it."""
    seeded = study.declaration.seeded
    every = differing(reference.recipe, variant.recipe)
    changes = [
        change
        for change in every
        if not any(covers(path, change.path) for path in seeded)
        and not (_unread(change) or (study.rehearsal and excerpted(change.path, every)))
    ]
    declared = declared_paths(study.declaration, variant, reference)
    searched = study.declaration.searched
    undeclared = [
        c.path
        for c in changes
        if not any(covers(path, c.path) for path in (*declared, *searched)) and not _follows(c.path, declared)
    ]
    stages = {
        v.name: list(dict.fromkeys(s.partition(".")[0] for t in study.trials if t.variant == v.name for s in t.stages))
        for v in (variant, reference)
    }
    gained = [s for s in stages[variant.name] if s not in stages[reference.name]]
    lost = [s for s in stages[reference.name] if s not in stages[variant.name]]
    if not stages[variant.name] or not stages[reference.name]:
        gained, lost = [], []
    refusal = ""
    if undeclared and study.declaration.factors:
        refusal = (
            f"{variant.name} and {reference.name} also differ in "
            f"{listing(undeclared, 4)}, which no level of the "
            "factor declares; the difference could come from there, so it is not computed"
        )
    return Comparability(
        tuple(changes),
        tuple(undeclared),
        refusal,
        _bundle([c for c in changes if c.path not in searched], declared, gained, lost),
    )


def share_trainings(study: Study) -> bool:
    """Whether in every contrast equal seeds of the two arms share a stage that other seeds do not: their luck, too."""
    stages: dict[str, dict[int, set[str]]] = {}
    for trial in study.trials:
        stages.setdefault(trial.variant, {})[trial.seed] = set(trial.stages.values())
    known = [name for name in stages if study.reference_of(name) != name]
    return bool(known) and all(_shared(stages[name], stages.get(study.reference_of(name), {})) for name in known)


def _shared(a: Mapping[int, set[str]], b: Mapping[int, set[str]]) -> bool:
    """Whether each seed that both arms have shares a stage of its own."""
    seeds = a.keys() & b.keys()
    others = {seed: set().union(*(keys for other, keys in b.items() if other != seed)) for seed in seeds}
    return len(seeds) > 1 and all((a[seed] & b[seed]) - others[seed] for seed in seeds)


def _bundle(changes: list[Change], declared: list[str], gained: list[str], lost: list[str]) -> str:
    """What a contrast that changes more than one thing changes, as a predicate; empty for one."""
    roots = sorted(declared, key=len)
    groups: dict[str, list[str]] = {}
    for change in changes:
        root = next((path for path in roots if covers(path, change.path)), change.path)
        groups.setdefault(root, []).append(change.path.removeprefix(root).strip("."))
    parts, moved = [], []
    for root, inner in groups.items():
        leaves = [path for path in inner if path]
        moved.append(f"{root} (with {listing(leaves, 4)})" if leaves else root)
    if sum(len(inner) for inner in groups.values()) > 1:
        total = sum(len([path for path in inner if path]) or 1 for inner in groups.values())
        parts.append(f"changes {total} settings at once: {listing(moved, 6)}")
    if gained:
        parts.append(f"runs {listing(gained)} in addition, with the parameters and training of it")
    if lost:
        parts.append(f"leaves out {listing(lost)}, with its parameters and training")
    if not parts:
        return ""
    return "; ".join(parts)
