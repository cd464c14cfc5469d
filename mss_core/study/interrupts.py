"""SIGTERM, SIGHUP and Ctrl-C end a study in one way: running trainings write their checkpoints first."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGHUP)
"""SIGHUP comes when the terminal or the SSH connection that a study was started from is gone."""


@contextlib.contextmanager
def handled(handler: Callable[[int], None]) -> Iterator[None]:
    """``handler`` gets the first of the signals that comes; then they are ignored, so that nothing cuts the stopping
    short. What is ignored already stays so, as ``nohup`` asks for. Does nothing outside the main thread."""

    def handle(number: int, frame: Any) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        if number == signal.SIGHUP:
            leave(terminals)
        handler(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    terminals = [stream for stream in (1, 2) if os.isatty(stream)]  # asked now: one that is gone says no
    before = {each: signal.getsignal(each) for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN}
    for each in before:
        signal.signal(each, handle)
    try:
        yield
    finally:
        for each, handler_before in before.items():
            signal.signal(each, handler_before)


def raised() -> contextlib.AbstractContextManager[None]:
    """The signals raise KeyboardInterrupt."""

    def interrupt(number: int) -> None:
        raise KeyboardInterrupt

    return handled(interrupt)


def leave(terminals: Iterable[int]) -> None:
    """Write to nowhere what would go to a terminal that is gone: a line to it would raise."""
    for stream in terminals:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream)
        os.close(nowhere)
