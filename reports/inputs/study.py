"""study.json as frozen values: what was declared, what ran, on what.

Only the fields of docs/formats.md are read. A field that is absent gets the default written here,
so that a table with a three-line study.json still renders.
"""

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

TESTS = ("crossed", "welch", "student", "paired", "wilcoxon", "permutation", "mixed", "bootstrap", "item_means")
CORRECTIONS = ("bonferroni", "holm", "bh", "none")


def nearest(value: object, choices: Iterable[object]) -> str:
    """The end of an error message: the nearest valid choice, or all of them.

    >>> nearest("welsh", ["welch", "student"])
    "did you mean 'welch'?"
    """
    names = [str(choice) for choice in choices]
    lower = {name.lower(): name for name in reversed(names)}
    close = difflib.get_close_matches(str(value).lower(), lower, n=1)
    if close:
        return f"did you mean {lower[close[0]]!r}?"
    return "choose from " + ", ".join(repr(name) for name in names) if names else "there is none"


@dataclass(frozen=True)
class Factor:
    """One factor: its levels, each a flat dict of departures from the baseline."""

    name: str
    levels: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Declaration:
    """What was fixed before the first run.

    Attributes:
        within: factors whose levels split the study into blocks, each with a reference of its own.
        references: variant -> the variant it is compared with; empty where all have `reference`.
        metrics: level -> primary metric of the variants at that level, where it is not `metric`.
        cut: what a smoke run leaves out of the study, as a sentence.
        sections: extra parts of the report: `kind` (a module of reports/sections) and its options.
        searched: paths whose values a hyperparameter search chose.
    """

    factors: tuple[Factor, ...] = ()
    design: str = ""
    seeds: tuple[int, ...] = ()
    seeded: tuple[str, ...] = ()
    shared: str = ""
    reference: str = ""
    within: tuple[str, ...] = ()
    references: Mapping[str, str] = field(default_factory=dict)
    sections: tuple[Mapping[str, Any], ...] = ()
    searched: tuple[str, ...] = ()
    metric: str = ""
    metrics: Mapping[str, str] = field(default_factory=dict)
    cut: str = ""
    target: str = ""
    higher_is_better: bool | None = None
    test: str = ""
    alpha: float = 0.05
    correction: str = "bonferroni"
    exclude: tuple[str, ...] = ()
    margin: float | None = None


