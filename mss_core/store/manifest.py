"""The manifest of an artefact: what it says, when it is valid, and whether the files are what it says.

``self`` is the checksum of all the rest of a manifest, so a manifest that was altered is none. Those written before
there was one are read as they are, if they hold the fields of that time and no other: an altered name is not one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mss_core import disk
from mss_core.disk import checksum, patiently
from mss_core.graph import WORK

MANIFEST = "manifest.json"
SELF = "self"
UNSEALED = frozenset(
    "stage key function arguments inputs files seconds finished device device_name host environment".split()
)
"""The fields of a manifest without a checksum of itself."""

BROKEN = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG})
"""Errors that say that something else lies where a file should be; others are the storage's."""

_HEXADECIMAL = frozenset("0123456789abcdef")


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest with the checksum of itself."""
    return {**manifest, SELF: _seal(manifest)}


def read_manifest(directory: Path, key: str = "") -> dict[str, Any] | None:
    """The manifest of the artefact in ``<store>/<stage>/<key>/``; None where there is none, or no valid one. Its
    ``key`` is given where the directory has another name.

    Raises OSError where the storage does not answer.
    """
    try:
        return parsed(patiently(disk.read, directory / MANIFEST), key or directory.name)
    except OSError as error:
        if error.errno not in BROKEN:
            raise
        return None


def parsed(text: bytes, key: str) -> dict[str, Any] | None:
    """What a manifest says; None where it is no valid one of the artefact ``key``."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return content if _is_valid(content, key) else None


def is_present(directory: Path) -> bool:
    """Whether there is something with the name of an artefact and a manifest, whole or not."""
    return disk.exists(directory / MANIFEST, follow=False) or disk.is_link(directory)


def damaged_file(directory: Path, manifest: Mapping[str, Any], known: dict[str, tuple[int, ...]]) -> str | None:
    """What is wrong with an artefact's files, or None. ``known`` are versions of files, by path, that were verified
    before; those that are verified now are added."""
    if not manifest["files"]:
        return "its manifest lists no file"
    try:
        for name, facts in manifest["files"].items():
            path = directory / name
            status = _looked_at(path, facts["size"])
            if status.st_size != facts["size"]:
                return f"{name} has {status.st_size} bytes instead of {facts['size']}"
            version = (status.st_ino, status.st_size, status.st_ctime_ns)
            if known.get(str(path)) != version:
                if patiently(checksum, path) != facts["sha256"]:
                    return f"{name} has another checksum than its manifest"
                known[str(path)] = version
        return _unlisted(directory, {*manifest["files"], MANIFEST, WORK})
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).relative_to(directory)} is missing"
    except OSError as error:
        if error.errno not in BROKEN:
            raise
        return f"{error.filename}: {error.strerror}"


def _looked_at(path: Path, size: int) -> os.stat_result:
    """The status of a file. A machine may remember for a while that there was none, or how long it was, before another
    machine wrote it: who touches the folder, or opens the file, looks again."""
    with contextlib.suppress(FileNotFoundError):
        status = patiently(disk.status, path)
        if status.st_size != size:
            patiently(disk.opened, path).close()
            status = patiently(disk.status, path)
        return status
    with contextlib.suppress(OSError):  # somebody else's store
        disk.touch(path.parent)
    return patiently(disk.status, path)


def _unlisted(directory: Path, listed: Collection[str]) -> str | None:
    """A sentence about the first file of an artefact that is not ``listed``; None where all are. Hidden files do not
    count: desktops and file servers leave them."""
    try:
        added = next(_added(directory, "", listed), None)
    except FileNotFoundError as error:  # another process has set the artefact aside meanwhile
        return f"{error.filename} is missing"
    return f"{added} is not in its manifest" if added else None


def _added(folder: Path, above: str, listed: Collection[str]) -> Iterator[str]:
    for entry in sorted(disk.names(folder)):
        name, path = f"{above}{entry}", folder / entry
        if name in listed:
            continue
        if disk.is_folder(path, follow=False):
            yield from _added(path, f"{name}/", listed)
        elif not entry.startswith(".") and disk.exists(path, follow=False):  # it may be removed meanwhile
            yield name


def _seal(manifest: Mapping[str, Any]) -> str:
    content = {name: value for name, value in manifest.items() if name != SELF}
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _is_valid(content: Any, key: str) -> bool:
    """The one rule for every reader of manifests."""
    if not isinstance(content, dict) or content.get("key") != key:
        return False
    if SELF in content:
        return bool(content[SELF] == _seal(content))
    return (
        set(content) <= UNSEALED
        and all(isinstance(content.get(name), str) for name in ("stage", "function"))
        and isinstance(content.get("arguments"), dict)
        and isinstance(content.get("inputs"), dict)
        and all(isinstance(up, dict) and set(up) == {"stage", "key"} for up in content["inputs"].values())
        and isinstance(content.get("files"), dict)
        and all(_is_file(facts) for facts in content["files"].values())
        and all(isinstance(content.get(name, ""), str) for name in ("device", "device_name", "finished", "host"))
        and isinstance(content.get("seconds", 0), int | float)
        and isinstance(content.get("environment", {}), dict)
    )


def _is_file(facts: Any) -> bool:
    return (
        isinstance(facts, dict)
        and set(facts) == {"sha256", "size"}
        and type(facts["size"]) is int
        and isinstance(facts["sha256"], str)
        and len(facts["sha256"]) == 64
        and set(facts["sha256"]) <= _HEXADECIMAL
    )
