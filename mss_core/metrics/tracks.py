"""Many tracks at once: a function over items in threads, with a progress bar.

Threads do: torch and numpy leave the interpreter's lock while they work, and arrays are not
copied between processes. Each item gets one core.
"""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import torch
from numpy.typing import ArrayLike
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mss_core.metrics.bss_eval import BssEval, bss_eval
from mss_core.metrics.threads import one_core

T = TypeVar("T")
Loaded = tuple[ArrayLike, ArrayLike, float]


def bss_eval_tracks(
    tracks: Mapping[str, Callable[[], Loaded]], jobs: int = 1, progress: bool = True, **settings: object
) -> dict[str, BssEval]:
    """`bss_eval` of many tracks, in their order.

    Args:
        tracks: name -> function returning references, estimates and rate; called when the
            track's turn comes, so that only `jobs` tracks are in memory.
        jobs: tracks at a time.
        progress: show a bar on stderr.
        settings: further arguments of `bss_eval`.

    Raises:
        the first error of a track, once all are done; a ValueError names the track.
    """

    def one(name: str) -> BssEval:
        references, estimates, rate = tracks[name]()
        return bss_eval(references, estimates, rate, track=name, **settings)

    done = dict(parallel(one, list(tracks), jobs, "BSS Eval" if progress else ""))
    for name in tracks:
        if isinstance(done[name], Exception):
            raise done[name]
    return {name: done[name] for name in tracks}


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
