"""Processes that are forked from one which has torch loaded: new each time, and gone with who asked for them."""

from __future__ import annotations

import importlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from mss_core import disk
from mss_core.study.execution import apart as module
from mss_core.study.execution.apart import Apart, Died
from tests.conftest import REPOSITORY

LEFT: list[int] = []


@pytest.fixture(scope="module")
def asked() -> threading.Event:
    return threading.Event()


@pytest.fixture(scope="module")
def apart(asked: threading.Event) -> Apart:
    return Apart(asked, cloudpickle)


def facts(number: int) -> dict[str, object]:
    """What a process finds, and leaves behind."""
    import torch

    LEFT.append(number)
    found = {
        "pid": os.getpid(),
        "left": list(LEFT),
        "environment": os.environ.get("LEFT", ""),
        "drawn": (random.random(), np.random.random()),
        "torch": torch.rand(1).item(),
        "cuda": torch.cuda.is_initialized(),
        "ray": "ray" in sys.modules,
    }
    os.environ["LEFT"] = str(number)
    torch.manual_seed(number)
    return found


def leave_a_thread() -> str:
    threading.Thread(target=time.sleep, args=(600,)).start()
    return "answered"


def kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(file: str) -> str:
    """Until SIGTERM comes; the file says from when on it is heard."""
    heard = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, frame: heard.set())
    Path(file).write_text(str(os.getpid()))
    return "heard" if heard.wait(60) else "not heard"


def written(file: Path) -> int:
    deadline = time.monotonic() + 60
    while not file.exists() or not file.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return int(file.read_text())


def test_nothing_is_started_before_a_process_is_needed() -> None:
    """A worker that trains nothing does not load torch a second time; what the parent loads is there to be loaded."""
    code = (
        "import threading, cloudpickle; from multiprocessing import forkserver; "
        "from mss_core.study.execution.apart import Apart; apart = Apart(threading.Event(), cloudpickle); "
        "before = forkserver._forkserver._forkserver_pid; apart.call(max, 1, 2); "
        "print(before, forkserver._forkserver._forkserver_pid is not None)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["None", "True"]
    for name in module.LOADED:
        importlib.import_module(name)


def test_nothing_that_a_process_leaves_reaches_the_next(apart: Apart) -> None:
    first, second = apart.call(facts, 1), apart.call(facts, 2)
    assert first["pid"] != second["pid"] and os.getpid() not in (first["pid"], second["pid"])
    assert first["left"] == [1] and second["left"] == [2] and second["environment"] == ""
    for each in (first, second):
        assert not each["cuda"] and not each["ray"]
    assert first["torch"] == second["torch"]  # as in any new process
    assert not set(first["drawn"]) & set(second["drawn"])  # as in any two new processes


def test_a_thread_that_was_left_behind_holds_nobody_up(apart: Apart, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.5)
    begun = time.monotonic()
    assert apart.call(leave_a_thread) == "answered" and time.monotonic() - begun < 60


def test_a_function_without_a_module_is_carried_over(apart: Apart) -> None:
    number = 20
    assert apart.call(lambda other: number + other, 3) == 23


def test_what_a_function_raises_comes_back_with_its_traceback(apart: Apart) -> None:
    with pytest.raises(RuntimeError, match=r"in written[\s\S]*AttributeError: 'int' object has no attribute 'exists'"):
        apart.call(written, 0)
    assert apart.call(max, 1, 2) == 2


def test_a_killed_process_is_told_by_its_signal(apart: Apart) -> None:
    with pytest.raises(Died, match="its process was ended by SIGKILL"):
        apart.call(kill_itself)
    with pytest.raises(Died, match="its process ended with status 3"):
        apart.call(os._exit, 3)
    assert apart.call(max, 1, 2) == 2


def test_sigterm_is_passed_on(apart: Apart, tmp_path: Path) -> None:
    file = tmp_path / "pid"

    def terminate() -> None:
        written(file)
        apart.terminate()

    waiting = threading.Thread(target=terminate)
    waiting.start()
    assert apart.call(sleep, str(file)) == "heard"
    waiting.join()
    apart.terminate()  # nothing runs: nothing happens


def test_what_is_started_after_it_was_asked_to_end_is_asked_too(
    apart: Apart, asked: threading.Event, tmp_path: Path
) -> None:
    asked.set()
    try:
        with pytest.raises(Died, match="its process was ended by SIGTERM"):
            apart.call(time.sleep, 60)
    finally:
        asked.clear()


def test_it_ends_with_who_asked_for_it(tmp_path: Path) -> None:
    """Killed in a way that it cannot tell anybody of."""
    file = tmp_path / "pid"
    code = (
        "import sys, threading, cloudpickle; from mss_core.study.execution.apart import Apart; "
        "from tests.study.execution.test_apart import sleep; "
        "Apart(threading.Event(), cloudpickle).call(sleep, sys.argv[1])"
    )
    caller = subprocess.Popen([sys.executable, "-c", code, str(file)], cwd=REPOSITORY)
    pid = written(file)
    began = disk.started(pid)
    assert began is not None
    caller.kill()
    caller.wait()
    deadline = time.monotonic() + 10
    while disk.started(pid) == began:
        assert time.monotonic() < deadline
        time.sleep(0.02)
