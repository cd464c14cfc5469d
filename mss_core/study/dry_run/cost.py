"""What a study will cost before it runs: hours, disk and wall-clock, from timings of stages like its own.

Two stages are of one kind where everything agrees that their cost depends on: seeds, learning rates, data content and
names (but not how many) do not count, nor does how long a training is, by which its seconds are scaled.
"""

from __future__ import annotations

import functools
import heapq
import os
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mss_core.graph import Stage, digest, plain, read_history
from mss_core.store import Store, read_manifest
from mss_core.study.execution.resources import resources, warm
from mss_core.study.facts import described_data, trains
from mss_core.study.plan import Plan, descendants

T = TypeVar("T")

FREE = {
    "seed",
    "lr",
    "momentum",
    "nesterov",
    "weight_decay",
    "eps",
    "clip",
    "decay",
    "decay_steps",
    "select",
    "fingerprint",
    "aggregate",
    "loss",
    "phases",
    "max_epochs",
    "epoch_steps",
    "version",
}
"""Arguments by name that cost nothing, or by which a training's seconds are scaled."""

RECENT = 200
"""At most so many artefacts of a stage are read for their timings, the newest first."""

START, OWN, WARM = 15.0, 5.0, 0.5
"""Seconds until Ray runs its first stage; that a stage with a process of its own takes more; that one in a warm process
does. The last two are rounded from the overhead in benchmarks/README.md."""


@dataclass(frozen=True)
class Timing:
    """What one stage took: seconds, bytes, and for a training the steps it made of those it was allowed."""

    stage: str
    kind: str
    outline: Mapping[str, Any]
    device: str
    seconds: float
    bytes: int
    steps: int = 0
    allowed: int = 0
    epochs: int = 0
    basis: str = "store"


@dataclass(frozen=True)
class Estimate:
    """What a stage may take. ``basis``: ``"store"``, ``"probe"``, ``"near"`` (a stage not quite like it) or
    ``"unknown"``.
    """

    seconds: float
    bytes: int
    basis: str


UNKNOWN = Estimate(0.0, 0, "unknown")


@dataclass
class Price:
    """A priced plan; hours are of needed stages only.

    Attributes:
        estimates: by key, of every stage of the study.
        wall_seconds: of a list schedule on ``cpus`` and ``gpus``, start-up included.
        naive: the same figures if every trial trained all its own stages.
        unknown: by stage name, how many needed stages have no timing to go by.
    """

    cpus: int
    gpus: int
    estimates: Mapping[str, Estimate]
    gpu_hours: float
    cpu_hours: float
    bytes: int
    wall_seconds: float
    naive: Mapping[str, float]
    unknown: Mapping[str, int]
    by_stage: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """All figures as plain data."""
        return {
            "cpus": self.cpus,
            "gpus": self.gpus,
            "gpu_hours": self.gpu_hours,
            "cpu_hours": self.cpu_hours,
            "disk_bytes": self.bytes,
            "wall_seconds": self.wall_seconds,
            "naive": dict(self.naive),
            "unknown": dict(self.unknown),
            "stages": {name: dict(row) for name, row in self.by_stage.items()},
        }


# ---- kinds of stages

Lookup = Callable[[str, str], tuple[str, Mapping[str, Any]] | None]
"""Stage name (may be empty) and key -> name and plain arguments of a stage."""


def outline(arguments: Mapping[str, Any], inputs: Mapping[str, Mapping[str, str]], look: Lookup) -> dict[str, Any]:
    """What of a stage's plain arguments its cost depends on; its inputs by what they are made of."""
    names = {up["key"]: up["stage"] for up in inputs.values()}

    def reduced(value: Any, deep: bool) -> Any:
        if isinstance(value, dict) and "$stage" in value:
            name = names.get(value["$stage"], "")
            found = look(name, value["$stage"])
            if deep and not (name and found and described_data(found[1])):
                return None  # what an input's own inputs were does not change what reads it
            return [name] if found is None else [found[0], reduced(found[1], True)]
        if isinstance(value, dict):
            if "phases" in value:
                return None if deep else {name: reduced(part, deep) for name, part in value.items() if name not in FREE}
            return {name: reduced(part, deep) for name, part in value.items() if name not in FREE}
        if isinstance(value, list):
            words = [item for item in value if isinstance(item, str)]
            return len(words) if words else [reduced(item, deep) for item in value]
        return value

    return {name: reduced(value, False) for name, value in arguments.items() if name not in FREE}


def length(arguments: Mapping[str, Any]) -> tuple[int, int | None, bool] | None:
    """Epochs at most, steps an epoch (None: a pass over the data) and whether it may end early; None: no training."""
    for value in arguments.values():
        if isinstance(value, dict) and "phases" in value:
            phases = value["phases"]
            epochs = min(value.get("max_epochs", 10**9), sum(phase.get("epochs", 0) for phase in phases))
            return epochs, value.get("epoch_steps"), any(phase.get("patience") is not None for phase in phases)
    return None


