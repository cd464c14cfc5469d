"""Stages as deferred calls, and what a stage is told about where it runs.

A :class:`Stage` is a function call not yet made. Arguments that are stages are the edges of the graph. The key of
a stage is the sha256 of that call with every argument resolved (defaults filled in) and every upstream stage
replaced by its key, so equal calls share one artefact across trials, studies and machines. The call names a function of
this package by its name alone, wherever it lies, and any other by module and name: two packages' ``evaluate`` with
equal arguments are two stages. Code is no part of a key: a stage function carries ``version: int = 1`` as an argument,
raised by hand when its meaning changes, and a manifest tells whether that was forgotten (``source/``).

A stage function is called with its arguments by keyword (upstream artefacts as ``Path``), ``out``, the directory to
write to, and ``ctx``, a :class:`Context`: where it runs and how it reports.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from mss_core import disk
from mss_core.claim import Claim
from mss_core.energy import Meter, Part

HISTORY = "history.jsonl"
WORK = ".work"
OURS = "mss_core"
_RUNTIME = ("out", "ctx")
LEAVES = frozenset({type(None), str, int, float, bool})
MOST_TEXTS = 4096
_TEXTS: dict[int, tuple[Any, str]] = {}
"""At most so many values that cannot change, each with its canonical JSON, by id: what is kept has its id alone."""
UNSAID: Mapping[str, Any] = {"unsaid": True}
"""Metadata of a dataclass field that is no part of a key while it is None: one that was added to a value whose keys
must stay as they were."""


# ---- stages and keys


@functools.cache
def field_names(kind: type) -> tuple[str, ...] | None:
    """The fields of a dataclass, None for any other type."""
    return tuple(field.name for field in dataclasses.fields(kind)) if dataclasses.is_dataclass(kind) else None


@functools.cache
def _unsaid(kind: type) -> frozenset[str]:
    """The fields of a dataclass that have the metadata UNSAID."""
    return frozenset(field.name for field in dataclasses.fields(kind) if field.metadata.get("unsaid"))


def plain(value: Any) -> Any:
    """``value`` as JSON types only; equal numbers give equal text (1.0 becomes 1).

    Raises TypeError for anything that is not plain data: a path, an array, a function, NaN.
    """
    parts = _one_level(value)
    if isinstance(parts, dict):
        return {name: plain(part) for name, part in parts.items()}
    return [plain(part) for part in parts] if isinstance(parts, list) else parts


def _one_level(value: Any) -> Any:
    """``value`` as :func:`plain` gives it, but the parts of a list or dict as they are."""
    read = _reader(type(value))  # type: ignore[arg-type]
    if read is None:
        raise TypeError(f"{value!r} ({type(value).__name__}) cannot be part of a stage's key")
    return read(value)


@functools.cache
def _reader(kind: type) -> Callable[[Any], Any] | None:
    """What :func:`_one_level` does with every value of a type; None for one that is no plain data."""
    if kind is type(None) or issubclass(kind, str | int):
        return lambda value: value
    if issubclass(kind, float):
        return _finite
    if issubclass(kind, Stage):
        return lambda stage: json.loads(stage.reference)
    if issubclass(kind, tuple | list):
        return list
    if issubclass(kind, dict):
        return lambda table: {str(name): part for name, part in table.items()}
    names = field_names(kind)  # type: ignore[arg-type]
    if names is None:
        return None
    unsaid = _unsaid(kind)  # type: ignore[arg-type]
    return lambda value: {n: v for n in names if (v := getattr(value, n)) is not None or n not in unsaid}


def _finite(value: float) -> int | float:
    if value != value or value in (float("inf"), float("-inf")):
        raise TypeError(f"{value!r} cannot be part of a stage's key")
    return int(value) if value.is_integer() else value


def digest(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of ``value``: names sorted, no space, ASCII."""
    return hashlib.sha256(_canonical(value).encode()).hexdigest()


def _canonical(value: Any) -> str:
    """The JSON of ``value``. Of a value that cannot change it is made once: trials share most of their arguments."""
    if type(value) in LEAVES:
        return _leaf(value)
    if isinstance(value, Stage):
        return value.reference
    known = _TEXTS.get(id(value))
    if known is not None:
        return known[1]
    parts = _one_level(value)
    if isinstance(parts, dict):
        below: Iterable[Any] = parts.values()
        text = "{" + ",".join([f"{_leaf(name)}:{_canonical(parts[name])}" for name in sorted(parts)]) + "}"
    elif isinstance(parts, list):
        below = parts
        text = "[" + ",".join([_canonical(part) for part in parts]) + "]"
    else:
        return _leaf(parts)
    if _keeps_its_parts(type(value)) and all(  # type: ignore[arg-type]
        [type(part) in LEAVES or id(part) in _TEXTS for part in below]
    ):
        if len(_TEXTS) >= MOST_TEXTS:
            _TEXTS.clear()
        _TEXTS[id(value)] = value, text
    return text


