"""study.json as frozen values, and the way to JSON and back: one walk over the types of the fields."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from reports.contract.names import Metric


@dataclass(frozen=True)
class Factor:
    """One factor: its levels, each a flat dict of departures from the baseline."""

    name: str
    levels: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Looks:
    """A study that looks at its results after so many seeds, and trains more only of what is not decided.

    Attributes:
        seeds: per variant, at each look.
        spending: one of `SPENDING`.
    """

    seeds: tuple[int, ...]
    spending: str = "pocock"


EXPECTED = ("equivalent", "worse", "better")
"""What a control may be declared to come out as, beside the study's reference."""


@dataclass(frozen=True)
class Control:
    """An arm whose truth is known in advance: the study's reference, changed in a way whose effect is not in question.

    Attributes:
        name: of its variant, e.g. `placebo`, `planted loss`.
        expected: one of `EXPECTED`.
        departures: dotted path -> value, set after everything else (smoke size and `--set` too).
        fresh: whether its trainings draw at random what those of the reference draw: with no departures a placebo.
        times: how many runs it has for each one of the reference; more than one only if `fresh`. A placebo's margin may
            be narrower than the study's own effects, and its runs are often the cheapest.
        margin: of `equivalent`, in the unit of the scores; `smoke_margin`: the same of a smoke run, where it is
            another.
        why: how the truth is known, as a phrase for the reader: `half of the training labels shuffled`.
    """

    name: str
    expected: str
    departures: Mapping[str, Any] = field(default_factory=dict)
    fresh: bool = False
    times: int = 1
    margin: float | None = None
    smoke_margin: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Declaration:
    """What was fixed before the first run.

    Attributes:
        seeded, shared: the seeds that vary, and what they do not replicate, as a sentence.
        reference: name of the variant that the others are compared with.
        within: factors whose levels split the study into blocks, each with a reference of its own.
        references: variant -> the variant it is compared with; empty where all have `reference`.
        own_tracks: factors whose levels are scored on test tracks of their own: where two have fewer than two in
            common, their tracks are two samples.
        sections: extra parts of the report: `kind` (see `section_modules`, or the dotted name of a module) and its
            options.
        metrics: level -> primary metric of the variants at that level, where it is not `metric`.
        own_metrics: metrics that `METRICS` does not hold, with unit and direction.
        higher_is_better: direction of `metric`; None for what is known of it.
        exclude: tracks, targets and trials (`vocals/seed1`) left out by rule.
        margin: equivalence margin, in the unit of the score table.
        controls: arms whose truth is known, a family of their own.
        until: the looks of a study whose number of seeds depends on its results; None where it is fixed.
        cut: what a smoke run leaves out of the study, as a sentence.
        settings, baseline: the values of `--set`, and the baseline recipe with them; dotted path -> value.
        search: what a hyperparameter search was declared to do; empty without one.
        added: the levels of `factors` that a command line added, as typed.
    """

    factors: tuple[Factor, ...] = ()
    design: str = ""
    seeds: tuple[int, ...] = ()
    seeded: tuple[str, ...] = ()
    shared: str = ""
    reference: str = ""
    within: tuple[str, ...] = ()
    references: Mapping[str, str] = field(default_factory=dict)
    own_tracks: tuple[str, ...] = ()
    sections: tuple[Mapping[str, Any], ...] = ()
    metric: str = ""
    target: str = ""
    metrics: Mapping[str, str] = field(default_factory=dict)
    own_metrics: Mapping[str, Metric] = field(default_factory=dict)
    higher_is_better: bool | None = None
    test: str = ""
    alpha: float = 0.05
    correction: str = "bonferroni"
    exclude: tuple[str, ...] = ()
    margin: float | None = None
    controls: tuple[Control, ...] = ()
    until: Looks | None = None
    cut: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    baseline: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)
    added: tuple[str, ...] = field(default=(), metadata={"unsaid": True})

    @property
    def searched(self) -> tuple[str, ...]:
        """Paths whose values a hyperparameter search chose."""
        return tuple(self.search.get("paths", ()))


