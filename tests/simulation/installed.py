"""A simulated world in the place of the real one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from optuna.storages.journal import _file as optuna_file

from mss_core import disk
from mss_core.store import command, pruning


@contextlib.contextmanager
def installed(play: Any) -> Iterator[None]:
    """All of ``disk.CALLS``, and the file functions of Optuna's journal, answered by a simulated world; prints kept."""
    files = play.files
    calls: dict[str, Any] = {
        **{
            name: getattr(files, name)
            for name in "opened force_out rename link unlink mkdir rmdir names status touch".split()
        },
        "sync": lambda file: file.sync(),
        "free": lambda path: 0 if play.clock < play.full_until else 2**40,
        "monotonic": lambda: play.clock,
        "wall": lambda: 1e9 + play.clock + play.current.process.machine.skew,
        "sleep": play.sleep,
        "every": play.every,
        "hostname": lambda: play.current.process.machine.name,
        "machine": lambda: f"{play.current.process.machine.name} {play.current.process.machine.boots}",
        "pid": lambda: play.current.process.number,
        "uid": lambda: play.current.process.uid,
        "started": play.started,
        "token": play.token,
    }
    assert set(calls) == set(disk.CALLS)
    before = {name: getattr(disk, name) for name in calls}
    system = SimpleNamespace(
        path=SimpleNamespace(exists=lambda path: disk.exists(Path(path))),
        stat=lambda path: disk.status(Path(path)),
        fsync=disk_sync,
    )
    real = optuna_file.os
    try:
        for name, call in calls.items():
            setattr(disk, name, call)
        optuna_file.os = system  # type: ignore[attr-defined]
        optuna_file.open = lambda path, mode: disk.opened(Path(path), mode)  # type: ignore[attr-defined]
        with contextlib.ExitStack() as held:
            for module in (command, pruning):
                held.enter_context(mock.patch.object(module, "print", play.watch.told, create=True))
            yield
    finally:
        for name, call in before.items():
            setattr(disk, name, call)
        optuna_file.os = real  # type: ignore[attr-defined]
        del optuna_file.open  # type: ignore[attr-defined]


def disk_sync(file: Any) -> None:
    file.sync()