@functools.lru_cache(maxsize=MOST_TEXTS, typed=True)
def _leaf(value: str | float | None) -> str:
    return json.dumps(_one_level(value))


@functools.cache
def _keeps_its_parts(kind: Any) -> bool:
    """Whether a value of this type has the same parts for ever; they themselves may change."""
    return kind is tuple or (field_names(kind) is not None and kind.__dataclass_params__.frozen)


class Stage:
    """A call of ``function`` not yet made; its arguments are checked against the signature at once.

    ``inputs`` are the upstream stages by argument name: ``name.0``, ``name.1`` where the argument is a tuple of stages.
    Raises TypeError for a missing or unknown argument, before anything is asked of a machine.
    """

    __slots__ = ("function", "arguments", "inputs", "key")

    def __init__(self, function: Callable[..., None], /, **arguments: Any) -> None:
        defaults = _defaults(function)
        self.function = function
        self.arguments: dict[str, Any] = {**defaults, **arguments}
        if len(self.arguments) > len(defaults):
            name = next(name for name in arguments if name not in defaults)
            raise TypeError(f"{function.__name__}() takes no argument {name!r}; it takes {', '.join(defaults)}")
        for name, value in self.arguments.items():
            if value is inspect.Parameter.empty:
                raise TypeError(f"{function.__name__}() needs the argument {name!r}")
        self.inputs = _upstream(self.arguments)
        module = module_of(function)
        called = self.name if package(module) == OURS else f"{module}:{function.__qualname__}"
        self.key: str = digest({"stage": called, "arguments": self.arguments})

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def reference(self) -> str:
        """The JSON that stands for it among the arguments of a stage that reads it."""
        return f'{{"$stage":"{self.key}"}}'

    @property
    def label(self) -> str:
        """Its name and, where it works on one target of several, that target."""
        target = self.arguments.get("target")
        return f"{self.name} {target}" if isinstance(target, str) and target else self.name

    def __repr__(self) -> str:
        return f"<{self.name} {self.key[:12]}>"


def _upstream(arguments: Mapping[str, Any]) -> dict[str, Stage]:
    found: dict[str, Stage] = {}
    for name, value in arguments.items():
        if isinstance(value, Stage):
            found[name] = value
        elif isinstance(value, tuple | list):
            found.update({f"{name}.{i}": item for i, item in enumerate(value) if isinstance(item, Stage)})
    return found


def module_of(function: Callable[..., None]) -> str:
    """The module that a stage function is known by: the same in every process and on every machine.

    A function of a script has the module ``__main__`` (``<run_path>`` where runpy ran it), as has one of any other
    script. It is known by the script's file name without folder and ending, after its package where ``python -m`` ran
    it; one that was typed into an interpreter stays in ``__main__``. Both facts are globals that go with a function
    when it is pickled by value, as Ray does with a script's functions.
    """
    if function.__module__ not in ("__main__", "<run_path>"):
        return function.__module__
    facts = inspect.unwrap(function).__globals__
    return ".".join(filter(None, [facts.get("__package__"), Path(facts.get("__file__") or "__main__").stem]))


def package(module: str) -> str:
    """The first word of a module's or function's dotted name."""
    return module.partition(".")[0]


@functools.lru_cache(maxsize=256)
def _defaults(function: Callable[..., None]) -> Mapping[str, Any]:
    """The arguments of a stage function that are part of its key, with their defaults (``Parameter.empty``: none)."""
    parameters = inspect.signature(function).parameters
    return {name: parameter.default for name, parameter in parameters.items() if name not in _RUNTIME}


def walk(roots: Iterable[Stage]) -> dict[str, Stage]:
    """Every distinct stage below ``roots`` as ``{key: stage}``, inputs before what reads them."""
    found: dict[str, Stage] = {}

    def visit(stage: Stage) -> None:
        if stage.key not in found:
            for upstream in stage.inputs.values():
                visit(upstream)
            found[stage.key] = stage

    for root in roots:
        visit(root)
    return found


# ---- what a stage is told about where it runs


class Stopped(Exception):
    """The stage was asked to stop and has written its checkpoint: it goes on from there when it is run again."""


