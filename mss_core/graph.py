"""Stages as deferred calls, and the content-addressed store of their results.

A :class:`Stage` is a function call not yet made. Arguments that are stages are the edges of the graph. The key of
a stage is the sha256 of that call with every argument resolved (defaults filled in) and every upstream stage
replaced by its key, so equal calls share one artefact across trials, studies and machines. Code is not hashed: a
stage function carries ``version: int = 1`` as an argument, raised by hand when its meaning changes.

An artefact is the directory ``<store>/<stage>/<key>/``. Its ``manifest.json`` is written last and lists every file
with its checksum: a directory without a manifest is not an artefact, wherever a crash or an object store left it.
Work happens in ``<key>.partial/``, where a later attempt finds the checkpoint of an earlier one. A claim file keeps
two workers from computing one key at a time; a worker whose claim was taken over writes nothing more.

A stage function is called with its arguments by keyword (upstream artefacts as ``Path``), ``out``, the directory to
write to, and ``ctx``, a :class:`Context`: where it runs and how it reports.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mss_core.claim import Claim

MANIFEST = "manifest.json"
HISTORY = "history.jsonl"
WORK = ".work"
_RUNTIME = ("out", "ctx")


# ---- stages and keys

def plain(value: Any) -> Any:
    """``value`` as JSON types only; equal numbers give equal text (1.0 becomes 1).

    Raises TypeError for anything that is not plain data: a path, an array, a function, NaN.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise TypeError(f"{value!r} cannot be part of a stage's key")
        return int(value) if value.is_integer() else value
    if isinstance(value, Stage):
        return {"$stage": value.key}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    raise TypeError(f"{value!r} ({type(value).__name__}) cannot be part of a stage's key")


def digest(value: Any) -> str:
    """sha256 (hex) of the canonical JSON of ``value``."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Stage:
    """A call of ``function`` not yet made; its arguments are checked against the signature at once.

    Raises TypeError for a missing or unknown argument, before anything is asked of a machine.
    """

    __slots__ = ("function", "arguments", "key")

    def __init__(self, function: Callable[..., None], /, **arguments: Any) -> None:
        parameters = inspect.signature(function).parameters
        expected = [name for name in parameters if name not in _RUNTIME]
        for name in arguments:
            if name not in expected:
                raise TypeError(f"{function.__name__}() takes no argument {name!r}; it takes {', '.join(expected)}")
        resolved: dict[str, Any] = {}
        for name in expected:
            if name in arguments:
                resolved[name] = arguments[name]
            elif parameters[name].default is not inspect.Parameter.empty:
                resolved[name] = parameters[name].default
            else:
                raise TypeError(f"{function.__name__}() needs the argument {name!r}")
        self.function = function
        self.arguments = resolved
        self.key: str = digest({"stage": self.name, "arguments": resolved})

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def inputs(self) -> dict[str, Stage]:
        """The upstream stages by argument name (``name.0``, ``name.1`` where the argument is a tuple of stages)."""
        found: dict[str, Stage] = {}
        for name, value in self.arguments.items():
            if isinstance(value, Stage):
                found[name] = value
            elif isinstance(value, tuple | list):
                found.update({f"{name}.{i}": item for i, item in enumerate(value) if isinstance(item, Stage)})
        return found

    def __repr__(self) -> str:
        return f"<{self.name} {self.key[:12]}>"


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

class Clock:
    """Seconds spent on a stage over all its attempts, as far as each one reported."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.before = float(path.read_text()) if path.exists() else 0.0
        self.start = time.monotonic()

    def total(self) -> float:
        return self.before + time.monotonic() - self.start

    def save(self) -> None:
        self.path.write_text(repr(self.total()))


