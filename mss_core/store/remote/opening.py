"""A store by the place where it lies: a folder, or an object store's URL."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from mss_core.folders import place
from mss_core.store.artefacts import Store
from mss_core.store.place import is_url
from mss_core.store.remote.joined import Joined
from mss_core.store.remote.objects import Objects, probe

COPIES = "MSS_COPIES"
"""The variable that says in which folder of each machine the copies of object stores lie."""


def opened(where: str, probed: bool = False) -> Store:
    """The store at a folder or at an object store's URL. An object store that is ``probed`` is tried first.

    Raises ValueError for a URL that is none, RuntimeError where obstore is not installed, and of one that is probed
    where it cannot be reached or lacks what is needed.
    """
    if not is_url(where):
        return Store(place(where))
    store = Joined(where.rstrip("/"), copies(where))
    if probed:
        probe(Objects(where, retries=2))
    return store


def copies(url: str) -> Path:
    """Where this machine keeps its copies of an object store: below MSS_COPIES, or the user's folder of caches."""
    folder = place(os.environ.get(COPIES) or os.environ.get("XDG_CACHE_HOME") or "~/.cache")
    kind, _, rest = url.rstrip("/").partition("://")
    name = "".join(letter if letter.isalnum() else "-" for letter in f"{kind}-{rest}")[:60]
    return folder / "mss-ablation" / f"{name}-{hashlib.sha256(url.rstrip('/').encode()).hexdigest()[:8]}"
