"""What the error of a stage says of the store's storage."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from mss_core import disk


def may_pass(error: BaseException | None, root: Path) -> bool:
    """Whether the stage may be tried again at once: the storage refused a call, or an input went."""
    return _refused(error, root) or _went(error, root)


def _refused(error: BaseException | None, root: Path) -> bool:
    """Whether the store's storage refused a call that it may allow at once again: a ticket that is being renewed, space
    that another program gives back."""
    if not isinstance(error, OSError) or error.errno not in (errno.EACCES, errno.ENOSPC, errno.EDQUOT):
        return False
    elsewhere = isinstance(error.filename, str) and os.path.isabs(error.filename)
    return not elsewhere or Path(error.filename).is_relative_to(root)


def _went(error: BaseException | None, root: Path) -> bool:
    """Whether an artefact went while a stage read it: set aside or pruned, or moved back by who found it whole."""
    name = error.filename if isinstance(error, FileNotFoundError) else None
    if not isinstance(name, str) or not Path(name).is_relative_to(root):
        return False
    artefact = root.joinpath(*Path(name).relative_to(root).parts[:2])
    return disk.exists(Path(name)) or not disk.exists(artefact)


def was_moved(error: BaseException, partial: Path) -> bool:
    """Whether an error is that a file of a folder is missing, and the whole folder is."""
    name = error.filename if isinstance(error, FileNotFoundError) else None
    with contextlib.suppress(OSError):
        return name is not None and Path(name).is_relative_to(partial) and not disk.exists(partial)
    return False


def in_short(error: BaseException, root: Path) -> str:
    """One line about an error; a full disk is named as such, whatever the library that met it made of it."""
    first = (str(error).splitlines() or [""])[0]
    if no_room(error, root):
        return f"the disk of the store {root} is full ({type(error).__name__}: {first})"
    return f"{type(error).__name__}: {first}"


def no_room(error: BaseException, root: Path) -> bool:
    """Whether the disk of a store has no room: libraries name that in words of their own."""
    try:
        return getattr(error, "errno", None) == errno.ENOSPC or disk.free(root) < 2**16
    except (OSError, ValueError):
        return False


def says_full(error: str) -> bool:
    """Whether the line about a stage's error is that of a store without room."""
    return " is full (" in error
