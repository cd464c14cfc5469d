"""MLflow beside a study that runs.

One writer: a thread of the process that runs the study. Workers write only to the store, whose histories are the
journal: this thread mirrors them into MLflow, a little later than they are written. So a tracking server that is away
stops no training and loses no point: the thread tries again until the server is back, then writes what is missing;
what is still missing when the study ends, ``rebuild`` writes.
"""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from mlflow.exceptions import MlflowException, RestException

from mss_core.store import Store
from mss_core.study.tracking.mirror import Mirror
from mss_core.study.variables import seconds
from mss_core.study.view import StudyView

PATIENCE = seconds("MSS_TRACKING_SECONDS")
"""Seconds that the end of a study waits for a tracking server that does not answer."""

SERVERS = (MlflowException, OSError)
"""What a server that is away, or a disk, makes a call raise; anything else is a fault of a program."""


class Tracker:
    """Mirrors one study into MLflow.

    Args:
        uri: tracking URI; None for an SQLite file in the store.
        store: where artefacts are read from.
        title: of the study; names the experiment.
        driver: name of this process, as in ``drivers.Driver``.
        say: told once when the server stops answering, and once when it is back.

    Raises MlflowException for a URI that MLflow cannot use, or a server that refuses us; a server that does not
    answer raises nothing.
    """

    def __init__(
        self,
        uri: str | None,
        store: Store,
        title: str,
        driver: str = "",
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.store, self.say = store, say
        self.mirror = Mirror(uri, store, title, driver, self._got_further)
        self.view: StudyView | None = None
        self.away = self.broken = ""
        self._folder: Path | None = None
        self._errors: dict[str, str] = {}
        self._killed = False
        self._asked = self._served = 0
        self._progress = time.monotonic()
        self._reached = self._furthest = 0
        self._stop = threading.Event()
        self._wake = threading.Event()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        try:
            self.mirror.find_experiment()
        except MlflowException as error:
            if isinstance(error, RestException) or not self.mirror.uri.startswith("http"):
                raise
            self._went_away(error)

    # ---- the life of a study; none of these waits for the server longer than it says

    def begin(self, view: StudyView) -> None:
        """Start to mirror a study, from a thread of this process."""
        self.view = view
        self._thread = threading.Thread(target=self._loop, name="tracking", daemon=True)
        self._thread.start()

    def show(self, view: StudyView) -> None:
        """Mirror a study that has got more trials."""
        self.view = view
        self._wake.set()

    def flush(self, seconds: float | None = None) -> bool:
        """Wait until everything now in the store is mirrored.

        Returns False where it has got no further for so many seconds (PATIENCE) than any earlier attempt had.
        """
        seconds = PATIENCE if seconds is None else seconds
        self._progress, self._furthest = time.monotonic(), 0
        with self._changed:
            self._asked += 1
            mine = self._asked
            self._wake.set()
            while self._served < mine:
                if self._thread is None or self.broken or time.monotonic() - self._progress > seconds:
                    return False
                self._changed.wait(0.5)
        return True

    def finish(self, folder: Path, errors: Mapping[str, str]) -> None:
        """Attach the report and its tables to the parent run and end every run."""
        self._errors, self._folder = dict(errors), folder  # in this order: the thread looks at the folder first
        if not self.flush():
            why = f"stopped: {self.broken}" if self.broken else f"{self.mirror.uri} does not answer"
            self.say(
                f"tracking: {why}. Nothing is lost; write it later with:\n"
                f"  python -m mss_core.study.tracking rebuild --store {shlex.quote(str(self.store.root))} "
                f"--tracking-uri {shlex.quote(self.mirror.uri)}"
            )

    def close(self, interrupted: bool) -> None:
        """Leave no run RUNNING that this process started, as far as the server can be told within seconds."""
        if interrupted and not self.away and not self.broken:
            self._killed = True
            self.flush(20)
        self._stop.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=25)

    def write(self, view: StudyView, folder: Path) -> None:
        """Write a finished study, whatever its runs are said to hold, trying again while the server does not answer.

        Raises RuntimeError where it does not take everything in ten times PATIENCE.
        """
        self.view, self._folder, begun = view, folder, time.monotonic()
        self.mirror.believed = False
        while True:
            try:
                self._sync()
                return
            except SERVERS as error:
                self._went_away(error)
                if time.monotonic() - begun > 10 * PATIENCE:
                    raise RuntimeError(f"{self.mirror.uri} does not answer: {error}") from None
                time.sleep(2)

    def how_to_open(self) -> str:
        """A shell line that shows this study."""
        return f"python -m mss_core.study.tracking ui --store {shlex.quote(str(self.store.root))}"

    # ---- the thread

    def _loop(self) -> None:
        pause = 1.0
        while not self._stop.is_set():
            asked = self._asked
            try:
                self._sync()
            except SERVERS as error:  # the view may fail; the study goes on, and the next time tries again
                self._went_away(error)
                pause = min(2 * pause, 15.0)
            except Exception as error:  # no server did this, so that no waiting mends it
                self._broke(error)
                return
            else:
                if self.away:
                    self.away = ""
                    self.say(f"tracking: {self.mirror.uri} is back, and shows what it missed")
                pause = 1.0
                with self._changed:
                    self._served = asked
                    self._changed.notify_all()
            self._wake.wait(1.0 if self._served < self._asked else pause)
            self._wake.clear()

    def _went_away(self, error: Exception) -> None:
        if not self.away:
            first = (str(error).splitlines() or [""])[0][:200]
            self.say(
                f"tracking: {self.mirror.uri} does not answer ({first}); the study goes on, and what is missing there "
                "is written when it is back"
            )
        self.away = str(error) or type(error).__name__
        self.mirror.forget()

    def _broke(self, error: Exception) -> None:
        log = self.store.root / "drivers" / "tracking.log"
        with contextlib.suppress(OSError):
            log.parent.mkdir(parents=True, exist_ok=True)
            log.write_text(traceback.format_exc(), encoding="utf-8")
        self.say(
            f"tracking: a fault, not the server's ({type(error).__name__}: {error}; log: {log}); the study goes on "
            "without MLflow"
        )
        with self._changed:
            self.broken = f"{type(error).__name__}: {error}"
            self._changed.notify_all()

    def _got_further(self) -> None:
        """One more step of an attempt to write everything is done."""
        self._reached += 1
        if self._reached > self._furthest:
            self._furthest, self._progress = self._reached, time.monotonic()

    def _sync(self) -> None:
        """Write to MLflow what the store has and MLflow does not show; may raise whatever MLflow raises."""
        view = self.view  # another thread may show more trials meanwhile
        assert view is not None
        self._reached = 0
        folder = self._folder  # before looking: what was committed before the end is seen before runs are ended
        self.mirror.sync(view, folder, self._errors, self._killed)
