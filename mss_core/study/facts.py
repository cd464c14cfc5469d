"""What a stage is to the harness: facts that follow from its arguments, whatever it is called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from mss_core.data.config import ClipSet, TrackSet, WeightSet
from mss_core.graph import Stage, walk
from mss_core.training import TrainConfig


def trains(stage: Stage) -> bool:
    """Whether one of its arguments is a :class:`TrainConfig`."""
    return any(isinstance(value, TrainConfig) for value in stage.arguments.values())


def called(stage: Stage) -> str:
    """What a stage is called where others of its name stand beside it: with its target, or the sources that it or what
    it builds on was trained on (``pretrain bass``)."""
    trained = [each.arguments for each in walk([stage]).values() if trains(each)]
    sources = dict.fromkeys("+".join(map(str, of["sources"])) for of in trained if isinstance(of.get("sources"), tuple))
    return " ".join([stage.label, *(source for source in sources if source)])


def reads_data(stage: Stage) -> bool:
    """Whether one of its arguments is a data set, or a tuple that holds one."""
    return any(
        isinstance(value, TrackSet | ClipSet | WeightSet)
        for argument in stage.arguments.values()
        for value in (argument if isinstance(argument, tuple | list) else (argument,))
    )


def described_data(arguments: Mapping[str, Any]) -> bool:
    """As :func:`reads_data`, of a manifest's arguments: data sets are what has a fingerprint."""
    return any(
        isinstance(value, dict) and "fingerprint" in value
        for argument in arguments.values()
        for value in (argument if isinstance(argument, list) else (argument,))
    )


def reported(roots: Iterable[Stage], stages: Mapping[str, Stage]) -> list[Stage]:
    """The stages whose artefacts the tables, notes and examples of a study are made of: those that trials end in, what
    these read and did not train, and what reads data sets."""
    ends = list(roots)
    read = [stage for end in ends for stage in end.inputs.values() if not trains(stage)]
    return [*ends, *read, *(stage for stage in stages.values() if reads_data(stage))]
