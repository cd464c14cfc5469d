"""Several users of one group on one store, as docs/cluster.md says: a folder of the group's (setgid), umask 002."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mss_core.graph import Context, Stopped
from mss_core.store import Store, materialize
from mss_core.store.command import main
from mss_core.store.drivers import Driver, living
from tests.store import replay

GROUP, ANNE, BEN, CARL = 54_321, 54_001, 54_002, 54_003
pytestmark = pytest.mark.skipif(os.name != "posix" or os.getuid() != 0, reason="only root can become other users")


@pytest.fixture
def store() -> Iterator[Store]:
    root = Path(tempfile.mkdtemp())  # pytest's own folders are root's alone
    os.chown(root, 0, GROUP)
    root.chmod(0o2775)
    yield Store(root)
    shutil.rmtree(root)


def as_user(user: int, call: Callable[[], object], group: int = GROUP) -> int:
    """Do something in a process of a user's; its exit status, 1 where it raised."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            os.umask(0o002)
            os.setgroups([])
            os.setgid(group)
            os.setuid(user)
            call()
            status = 0
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def stopped(store: Store) -> None:
    asked = iter([False, True])
    with pytest.raises(Stopped):
        materialize(replay.root(0.5, 0), store, Context(stop=lambda: next(asked)))


def test_one_goes_on_where_another_stopped_and_repairs_what_another_made(store: Store) -> None:
    call = replay.root(0.5, 0)
    trained = store.directory(call.arguments["model"])
    assert as_user(ANNE, lambda: stopped(store)) == 0
    assert as_user(BEN, lambda: materialize(call, store, Context())) == 0
    assert '"began_at": 2' in (trained / "weights.json").read_text()
    assert trained.stat().st_uid == BEN and [path.name for path in trained.parent.iterdir()] == [trained.name]
    assert {path.stat().st_gid for path in store.root.rglob("*")} == {GROUP}
    (trained / "weights.json").write_text("damaged")
    assert as_user(ANNE, lambda: materialize(call.arguments["model"], store, Context())) == 0
    assert len(list(trained.parent.glob("*.damaged-*"))) == 1
    assert as_user(BEN, lambda: main(["verify", "--store", str(store.root)])) == 0


def test_drivers_of_others_are_seen(store: Store) -> None:
    assert as_user(ANNE, Driver(store.root).start) == 0  # it has gone, and left its file
    seen: list[Path] = []
    assert as_user(BEN, lambda: seen.append(Path(next(iter(living(store.root)))))) == 0


def test_who_is_not_of_the_group_reads_and_cannot_write(store: Store) -> None:
    call = replay.root(0.5, 0)
    assert as_user(ANNE, lambda: materialize(call, store, Context())) == 0
    assert as_user(CARL, lambda: materialize(call, store, Context()), CARL) == 0
    assert as_user(CARL, lambda: materialize(replay.root(0.5, 1), store, Context()), CARL) == 1