class Clock:
    """Seconds spent on a stage over all its attempts, as far as each one reported; with a ``meter`` energy, too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.meter: Meter | None = None
        try:
            self.before = float(disk.read(path))
        except (FileNotFoundError, ValueError):
            self.before = 0.0
        self.start = disk.monotonic()

    def total(self) -> float:
        return self.before + disk.monotonic() - self.start

    def save(self) -> None:
        disk.write_atomically(self.path, repr(self.total()).encode(), durable=False)
        if self.meter is not None:
            self.meter.save()


@dataclasses.dataclass
class Context:
    """Where a stage runs and how it reports; nothing in it may change a result.

    Attributes:
        device: torch device name, ``"cpu"`` or ``"cuda"``.
        device_name: the hardware's own name, recorded with the artefact.
        data: roots of data sets on this machine, by name.
        environment: facts recorded in the manifest (commit, versions).
        checkpoint_seconds: time between two checkpoints of a training.
        room: bytes of the device that a data set may take to live there; None: ``runtime.room``.
        deterministic: whether a GPU may only use kernels that give the same bytes again on the same card with the same
            software; the manifest's environment says which (``"kernels"``).
        workers: threads that read batches ahead; None: two for a GPU, none for the CPU.
        listen: called with every reported row, e.g. for a test or a pruner; it may raise to stop the stage.
        stop: asked between two steps of a training whether to write a checkpoint and raise Stopped.
        processes: of this machine that share a training, each with its slice of every batch; the manifest's environment
            says how many where there are several. ``ranks`` connects them (``mss_core.ranks.Ranks``).
        accept: called with a stage and the folder it has left, before that is committed; it raises ValueError for what
            must not be in the store.
        part: what the stage holds of its machine, which the manifest then says with the energy that was counted; None:
            nothing is counted.
    """

    device: str = "cpu"
    device_name: str = ""
    data: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    environment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    checkpoint_seconds: float = 20.0
    room: int | None = None
    deterministic: bool = True
    workers: int | None = None
    listen: Callable[[dict[str, Any]], None] | None = None
    stop: Callable[[], bool] | None = None
    accept: Callable[[Stage, Path], None] | None = None
    out: Path | None = None
    claim: Claim | None = None
    clock: Clock | None = None
    processes: int = 1
    ranks: Any = None
    part: Part | None = None

    @property
    def work(self) -> Path:
        """Scratch directory of this stage: survives a crash, is not part of the artefact."""
        assert self.out is not None
        folder = self.out / WORK
        with contextlib.suppress(FileExistsError):
            disk.mkdir(folder)  # not its parents: a worker that lost its claim has nowhere to write
        return folder

    @property
    def checkpoint(self) -> Path:
        """Where a training keeps what it needs to go on."""
        return self.work / "checkpoint.pt"

    def kernels(self) -> contextlib.AbstractContextManager[None]:
        """Chooses a GPU's kernels while a stage runs; on a CPU, its threads fixed, results repeat as it is."""
        if not self.device.startswith("cuda"):
            return contextlib.nullcontext()
        from mss_core import runtime

        return runtime.kernels(self.deterministic)

    def guard(self) -> None:
        """Raise ClaimLost where another worker has taken this stage over; called before every write."""
        if self.claim is not None:
            self.claim.check()

    def before_checkpoint(self) -> None:
        """Raise ClaimLost where the claim is another's; force out what was reported, so that no checkpoint is on the
        disk without the rows before it."""
        self.guard()
        if self.out is not None and disk.exists(self.out / HISTORY):
            disk.force_out(self.out / HISTORY)
            disk.force_out(self.out)

    def report(self, *, step: int, total: int, **metrics: float) -> None:
        """Append one row to the stage's history: the only way out of a running stage."""
        row: dict[str, Any] = {"step": step, "total": total, **metrics}
        if self.out is not None:
            self.guard()
            with disk.opened(self.out / HISTORY, "ab") as file:
                file.write(json.dumps(row).encode() + b"\n")
            if self.clock is not None:
                self.clock.save()
        if self.listen is not None:
            self.listen(row)

    def rewind(self, step: int) -> None:
        """Drop history rows after ``step``: what a resumed stage is about to report again."""
        if self.out is None or not disk.exists(self.out / HISTORY):
            return
        kept = [row for row in read_history(self.out) if row["step"] <= step]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        disk.write_atomically(self.out / HISTORY, text.encode())


def read_history(directory: Path) -> list[dict[str, Any]]:
    """The rows a stage has reported; a half-written last line is left out."""
    try:
        text = disk.read(directory / HISTORY).decode()
    except FileNotFoundError:
        return []
    rows = []
    for line in text.splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def listing(folder: Path) -> list[str]:
    """The files of an artefact by their names below ``folder``, sorted. The scratch folder is left out, and what a file
    server keeps of files that are deleted while they are open (``.nfs...``).

    Raises OSError where a folder cannot be read, which a glob would pass over.
    """

    files = disk.walk(folder, without={folder / WORK})
    return sorted(str(path.relative_to(folder)) for path in files if not path.name.startswith(".nfs"))
