"""What a study will cost before it runs: hours, disk and wall-clock, from what each of its stages may take."""

from __future__ import annotations

import heapq
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from mss_core.graph import Stage
from mss_core.study.dry_run.timings import Estimate
from mss_core.study.facts import trains
from mss_core.study.plan import Plan, descendants
from mss_core.study.resources import resources, warm

T = TypeVar("T")

START, OWN, WARM = 15.0, 1.0, 0.5
"""Seconds until Ray runs its first stage; that a stage with a process of its own takes more; that one in a warm process
does. The last two are rounded from the overhead in benchmarks/README.md."""


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
    if room is None:
        return sum(seconds.values())
    keys, below = plan.needed, descendants(plan.stages, plan.needed)
    place = {key: number for number, key in enumerate(keys)}
    readers: list[list[int]] = [[] for _ in keys]
    waits = [0] * len(keys)
    for number, key in enumerate(keys):
        for up in {place[up.key] for up in plan.stages[key].inputs.values() if up.key in place}:
            readers[up].append(number)
            waits[number] += 1
    warmed = _of_kinds((plan.stages[key] for key in keys), warm)
    takes = [seconds[key] + (WARM if warmed[key] else OWN) for key in keys]
    asks = [tuple(sorted(requests[key].items())) for key in keys]  # stages that ask for the same wait in one row
    rank = [(-below[key], number) for number, key in enumerate(keys)]
    ready: dict[tuple[tuple[str, float], ...], list[tuple[int, int]]] = {request: [] for request in asks}
    for number, upstream in enumerate(waits):
        if not upstream:
            heapq.heappush(ready[asks[number]], rank[number])
    free = {unit: 0.0 for request in ready for unit, _ in request} | dict(room)
    now, running = START, list[tuple[float, int]]()
    while running or any(ready.values()):
        while True:
            fits = [
                queue
                for request, queue in ready.items()
                if queue and all([free[unit] + 1e-9 >= amount for unit, amount in request])
            ]
            if not fits:
                break
            _, number = heapq.heappop(min(fits))
            for unit, amount in asks[number]:
                free[unit] -= amount
            heapq.heappush(running, (now + takes[number], number))
        if not running:
            waiting = keys[next(queue[0][1] for queue in ready.values() if queue)]
            raise ValueError(
                f"stage {plan.stages[waiting].name!r} asks for {dict(requests[waiting])}; the priced cluster has "
                f"{dict(room)}"
            )
        now, done = heapq.heappop(running)
        for unit, amount in asks[done]:
            free[unit] += amount
        for number in readers[done]:
            waits[number] -= 1
            if not waits[number]:
                heapq.heappush(ready[asks[number]], rank[number])
    return now


def here() -> tuple[int, int]:
    """CPUs and GPUs of this machine."""
    import torch

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1, (
        torch.cuda.device_count()
    )
