"""A process of its own for each training, at the price of a fork.

Its parent is a process that has loaded torch and what stages share, and does nothing else: it computes nothing, touches
no GPU and draws no number (Python's fork server). So a fork of it is as good as a new process, and there at once. The
parent starts with the first call: a worker that trains nothing has none.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import traceback
import types
from collections.abc import Callable, Iterator
from multiprocessing import connection
from typing import Any

import numpy as np

LOADED = ("torch", "torchaudio", "pandas", "mss_core.training", "mss_core.study.execution.on_worker", __name__)
"""What the parent imports. None of it may touch a GPU or draw a number when it is imported."""

PATIENCE = 10.0
"""Seconds that a process has to end after its answer; a thread that a stage left behind may keep it."""


class Died(RuntimeError):
    """The process ended without an answer: it was killed."""


class Apart:
    """Calls functions in processes of their own, one at a time.

    Such a process ends with this one, however this one ends.

    Args:
        asked: set once this process has been asked to end; each process gets SIGTERM from then on.
        carrier: makes bytes of a call, and a call of these bytes (``dumps``, ``loads``): cloudpickle, which carries
            functions of a script that no other process can import, too.
    """

    def __init__(self, asked: threading.Event, carrier: Any) -> None:
        self._asked, self._carrier = asked, carrier
        self._running: multiprocessing.process.BaseProcess | None = None
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(LOADED))

    def call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the function returns.

        Raises Died where its process was killed, RuntimeError with its traceback where it raised.
        """
        receiving, sending = self._context.Pipe(duplex=False)
        carried = self._carrier.loads, self._carrier.dumps((function, arguments))
        process = self._context.Process(target=_answer, args=(sending, *carried))
        with receiving:
            with _path_told(), _without_script(), sending:
                process.start()
            self._running = process
            if self._asked.is_set():
                self.terminate()
            try:
                returned, value = receiving.recv()
            except EOFError:
                process.join()
                raise Died(_ending(process.exitcode)) from None
            finally:
                self._running = None
            process.join(PATIENCE)
            if process.is_alive():
                process.kill()
                process.join()
        if not returned:
            raise RuntimeError(value)
        return value

    def terminate(self) -> None:
        """Send SIGTERM to the process that runs now, if one does."""
        if self._running is not None:
            self._running.terminate()


def _answer(sending: connection.Connection, loads: Callable[[bytes], Any], call: bytes) -> None:
    """In the new process: carry out the call and tell what came of it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    np.random.seed()  # of all global generators this one is not seeded anew by a fork
    try:
        function, arguments = loads(call)
        answer = True, function(*arguments)
    except Exception:
        answer = False, traceback.format_exc()
    sending.send(answer)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        with contextlib.suppress(ValueError):
            return f"its process was ended by {signal.Signals(-status).name}"
    return f"its process ended with status {status}"


@contextlib.contextmanager
def _path_told() -> Iterator[None]:
    """The fork server of Python 3.11 finds modules where a new interpreter does, and not where this process does."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        os.environ.update({"PYTHONPATH": before} if before is not None else {})


@contextlib.contextmanager
def _without_script() -> Iterator[None]:
    """multiprocessing would import the script that this process runs in the new one, too: here it is Ray's."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script
