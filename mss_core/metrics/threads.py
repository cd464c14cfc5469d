"""One core for code of many small operations, where a pool of threads costs more than it brings.

Measured: with two threads on a busy machine of two cores the operations of BSS Eval, each some
microseconds, took 10 to 40 times as long, the threads waiting for one another.
"""

import contextlib
import functools
from collections.abc import Iterator

import torch
from threadpoolctl import ThreadpoolController


@contextlib.contextmanager
def one_core() -> Iterator[None]:
    """While it lasts, torch and the BLAS libraries compute with one thread."""
    before = torch.get_num_threads()
    if before > 1:
        torch.set_num_threads(1)
    try:
        with _controller().limit(limits=1):
            yield
    finally:
        if before > 1:
            torch.set_num_threads(before)


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries: once
