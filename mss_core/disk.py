"""Files, time and host: the one way in which store, claims, drivers, journals and packing reach a machine.

The functions named in CALLS are all that is asked of an operating system; tests put a simulated world in their place.
Below them is what is made of those calls: errors that pass are waited out, what must outlast a loss of power is forced
out.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import socket
import stat
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

T = TypeVar("T")

CALLS = (
    "opened sync force_out rename link unlink mkdir rmdir names status touch free "
    "monotonic wall sleep every hostname machine pid uid started token"
).split()
"""The calls that a simulated world answers; nothing else here touches a machine."""

TRANSIENT = frozenset({errno.EIO, errno.ESTALE, errno.EINTR})
"""Errors of a network file system that a second try often does not meet."""

PAUSES = (0.1, 0.5, 2.0)
"""Seconds before the second, third and fourth try; the error of the fourth is raised."""

ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""Errors that say that there is nothing; all others say nothing about that, and are raised."""

NO_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
"""What file systems answer that have no hard links."""

UNSYNCED = frozenset({errno.EINVAL, errno.ENOTSUP, errno.EBADF})
"""What file systems answer that cannot force out a folder."""


# ---- files


def opened(path: Path, mode: str = "rb") -> BinaryIO:
    """A file, open in one of the modes ``rb``, ``r+b``, ``wb``, ``xb`` and ``ab``."""
    return open(path, mode)  # type: ignore[return-value]


def sync(file: BinaryIO) -> None:
    """Wait until what was written to an open file would outlast a loss of power."""
    file.flush()
    os.fsync(file.fileno())


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


def rename(path: Path, target: Path) -> None:
    os.rename(path, target)


def link(path: Path, target: Path) -> None:
    os.link(path, target)


def unlink(path: Path) -> None:
    os.unlink(path)


def mkdir(path: Path, mode: int = 0o777) -> None:
    os.mkdir(path, mode)


def rmdir(path: Path) -> None:
    os.rmdir(path)


def names(folder: Path) -> list[str]:
    """The names in a folder, in no order."""
    return os.listdir(folder)


def status(path: Path, follow: bool = True) -> os.stat_result:
    return os.stat(path, follow_symlinks=follow)


def touch(path: Path) -> None:
    """Set a file's time stamp to now, by the clock of whoever stamps files there."""
    os.utime(path)


def free(path: Path) -> int:
    """Bytes that are free where a folder lies."""
    return shutil.disk_usage(path).free


# ---- time


def monotonic() -> float:
    return time.monotonic()


def wall() -> float:
    return time.time()


def sleep(seconds: float) -> None:
    time.sleep(seconds)


def every(seconds: float, call: Callable[[], object]) -> Callable[[], None]:
    """Call something in the background each ``seconds`` until it answers False, or until the function that comes back
    is called, which waits for a call that is going on."""
    ended = threading.Event()

    def go() -> None:
        while not ended.wait(seconds) and call() is not False:
            pass

    def stop() -> None:
        ended.set()
        thread.join()

    thread = threading.Thread(target=go, name="every", daemon=True)
    thread.start()
    return stop


# ---- host


def hostname() -> str:
    return socket.gethostname()


def pid() -> int:
    return os.getpid()


def uid() -> int:
    return os.getuid()


def machine() -> str:
    """What process numbers are valid in: this host since it was started, and this container."""
    parts = [socket.gethostname()]
    try:
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    except OSError:  # no /proc on this system; two machines may have one name
        parts.append(f"{uuid.getnode():012x}")
    with contextlib.suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def started(pid: int) -> str | None:
    """The start time of a process on this machine (so that a reused number is not mistaken), or None if gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except PermissionError:
        return "alive"
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
        try:  # no /proc on this system
            os.kill(pid, 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return "alive"
    return None if fields[0] == "Z" else fields[19]


def token() -> str:
    """A name that nobody else has: 32 hexadecimal digits."""
    return uuid.uuid4().hex


# ---- what is made of these calls


def passes(error: BaseException | None) -> bool:
    """Whether an error, or one that it came from, is a transient one of the storage."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in TRANSIENT:
            return True
        error = error.__cause__ or error.__context__
    return False


