"""Files as machines see them: inodes that handles follow, caches that go stale, and what a loss of power leaves.

Two kinds of file system. On ``nfs`` every machine remembers what it has looked up for a while, appends go where the
client thinks that the end is, and a file that is removed while it is open stays as ``.nfs...``. Elsewhere all see the
same and appends go to the real end. On both, what was not forced out may be lost with the power: the bytes of a file,
and of each folder the last changes of its names.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

READ, WRITE, APPEND = "r", "w", "a"


class Inode:
    """A file or a folder. ``data`` and ``entries`` are what is seen now, ``synced`` what a loss of power cannot take.

    Attributes:
        pending: changes of a folder's names that were not forced out: each a dict of name to inode or None.
        frozen: the artefact it is part of, once that is committed.
    """

    __slots__ = (
        "number",
        "folder",
        "data",
        "synced",
        "entries",
        "pending",
        "links",
        "mtime",
        "ctime",
        "opens",
        "frozen",
    )

    def __init__(self, number: int, folder: bool, stamp: int) -> None:
        self.number, self.folder = number, folder
        self.data = bytearray()
        self.entries: dict[str, Inode] = {}
        self.synced: Any = {} if folder else b""
        self.pending: list[dict[str, Inode | None]] = []
        self.links, self.mtime, self.ctime = 1, stamp, stamp
        self.opens: dict[Machine, int] = {}
        self.frozen = ""


class Machine:
    """A host: its clock, its cache of a shared file system, and how often it was started."""

    def __init__(self, name: str, skew: float) -> None:
        self.name, self.skew, self.boots = name, skew, 0
        self.looked_up: dict[int, dict[str, tuple[Inode | None, float]]] = {}
        self.listed: dict[int, tuple[list[str], float]] = {}
        self.described: dict[int, tuple[Any, float]] = {}

    def forget(self) -> None:
        self.looked_up.clear()
        self.listed.clear()
        self.described.clear()


def parts_of(path: str) -> list[str]:
    return path.strip("/").split("/")


@lru_cache(maxsize=100_000)
def place_of(path: str) -> tuple[list[str], str]:
    """The names of the folders that something lies in, and its own."""
    *above, name = parts_of(path)
    return above, name


def failure(number: int, path: object) -> OSError:
    return OSError(number, os.strerror(number), str(path))


class Files:
    """The file system. ``play`` schedules the calls: it may delay one, end it with an error, or end its process."""

    def __init__(self, play: Any, nfs: bool, stale: float, coarse: float) -> None:
        self.play, self.nfs, self.stale, self.coarse = play, nfs, stale, coarse
        self.numbers = 0
        self.silly: dict[int, Inode] = {}
        self.root = self.make(True)
        self.changed: Callable[[Inode, str], None] = lambda inode, what: None
        self.removed: Callable[[str, Inode], None] = lambda path, inode: None
        self.renamed: Callable[[str, str, Inode], None] = lambda path, target, inode: None

    def make(self, folder: bool) -> Inode:
        self.numbers += 1
        return Inode(self.numbers, folder, self.stamp())

    def stamp(self) -> int:
        return int((self.play.clock + 1e9) // self.coarse * self.coarse * 1e9)

    # ---- names

    def look(self, folder: Inode, name: str, fresh: bool = False) -> Inode | None:
        if not self.nfs:
            return folder.entries.get(name)
        looked_up, number = self.play.current.process.machine.looked_up, folder.number
        known = looked_up[number] if number in looked_up else looked_up.setdefault(number, {})
        if not fresh and name in known:
            found, until = known[name]
            if until > self.play.clock:
                return found
        found = folder.entries.get(name)
        known[name] = found, self.play.clock + self.stale
        return found

    def parent(self, path: object) -> tuple[Inode, str]:
        above, name = place_of(str(path))
        folder, look = self.root, self.look if self.nfs else None
        for part in above:
            found = look(folder, part) if look else folder.entries.get(part)
            if found is None:
                raise failure(errno.ENOENT, path)
            if not found.folder:
                raise failure(errno.ENOTDIR, path)
            folder = found
        if not folder.links:
            self.machine.forget()
            raise failure(errno.ENOENT, path)
        return folder, name

    def inode(self, path: object, fresh: bool = False) -> Inode:
        folder, name = self.parent(path)
        found = self.look(folder, name, fresh)
        if found is None:
            if str(path) == "/":
                return self.root
            raise failure(errno.ENOENT, path)
        if not found.links:  # removed elsewhere: the kernel looks again
            self.machine.looked_up.pop(folder.number, None)
            found = self.look(folder, name)
            if found is None:
                raise failure(errno.ENOENT, path)
        return found

    @property
    def machine(self) -> Machine:
        return self.play.current.process.machine

    def change(self, folder: Inode, names: dict[str, Inode | None]) -> None:
        """Names of a folder change at once; the machine that did it sees that."""
        for name, inode in names.items():
            self.changed(folder, name)
            if inode is None:
                folder.entries.pop(name, None)
            else:
                folder.entries[name] = inode
        folder.pending.append(names)
        folder.mtime = folder.ctime = self.stamp()
        self.machine.looked_up.pop(folder.number, None)
        self.machine.listed.pop(folder.number, None)

    def drop(self, folder: Inode, name: str, inode: Inode) -> dict[str, Inode | None]:
        """What becomes of a folder's names where one goes: on NFS an open file stays under a name of its own."""
        inode.links -= 1
        if self.nfs and not inode.folder and inode.links == 0 and inode.opens.get(self.machine):
            inode.links = 1
            self.silly[inode.number] = folder
            return {name: None, f".nfs{inode.number:08x}": inode}
        return {name: None}

    # ---- calls

    def opened(self, path: Path, mode: str = "rb") -> Handle:
        def effect() -> Handle:
            folder, name = self.parent(path)
            inode = self.look(folder, name, fresh=True)
            if inode is not None and inode.folder:
                raise failure(errno.EISDIR, path)
            if mode in ("rb", "r+b"):
                if inode is None:
                    raise failure(errno.ENOENT, path)
            elif inode is None:
                inode = self.make(False)
                self.change(folder, {name: inode})
            elif mode == "xb":
                raise failure(errno.EEXIST, path)
            elif mode == "wb":
                self.changed(inode, "truncate")
                del inode.data[:]
            self.machine.described.pop(inode.number, None)
            return Handle(self, inode, path, {"rb": READ, "ab": APPEND}.get(mode, WRITE))

        return self.play.do("open" if mode == "rb" else "create", path, effect)

    def force_out(self, path: Path) -> None:
        def effect() -> None:
            inode = self.inode(path)
            if inode.folder:
                inode.synced, inode.pending = dict(inode.entries), []
            else:
                inode.synced = bytes(inode.data)

        self.play.do("fsync", path, effect)

    def rename(self, path: Path, target: Path) -> None:
        def effect() -> None:
            folder, name = self.parent(path)
            other, new = self.parent(target)
            inode, there = folder.entries.get(name), other.entries.get(new)
            if inode is None:
                raise failure(errno.ENOENT, path)
            changes: dict[str, Inode | None] = {}
            if there is inode:
                return
            if there is not None:
                if there.folder and not inode.folder:
                    raise failure(errno.EISDIR, target)
                if inode.folder and not there.folder:
                    raise failure(errno.ENOTDIR, target)
                if there.folder and there.entries:
                    raise failure(errno.ENOTEMPTY, target)
                changes = self.drop(other, new, there)
            self.renamed(str(path), str(target), inode)
            if folder is other:
                self.change(folder, {**changes, name: None, new: inode})
            else:
                self.change(other, {**changes, new: inode})
                self.change(folder, {name: None})

        self.play.do("rename", path, effect)

    def link(self, path: Path, target: Path) -> None:
        def effect() -> None:
            inode = self.inode(path)
            folder, name = self.parent(target)
            if name in folder.entries:
                raise failure(errno.EEXIST, target)
            inode.links += 1
            self.change(folder, {name: inode})

        self.play.do("link", path, effect)

    def unlink(self, path: Path) -> None:
        def effect() -> None:
            folder, name = self.parent(path)
            inode = folder.entries.get(name)
            if inode is None:
                self.machine.looked_up.pop(folder.number, None)
                raise failure(errno.ENOENT, path)
            if inode.folder:
                raise failure(errno.EISDIR, path)
            self.removed(str(path), inode)
            self.change(folder, self.drop(folder, name, inode))

        self.play.do("unlink", path, effect)

    def mkdir(self, path: Path, mode: int = 0o777) -> None:
        def effect() -> None:
            folder, name = self.parent(path)
            if name in folder.entries:
                self.machine.looked_up.pop(folder.number, None)
                raise failure(errno.EEXIST, path)
            self.change(folder, {name: self.make(True)})

        self.play.do("mkdir", path, effect)

    def rmdir(self, path: Path) -> None:
        def effect() -> None:
            folder, name = self.parent(path)
            inode = folder.entries.get(name)
            if inode is None or not inode.folder:
                raise failure(errno.ENOENT if inode is None else errno.ENOTDIR, path)
            if inode.entries:
                raise failure(errno.ENOTEMPTY, path)
            self.change(folder, self.drop(folder, name, inode))

        self.play.do("rmdir", path, effect)

    def names(self, path: Path) -> list[str]:
        def effect() -> list[str]:
            inode, listed = self.inode(path), self.machine.listed
            if not inode.folder:
                raise failure(errno.ENOTDIR, path)
            if self.nfs:
                if inode.number not in listed or listed[inode.number][1] <= self.play.clock:
                    listed[inode.number] = list(inode.entries), self.play.clock + self.stale
                return list(listed[inode.number][0])
            return list(inode.entries)

        return self.play.do("names", path, effect)

    def status(self, path: Path, follow: bool = True) -> Any:
        def effect() -> Any:
            inode, described = self.inode(path), self.machine.described
            if self.nfs and inode.number in described and described[inode.number][1] > self.play.clock:
                return described[inode.number][0]
            found = SimpleNamespace(
                st_mode=(stat.S_IFDIR if inode.folder else stat.S_IFREG) | 0o644,
                st_size=len(inode.data),
                st_ino=inode.number,
                st_mtime_ns=inode.mtime,
                st_mtime=inode.mtime / 1e9,
                st_ctime_ns=inode.ctime,
                st_uid=0,
            )
            if self.nfs:
                described[inode.number] = found, self.play.clock + self.stale
            return found

        return self.play.do("status", path, effect)

    def touch(self, path: Path) -> None:
        def effect() -> None:
            inode = self.inode(path)
            inode.mtime = inode.ctime = self.stamp()
            self.machine.described.pop(inode.number, None)
            self.machine.looked_up.pop(inode.number, None)
            self.machine.listed.pop(inode.number, None)

        self.play.do("touch", path, effect)

    # ---- losses

    def lose_power(self, chance: Random) -> None:
        """Keep what was forced out, and of the rest what chance leaves: a part of each file, the first changes of each
        folder's names."""
        alive: dict[int, Inode] = {}
        self.silly.clear()

        def visit(inode: Inode) -> None:
            if inode.number in alive:
                inode.links += 1
                return
            alive[inode.number] = inode
            inode.opens, inode.links = {}, 1
            if inode.folder:
                found = {name: there for name, there in inode.synced.items() if not name.startswith(".nfs")}
                for names in inode.pending[: chance.randint(0, len(inode.pending))]:
                    for name, there in names.items():
                        if there is None:
                            found.pop(name, None)
                        elif not name.startswith(".nfs"):
                            found[name] = there
                inode.entries, inode.synced, inode.pending = found, dict(found), []
                for there in found.values():
                    visit(there)
            elif inode.data != inode.synced:
                inode.data = _torn(bytes(inode.synced), bytes(inode.data), chance)
                inode.synced = bytes(inode.data)

        visit(self.root)


