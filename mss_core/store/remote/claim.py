"""A claim as an object: taken, renewed and taken over by puts that are refused where somebody else was first.

It has the rules of ``mss_core.claim``. What differs is that its owner is fenced by the store itself: each renewal must
be of the version that the owner wrote last, so that one who slept too long finds out at the next. A claim that is given
back stays as an object without an owner, until the stage is committed. It carries what an owner has left of its work
(``note``) to the next one.
"""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mss_core import disk
from mss_core.claim import Claim, ClaimLost, alive, this_process
from mss_core.store.remote.objects import Found, Objects, Stamp


class ObjectClaim(Claim):
    """A claim on the object ``name``; used as a ``Claim`` is."""

    def __init__(self, objects: Objects, name: str, seconds: float = 60.0, poll: float = 0.2) -> None:
        super().__init__(Path(name), seconds, poll)
        self.objects, self.name = objects, name
        self.content: dict[str, Any] = {}
        self._stamp: Stamp = {}
        self._seen_as: Found | None = None
        self._lock = threading.Lock()

    def holder(self) -> dict[str, Any]:
        """Who has the claim: owner, host, pid; empty where nobody has."""
        content = _content(self._look())
        return content if content.get("owner") else {}

    def work(self) -> dict[str, Any]:
        """What the claim says was left of its work, by whoever had it last."""
        return dict((self.content or _content(self._look())).get("work") or {})

    def note(self, work: Mapping[str, Any]) -> None:
        """Let the claim say what is left of its work. Raises ClaimLost where it is not ours."""
        self._write({"work": dict(work)})

    def done(self) -> None:
        """Remove the claim of a stage that is committed: nobody needs it, whoever has it."""
        self._end_renewals()
        self.objects.delete(self.name)
        self._stamp = {}

    def release(self) -> None:
        """Give the claim back, if it is still ours; afterwards ``lost`` says whether it was."""
        self._end_renewals()
        with contextlib.suppress(OSError, ClaimLost):
            if self._stamp:
                self._write({"owner": None})
        self._stamp = {}

    def free(self, process: Mapping[str, Any]) -> None:
        """Take the claim away from a process that is known to be dead; nobody else's."""
        found = self._look()
        holder = _content(found)
        if found is not None and all(name in holder and holder[name] == value for name, value in process.items()):
            self.objects.swap(self.name, _freed(holder), found.stamp)

    def _create(self) -> bool:
        me: dict[str, Any] = {"owner": self.owner, "host": disk.hostname(), **this_process(), "count": 0, "work": {}}
        stamp = self.objects.create(self.name, _bytes(me))
        if stamp is None:
            found = self._look()
            there = _content(found)
            if found is None:
                return False
            if there.get("owner") == self.owner:  # the answer to an earlier put was lost
                me, stamp = there, found.stamp
            elif not there.get("owner"):
                me["work"] = there.get("work") or {}
                stamp = self.objects.swap(self.name, _bytes(me), found.stamp)
        if stamp is None:
            return False
        self.content, self._stamp = me, stamp
        return True

    def _is_ours(self) -> bool:
        return _content(self._look()).get("owner") == self.owner

    def _is_stale(self) -> bool:
        found = self._look()
        content = _content(found)
        if found is None or not content.get("owner"):
            return False
        seen = (str(content["owner"]), int(content.get("count") or 0))
        if seen != self._seen:
            self._seen, self._seen_at = seen, disk.monotonic()
        self._seen_as = found
        lives = alive(content)
        self._holder_lives = bool(lives)
        return lives is False or disk.monotonic() - self._seen_at > self.seconds

    def _take_away(self) -> None:
        if self._seen_as is not None:
            self.objects.swap(self.name, _freed(_content(self._seen_as)), self._seen_as.stamp)

    def _renew(self) -> bool:
        with contextlib.suppress(OSError, ClaimLost):
            self._write({})
        return not self.lost

    def _write(self, changes: Mapping[str, Any]) -> None:
        """Write the claim anew over the version that we wrote last."""
        with self._lock:
            if self.lost:
                raise ClaimLost(f"another worker took over {self.name}")
            content = {**self.content, **changes, "count": int(self.content["count"]) + 1}
            stamp = disk.patiently(self.objects.swap, self.name, _bytes(content), self._stamp)
            if stamp is None:
                found = self._look()
                if found is None or found.content != _bytes(content):  # else the answer to this put was lost
                    self._lost.set()
                    raise ClaimLost(f"another worker took over {self.name}")
                stamp = found.stamp
            self.content, self._stamp = content, stamp

    def _look(self) -> Found | None:
        return disk.patiently(self.objects.read, self.name)


def _bytes(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True).encode()


def _content(found: Found | None) -> dict[str, Any]:
    try:
        content = json.loads(found.content) if found is not None else {}
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _freed(content: Mapping[str, Any]) -> bytes:
    return _bytes({"owner": None, "count": content.get("count", 0), "work": content.get("work") or {}})