def _inputs(stage: Stage) -> dict[str, dict[str, str]]:
    return {name: {"stage": up.name, "key": up.key} for name, up in stage.inputs.items()}


# ---- timings


def timings(store: Store, names: Iterable[str]) -> list[Timing]:
    """What the store's artefacts of these stages took, the newest of each."""

    @functools.cache
    def manifest(name: str, key: str) -> dict[str, Any] | None:
        return read_manifest(store.root / name / key)

    def look(name: str, key: str) -> tuple[str, Mapping[str, Any]] | None:
        content = manifest(name, key)
        return None if content is None else (content["stage"], content["arguments"])

    found = []
    for name in names:
        folder = store.root / name
        if not folder.is_dir():
            continue
        with os.scandir(folder) as entries:
            artefacts = [(entry.stat().st_mtime, entry.name) for entry in entries if entry.is_dir()]
        for _, key in sorted(artefacts, reverse=True)[:RECENT]:
            content = manifest(name, key) if len(key) == 64 else None
            if content is not None and content.get("seconds") is not None:
                history = read_history(folder / key) if length(content["arguments"]) else []
                found.append(
                    timing(
                        name,
                        content["arguments"],
                        content.get("inputs", {}),
                        look,
                        content.get("device", "cpu"),
                        content["seconds"],
                        sum(file["size"] for file in content["files"].values()),
                        history,
                    )
                )
    return found


def timing(
    name: str,
    arguments: Mapping[str, Any],
    inputs: Mapping[str, Mapping[str, str]],
    look: Lookup,
    device: str,
    seconds: float,
    size: int,
    history: Sequence[Mapping[str, Any]],
    basis: str = "store",
) -> Timing:
    """One measured stage."""
    drawn, planned = outline(arguments, inputs, look), length(arguments)
    steps, allowed = (history[-1]["step"], history[-1]["total"]) if history and planned else (0, 0)
    return Timing(
        name,
        digest([name, drawn]),
        _flat(drawn),
        device,
        seconds,
        size,
        steps,
        allowed,
        planned[0] if planned else 0,
        basis,
    )


def estimates(plan: Plan, measured: Sequence[Timing], device: Callable[[Stage], str]) -> dict[str, Estimate]:
    """For every stage of a plan what it may take, from stages of its kind, else from the one most like it."""
    by_name: dict[str, list[Timing]] = defaultdict(list)
    for known in measured:
        by_name[known.stage].append(known)
    described: dict[str, Mapping[str, Any]] = {}

    def arguments(stage: Stage) -> Mapping[str, Any]:
        if stage.key not in described:
            described[stage.key] = plain(stage.arguments)
        return described[stage.key]

    def look(name: str, key: str) -> tuple[str, Mapping[str, Any]] | None:
        stage = plan.stages.get(key)
        return None if stage is None else (stage.name, arguments(stage))

    found, remembered = {}, dict[tuple[str, Any], Estimate]()
    for key, stage in plan.stages.items():
        candidates = by_name.get(stage.name)
        if not candidates:
            found[key] = UNKNOWN
            continue
        here = [known for known in candidates if known.device == device(stage)] or candidates
        drawn, planned = outline(arguments(stage), _inputs(stage), look), length(arguments(stage))
        kind = digest([stage.name, drawn])
        if (kind, planned) not in remembered:
            remembered[kind, planned] = _estimate(kind, _flat(drawn), planned, here)
        found[key] = remembered[kind, planned]
    return found


def _estimate(
    kind: str, drawn: Mapping[str, Any], planned: tuple[int, int | None, bool] | None, known: Sequence[Timing]
) -> Estimate:
    same = [each for each in known if each.kind == kind]
    probed = [each for each in same if each.basis == "probe"]
    if not same:
        least = min(_unlike(each.outline, drawn) for each in known)
        near = [each for each in known if _unlike(each.outline, drawn) == least]
        return _from(near, planned, "near")
    stored = [each for each in same if each.basis == "store"]
    return _from(stored, planned, "store") if stored else _from(probed, planned, "probe")


def _from(known: Sequence[Timing], planned: tuple[int, int | None, bool] | None, basis: str) -> Estimate:
    seconds = statistics.median(_scaled(each, planned) for each in known)
    return Estimate(seconds, round(statistics.median(each.bytes for each in known)), basis)


def _scaled(known: Timing, planned: tuple[int, int | None, bool] | None) -> float:
    """Its seconds, by the steps that are planned instead of those it made."""
    if planned is None or not known.steps or not known.epochs:
        return known.seconds
    epochs, epoch_steps, early = planned
    steps = epochs * (epoch_steps or known.allowed / known.epochs)
    if early and known.basis == "store":
        steps *= known.steps / known.allowed
    return known.seconds * steps / known.steps


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if parts is None:
        return {prefix: value}
    return {path: leaf for name, part in parts for path, leaf in _flat(part, f"{prefix}.{name}").items()}


def _unlike(a: Mapping[str, Any], b: Mapping[str, Any]) -> int:
    missing = object()
    return sum(a.get(path, missing) != b.get(path, missing) for path in {*a, *b})


