"""What storage does that must be expected: errors that pass, and writes that are lost until they are forced out."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

TRANSIENT = frozenset({errno.EIO, errno.ESTALE, errno.EINTR})
"""Errors of a network file system that a second try often does not meet."""

PAUSES = (0.1, 0.5, 2.0)
"""Seconds before the second, third and fourth try; the error of the fourth is raised."""

UNSYNCED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF})
"""What file systems answer that cannot force out a folder."""


def passes(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, is a transient one of the storage."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in TRANSIENT:
            return True
        error = error.__cause__ or error.__context__
    return False


def patiently(call: Callable[[], T]) -> T:
    """What ``call`` returns, tried again where the storage has a transient error."""
    for pause in PAUSES:
        try:
            return call()
        except OSError as error:
            if error.errno not in TRANSIENT:
                raise
        time.sleep(pause)
    return call()


def force_out(path: Path) -> None:
    """Wait until the content of a file, or the names in a folder, would outlast a loss of power."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in UNSYNCED or not path.is_dir():
            raise
    finally:
        os.close(handle)
