"""What each stage asks of the cluster; hardware is no part of a result.

A stage with a ``TrainConfig`` among its arguments asks for one core and one GPU, any other for one core. Where that is
wrong, it is said, in this order, each over the one before:

1. in RESOURCES, for the stages of this package;
2. in ``STAGE_RESOURCES`` of the module that a stage function is from, ``{"name of the stage": {"gpu": 0.5}}``;
3. in a file for one's own machines, given with ``--resources FILE`` or in the variable MSS_RESOURCES: TOML, one table
   for each stage, by name (``[finetune]``) or by module and name (``["my_paper.stages:train"]``).

``cpu``         cores to reserve.
``gpu``         GPUs, used only where the cluster has any; a fraction lets several stages share one.
``gpu_memory``  the share of the GPU's memory a stage may use; the same as ``gpu`` where it is not given. Stages that
                may meet on one GPU must not have more than all of it.
``accelerator`` the type of GPU that a stage needs, as Ray names it (``"A100"``, ``"H100"``): any where it is not given.
``processes``   of one machine that share a training, each with its slice of every batch: as many as the GPUs where
                several are asked for, else 1. Each gets a core and, on GPUs, one of its own.
``warm``        1: one process may run many such stages one after another. Each other stage gets a process of its own,
                and so does each that trains, because what a training leaves behind must not reach the next.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mss_core import runtime
from mss_core.energy import Part
from mss_core.errors import choose
from mss_core.graph import OURS, Stage, module_of, package
from mss_core.study.facts import trains

RESOURCES: dict[str, dict[str, float]] = {
    "infer": {"gpu": 0.25, "warm": 1},
    "score_separator": {"gpu": 0.25, "warm": 1},
    "score_levels": {"gpu": 0.25, "warm": 1},
    "score_songs": {"gpu": 0.25, "warm": 1},
    "evaluate": {"warm": 1},
    "embed": {"gpu": 0.25, "warm": 1},
    "probe": {"warm": 1},
    "infer_target": {"gpu": 0.25, "warm": 1},
    "separate_clips": {"gpu": 0.25, "warm": 1},
    "separate_tracks": {"gpu": 0.25, "warm": 1},
    "infer_steered": {"gpu": 0.25, "warm": 1},
    "infer_classic": {"warm": 1},
    "infer_separated": {"gpu": 0.25, "warm": 1},
    "score_estimates": {"warm": 1},
    "infer_ideal": {"gpu": 0.25, "warm": 1},
    "infer_gate": {"warm": 1},
    "score_target": {"gpu": 0.25, "warm": 1},
    "score_activity": {"warm": 1},
    "evaluate_targets": {"warm": 1},
    "prepare_statistics": {"gpu": 0.25},
    "reconstruct": {"gpu": 0.25, "warm": 1},
    "score_stems": {"warm": 1},
}
"""What stages of this package ask for otherwise than by rule."""

DECLARED = "STAGE_RESOURCES"
VARIABLE = "MSS_RESOURCES"
FIELDS = ("cpu", "gpu", "gpu_memory", "accelerator", "processes", "warm")
ACCELERATOR = "accelerator_type:"


def asked(stage: Stage) -> dict[str, Any]:
    """All that a stage asks for. Raises ValueError for a declaration or file that cannot be."""
    name, module = stage.name, module_of(stage.function)
    facts = inspect.unwrap(stage.function).__globals__
    declared = facts.get(DECLARED, {})
    rule: dict[str, Any] = {"cpu": 1.0, "gpu": 1.0} if trains(stage) else {"cpu": 1.0}
    own = RESOURCES.get(name, {}) if package(module) == OURS else {}
    stated = _checked(declared, f"{DECLARED} of {module}").get(name, {})
    file = os.environ.get(VARIABLE)
    local = _read(file) if file else {}
    return {**rule, **own, **stated, **local.get(name, {}), **local.get(f"{module}:{name}", {})}


def resources(stage: Stage, gpus: float) -> dict[str, float]:
    """Ray's request for one stage on a cluster with this many GPUs."""
    amounts = asked(stage)
    request = {"CPU": amounts["cpu"]}
    if gpus and amounts.get("gpu"):
        request["GPU"] = min(amounts["gpu"], gpus)
    request["CPU"] = max(request["CPU"], processes(stage, stated_processes(stage), request.get("GPU", 0)))
    if request.get("GPU"):
        if amounts.get("accelerator"):
            request[f"{ACCELERATOR}{amounts['accelerator']}"] = 0.001  # Ray's way of asking for a node of that type
    return request


def stated_processes(stage: Stage) -> int | None:
    """How many processes are asked for by name; None where the GPUs decide.

    Raises ValueError for several where nothing is trained.
    """
    stated = asked(stage).get("processes")
    if stated and stated > 1 and not trains(stage):
        raise ValueError(f"{stage.name!r} asks for {stated:g} processes, and only trainings are shared")
    return None if stated is None else int(stated)


def processes(stage: Stage, stated: int | None, gpus: float) -> int:
    """How many processes share a training that has been given so many GPUs (0: it is on the CPU).

    Raises ValueError for more than one for each GPU.
    """
    if stated is None:
        return max(1, int(gpus)) if trains(stage) else 1
    if 0 < gpus < stated and stated > 1:
        raise ValueError(
            f"{stage.name!r} asks for {stated} processes, of which each needs a GPU of its own, and has {gpus:g}: "
            f"change 'gpu' or 'processes' in {where_to_change()}"
        )
    return stated