# ---- the price


def price(plan: Plan, found: Mapping[str, Estimate], cpus: int, gpus: int, ray: bool = True) -> Price:
    """Hours, disk and wall-clock of a plan on this many CPUs and GPUs (one slot for all without Ray)."""
    requests = _of_kinds(plan.stages.values(), lambda stage: resources(stage, gpus))
    needed = {key: found[key].seconds for key in plan.needed}
    wall = makespan(plan, needed, requests, {"CPU": float(cpus), "GPU": float(gpus)} if ray else None)

    def hours(keys: Iterable[str], unit: str) -> float:
        return sum(found[key].seconds * requests[key].get(unit, 0) for key in keys) / 3600

    naive = {
        "gpu_hours": hours(plan.calls, "GPU"),
        "cpu_hours": hours(plan.calls, "CPU"),
        "stages": float(len(plan.calls)),
        "disk_bytes": float(sum(found[key].bytes for key in plan.calls)),
    }
    slots = [naive["gpu_hours"] / gpus] if gpus else []
    naive["wall_seconds"] = 3600 * max(slots + [naive["cpu_hours"] / (cpus if ray else 1)])  # without a gap: at best
    unknown: dict[str, int] = defaultdict(int)
    rows: dict[str, dict[str, Any]] = {}
    for name, each in ((plan.stages[key].name, found[key]) for key in plan.needed):
        unknown[name] += each.basis == "unknown"
        row = rows.setdefault(name, {"stages": 0, "seconds": 0.0, "disk_bytes": 0, "basis": []})
        row["stages"] += 1
        row["seconds"] += each.seconds
        row["disk_bytes"] += each.bytes
        if each.basis not in row["basis"]:
            row["basis"].append(each.basis)
    return Price(
        cpus,
        gpus,
        found,
        hours(plan.needed, "GPU"),
        hours(plan.needed, "CPU"),
        sum(found[key].bytes for key in plan.needed),
        wall,
        naive,
        {name: count for name, count in unknown.items() if count},
        rows,
    )


def _of_kinds(stages: Iterable[Stage], ask: Callable[[Stage], T]) -> dict[str, T]:
    """By key, what is asked of stages: once per function and whether it trains, from which all requests follow."""
    told: dict[tuple[Callable[..., None], bool], T] = {}
    found = {}
    for stage in stages:
        kind = (stage.function, trains(stage))
        if kind not in told:
            told[kind] = ask(stage)
        found[stage.key] = told[kind]
    return found


def makespan(
    plan: Plan,
    seconds: Mapping[str, float],
    requests: Mapping[str, Mapping[str, float]],
    room: Mapping[str, float] | None,
) -> float:
    """Seconds until all needed stages are done: whatever is ready and fits is started, what holds up most first.

    Args:
        requests: of each stage, by key.
        room: what the cluster has of each resource; None: one stage at a time and no start-up.
    """
    if not plan.needed:
        return 0.0
    needed, below = set(plan.needed), descendants(plan.stages, plan.needed)
    waits = {key: {up.key for up in plan.stages[key].inputs.values()} & needed for key in plan.needed}
    readers: dict[str, list[str]] = defaultdict(list)
    for key, upstream in waits.items():
        for each in upstream:
            readers[each].append(key)
    if room is None:
        return sum(seconds.values())
    free = dict(room)
    warmed = _of_kinds((plan.stages[key] for key in plan.needed), warm)
    alike = {
        key: frozenset(requests[key].items()) for key in plan.needed
    }  # stages that ask for the same wait in one row
    ready: dict[frozenset[tuple[str, float]], list[tuple[int, int, str]]] = defaultdict(list)
    order = {key: number for number, key in enumerate(plan.needed)}
    for key in plan.needed:
        if not waits[key]:
            heapq.heappush(ready[alike[key]], (-below[key], order[key], key))
    now, running = START, list[tuple[float, int, str]]()
    while running or any(ready.values()):
        while True:
            fits = [
                queue
                for request, queue in ready.items()
                if queue and all(free.get(unit, 0) + 1e-9 >= amount for unit, amount in request)
            ]
            if not fits:
                break
            _, number, key = heapq.heappop(min(fits))
            for unit, amount in alike[key]:
                free[unit] -= amount
            overhead = WARM if warmed[key] else OWN
            heapq.heappush(running, (now + seconds[key] + overhead, number, key))
        if not running:
            waiting = next(queue[0][2] for queue in ready.values() if queue)
            raise ValueError(
                f"stage {plan.stages[waiting].name!r} asks for {dict(requests[waiting])}; the priced cluster has "
                f"{dict(room)}"
            )
        now, _, done = heapq.heappop(running)
        for unit, amount in alike[done]:
            free[unit] += amount
        for key in readers[done]:
            waits[key].discard(done)
            if not waits[key]:
                heapq.heappush(ready[alike[key]], (-below[key], order[key], key))
    return now


def here() -> tuple[int, int]:
    """CPUs and GPUs of this machine."""
    import torch

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, (
        torch.cuda.device_count()
    )