def patiently(call: Callable[..., T], *arguments: Any) -> T:
    """What ``call`` returns, tried again where the storage has a transient error."""
    for pause in PAUSES:
        try:
            return call(*arguments)
        except OSError as error:
            if error.errno not in TRANSIENT:
                raise
        sleep(pause)
    return call(*arguments)


def move(path: Path, target: Path) -> None:
    """Rename something to a name that nobody else uses, patiently: a rename whose answer was lost is not done again, to
    what another process may have put in its place."""

    def go_on() -> None:
        if not (asked and exists(target)):
            asked.append(target)
            rename(path, target)

    asked: list[Path] = []
    patiently(go_on)


def read(path: Path) -> bytes:
    with opened(path) as file:
        return file.read()


def write(path: Path, content: bytes) -> None:
    """Write a file in place; what must be seen whole or not at all is for ``write_atomically``."""
    with opened(path, "wb") as file:
        file.write(content)


def write_atomically(path: Path, content: bytes | Callable[[BinaryIO], object], durable: bool = True) -> None:
    """Write a file so that a reader sees the old content or the new, never a part; ``durable``, so that the new one
    outlasts a loss of power. ``content`` may be a function that writes to the open file."""
    temporary = path.with_name(f".{path.name}.{token()}.tmp")
    try:
        with opened(temporary, "wb") as file:
            file.write(content) if isinstance(content, bytes) else content(file)
            if durable:
                sync(file)
        rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            unlink(temporary)
        raise
    if durable:
        force_out(path.parent)


def link_or_move(path: Path, target: Path) -> None:
    """Give a file a second name, or another one where the storage has no links. What has that name already stays."""
    try:
        patiently(link, path, target)
    except FileExistsError:  # perhaps by this very call, whose answer was lost
        return
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        if not exists(target):
            move(path, target)


def checksum(path: Path) -> str:
    """sha256 (hex) of a file's content."""
    with opened(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def exists(path: Path, follow: bool = True) -> bool:
    """Whether there is something; not following, also a link that leads nowhere. OSError where it cannot be said."""
    return _mode(path, follow) != 0


def is_folder(path: Path, follow: bool = True) -> bool:
    return stat.S_ISDIR(_mode(path, follow))


def is_link(path: Path) -> bool:
    return stat.S_ISLNK(_mode(path, follow=False))


def _mode(path: Path, follow: bool) -> int:
    """Type and permissions of what is there, 0 where nothing is."""
    try:
        return patiently(status, path, follow).st_mode
    except OSError as error:
        if error.errno not in ABSENT:
            raise
        return 0


def entries(folder: Path) -> list[Path]:
    """What is in a folder, by name; nothing where there is no folder."""
    try:
        return [folder / name for name in sorted(names(folder))]
    except (FileNotFoundError, NotADirectoryError):
        return []


def walk(folder: Path, without: Collection[Path] = ()) -> Iterator[Path]:
    """The files below a folder, in those ``without`` excepted. Links are files.

    Raises OSError where a folder cannot be read, which a glob would pass over.
    """
    for name in sorted(names(folder)):
        path = folder / name
        if path in without:
            continue
        kind = _mode(path, follow=False)
        if stat.S_ISDIR(kind):
            yield from walk(path, without)
        elif kind:  # what is removed while the folder is read was not there
            yield path


def make_folder(path: Path) -> None:
    """Make a folder and those that it lies in, so that they outlast a loss of power; what is there is left alone."""
    try:
        mkdir(path)
    except FileNotFoundError:
        there = is_folder(path.parent)  # it was made meanwhile, or nothing can be made in it
        make_folder(path.parent)
        if not there:
            return make_folder(path)
        with contextlib.suppress(FileExistsError):
            mkdir(path)
    except FileExistsError:
        if not is_folder(path):
            raise
    with contextlib.suppress(PermissionError):  # whoever made it may have died before this
        force_out(path.parent)


def remove(path: Path) -> None:
    """Remove a file, or a folder and all in it, as far as it can be; what is not there any more is no error.

    Raises the first OSError after all else has been removed.
    """
    first: OSError | None = None
    try:
        if not is_folder(path, follow=False):
            return patiently(unlink, path)
        for name in patiently(names, path):
            try:
                remove(path / name)
            except OSError as error:
                first = first or error
        patiently(rmdir, path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise (first or error) from None
