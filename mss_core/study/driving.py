"""Who writes a study's tables: one process at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from mss_core import disk
from mss_core.store import Store
from mss_core.store.drivers import Driver
from mss_core.store.remote.mirror import mirrored


@contextlib.contextmanager
def alone(title: str, store: Store, say: Callable[[str], None]) -> Iterator[Driver]:
    """This process as the one driver of a study on a store, its search included.

    Other studies may share the store; this one's tables have one writer.
    """
    try:
        disk.make_folder(store.root)
        claim = store.named_claim(f".{title}.claim")
        if not claim.acquire_or_refuse():
            holder = claim.holder()
            raise RuntimeError(
                f"process {holder.get('pid')} on {holder.get('host')} is running study {title!r} on "
                "this store; wait for it, or stop it and give the same command again"
            )
    except OSError as error:
        raise RuntimeError(
            f"the store {store.root} cannot be written to ({error.strerror or error}); name another with --store"
        ) from None
    driver = Driver(store.root, claim)
    try:
        driver.start()
        with mirrored(store, title, claim, say):
            yield driver
    finally:
        driver.stop()
        claim.release()
