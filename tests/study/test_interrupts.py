"""How a study is stopped: by SIGTERM, by a terminal that goes away, and not where ``nohup`` asked for it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mss_core.study import interrupts
from tests.conftest import REPOSITORY

SCRIPT = """
import sys, time
from pathlib import Path
from mss_core.study import interrupts
with interrupts.raised():
    try:
        while True:
            print("a line to the terminal", flush=True)
            print("and one more", file=sys.stderr, flush=True)
            Path(sys.argv[1] + ".running").touch()
            time.sleep(0.05)
    except KeyboardInterrupt:
        print("a last line, which nobody reads", flush=True)
        Path(sys.argv[1]).write_text("checkpoint")
"""


@pytest.fixture(autouse=True)
def as_from_a_terminal() -> Iterator[None]:
    """Whoever runs the tests may ignore SIGHUP, as nohup does; processes inherit that."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_the_first_signal_interrupts_and_the_next_does_not(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with interrupts.raised():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        for each in interrupts.SIGNALS:
            signal.raise_signal(each)
    assert signal.getsignal(number) is before


def test_what_nohup_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts.raised():
            signal.raise_signal(signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_terminal_that_goes_away_leaves_time_for_checkpoints(tmp_path: Path) -> None:
    """As a lost SSH connection does it: the terminal is closed, and writing to it fails."""
    pid, terminal = pty.fork()
    if not pid:
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        os.execve(sys.executable, [sys.executable, "-c", SCRIPT, str(tmp_path / "kept")], environment)
    deadline = time.monotonic() + 60
    while not (tmp_path / "kept.running").exists():
        time.sleep(0.02)
        assert time.monotonic() < deadline
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert (tmp_path / "kept").read_text() == "checkpoint"


FULL = """
set -e
mount -t tmpfs -o size=200k tmpfs {store}
{python} {study} --in-process --store {store} --seeds 2 2>&1 || echo "status $?"
"""


@pytest.mark.slow
@pytest.mark.skipif(bool(os.geteuid()), reason="a small file system needs root")
def test_a_disk_that_is_full_from_the_start_is_two_lines(tmp_path: Path) -> None:
    """MLflow's database is the first to meet it, with a traceback of its own in the log."""
    (tmp_path / "store").mkdir()
    script = FULL.format(
        store=tmp_path / "store", python=sys.executable, study=REPOSITORY / "tests" / "chaos" / "study.py"
    )
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", script],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.splitlines()[-1] == "status 1", done.stdout + done.stderr
    assert "make room on that disk" in done.stdout
    assert "Traceback" not in done.stdout and len(done.stdout.splitlines()) < 8, done.stdout
