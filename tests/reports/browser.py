"""Chromium, for what tests ask of a page: headless, and with a profile of its own."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
]


def left(page: Path, width: int, seconds: int, height: int = 900) -> Any:
    """What a page's own script has left as JSON in its element `probe`, after so many seconds of the page's time."""
    assert CHROMIUM is not None
    words = [f"--user-data-dir={page.with_name('profile')}", f"--window-size={width},{height}"]
    finished = subprocess.run(
        [CHROMIUM, *FLAGS, *words, f"--virtual-time-budget={1000 * seconds}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', finished.stdout, re.DOTALL)
    assert found, finished.stderr[-500:]
    return json.loads(unescape(found[1]))


@contextlib.contextmanager
def debugged(profile: Path) -> Iterator[int]:
    """The port of a browser that runs as long as the block, in real time, and does what DevTools say."""
    assert CHROMIUM is not None
    browser = subprocess.Popen(
        [CHROMIUM, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert browser.stderr is not None
        listening = next(line for line in browser.stderr if "DevTools listening on" in line)
        yield int(listening.rpartition(":")[2].partition("/")[0])
    finally:
        browser.kill()
        browser.wait()