@dataclass(frozen=True)
class Variant:
    """One combination of levels and its whole resolved recipe, flat."""

    name: str
    levels: Mapping[str, str] = field(default_factory=dict)
    departures: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One variant with one seed."""

    name: str
    variant: str
    seed: int
    status: str = "done"
    error: str = ""
    stages: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


@dataclass(frozen=True)
class Stage:
    """One stage call that ran, or was found in the store."""

    key: str
    name: str
    status: str = ""
    seconds: float = 0.0
    device: str = ""
    device_name: str = ""
    cached: bool = False
    directory: str = ""


@dataclass(frozen=True)
class Note:
    """Something the run left out or changed: skipped files, padded clips, silent sources."""

    kind: str
    text: str
    count: int = 0
    items: tuple[str, ...] = ()


@dataclass(frozen=True)
class Example:
    """Audio of one track in one variant; paths are relative to the store."""

    track: str
    target: str
    variant: str
    mixture: str = ""
    reference: str = ""
    estimate: str = ""


@dataclass(frozen=True)
class Study:
    """study.json."""

    title: str
    name: str
    question: str = ""
    smoke: bool = False
    declared: str = ""
    declaration: Declaration = field(default_factory=Declaration)
    variants: tuple[Variant, ...] = ()
    trials: tuple[Trial, ...] = ()
    stages: Mapping[str, Stage] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    examples: tuple[Example, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    hash_matches: bool | None = None

    def variant(self, name: str) -> Variant:
        """The variant of that name; an empty one where study.json does not list it."""
        return next((v for v in self.variants if v.name == name), Variant(name))


def declaration_hashes(declaration: Mapping[str, Any]) -> tuple[str, ...]:
    """sha256 of a declaration's canonical JSON: sorted keys; compact, or with json's default
    separators.
    """
    return tuple(
        hashlib.sha256(
            json.dumps(declaration, sort_keys=True, separators=separators, ensure_ascii=ascii_only).encode()
        ).hexdigest()
        for separators in ((",", ":"), (", ", ": "))
        for ascii_only in (True, False)
    )


def _declaration(raw: Mapping[str, Any], place: str) -> Declaration:
    test = str(raw.get("test") or "")
    if test and test not in TESTS:
        raise ValueError(f"{place}: unknown test {test!r} in declaration.test; {nearest(test, TESTS)}")
    correction = str(raw.get("correction") or "bonferroni")
    if correction not in CORRECTIONS:
        raise ValueError(
            f"{place}: unknown correction {correction!r} in declaration.correction; " + nearest(correction, CORRECTIONS)
        )
    alpha = float(raw.get("alpha", 0.05))
    if not 0 < alpha < 0.5:
        raise ValueError(f"{place}: declaration.alpha is {alpha}; it must lie between 0 and 0.5, e.g. 0.05")
    return Declaration(
        factors=tuple(Factor(f["name"], dict(f.get("levels", {}))) for f in raw.get("factors", ())),
        design=str(raw.get("design", "")),
        seeds=tuple(int(seed) for seed in raw.get("seeds", ())),
        seeded=tuple(raw.get("seeded", ())),
        shared=str(raw.get("shared") or ""),
        reference=_reference_name(raw.get("reference")),
        within=tuple(raw.get("within", ())),
        references=dict(raw.get("references", {})),
        sections=tuple(raw.get("sections", ())),
        searched=tuple((raw.get("search") or {}).get("paths", ())),
        metric=str(raw.get("metric") or ""),
        metrics=dict(raw.get("metrics", {})),
        cut=str(raw.get("cut") or ""),
        target=str(raw.get("target") or ""),
        higher_is_better=raw.get("higher_is_better"),
        test=test,
        alpha=alpha,
        correction=correction,
        exclude=tuple(raw.get("exclude", ())),
        margin=None if raw.get("margin") is None else float(raw["margin"]),
    )


def _reference_name(reference: object) -> str:
    if isinstance(reference, Mapping):
        return ", ".join(str(level) for level in reference.values())
    return str(reference or "")


def read_study(path: Path) -> Study:
    """study.json as a value.

    Raises:
        ValueError: the file is no JSON object, or a declared test, correction or alpha is unknown.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    if not isinstance(raw, dict):
        raise ValueError(f"{path} must hold a JSON object, not {type(raw).__name__}")
    declaration = raw.get("declaration", {})
    declared = str(raw.get("declared") or "")
    return Study(
        title=str(raw.get("title") or path.parent.name),
        name=str(raw.get("name") or raw.get("title") or path.parent.name),
        question=str(raw.get("question") or ""),
        smoke=bool(raw.get("smoke", False)),
        declared=declared,
        declaration=_declaration(declaration, str(path)),
        variants=tuple(
            Variant(v["variant"], v.get("levels", {}), v.get("departures", {}), v.get("recipe", {}))
            for v in raw.get("variants", ())
        ),
        trials=tuple(
            Trial(
                t["trial"],
                t["variant"],
                int(t["seed"]),
                t.get("status", "done"),
                t.get("error") or "",
                t.get("stages", {}),
                t.get("command") or "",
            )
            for t in raw.get("trials", ())
        ),
        stages={
            key: Stage(
                key,
                s.get("stage", ""),
                s.get("status", ""),
                float(s.get("seconds") or 0.0),
                s.get("device") or "",
                s.get("device_name") or "",
                bool(s.get("cached", False)),
                s.get("directory") or "",
            )
            for key, s in raw.get("stages", {}).items()
        },
        notes=tuple(
            Note(n.get("kind", ""), n.get("text", ""), int(n.get("count") or 0), tuple(map(str, n.get("items") or ())))
            for n in raw.get("notes", ())
        ),
        examples=tuple(
            Example(
                e["track"],
                e.get("target") or "",
                e.get("variant") or "",
                e.get("mixture") or "",
                e.get("reference") or "",
                e.get("estimate") or "",
            )
            for e in raw.get("examples", ())
        ),
        environment=raw.get("environment", {}),
        hash_matches=(declared in declaration_hashes(declaration)) if declared else None,
    )


def with_declaration(study: Study, **changes: Any) -> Study:
    """The study with parts of its declaration replaced, as a command line may ask for."""
    return replace(study, declaration=replace(study.declaration, **changes))
