"""Processes beside a stage's own that make the same call: one training on several GPUs, or cores, of a machine.

Each writes into a scratch folder of the stage and ends with it. They meet in ``mss_core.training.fit``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mss_core import disk
from mss_core.claim import ClaimLost
from mss_core.graph import Context, Stage, Stopped
from mss_core.store import calls

CODE = "from mss_core.store.helpers import main; main()"
FOLLOWED = 3
"""Exit status of a helper that ended by an error of the connection: another's end was the first."""
SECONDS = 20.0
"""In which a helper that has failed ends, after the others have seen its connection closed."""


@contextlib.contextmanager
def beside(stage: Stage, root: Path, ctx: Context) -> Iterator[Context]:
    """The context with the processes that share a stage's training, where there are several; they end with the block.

    Raises:
        RuntimeError: one of them ended before its time; says why.
        ValueError: nothing in the stage trains in several processes.
    """
    if ctx.processes == 1:
        yield ctx
        return
    from mss_core.ranks import Ranks, meeting_place

    store = meeting_place(ctx.processes)
    started: list[subprocess.Popen[str]] = []

    def meet() -> None:
        while not store.check([_ready(rank) for rank in range(1, ctx.processes)]):
            if any(helper.poll() is not None for helper in started):
                raise RuntimeError("not all processes of this training are there")
            time.sleep(0.05)

    ranks = Ranks(0, ctx.processes, store, ctx.device, meet=meet)
    try:
        started += [_started(stage, root, ctx, rank, store.port) for rank in range(1, ctx.processes)]
        yield dataclasses.replace(ctx, ranks=ranks)
        if not ranks.joined:
            raise ValueError(
                f"{stage.name} was given {ctx.processes} processes, and does not train by mss_core.training.fit, which "
                "alone shares a training; ask for 'processes = 1'"
            )
    except (ClaimLost, Stopped):
        raise
    except RuntimeError as error:
        fault = _fault(started, ctx)
        if fault:
            raise RuntimeError(fault) from error
        raise
    finally:
        for helper in started:
            helper.kill()
            helper.wait()
        ranks.leave()


def _ready(rank: int) -> str:
    return f"process {rank + 1} is there"


def _log(ctx: Context, rank: int) -> Path:
    return ctx.work / f"process{rank + 1}.log"


def _started(stage: Stage, root: Path, ctx: Context, rank: int, port: int) -> subprocess.Popen[str]:
    """A helper, which has been told what to do. It ends by itself when its input is closed, as by the first's end."""
    out = ctx.work / f"process{rank + 1}"
    disk.remove(out)
    disk.make_folder(out)
    given = {
        "call": calls.described(stage).removeprefix(calls.MARK),
        "root": str(root),
        "rank": rank,
        "size": ctx.processes,
        "port": port,
        "checkpoint": str(ctx.checkpoint),
        "out": str(out),
        "device": f"cuda:{rank}" if ctx.device.startswith("cuda") else ctx.device,
        "data": {name: str(path) for name, path in ctx.data.items()},
        "room": ctx.room,
        "deterministic": ctx.deterministic,
        "workers": ctx.workers,
    }
    paths = [os.path.abspath(folder) for folder in sys.path]
    with open(_log(ctx, rank), "w") as log:
        helper = subprocess.Popen(
            [sys.executable, "-P", "-c", CODE],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
    assert helper.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # why it is gone is in its log
        helper.stdin.write(json.dumps(given) + "\n")
        helper.stdin.flush()
    return helper


def _fault(started: Sequence[subprocess.Popen[str]], ctx: Context) -> str:
    """Which process ended first, and why; empty where none has ended by itself."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline and all(helper.poll() in (None, FOLLOWED) for helper in started):
        time.sleep(0.05)
    ended = [(helper.poll(), rank) for rank, helper in enumerate(started, 1)]
    for status, rank in sorted((status, rank) for status, rank in ended if status not in (None, FOLLOWED)):
        which = f"process {rank + 1} of the {ctx.processes} that share this training"
        if status < 0:
            return f"{which} was killed by {signal.Signals(-status).name}"
        lines = _log(ctx, rank).read_text(errors="replace").rstrip().splitlines() or [f"status {status}"]
        return f"{which} failed: {lines[-1]}"
    return ""


# ---- a helper


def main() -> None:
    """Make the call that the first process has written to the input, as one of several."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):  # the first process says when to stop
        signal.signal(number, signal.SIG_IGN)
    given = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_the_first, daemon=True).start()
    status = 1
    try:
        _make(given)
        status = 0
    except Stopped:
        status = 0
    except Exception as error:
        traceback.print_exc()
        status = FOLLOWED if _of_connection(error) else 1
    sys.stderr.flush()
    os._exit(status)  # connections to who is gone are not closed in order


def _make(given: Mapping[str, Any]) -> None:
    import torch

    from mss_core import runtime
    from mss_core.ranks import Ranks, meeting_place
    from mss_core.store.artefacts import Store, resolve

    runtime.prepare_process()
    if given["device"].startswith("cuda"):
        torch.cuda.set_device(given["device"])
    stage, held = calls.rebuilt(json.loads(given["call"])), Store(given["root"])
    arguments = {name: resolve(value, held) for name, value in stage.arguments.items()}
    store = meeting_place(given["size"], given["port"])
    store.set(_ready(given["rank"]), "")
    ctx = Context(
        device=given["device"],
        data={name: Path(path) for name, path in given["data"].items()},
        room=given["room"],
        deterministic=given["deterministic"],
        workers=given["workers"],
        out=Path(given["out"]),
        processes=given["size"],
        ranks=Ranks(given["rank"], given["size"], store, given["device"], Path(given["checkpoint"])),
    )
    with ctx.kernels():
        stage.function(**arguments, out=Path(given["out"]), ctx=ctx)


def _end_with_the_first() -> None:
    sys.stdin.read()
    os._exit(1)


def _of_connection(error: Exception) -> bool:
    """Whether an error is what torch makes of a connection that another process has closed."""
    return isinstance(error, RuntimeError) and any(
        word in str(error).lower() for word in ("gloo", "nccl", "connection", "store")
    )
