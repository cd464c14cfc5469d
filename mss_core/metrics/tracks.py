"""Many tracks at once: a function over items in threads, with a progress bar.

Threads do: torch and numpy leave the interpreter's lock while they work, and arrays are not
copied between processes. Each item gets one core.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mss_core.metrics.threads import one_core

T = TypeVar("T")


def parallel(
    function: Callable[[str], T], names: list[str], jobs: int = 1, label: str = ""
) -> Iterator[tuple[str, T | Exception]]:
    """(name, result) of each name as it is done; an exception is a result, not the end.

    Args:
        function: called with one name, in a thread that has one core to itself.
        names: of the items.
        jobs: threads.
        label: of the progress bar on stderr; none if empty.
    """
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}, should be at least 1")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=Console(stderr=True), disable=not (label and names))
    pool = ThreadPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,))
    try:
        with bar, one_core():
            task = bar.add_task(label, total=len(names))
            waiting = {pool.submit(function, name): name for name in names}
            for future in as_completed(waiting):
                bar.advance(task)
                error = future.exception()
                if error is not None and not isinstance(error, Exception):
                    raise error
                yield waiting[future], future.result() if error is None else error
    finally:
        pool.shutdown(cancel_futures=True)
