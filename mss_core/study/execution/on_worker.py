"""What a worker of a cluster does with a stage, with or without Ray in its process."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mss_core import runtime
from mss_core.claim import this_process
from mss_core.graph import Context, Stage, Stopped
from mss_core.source.stage import of as source_of
from mss_core.store import StageFailed, Store, run_stage
from mss_core.store.remote.opening import opened
from mss_core.store.remote.relay import run_folder
from mss_core.study.execution import nodes
from mss_core.study.origin import machine
from mss_core.study.resources import part, processes

STOP = "stop"
"""A file of this name in a run's own folder asks its workers to write their checkpoints and end."""


@dataclasses.dataclass(frozen=True)
class Given:
    """What a worker is told of a stage.

    Attributes:
        ctx: the driver's.
        folder: the run's own.
        source: fingerprint of what the stage reaches, as the driver reads it.
        share: of a GPU's memory that the stage may use.
        stated: processes that are asked for by name.
        gpus: that Ray gave to the worker.
        request: cores and GPUs that Ray was asked for (``CPU``, ``GPU``), which may be a part of one.
        cores: of the node.
    """

    ctx: Context
    folder: str
    stage: Stage
    source: str
    share: float
    stated: int | None
    gpus: int
    request: Mapping[str, float]
    cores: float


@contextlib.contextmanager
def reached(root: str, folder: str) -> Iterator[tuple[Store, Path]]:
    """On a worker: the store at a folder or URL, and the run's own folder, where the driver's STOP appears."""
    store = opened(root)
    with run_folder(store, Path(folder), STOP) as here:
        yield store, here


def run_apart(given: Given, root: str) -> dict[str, Any]:
    """``run`` in a process that has been made for it; ``root`` is the store's folder or URL."""
    runtime.prepare_process()
    asked = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: asked.set())
    return run(given, opened(root), asked)


def run(given: Given, store: Store, asked: threading.Event) -> dict[str, Any]:
    """Run a stage in this process. Returns what became of it: what it failed by, where it did, and ``stopped`` where it
    was asked to end."""
    with run_folder(store, Path(given.folder), STOP) as folder:
        return _run(given, store, folder, asked)


def _run(given: Given, store: Store, folder: Path, asked: threading.Event) -> dict[str, Any]:
    stage = given.stage
    result: dict[str, Any] = {"failed": "", "done": True}
    if not nodes.appears(folder):  # a node that joined after the others were probed
        return result | {"failed": f"node {socket.gethostname()} does not see the store {store.root}"}
    if fingerprint(stage) != given.source:  # and one whose code was changed since
        return result | {
            "failed": f"node {socket.gethostname()} has other code of {stage.name} than this study was started with; "
            f"{nodes.SYNCHRONISE}"
        }
    here = on_this_node(given.ctx, stage, given.share, given.stated, given.gpus, stop_asked(folder / STOP, asked))
    here = dataclasses.replace(here, part=part(given.request, here.device, given.cores))
    with contextlib.suppress(OSError):  # a full disk: the stage says so, in words of the store
        worker_file(folder, stage).write_text(json.dumps(this_process()))
    begun = time.monotonic()
    try:
        run_stage(stage, store, here)
    except StageFailed as failure:
        result |= {
            "failed": failure.message,
            "log": str(failure.log),
            "out_of_memory": runtime.is_out_of_memory(failure.__cause__),
        }
    except Stopped as stopped:
        result |= {"failed": str(stopped), "stopped": True}
    runtime.release_memory(time.monotonic() - begun)
    return result


def worker_file(folder: Path, stage: Stage) -> Path:
    """Where a worker of this run leaves which process it is, for whoever learns of its death."""
    return folder / f"{stage.key}.worker"


def on_this_node(
    ctx: Context, stage: Stage, share: float, stated: int | None, gpus: int, stop: Callable[[], bool]
) -> Context:
    """The driver's context as it is on a worker to which Ray gave so many GPUs, with this machine's facts. ``share``
    and ``stated`` are what the driver says of memory and processes. Energy is not counted in it."""
    device = runtime.device() if gpus else "cpu"
    runtime.limit_memory(device, share)
    return dataclasses.replace(
        ctx,
        device=device,
        device_name=runtime.device_name(device),
        environment={**ctx.environment, **(machine() if ctx.environment else {})},
        processes=processes(stage, stated, gpus if device != "cpu" else 0),
        stop=stop,
        part=None,
    )


def stop_asked(file: Path, asked: threading.Event) -> Callable[[], bool]:
    """Whether this process has been asked to stop, or a run's stop file is there (looked for once a second)."""
    looked = 0.0

    def stop() -> bool:
        nonlocal looked
        if not asked.is_set() and time.monotonic() - looked > 1.0:
            looked = time.monotonic()
            if file.exists():
                asked.set()
        return asked.is_set()

    return stop


def fingerprint(stage: Stage) -> str:
    """Of the source that a stage reaches in this process; empty where it cannot be read."""
    reached = source_of(stage)
    return reached.fingerprint if reached else ""