@dataclass(frozen=True)
class Variant:
    """One combination of levels and its whole resolved recipe, flat."""

    name: str = field(metadata={"json": "variant"})
    levels: Mapping[str, str] = field(default_factory=dict)
    departures: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trial:
    """One variant with one seed. status: "done", "failed", "missing" or "replaced" (it failed, and another seed
    stands for it); stages: label -> key."""

    name: str = field(metadata={"json": "trial"})
    variant: str
    seed: int
    status: str = "done"
    error: str = ""
    stages: Mapping[str, str] = field(default_factory=dict)
    command: str = ""


@dataclass(frozen=True)
class Kept:
    """Which weights a training kept, as it recorded them: those of step ``step`` of ``steps`` (0 where the step was not
    reported), after the ``look``-th of ``looks`` epochs; ``by`` the validation loss, or "" for the last ones."""

    label: str = ""
    step: int = 0
    steps: int = 0
    look: int = 0
    looks: int = 0
    by: str = ""


@dataclass(frozen=True)
class Cost:
    """What a stage held of its machine, and the energy that was counted meanwhile.

    Attributes:
        devices: GPUs, or cores of a CPU; a fraction of a GPU that stages share.
        joules: given to the stage; None where nothing was counted, and `unmeasured` says why.
        counter: which counted: `NVML` (the card alone) or `RAPL` (packages of the CPU and their memory).
        share: the part of what the counter counted that was given to the stage.
    """

    devices: float = 1.0
    joules: float | None = None
    counter: str = ""
    share: float = 1.0
    unmeasured: str = ""


@dataclass(frozen=True)
class Stage:
    """One stage call that ran, or was found in the store; `directory` is relative to the store, `finished` ISO time.
    `cost` is None where nobody recorded it, as before there was one."""

    name: str = field(default="", metadata={"json": "stage"})
    status: str = ""
    seconds: float = 0.0
    device: str = ""
    device_name: str = ""
    torch: str = ""
    kernels: str = ""
    processes: int = 0
    finished: str = ""
    directory: str = ""
    kept: Kept | None = None
    cost: Cost | None = field(default=None, metadata={"unsaid": True})


@dataclass(frozen=True)
class Note:
    """Something the run left out or changed: skipped files, padded clips, silent sources."""

    kind: str = ""
    text: str = ""
    count: int = 0
    items: tuple[str, ...] = ()
    data: str = ""


@dataclass(frozen=True)
class Example:
    """Audio of one track in one variant, of the run with that seed; paths are relative to the store."""

    track: str
    target: str = ""
    variant: str = ""
    mixture: str = ""
    reference: str = ""
    estimate: str = ""
    seed: int | None = None


@dataclass(frozen=True)
class Entry:
    """One line of declarations.jsonl: what was declared when a run began, and which trials had scores by then.

    `previous` is the sha256 of the line before; `intact` says whether it is. `only` names the variants and controls
    that the run was told to run, where it left some out.
    """

    time: str
    declared: str
    commit: str = ""
    seeds: tuple[int, ...] = ()
    scored: tuple[str, ...] = ()
    declaration: Mapping[str, Any] = field(default_factory=dict)
    previous: str = ""
    only: tuple[str, ...] = ()
    intact: bool = field(default=True, metadata={"json": ""})


@dataclass(frozen=True)
class Ahead:
    """Trials that ran ahead of a look which did not come to need them, and the seconds of their stages."""

    trials: int
    seconds: float