def _torn(synced: bytes, data: bytes, chance: Random) -> bytearray:
    kind = chance.randrange(4)
    cut = chance.randint(len(synced) if data.startswith(synced) else 0, len(data))
    if kind == 0:
        return bytearray(synced)
    if kind == 1:
        return bytearray(data)
    return bytearray(data[:cut] + (bytes(len(data) - cut) if kind == 2 else b""))


class Handle:
    """An open file; what is written goes out when it is flushed, as Python's own does."""

    __slots__ = ("files", "inode", "path", "kind", "process", "at", "end", "buffer", "closed")

    def __init__(self, files: Files, inode: Inode, path: Path, kind: str) -> None:
        self.files, self.inode, self.path, self.kind = files, inode, path, kind
        current = files.play.current
        process = self.process = current.process
        self.at, self.end = 0, len(inode.data)
        self.buffer = bytearray()
        self.closed = False
        inode.opens[process.machine] = inode.opens.get(process.machine, 0) + 1
        process.handles[self] = None
        if kind == READ and path.name.endswith(".claim"):
            current.claim_read = files.play.count

    def readable(self) -> bool:
        return self.kind == READ

    def fileno(self) -> Handle:
        return self

    def read(self, length: int = -1) -> bytes:
        def effect() -> bytes:
            self._alive()
            data = self.inode.data
            content = bytes(data[self.at :] if length < 0 else data[self.at : self.at + length])
            self.at += len(content)
            return content

        return self.files.play.do("read", self.path, effect)

    def getbuffer(self) -> bytes:
        """All that is left, where ``hashlib`` asks for it at once."""
        return self.read()

    def __iter__(self) -> Any:
        return iter(self.read().splitlines(keepends=True))

    def seek(self, at: int) -> None:
        self.at = at

    def write(self, content: Any) -> int:
        self.buffer += content
        return len(content)

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def truncate(self, length: int) -> None:
        def effect() -> None:
            self._alive()
            self.files.changed(self.inode, "truncate")
            del self.inode.data[length:]

        self.files.play.do("write", self.path, effect)

    def flush(self) -> None:
        if self.buffer:
            content = bytes(self.buffer)
            self.files.play.do("write", self.path, lambda: self._put(content), lambda n: self._put(content[:n]))
            self.buffer.clear()

    def sync(self) -> None:
        self.flush()

        def effect() -> None:
            self._alive()
            self.inode.synced = bytes(self.inode.data)

        self.files.play.do("fsync", self.path, effect)

    def _put(self, content: bytes) -> None:
        self._alive()
        inode = self.inode
        self.files.changed(inode, "write")
        if self.kind == APPEND:
            self.at = self.end if self.files.nfs else len(inode.data)
        if len(inode.data) < self.at:
            inode.data += bytes(self.at - len(inode.data))
        inode.data[self.at : self.at + len(content)] = content
        self.at += len(content)
        self.end = self.at
        inode.mtime = inode.ctime = self.files.stamp()
        self.process.machine.described.pop(inode.number, None)

    def _alive(self) -> None:
        if self.files.nfs and not self.inode.links:  # removed on another machine
            raise failure(errno.ESTALE, self.path)

    def close(self) -> None:
        if not self.closed:
            try:
                self.flush()
            finally:
                self.release()

    def release(self) -> None:
        """Let the file go, as the end of a process does too."""
        if self.closed:
            return
        self.closed = True
        self.process.handles.pop(self, None)
        inode, machine = self.inode, self.process.machine
        inode.opens[machine] = inode.opens.get(machine, 1) - 1
        folder = self.files.silly.pop(inode.number, None) if not inode.opens[machine] else None
        if folder is not None:
            folder.entries.pop(f".nfs{inode.number:08x}", None)
            inode.links -= 1

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
