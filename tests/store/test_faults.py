"""What goes wrong with a store, and what is said and kept then: lost claims, full and read-only disks, two drivers."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mss_core import disk
from mss_core.claim import Claim, ClaimLost
from mss_core.graph import WORK, Context, Stage, Stopped, read_history
from mss_core.store import MANIFEST, StageFailed, Store, run_stage
from mss_core.study.plan import make_plan
from mss_core.study.run import run
from mss_core.training import Phase, TrainConfig
from tests.chaos.study import study
from tests.chaos.work import finetune_small, prepare_numbers, pretrain_small
from tests.conftest import REPOSITORY

SHORT = TrainConfig(phases=(Phase(epochs=2),), batch=4, epoch_steps=10)
DATA = Stage(prepare_numbers)
TRAIN = Stage(pretrain_small, data=DATA, width=4, train=SHORT)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(tmp_path / "store", claim_seconds=1.0)
    run_stage(DATA, found, Context())
    return found


def take_over(stage: Stage, store: Store) -> Claim:
    """What another machine does once this one has been silent for too long."""
    other = Claim(store.root / stage.name / f"{stage.key}.claim", seconds=1.0)
    other.path.unlink()
    assert other.acquire()
    store.begin(stage, other)
    return other


def careless(*, wait: str = "", out: Path, ctx: Context) -> None:
    """A stage that writes without asking whether it may; it is taken over while it works."""
    if not TAKEN:
        TAKEN.append(take_over(Stage(careless, wait=wait), STORES[0]))
        (out / "result.txt").write_text("late")  # its directory is gone
    (out / "result.txt").write_text("right")


TAKEN: list[Claim] = []
STORES: list[Store] = []


def test_a_worker_that_lost_its_claim_has_nowhere_to_write(store: Store) -> None:
    """It waits for the other's result and uses that; nothing of its own gets into the store."""
    TAKEN.clear()
    STORES[:] = [store]
    stage = Stage(careless)

    def other_finishes() -> None:
        while not TAKEN:
            time.sleep(0.02)
        (store.partial(stage, TAKEN[0]) / "result.txt").write_text("the other's")
        time.sleep(0.3)
        store.commit(stage, {}, TAKEN[0])
        TAKEN[0].release()

    thread = threading.Thread(target=other_finishes)
    thread.start()
    found = run_stage(stage, store, Context())
    thread.join()
    assert (found / "result.txt").read_text() == "the other's"
    assert {path.name for path in (store.root / "careless").iterdir()} == {stage.key}


@pytest.mark.parametrize("when", ["checkpoint", "report", "weights", "commit"])
def test_whatever_a_training_writes_fails_once_it_is_taken_over(store: Store, when: str, monkeypatch) -> None:
    from mss_core import training

    taken: list[Claim] = []
    files: dict[str, bytes] = {}

    def take() -> None:
        if not taken:
            taken.append(take_over(TRAIN, store))
            partial = store.partial(TRAIN, taken[0])
            files.update({str(p.relative_to(partial)): p.read_bytes() for p in partial.rglob("*") if p.is_file()})

    def before(module, name, condition=lambda *a, **k: True):
        old = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, **k: (take() if condition(*a, **k) else None, old(*a, **k))[1])

    if when == "checkpoint":
        before(training, "_save")  # after the guard: as if the process had slept in between
    elif when == "report":
        before(Context, "rewind")
    elif when == "weights":
        before(torch, "save", lambda content, file: "weights" in str(file))
    else:
        monkeypatch.setattr(
            Claim,
            "check",
            lambda self, old=Claim.check: (
                take() if (store.partial(TRAIN, self) / MANIFEST).exists() else None,
                old(self),
            )[1],
        )
    monkeypatch.setattr("mss_core.store.artefacts.TAKEOVERS", 1)
    with pytest.raises(ClaimLost):
        run_stage(TRAIN, store, Context(checkpoint_seconds=0))
    partial = store.partial(TRAIN, taken[0])
    after = {str(p.relative_to(partial)): p.read_bytes() for p in partial.rglob("*") if p.is_file()}
    assert after == files and not store.directory(TRAIN).exists()
    assert [p.name for p in (store.root / TRAIN.name).glob("*.partial")] == [partial.name]