@dataclasses.dataclass
class Context:
    """Where a stage runs and how it reports; nothing in it may change a result.

    Attributes:
        device: torch device name, ``"cpu"`` or ``"cuda"``.
        device_name: the hardware's own name, recorded with the artefact.
        data: roots of data sets on this machine, by name.
        environment: facts recorded in the manifest (commit, versions).
        checkpoint_seconds: time between two checkpoints of a training.
        listen: called with every reported row, e.g. for a test or a pruner; it may raise to stop the stage.
    """

    device: str = "cpu"
    device_name: str = ""
    data: Mapping[str, Path] = dataclasses.field(default_factory=dict)
    environment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    checkpoint_seconds: float = 20.0
    listen: Callable[[dict[str, Any]], None] | None = None
    out: Path | None = None
    claim: Claim | None = None
    clock: Clock | None = None

    @property
    def work(self) -> Path:
        """Scratch directory of this stage: survives a crash, is not part of the artefact."""
        assert self.out is not None
        folder = self.out / WORK
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def checkpoint(self) -> Path:
        """Where a training keeps what it needs to go on."""
        return self.work / "checkpoint.pt"

    def guard(self) -> None:
        """Raise ClaimLost where another worker has taken this stage over; called before every write."""
        if self.claim is not None:
            self.claim.check()

    def report(self, *, step: int, total: int, **metrics: float) -> None:
        """Append one row to the stage's history: the only way out of a running stage."""
        row: dict[str, Any] = {"step": step, "total": total, **metrics}
        if self.out is not None:
            self.guard()
            with open(self.out / HISTORY, "a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
            if self.clock is not None:
                self.clock.save()
        if self.listen is not None:
            self.listen(row)

    def rewind(self, step: int) -> None:
        """Drop history rows after ``step``: what a resumed stage is about to report again."""
        if self.out is None or not (self.out / HISTORY).exists():
            return
        kept = [row for row in read_history(self.out) if row["step"] <= step]
        text = "".join(json.dumps(row) + "\n" for row in kept)
        write_atomically(self.out / HISTORY, text.encode())


def read_history(directory: Path) -> list[dict[str, Any]]:
    """The rows a stage has reported; a half-written last line is left out."""
    path = directory / HISTORY
    if not path.exists():
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


# ---- the store

class StageFailed(Exception):
    """A stage raised. ``log`` is the file that holds its traceback."""

    def __init__(self, stage: Stage, message: str, log: Path) -> None:
        super().__init__(f"{stage.name} {stage.key[:12]} failed: {message} (log: {log})")
        self.stage, self.message, self.log = stage, message, log


def checksum(path: Path) -> str:
    """sha256 (hex) of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """A directory of artefacts addressed by content; see the module's docstring for its rules."""

    def __init__(self, root: Path | str, claim_seconds: float = 60.0) -> None:
        self.root = Path(root).absolute()
        self.claim_seconds = claim_seconds
        self._verified: dict[str, tuple[int, ...]] = {}

    def directory(self, stage: Stage) -> Path:
        return self.root / stage.name / stage.key

    def partial(self, stage: Stage) -> Path:
        return self.root / stage.name / f"{stage.key}.partial"

    def log(self, stage: Stage) -> Path:
        return self.root / stage.name / f"{stage.key}.log"

    def manifest(self, stage: Stage) -> dict[str, Any] | None:
        """The committed artefact's manifest, or None where there is none (or it cannot be read)."""
        try:
            content = json.loads((self.directory(stage) / MANIFEST).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
            return None
        return content if isinstance(content, dict) and content.get("key") == stage.key else None

    def damage(self, stage: Stage) -> str | None:
        """What is wrong with a committed artefact's files, or None. Hashes each version of a file once."""
        directory, manifest = self.directory(stage), self.manifest(stage)
        if manifest is None:
            return "no readable manifest"
        for name, facts in manifest["files"].items():
            path = directory / name
            try:
                status = path.stat()
            except FileNotFoundError:
                return f"{name} is missing"
            if status.st_size != facts["size"]:
                return f"{name} has {status.st_size} bytes instead of {facts['size']}"
            version = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._verified.get(str(path)) != version:
                if checksum(path) != facts["sha256"]:
                    return f"{name} has another checksum than its manifest"
                self._verified[str(path)] = version
        return None

    def get(self, stage: Stage) -> Path | None:
        """The artefact's directory, verified; None where it is absent. A damaged one is set aside first."""
        directory = self.directory(stage)
        if not directory.exists():
            return None
        if not (directory / MANIFEST).exists():
            return None
        if self.damage(stage) is not None:
            self.set_aside(stage)
            return None
        return directory

    def set_aside(self, stage: Stage) -> Path:
        """Move a damaged artefact out of the way, keeping it for whoever wants to look."""
        directory = self.directory(stage)
        target = directory.with_name(f"{stage.key}.damaged-{time.time_ns():x}")
        with contextlib.suppress(FileNotFoundError):
            directory.rename(target)
        return target

    def begin(self, stage: Stage) -> Path:
        """The partial directory to work in: an earlier attempt's where there is one."""
        directory, partial = self.directory(stage), self.partial(stage)
        if directory.exists() and not (directory / MANIFEST).exists():
            # A crash between the move and the manifest: the work is all there, so go on from it.
            if partial.exists():
                shutil.rmtree(partial)
            directory.rename(partial)
        partial.mkdir(parents=True, exist_ok=True)
        return partial

    def commit(self, stage: Stage, facts: Mapping[str, Any], claim: Claim | None = None) -> Path:
        """Turn the partial directory into the artefact; the manifest, written last, makes it true."""
        directory, partial = self.directory(stage), self.partial(stage)
        files = {
            str(path.relative_to(partial)): {"sha256": checksum(path), "size": path.stat().st_size}
            for path in sorted(partial.rglob("*"))
            if path.is_file() and path.relative_to(partial).parts[0] != WORK
        }
        manifest = {
            "stage": stage.name,
            "key": stage.key,
            "function": f"{stage.function.__module__}.{stage.function.__name__}",
            "arguments": plain(stage.arguments),
            "inputs": {name: {"stage": up.name, "key": up.key} for name, up in stage.inputs.items()},
            "files": files,
            **facts,
        }
        if claim is not None:
            claim.check()
        partial.rename(directory)
        write_atomically(directory / MANIFEST, json.dumps(manifest, indent=1).encode())
        shutil.rmtree(directory / WORK, ignore_errors=True)
        return directory

    def claim(self, stage: Stage) -> Claim:
        return Claim(self.root / stage.name / f"{stage.key}.claim", seconds=self.claim_seconds)


def materialize(stage: Stage, store: Store, ctx: Context) -> Path:
    """The directory of ``stage``'s artefact, computing it and whatever it needs where the store lacks it.

    Raises StageFailed where a stage function raises; nothing is committed then, and its log keeps the traceback.
    """
    found = store.get(stage)
    if found is not None:
        return found
    for upstream in stage.inputs.values():
        materialize(upstream, store, ctx)
    return run_stage(stage, store, ctx)


def run_stage(stage: Stage, store: Store, ctx: Context) -> Path:
    """Run one stage whose inputs are in the store, under its claim, and commit it."""
    (store.root / stage.name).mkdir(parents=True, exist_ok=True)
    with store.claim(stage) as claim:
        found = store.get(stage)  # somebody may have finished it while we waited
        if found is not None:
            return found
        arguments = {name: _resolve(value, store) for name, value in stage.arguments.items()}
        partial = store.begin(stage)
        (partial / WORK).mkdir(exist_ok=True)
        clock = Clock(partial / WORK / "seconds")
        here = dataclasses.replace(ctx, out=partial, claim=claim, clock=clock)
        if not here.checkpoint.exists():
            here.rewind(-1)
        with _logged_failure(stage, store):
            stage.function(**arguments, out=partial, ctx=here)
        facts = {"seconds": round(clock.total(), 3), "finished": _now(), "device": ctx.device,
                 "device_name": ctx.device_name, "environment": dict(ctx.environment)}
        done = store.commit(stage, facts, claim)
        store.log(stage).unlink(missing_ok=True)
        return done


def _resolve(value: Any, store: Store) -> Any:
    if isinstance(value, Stage):
        directory = store.get(value)
        if directory is None:
            raise LookupError(f"{value} is not in the store {store.root}")
        return directory
    if isinstance(value, tuple | list) and any(isinstance(item, Stage) for item in value):
        return tuple(_resolve(item, store) for item in value)
    return value


@contextlib.contextmanager
def _logged_failure(stage: Stage, store: Store) -> Iterator[None]:
    import traceback

    from mss_core.claim import ClaimLost

    try:
        yield
    except ClaimLost:
        raise
    except Exception as error:
        log = store.log(stage)
        log.write_text(traceback.format_exc(), encoding="utf-8")
        first = (str(error).splitlines() or [""])[0]
        raise StageFailed(stage, f"{type(error).__name__}: {first}", log) from error


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
