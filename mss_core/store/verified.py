"""What this machine has verified: large files are read for their checksum once per version, not by every process.

A stamp says of an artefact which versions of its files (inode, size, time of change) had the checksums of its manifest.
Stamps lie in a folder of this machine's own that nobody else may write to, and hold until the machine is started anew.
``python -m mss_core.store verify`` reads every file whatever they say.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mss_core import disk

LARGE = 2**20
"""Bytes of an artefact from which on there is a stamp; less is read again as soon."""

Versions = dict[str, tuple[int, ...]]


def is_large(manifest: Mapping[str, Any]) -> bool:
    return bool(sum(facts["size"] for facts in manifest["files"].values()) >= LARGE)


def recall(directory: Path, manifest: Mapping[str, Any]) -> Versions:
    """The versions of an artefact's files, by path, that an earlier process of this machine has verified."""
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        if _is_ours(_folder()):
            stamp = json.loads(disk.read(_path(directory)))
            if stamp["machine"] == disk.machine() and stamp["manifest"] == _digest(manifest):
                return {str(directory / name): tuple(version) for name, version in stamp["files"].items()}
    return {}


def remember(directory: Path, manifest: Mapping[str, Any], known: Versions) -> None:
    """Leave a stamp, where this machine has a place for it."""
    files = {name: known[str(directory / name)] for name in manifest["files"]}
    stamp = {"machine": disk.machine(), "manifest": _digest(manifest), "files": files}
    with contextlib.suppress(OSError):
        if not disk.exists(_folder(), follow=False):
            with contextlib.suppress(FileExistsError):
                disk.mkdir(_folder(), 0o700)
        if _is_ours(_folder()):
            disk.write_atomically(_path(directory), json.dumps(stamp).encode(), durable=False)


def _folder() -> Path:
    return Path(tempfile.gettempdir()) / f"mss-verified-{disk.uid()}"


def _is_ours(folder: Path) -> bool:
    """Whether a folder is this user's and closed to all others: what lies there is believed."""
    found = disk.status(folder, follow=False)
    return stat.S_ISDIR(found.st_mode) and found.st_uid == disk.uid() and not found.st_mode & 0o077


def _path(directory: Path) -> Path:
    return _folder() / f"{hashlib.sha256(str(directory).encode()).hexdigest()}.json"


def _digest(manifest: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(manifest["files"], sort_keys=True).encode()).hexdigest()