def test_a_commit_without_the_claim_is_refused_even_if_the_claim_was_not_looked_at(store: Store, monkeypatch) -> None:
    """Between looking and renaming a process may sleep: the rename itself must fail."""
    stage = Stage(prepare_numbers, size=64)
    claim = store.claim(stage)
    with pytest.raises(FileNotFoundError), claim:
        (store.begin(stage, claim) / "a.txt").write_text("a")
        monkeypatch.setattr(Claim, "check", lambda self: (monkeypatch.undo(), take_over(stage, store)))
        store.commit(stage, {}, claim)
    assert store.manifest(stage) is None


def test_who_still_reaches_its_folder_does_not_reach_a_later_owners(store: Store) -> None:
    """As a machine does that remembers a folder of a file server by the name that it had: here by an open folder."""
    stage = Stage(prepare_numbers, size=64)
    first, second = store.claim(stage), store.claim(stage)
    assert first.acquire()
    mine = store.begin(stage, first)
    (mine / WORK / "checkpoint.pt").write_text("step 1")
    (mine / "history.jsonl").write_text('{"step": 1}\n')
    handles = [os.open(mine, os.O_RDONLY), os.open(mine / WORK, os.O_RDONLY)]
    appending = open(mine / "history.jsonl", "a")
    first._move_away(lambda aside: True)
    assert second.acquire()
    theirs = store.begin(stage, second)
    assert (theirs / WORK / "checkpoint.pt").read_text() == "step 1"
    with appending:
        appending.write("late")
    for handle in handles:
        with contextlib.suppress(FileNotFoundError):
            os.close(os.open("late", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
        os.close(handle)
    assert {path.name for path in theirs.rglob("*")} == {WORK, "history.jsonl", "checkpoint.pt"}
    assert (theirs / "history.jsonl").read_text() == '{"step": 1}\n'
    assert not mine.exists() and store.partials(stage) == [theirs]
    second.release()


def test_what_a_late_owner_takes_is_found_by_who_has_the_claim(store: Store, monkeypatch) -> None:
    """It slept before it renamed the work of a dead one, and wakes between the other's look and rename."""
    stage, rename = Stage(prepare_numbers, size=64), disk.rename
    dead, late, claim = (store.claim(stage) for _ in range(3))
    (store.begin(stage, held_by(dead)) / WORK / "checkpoint.pt").write_text("step 1")
    partial, taken = store.partial(stage, dead), store.partial(stage, late)

    def late_rename(path: Path, target: Path) -> None:
        if path == partial and not taken.exists():
            rename(path, taken)
        rename(path, target)

    monkeypatch.setattr(disk, "rename", late_rename)
    assert (store.begin(stage, held_by(claim)) / WORK / "checkpoint.pt").read_text() == "step 1"


def held_by(claim: Claim) -> Claim:
    """A claim whose owner has it, whoever had it before."""
    claim.path.unlink(missing_ok=True)
    assert claim._create()
    return claim


def test_a_rename_whose_answer_was_lost_is_not_done_again(tmp_path: Path, monkeypatch) -> None:
    """By then another may have put its own file there, as the next owner of a claim does."""
    path, aside, rename = tmp_path / "a.claim", tmp_path / "a.claim.me", disk.rename
    path.write_text("mine")

    def unheard(source: Path, target: Path) -> None:
        rename(source, target)
        if source == path:
            path.write_text("the other's")
            raise OSError(errno.EIO, "no answer")

    monkeypatch.setattr(disk, "rename", unheard)
    monkeypatch.setattr(disk, "sleep", lambda seconds: None)
    disk.move(path, aside)
    assert (path.read_text(), aside.read_text()) == ("the other's", "mine")


def test_a_whole_artefact_is_not_set_aside(store: Store, monkeypatch) -> None:
    """Made anew by another worker while this one slept, after it had seen the damage."""
    stage, claim = Stage(prepare_numbers, size=32), store.claim(DATA)
    with claim:
        store.set_aside(DATA, claim)
    assert store.get(DATA) and not list(store.directory(DATA).parent.glob("*.damaged-*"))
    run_stage(stage, store, Context())
    (store.directory(stage) / "numbers.npz").write_bytes(b"damaged")
    assert store.get(stage) is None and store.present(stage)
    with store.claim(stage) as claim:
        assert store.get(stage, claim) is None and not store.present(stage)


def test_an_input_that_goes_while_it_is_read_is_asked_for_once_more(store: Store, monkeypatch) -> None:
    """Set aside by one who slept since it saw damage, and moved back: no stage fails. One that stays away is named."""
    TRIED[:] = ["moved back"]
    assert run_stage(Stage(reading, data=DATA), store, Context()).is_dir() and not TRIED
    TRIED[:] = ["gone"]
    with pytest.raises(StageFailed, match="its input <prepare_numbers .*> is missing or damaged in the store"):
        run_stage(Stage(reading, data=DATA, number=2), store, Context())


def reading(*, data: Path, number: int = 1, out: Path, ctx: Context) -> None:
    """Its input goes the first time it is read."""
    away = data.parents[1] / "away"
    if TRIED:
        data.rename(away)
        try:
            (data / "numbers.npz").read_bytes()
        finally:
            away.rename(data) if TRIED.pop() == "moved back" else None
    (out / "a.txt").write_text(str(len((data / "numbers.npz").read_bytes())))


def test_the_work_of_a_dead_worker_is_gone_on_from(store: Store) -> None:
    stopped = iter([False] * 13)
    with pytest.raises(Stopped, match="stopped at step 14 of 20"):
        run_stage(TRAIN, store, Context(stop=lambda: next(stopped, True)))
    (left,) = (store.root / TRAIN.name).glob("*.partial")
    assert torch.load(left / WORK / "checkpoint.pt")["position"]["step"] == 14
    steps: list[int] = []
    found = run_stage(TRAIN, store, Context(listen=lambda row: steps.append(row["step"])))
    assert steps == [20]
    whole = Store(store.root.with_name("whole"))
    run_stage(DATA, whole, Context())
    straight = run_stage(TRAIN, whole, Context())
    assert (found / "weights.pt").read_bytes() == (straight / "weights.pt").read_bytes()
    assert read_history(found) == read_history(straight)


# ---- claims between machines


def as_seen_elsewhere(path: Path) -> None:
    """Make a claim look like one of another machine's, where no process can be looked up."""
    content = json.loads(path.read_text())
    stamp = path.stat().st_mtime
    path.write_text(json.dumps(content | {"machine": "elsewhere"}))
    os.utime(path, (stamp, stamp))


@pytest.mark.parametrize("offset", [-3600.0, 3600.0])
def test_clocks_of_other_machines_do_not_matter(tmp_path: Path, offset: float) -> None:
    """A living owner keeps its claim, a silent one loses it in time, an hour's difference notwithstanding."""
    owner = Claim(tmp_path / "key.claim", seconds=1.2)
    assert owner._create()
    as_seen_elsewhere(owner.path)
    waiting = Claim(tmp_path / "key.claim", seconds=1.2, poll=0.05)
    begun = time.monotonic()
    while time.monotonic() - begun < 2.4:
        shifted = time.time() + offset
        os.utime(owner.path, (shifted, shifted))
        assert not waiting.acquire()
        time.sleep(0.05)
    silent = time.monotonic()
    with waiting:
        assert 1.0 < time.monotonic() - silent < 3.0


def test_two_containers_of_one_name_do_not_judge_each_other_by_process_number(tmp_path: Path) -> None:
    owner = Claim(tmp_path / "key.claim", seconds=60)
    assert owner._create()
    content = json.loads(owner.path.read_text())
    owner.path.write_text(json.dumps(content | {"machine": f"{socket.gethostname()} other", "pid": 2**22 + 1}))
    assert not Claim(owner.path)._is_stale()


def test_a_full_disk_leaves_no_empty_claim(tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mss_core.disk.sync", full)
    with pytest.raises(OSError, match="No space"):
        Claim(tmp_path / "key.claim").acquire()
    assert not list(tmp_path.iterdir())


# ---- one study, two drivers


def chaos_flags(store: Path, *more: str) -> list[str]:
    return [
        "--store",
        str(store),
        "--in-process",
        "--seeds",
        "1",
        "--set",
        "pretrain.phases.0.epochs=1",
        "--set",
        "finetune.phases.0.epochs=1",
        *more,
    ]


def test_a_second_driver_on_the_same_study_is_told_so(tmp_path: Path, capsys) -> None:
    import shlex

    from mss_core.study.flags import setting as _setting

    flags = chaos_flags(tmp_path)
    settings = dict(_setting(word) for word in flags if word.startswith(("pretrain.", "finetune.")))
    other = Claim(tmp_path / f".{study.title(False, settings)}.claim")
    assert other.acquire(), shlex.join(flags)
    with pytest.raises(SystemExit) as stopped:
        run(study, flags)
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert f"process {os.getpid()} on {socket.gethostname()} is running study 'chaos-" in said
    assert not list(tmp_path.glob("*/*/manifest.json"))
    other.release()


@pytest.mark.slow
def test_drivers_started_at_once_train_nothing_twice(tmp_path: Path) -> None:
    """Whoever comes while another runs is refused; whoever comes after finds all of it done."""
    untracked = "import sys; sys.modules['mlflow'] = None; from tests.chaos.study import run, study; run(study)"
    command = [sys.executable, "-c", untracked, *chaos_flags(tmp_path)]
    drivers = [
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "CHAOS_PAUSE": "0.005"},
        )
        for _ in range(3)
    ]
    outcomes = [(driver.communicate(timeout=240), driver.returncode) for driver in drivers]
    executed = [
        int(number)
        for (_, told), code in outcomes
        if code == 0
        for number in re.findall(r"(\d+) stages executed", told)
    ]
    assert sorted(executed)[:-1] == [0] * (len(executed) - 1) and max(executed) == 7
    assert all(code == 2 and "is running study" in said for (_, said), code in outcomes if code)
    assert len(list(tmp_path.glob("*/*/manifest.json"))) == 7


def test_the_claim_of_a_dead_driver_is_taken_at_once_and_a_silent_one_in_time(tmp_path: Path) -> None:
    dead = Claim(tmp_path / "a.claim", seconds=1.0)
    assert dead._create()
    as_seen_elsewhere(dead.path)
    begun = time.monotonic()
    assert Claim(dead.path, seconds=1.0, poll=0.05).acquire_or_refuse()
    assert 0.9 < time.monotonic() - begun < 5
    owner = Claim(tmp_path / "b.claim", seconds=0.6)
    assert owner.acquire()
    as_seen_elsewhere(owner.path)
    assert not Claim(owner.path, seconds=0.6, poll=0.05).acquire_or_refuse()  # it is renewed: alive
    owner.release()


# ---- disks

NEEDS_MOUNT = pytest.mark.skipif(
    shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode != 0,
    reason="mounting a small disk needs a mount namespace (unshare -rm), which this system does not allow",
)


def on_a_disk(options: str, script: str, folder: Path) -> subprocess.CompletedProcess:
    """Run a Python script in a mount namespace where ``folder`` is a tmpfs of its own."""
    folder.mkdir()
    shell = f"mount -t tmpfs -o size=2m tmpfs {folder} && {sys.executable} - && mount -o remount,{options} {folder}"
    return subprocess.run(
        ["unshare", "-rm", "sh", "-c", shell],
        input=textwrap.dedent(script),
        text=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )


@NEEDS_MOUNT
def test_a_full_disk_is_named_loses_nothing_and_the_same_command_goes_on(tmp_path: Path) -> None:
    done = on_a_disk(
        "rw",
        f"""
        import errno, pathlib
        from mss_core.graph import Context
        from mss_core.store import StageFailed, Store, run_stage
        from tests.store.test_faults import DATA, SHORT, TRAIN
        from mss_core.graph import Stage
        from tests.chaos.work import pretrain_small
        root = pathlib.Path({str(tmp_path / "disk")!r})
        store = Store(root)
        run_stage(DATA, store, Context())
        ballast = root / "ballast"
        def fill():
            with open(ballast, "wb", buffering=0) as file:
                try:
                    while file.write(bytes(4096)) == 4096: pass
                except OSError as error:
                    assert error.errno == errno.ENOSPC
        wide = Stage(pretrain_small, data=DATA, width=256, train=SHORT)
        for place in ("begin", "checkpoint"):
            def listen(row):
                fill()
            if place == "begin":
                fill()
            try:
                run_stage(wide, store, Context(checkpoint_seconds=0.0, listen=listen))
                raise SystemExit("it wrote to a full disk")
            except StageFailed as failure:
                assert f"the disk of the store {{root}} is full" in failure.message, failure.message
            assert store.get(wide) is None and store.get(DATA) is not None
            assert not list(root.glob("*/*.claim")), list(root.glob("*/*.claim"))
            ballast.unlink()
        again = run_stage(wide, store, Context())
        fresh = Store(root / "fresh")
        run_stage(DATA, fresh, Context())
        assert (run_stage(wide, fresh, Context()) / "weights.pt").read_bytes() == (again / "weights.pt").read_bytes()
        print("checked")
        """,
        tmp_path / "disk",
    )
    assert done.stdout == "checked\n", done.stderr


@NEEDS_MOUNT
def test_a_read_only_store_is_one_clear_line(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    flags = " ".join(chaos_flags(disk / "store"))
    shell = (
        f"mount -t tmpfs -o size=2m tmpfs {disk} && mkdir {disk}/store && mount -o remount,ro {disk} && "
        f"exec {sys.executable} {REPOSITORY}/tests/chaos/study.py {flags}"
    )
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", shell],
        text=True,
        capture_output=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last == (
        f"error: the store {disk / 'store'} cannot be written to (Read-only file system); name another with --store"
    )


def test_a_damaged_input_is_named_and_set_aside_by_who_makes_it_anew(store: Store) -> None:
    """Found while the study runs: what was computed from it is not, and the same command computes both."""
    base = run_stage(TRAIN, store, Context())
    (base / "weights.pt").write_bytes(b"wrong")
    tuned = Stage(finetune_small, data=DATA, base=TRAIN, width=4, train=SHORT)
    with pytest.raises(StageFailed, match="its input <pretrain_small .*> is missing or damaged in the store"):
        run_stage(tuned, Store(store.root), Context())
    assert base.is_dir()
    run_stage(TRAIN, store, Context())
    assert len(list(base.parent.glob("*.damaged-*"))) == 1
    assert run_stage(tuned, store, Context()).is_dir()


# ---- SIGTERM


def test_sigterm_leaves_a_checkpoint_of_the_last_step(tmp_path: Path) -> None:
    flags = chaos_flags(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "CHAOS_PAUSE": "0.1", "MSS_CHECKPOINT_SECONDS": "1000"}
    study_file = REPOSITORY / "tests" / "chaos" / "study.py"
    driver = subprocess.Popen(
        [sys.executable, str(study_file), *flags],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(f"pretrain_small/*.partial/{WORK}/step")):
        assert time.monotonic() < deadline and driver.poll() is None
        time.sleep(0.05)
    driver.send_signal(signal.SIGTERM)
    said = driver.communicate(timeout=60)[1]
    assert driver.returncode == 130 and "the same command goes on from here" in said
    (checkpoint,) = tmp_path.glob(f"pretrain_small/*.partial/{WORK}/checkpoint.pt")
    assert 0 < torch.load(checkpoint)["position"]["step"] < 100
    assert not list(tmp_path.glob("*/*.claim")) and not list(tmp_path.glob(".*.claim"))


# ---- commits that meet another's, errors that pass, what is altered


def test_a_commit_that_meets_a_whole_artefact_is_success(store: Store, monkeypatch) -> None:
    """An owner that slept between its last look at the claim and its rename finds the other's artefact there."""
    stage = Stage(prepare_numbers, size=64)
    late = store.claim(stage)
    (store.root / stage.name).mkdir(exist_ok=True)
    assert late.acquire()
    (store.begin(stage, late) / "a.txt").write_text("a")
    partial = store.partial(stage, late)

    def meanwhile(self: Claim) -> None:
        committed = store.directory(stage)
        shutil.copytree(partial, committed)  # as another worker's rename would leave it

    monkeypatch.setattr(Claim, "check", meanwhile)
    assert store.commit(stage, {}, late) == store.get(stage)
    assert not partial.exists()


def test_a_commit_between_the_look_and_the_listing_is_seen(store: Store, monkeypatch) -> None:
    """The store answered that there is no artefact, and there was one when the partials were listed: not made again."""
    stage, begin, rest = Stage(prepare_numbers, size=64), Store.begin, Store(store.root)
    calls: list[Path] = []

    def late(self: Store, of: Stage, claim: Claim | None = None) -> Path:
        monkeypatch.setattr(Store, "begin", begin)
        (rest.begin(of) / "a.txt").write_text("the other's")
        calls.append(rest.commit(of, {}))
        return begin(self, of, claim)

    monkeypatch.setattr(Store, "begin", late)
    found = run_stage(stage, store, Context())
    assert found == calls[0] and (found / "a.txt").read_text() == "the other's"
    assert {path.name for path in found.parent.iterdir()} == {stage.key, DATA.key}


def test_a_checkpoint_that_a_stale_listing_does_not_show_is_gone_on_from(store: Store, monkeypatch) -> None:
    """A network file system may list a folder as it was before the dead owner made its own in it; once the folder has
    been touched, it is asked. The training began at step 0."""
    steps: list[int] = []

    def die(row: dict) -> None:
        if row["step"] > 12:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(TRAIN, store, Context(checkpoint_seconds=0, listen=die))
    folder, names, touch, stale = store.root / TRAIN.name, disk.names, disk.touch, [True]

    def touched(path: Path) -> None:
        touch(path)
        if path == folder:
            stale.clear()

    def listed(path: Path) -> list[str]:
        return [] if stale and path == folder else names(path)

    monkeypatch.setattr(disk, "touch", touched)
    monkeypatch.setattr(disk, "names", listed)
    found = run_stage(TRAIN, store, Context(listen=lambda row: steps.append(row["step"])))
    assert steps == [20]
    assert [path.name for path in folder.iterdir()] == [found.name]


@pytest.mark.parametrize("number, times, ends", [(errno.EACCES, 1, 1), (errno.ENOSPC, 1, 1), (errno.ENOSPC, 2, 0)])
def test_a_call_that_the_storage_refuses_once_is_no_end(
    store: Store, monkeypatch, number: int, times: int, ends: int
) -> None:
    """An expired ticket is EACCES until it is renewed; a quota is free again when another program has tidied up. What
    stays refused is said after one more try."""
    stage, refusals, sync = Stage(prepare_numbers, size=64), [number] * times, disk.force_out

    def refused(path: Path) -> None:
        if path.suffix == ".npz" and refusals:
            raise OSError(refusals.pop(), "refused", str(path))
        sync(path)

    monkeypatch.setattr(disk, "force_out", refused)
    if ends:
        assert (run_stage(stage, store, Context()) / MANIFEST).exists()
    else:
        with pytest.raises(StageFailed, match="is full"):
            run_stage(stage, store, Context())
    assert not refusals and not list(store.root.glob("*/*.claim"))


def test_a_file_of_the_users_that_may_not_be_read_is_not_tried_again(store: Store, tmp_path: Path) -> None:
    TRIED.clear()
    with pytest.raises(StageFailed, match="not yours"):
        run_stage(Stage(forbidden, path=str(tmp_path / "music.wav")), store, Context())
    assert len(TRIED) == 1


def forbidden(*, path: str, out: Path, ctx: Context) -> None:
    """A stage that reads what it may not."""
    TRIED.append(path)
    raise PermissionError(errno.EACCES, "not yours", path)


TRIED: list[str] = []


def test_a_commit_leaves_a_later_owners_folder_alone(store: Store, monkeypatch) -> None:
    stage = Stage(prepare_numbers, size=64)
    first, second = store.claim(stage), store.claim(stage)
    assert first.acquire()
    (store.begin(stage, first) / "a.txt").write_text("a")
    theirs = store.partial(stage, second)
    monkeypatch.setattr(Claim, "check", lambda self: theirs.mkdir())
    store.commit(stage, {}, first)
    assert theirs.is_dir()
    first.release()


FAILURES: list[int] = []


def flaky(*, number: int, out: Path, ctx: Context) -> None:
    if FAILURES:
        raise OSError(FAILURES.pop(), "what storage answers")
    (out / "a.txt").write_text(str(number))


@pytest.mark.parametrize(("number", "runs"), [(5, True), (116, True), (4, True), (13, True), (28, True), (2, False)])
def test_a_transient_error_fails_no_stage_and_a_lasting_one_does(store: Store, number: int, runs: bool, monkeypatch):
    monkeypatch.setattr("mss_core.store.artefacts.PAUSES", (0.0, 0.0))
    FAILURES[:] = [number]
    if runs:
        assert (run_stage(Stage(flaky, number=number), store, Context()) / "a.txt").exists()
    else:
        with pytest.raises(StageFailed):
            run_stage(Stage(flaky, number=number), store, Context())
    FAILURES[:] = [number] * 9
    with pytest.raises(StageFailed):
        run_stage(Stage(flaky, number=-number), store, Context())
    FAILURES.clear()


def test_a_claim_that_cannot_be_read_is_not_lost(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("mss_core.disk.PAUSES", (0.0,))
    owner = Claim(tmp_path / "key.claim")
    assert owner.acquire()
    read, answers = disk.read, iter([True, False])

    def stale(path: Path) -> bytes:
        if path == owner.path and next(answers, False):
            raise OSError(116, "Stale file handle")
        return read(path)

    monkeypatch.setattr(disk, "read", stale)
    owner.check()
    answers = iter([True] * 9)
    with pytest.raises(OSError, match="Stale"):
        owner.check()
    assert not owner.lost
    answers = iter([])
    owner.release()
    assert not owner.path.exists() and not owner.lost


def test_a_process_of_another_user_is_not_judged_by_its_number(tmp_path: Path) -> None:
    """Where /proc hides other users' processes (hidepid), a living one looks like one that is gone."""
    owner = Claim(tmp_path / "key.claim", seconds=60)
    assert owner._create()
    content = json.loads(owner.path.read_text())
    owner.path.write_text(json.dumps(content | {"pid": 2**22 + 1}))
    assert Claim(owner.path)._is_stale()
    owner.path.write_text(json.dumps(content | {"pid": 2**22 + 1, "uid": os.getuid() + 1}))
    assert not Claim(owner.path)._is_stale()


def test_no_altered_manifest_is_believed(store: Store) -> None:
    """Every byte of one, with and without the checksum of itself that older ones lack."""
    manifest = store.directory(DATA) / MANIFEST
    whole = manifest.read_bytes()
    for place in range(0, len(whole), 3):
        manifest.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with contextlib.suppress(ValueError):
            if json.loads(manifest.read_bytes()) == json.loads(whole):
                continue
        assert store.manifest(DATA) is None and store.damage(DATA) == "no valid manifest", place
    older = {name: value for name, value in json.loads(whole).items() if name not in ("self", "source")}
    manifest.write_text(json.dumps(older, indent=1))
    assert store.manifest(DATA) == older and store.get(DATA) is not None
    for name in ("files", "stage", "function", "arguments", "inputs"):
        manifest.write_text(json.dumps({name + "s" if n == name else n: value for n, value in older.items()}))
        assert store.manifest(DATA) is None


def test_everything_is_on_the_disk_before_the_checkpoint_goes(store: Store, monkeypatch) -> None:
    """Files, folders and manifest are forced out before the rename, and the rename before .work is removed."""
    stage, order = Stage(prepare_numbers, size=64), []
    partial = store.begin(stage)
    (partial / "a.txt").write_text("a")
    forced, rename, rmdir = disk.force_out, disk.rename, disk.rmdir
    monkeypatch.setattr(disk, "force_out", lambda path: (order.append(f"force {path.name}"), forced(path))[1])
    monkeypatch.setattr(disk, "rename", lambda path, to: (order.append(f"to {to.name}"), rename(path, to))[1])
    monkeypatch.setattr(disk, "rmdir", lambda path: (order.append(f"rm {path.name}"), rmdir(path))[1])
    store.commit(stage, {})
    folder = f"force {partial.name}"
    assert order == [
        "force a.txt",
        folder,
        f"to {MANIFEST}",
        folder,
        f"to {stage.key}",
        f"force {stage.name}",
        "rm .work",
    ]


def test_what_another_has_made_is_forced_out_before_it_is_relied_on(store: Store, monkeypatch) -> None:
    """Its maker may have died between the rename and that: a loss of power would take it from a study that is done."""
    real, forced = disk.force_out, list[Path]()
    monkeypatch.setattr(disk, "force_out", lambda path: (forced.append(path), real(path)))
    run_stage(DATA, store, Context())
    assert store.directory(DATA).parent in forced
    forced.clear()
    trials: Any = [SimpleNamespace(root=DATA)]
    assert make_plan(trials, store, settle=False).done == {DATA.key} and not forced
    assert make_plan(trials, store).done == {DATA.key} and forced == [store.directory(DATA).parent]


@pytest.mark.parametrize("absent", [True, False])
def test_what_a_machine_remembers_is_no_damage(store: Store, monkeypatch, absent: bool) -> None:
    """A file server's client may tell for a while that there was no file, or how long it was, before another machine
    wrote it."""
    folder = store.directory(DATA)
    stale, status, opened = set(folder.iterdir()) - {folder / MANIFEST}, disk.status, disk.opened

    def remembered(path: Path, follow: bool = True) -> Any:
        found = status(path, follow)
        if path not in stale:
            return found
        if absent:
            raise FileNotFoundError(errno.ENOENT, "not yet", str(path))
        return os.stat_result([*found[:6], 1, *found[7:]])

    monkeypatch.setattr(disk, "status", remembered)
    if absent:
        monkeypatch.setattr(disk, "touch", lambda path: stale.clear() if path == folder else None)
    else:
        monkeypatch.setattr(disk, "opened", lambda path, mode="rb": (stale.discard(path), opened(path, mode))[1])
    assert stale and store.damage(DATA) is None and store.get(DATA) == store.directory(DATA)


def test_an_error_after_the_commit_leaves_no_log(store: Store, monkeypatch) -> None:
    stage, real, left = Stage(prepare_numbers, size=32), disk.force_out, [errno.EIO]

    def fails_once(path: Path) -> None:
        if path == store.root / stage.name and disk.exists(store.directory(stage)) and left:
            raise OSError(left.pop(), "once", str(path))
        real(path)

    monkeypatch.setattr(disk, "force_out", fails_once)
    run_stage(stage, store, Context())
    assert not left and store.damage(stage) is None
    assert [path.name for path in store.directory(stage).parent.iterdir() if stage.key in path.name] == [stage.key]


def test_folders_are_forced_out_in_one_order(store: Store, monkeypatch) -> None:
    """Not in that of a set, which is another in each process: a simulated schedule is the same in all."""
    stage, forced = Stage(prepare_numbers, size=64), list[Path]()
    partial = store.begin(stage)
    for name in "daebcf":
        (partial / name).mkdir()
        (partial / name / "x").write_text("x")
    monkeypatch.setattr(disk, "force_out", forced.append)
    store.commit(stage, {})
    assert [path.name for path in forced if path.parent == partial and path.name in "abcdef"] == list("abcdef")


def test_a_look_at_a_claim_reads_it_once_and_looks_become_rare(tmp_path: Path, monkeypatch) -> None:
    """Hundreds of workers may wait for one claim, and a driver for one that a machine has left."""
    dead, now, looks = Claim(tmp_path / "k.claim", seconds=60), [0.0], list[float]()
    assert dead.acquire()
    dead._end_renewals()
    as_seen_elsewhere(dead.path)
    real = disk.opened

    def opened(path: Path, mode: str = "rb") -> Any:
        looks.extend([now[0]] if path == dead.path else [])
        return real(path, mode)

    monkeypatch.setattr(disk, "opened", opened)
    monkeypatch.setattr(disk, "monotonic", lambda: now[0])
    monkeypatch.setattr(disk, "sleep", lambda seconds: now.__setitem__(0, now[0] + seconds))
    waiter = Claim(dead.path, seconds=60)
    assert waiter.acquire_or_refuse()
    waiter.release()
    assert 60 < now[0] < 70
    assert max(looks.count(at) for at in set(looks) if at < 60) == 2  # one tries to make it, one reads it
    assert len(set(looks)) < 60


def test_a_large_file_is_verified_once_per_machine_and_version(store: Store, tmp_path: Path, monkeypatch) -> None:
    """Fresh processes, which are fresh stores here, believe a stamp that this user's folder has; nobody else's."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    hashed: list[str] = []
    real = disk.checksum
    monkeypatch.setattr("mss_core.store.manifest.checksum", lambda path: (hashed.append(path.suffix), real(path))[1])
    stage = Stage(prepare_numbers, size=40_000)
    weights = run_stage(stage, store, Context()) / "numbers.npz"
    assert weights.stat().st_size > 2**20
    assert Store(store.root).get(stage) and hashed.count(".npz") == 1
    assert Store(store.root).get(stage) and Store(store.root).get(stage) and hashed.count(".npz") == 1
    (folder,) = tmp_path.glob("mss-verified-*")
    folder.chmod(0o777)
    assert Store(store.root).get(stage) and hashed.count(".npz") == 2
    folder.chmod(0o700)
    monkeypatch.setattr(disk, "machine", lambda: "started anew")
    assert Store(store.root).get(stage) and hashed.count(".npz") == 3
    content = weights.read_bytes()
    weights.write_bytes(bytes([content[0] ^ 1]) + content[1:])
    assert "another checksum" in str(Store(store.root).damage(stage))


def test_the_claim_of_a_process_known_to_be_dead_is_free_at_once_and_no_other(tmp_path: Path) -> None:
    """Ray knows of a death on another machine; the claim there would have to age for a minute."""
    path = tmp_path / "key.claim"
    dead = {"machine": "another", "pid": 7, "started": "then", "uid": 0}
    claim = Claim(path)
    for holder, freed in ((dead, True), ({**dead, "pid": 8}, False), ({"owner": "older than machines"}, False)):
        path.write_text(json.dumps({"owner": "somebody", "host": "node3", **holder}))
        claim.free(dead)
        assert path.exists() is not freed
        path.unlink(missing_ok=True)
    claim.free(dead)  # it was given back meanwhile
    assert not list(tmp_path.iterdir())


def test_a_folder_made_beside_another_process_outlasts_a_loss_of_power(tmp_path: Path, monkeypatch) -> None:
    """Where somebody made the folder above meanwhile, nobody had forced out either name (simulator, seed 1758)."""
    make, forced = disk.mkdir, []

    def beside(path: Path, mode: int = 0o777) -> None:
        if path == tmp_path / "a" / "b" and not path.parent.exists():
            make(path.parent)
            raise FileNotFoundError(path)
        make(path, mode)

    monkeypatch.setattr(disk, "mkdir", beside)
    monkeypatch.setattr(disk, "force_out", forced.append)
    disk.make_folder(tmp_path / "a" / "b")
    assert forced == [tmp_path, tmp_path / "a"] and (tmp_path / "a" / "b").is_dir()
