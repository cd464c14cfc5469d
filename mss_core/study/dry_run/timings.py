"""What each stage of a study may take, from timings of stages like it in a store.

Two stages are of one kind where everything agrees that their cost depends on: seeds, learning rates, data content and
names (but not how many) do not count, nor does how long a training is, by which its seconds are scaled.
"""

from __future__ import annotations

import functools
import os
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mss_core.graph import Stage, digest, plain, read_history
from mss_core.store import Store, read_manifest
from mss_core.study.facts import described_data
from mss_core.study.plan import Plan

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