@dataclass(frozen=True)
class Study:
    """study.json; `declared` is the sha256 of the declaration, `stages` are by key.

    `controls` are the variants of the declared controls, which are none of the study's variants.
    `ledger` is declarations.jsonl beside it, one entry per run.
    `hash_matches` says whether the declaration that was read still has that sha256; None where none was stored.
    """

    title: str
    name: str
    question: str = ""
    smoke: bool = False
    rehearsal: bool = False
    declared: str = ""
    declaration: Declaration = field(default_factory=Declaration)
    variants: tuple[Variant, ...] = ()
    controls: tuple[Variant, ...] = ()
    trials: tuple[Trial, ...] = ()
    stages: Mapping[str, Stage] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    examples: tuple[Example, ...] = ()
    environment: Mapping[str, Any] = field(default_factory=dict)
    ahead: Ahead | None = field(default=None, metadata={"unsaid": True})
    hash_matches: bool | None = field(default=None, metadata={"json": ""})
    ledger: tuple[Entry, ...] = field(default=(), metadata={"json": ""})

    @property
    def no_result(self) -> str:
        """Why the scores of a smoke run or a rehearsal (which has `smoke`, too) answer nothing; empty for others."""
        if self.rehearsal:
            return (
                "This is a rehearsal: every stage with two training steps on a few items, made to show that the study "
                "will run on these data, not to answer its question."
            )
        if self.smoke:
            return (
                "This is a smoke run: tiny data and training, made to show that everything works, not to answer the "
                "question."
            )
        return ""

    def reference_of(self, variant: str) -> str:
        """The variant that this one is compared with."""
        return self.declaration.references.get(variant, self.declaration.reference)

    def variant(self, name: str) -> Variant:
        """The variant of that name; an empty one where study.json does not list it."""
        return next((v for v in self.variants if v.name == name), Variant(name))


# ---- JSON


def to_json(value: Any) -> Any:
    """The value as dicts and lists, its fields by their names in study.json; a field that is `unsaid` while it is empty
    is left out, so that declarations from before it have the hash that they had."""
    if is_dataclass(value) and not isinstance(value, type):
        said = [each for each in fields(value) if getattr(value, each.name) or not each.metadata.get("unsaid")]
        return {name: to_json(getattr(value, each.name)) for each in said if (name := _json_name(each))}
    if isinstance(value, Mapping):
        return {str(name): to_json(item) for name, item in value.items()}
    return [to_json(item) for item in value] if isinstance(value, tuple | list | range) else value


def from_json(kind: Any, raw: Any, place: str) -> Any:
    """`raw` as a value of a type: a dataclass, tuple[X, ...], Mapping[str, X], X | None, str, int, float, bool or Any.

    An absent or null field has its default; a key that is no field is passed over.

    Raises:
        ValueError: the type does not fit, or a field without a default is absent; the message names the place.
    """
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return raw
    if origin is UnionType:
        return None if raw is None else from_json(arguments[0], raw, place)
    if is_dataclass(kind):
        return _object(kind, _expect(raw, Mapping, "a JSON object", place), place)
    if origin is tuple:
        items = _expect(raw, list | tuple, "a list", place)
        return tuple(from_json(arguments[0], item, f"{place}[{index}]") for index, item in enumerate(items))
    if origin is Mapping:
        items = _expect(raw, Mapping, "a JSON object", place)
        return {str(name): from_json(arguments[1], item, f"{place}.{name}") for name, item in items.items()}
    if kind is str:
        return str(_expect(raw, str | int | float, "text", place))
    if kind is bool:
        return _expect(raw, bool, "true or false", place)
    number = float(_expect(raw, int | float, "a number", place) if not isinstance(raw, bool) else math.nan)
    if kind is float:
        return number
    if not number.is_integer():
        raise ValueError(f"{place} is {raw!r}; it must be a whole number")
    return int(raw)


def _expect(raw: Any, kind: Any, words: str, place: str) -> Any:
    if not isinstance(raw, kind):
        raise ValueError(f"{place} is {raw!r}; it must be {words}")
    return raw


def _object(kind: Any, raw: Mapping[str, Any], place: str) -> Any:
    values = {}
    for each in fields(kind):
        name = _json_name(each)
        if raw.get(name) is not None:
            values[each.name] = from_json(_types(kind)[each.name], raw[name], f"{place}.{name}")
        elif each.default is MISSING and each.default_factory is MISSING:
            raise ValueError(f"{place} has no {name!r}")
    return kind(**values)


def _json_name(each: Field) -> str:
    """A field's key in study.json; empty for one that is not in the file."""
    return str(each.metadata.get("json", each.name))


@cache
def _types(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def hashes(declaration: Mapping[str, Any]) -> tuple[str, ...]:
    """sha256 of a declaration's canonical JSON: sorted keys; compact, or with the default separators of json."""
    return tuple(
        hashlib.sha256(
            json.dumps(declaration, sort_keys=True, separators=separators, ensure_ascii=ascii_only).encode()
        ).hexdigest()
        for separators in ((",", ":"), (", ", ": "))
        for ascii_only in (True, False)
    )