def processes_here(stage: Stage, device: str) -> int:
    """How many processes share a stage on this machine's GPUs, or on its CPU."""
    gpus = min(asked(stage).get("gpu", 0), runtime.gpus()) if device.startswith("cuda") else 0
    return processes(stage, stated_processes(stage), gpus)


def part(request: Mapping[str, float], device: str, cores: float) -> Part:
    """What a stage on a cluster holds of its node, and its share of what the node's counters count.

    Args:
        request: ``CPU`` and ``GPU`` as Ray was asked for them.
        device: that the stage runs on.
        cores: of the node; what all its stages ask for at a time is no more.
    """
    if device.startswith("cuda"):
        gpus = request.get("GPU") or 1.0
        return Part(gpus, min(1.0, gpus))
    cpus = request.get("CPU") or 1.0
    return Part(cpus, min(1.0, cpus / max(cores, 1.0)))


def warm(stage: Stage) -> bool:
    """Whether one process may run several of these stages."""
    return bool(asked(stage).get("warm")) and not trains(stage)


def memory_share(stage: Stage) -> float:
    """The part of one GPU's memory that a stage may use, at most 1."""
    amounts = asked(stage)
    return float(min(1.0, amounts.get("gpu_memory", amounts.get("gpu", 1.0)) or 1.0))


def check_shares(stages: Iterable[Stage]) -> None:
    """Raise ValueError where stages that Ray may put on one GPU could use more than its memory, naming them."""
    kinds = {
        stage.name: (round(asked(stage)["gpu"] * 1000), memory_share(stage))
        for stage in stages
        if 0 < asked(stage).get("gpu", 0) < 1
    }
    most = [(0.0, list[str]())]  # by thousandths of a GPU in use, the most memory and who has it
    for used in range(1, 1001):
        options = [
            (most[used - turns][0] + share, [*most[used - turns][1], name])
            for name, (turns, share) in kinds.items()
            if 0 < turns <= used
        ]
        most.append(max([most[-1], *options], key=lambda found: found[0]))
    memory, names = most[-1]
    if memory > 1 + 1e-9:
        told = " + ".join(f"{kinds[name][1]:g} of {name!r}" for name in sorted(names))
        raise ValueError(
            f"on one GPU there may be {told}, which is {memory:.0%} of its memory; lower 'gpu_memory' or raise 'gpu' "
            f"in {where_to_change()}"
        )


def where_to_change() -> str:
    """The file in force, or how to give one."""
    return os.environ.get(VARIABLE) or f"a file given with --resources FILE (or {VARIABLE}=FILE)"


def out_of_memory(stage: Stage) -> str:
    """What to do where a stage found too little GPU memory."""
    share, gpu = memory_share(stage), asked(stage).get("gpu", 0)
    change = (
        f"raise 'gpu' (or 'gpu_memory') of {stage.name!r} in {where_to_change()}, or make its batch smaller"
        if share < 1
        else "it had the whole GPU: make its batch smaller, or use a GPU with more memory"
    )
    return (
        f"not enough GPU memory: {stage.name!r} asks for {gpu:g} of a GPU and may use {share:.0%} "
        f"of its memory; {change}"
    )


@contextlib.contextmanager
def taken_from(file: Path | None) -> Iterator[None]:
    """The requests of a file are in force, those of MSS_RESOURCES where none is given.

    Raises ValueError for what is not such a file, naming the table and the nearest field.
    """
    before = os.environ.get(VARIABLE)
    if file is not None:
        os.environ[VARIABLE] = str(file)
    try:
        if os.environ.get(VARIABLE):
            _read(os.environ[VARIABLE])
        yield
    finally:
        if file is not None:
            os.environ.pop(VARIABLE)
            os.environ.update({VARIABLE: before} if before is not None else {})


@functools.cache
def _read(file: str) -> Mapping[str, Mapping[str, Any]]:
    try:
        content = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ValueError(f"the file of resources {file} cannot be read ({reason})") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"the file of resources {file} is not TOML: {error}") from None
    return _checked(content, file)


def _checked(tables: Any, place: str) -> Mapping[str, Mapping[str, Any]]:
    """Requests by stage; ValueError naming ``place`` where they are none."""
    if not isinstance(tables, Mapping):
        raise ValueError(f"{place} must hold one table of requests for each stage, not {tables!r}")
    for stage, request in tables.items():
        if not isinstance(request, Mapping):
            raise ValueError(f"{place}: {stage!r} must be a table such as {{'gpu': 0.5}}, not {request!r}")
        for name, amount in request.items():
            choose(f"field of {stage!r} in {place}:", name, FIELDS)
            if name == "accelerator":
                if not isinstance(amount, str) or not amount.strip():
                    raise ValueError(f"{place}: {name!r} of {stage!r} must be a type such as 'A100', not {amount!r}")
                continue
            if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < float("inf"):
                raise ValueError(f"{place}: {name!r} of {stage!r} must be a number of at least 0, not {amount!r}")
            if name == "processes" and (amount != int(amount) or amount < 1):
                raise ValueError(f"{place}: {name!r} of {stage!r} must be a whole number from 1 on, not {amount!r}")
            if name == "gpu" and amount > 1 and amount != int(amount):
                raise ValueError(f"{place}: {name!r} of {stage!r} must be whole where it is above 1, not {amount!r}")
    return tables
