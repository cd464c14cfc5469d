"""Stages on a Ray cluster of one machine with four fake GPUs: processes, shares, queue, signals, errors."""

from __future__ import annotations

import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mss_core.graph import WORK, Context, Stage, walk
from mss_core.source import files
from mss_core.store import Store
from mss_core.study.plan import Plan
from mss_core.study.progress import DONE, FAILED, Board
from mss_core.training import Phase, TrainConfig
from tests.chaos import work
from tests.chaos.work import (
    out_of_gpu_memory,
    prepare_numbers,
    pretrain_small,
    process_number,
    process_number_training,
    wait_for,
)
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.chaos]


@contextlib.contextmanager
def cluster(**environment: str) -> Iterator[str]:
    """The address of a cluster of one machine, 8 cores and four GPUs that are only numbers; its workers have this
    environment."""
    folder = tempfile.mkdtemp(prefix="gpus")
    script = (
        "import sys; from ray.cluster_utils import Cluster; c = Cluster(initialize_head=True, head_node_args="
        "dict(num_cpus=8, num_gpus=4, include_dashboard=False, object_store_memory=80 * 2**20)); "
        "print(c.address, flush=True); sys.stdin.read(); c.shutdown()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "RAY_TMPDIR": folder, "PYTHONPATH": str(REPOSITORY), **environment},
    )
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.communicate("", timeout=60)


@pytest.fixture(scope="module")
def four_gpus() -> Iterator[str]:
    with cluster() as address:
        yield address


@pytest.fixture
def run(four_gpus: str, tmp_path: Path, monkeypatch):
    """Execute stages on that cluster; returns their board and store."""
    monkeypatch.setenv("RAY_ADDRESS", four_gpus)

    def execute(roots: list[Stage], ahead: list[Stage] | None = None) -> tuple[Board, Store, str]:
        import ray

        from mss_core.study.execution import stages_on_ray

        stages = walk(roots)
        store = Store(tmp_path / "store")
        board = Board(stages, store, io.StringIO())
        may = walk(ahead or [])
        try:
            further = Plan([], may, set(), list(may), {}) if ahead else None
            stages_on_ray.execute(Plan([], stages, set(), list(stages), {}), store, Context(), board, further)
        finally:
            ray.shutdown()
        return board, store, board.out.getvalue()

    return execute


def test_trainings_have_processes_of_their_own_and_inference_shares_warm_ones(run) -> None:
    """Two trainings to a GPU, all four GPUs used."""
    roots = [Stage(kind, number=n) for kind in (process_number_training, process_number) for n in range(8)]
    board, store, _ = run(roots)
    assert set(board.state.values()) == {DONE}
    left = {
        kind: [(store.directory(s) / "process.txt").read_text().split() for s in roots if s.name == kind]
        for kind in ("process_number", "process_number_training")
    }
    trained, inferred = ({pid for pid, _ in left[kind]} for kind in ("process_number_training", "process_number"))
    assert len(trained) == 8 and len(inferred) <= 4 and not trained & inferred
    assert {gpu for rows in left.values() for _, gpu in rows} == {"0", "1", "2", "3"}
    assert not list((store.root / "ray").iterdir())
    for manifest in map(store.manifest, roots):  # they run on one of the node's eight cores
        assert manifest is not None
        cost = manifest["cost"]
        assert cost["devices"] == 1.0 and ("unmeasured" in cost or (cost["counter"], cost["share"]) == ("RAPL", 1 / 8))


def test_what_may_run_ahead_takes_idle_gpus_and_ends_with_a_checkpoint_when_the_rest_is_done(run, tmp_path) -> None:
    """One stage holds a GPU until an endless training that only may run has begun; two more that may run have the rest
    of the GPUs."""
    endless = TrainConfig(phases=(Phase(lr=1e-3, epochs=1_000_000),), batch=16, epoch_steps=100)
    training = Stage(pretrain_small, data=Stage(prepare_numbers), width=8, train=endless)
    more = [Stage(wait_for, file=f"{tmp_path}/{'./' * number}go") for number in range(2)]
    begun = tmp_path / "store" / "pretrain_small"

    def release() -> None:
        while not list(begun.glob(f"*.partial/{WORK}/step")) and not give_up.wait(0.3):
            pass
        (tmp_path / "go").touch()

    give_up, watcher = threading.Event(), threading.Thread(target=release)
    watcher.start()
    try:
        board, store, said = run([Stage(wait_for, file=f"{tmp_path}/././././././go")], [training, *more])
    finally:
        give_up.set()
        watcher.join()
    assert set(board.state.values()) == {DONE} and "[1/1]" in said and "FAILED" not in said
    assert store.manifest(training) is None and store.checkpoint_time(training) > 0
    assert not store.claim(training).holder() and not list((store.root / "ray").iterdir())
    assert store.manifest(Stage(prepare_numbers)) is not None  # what it reads was made ahead, too


def test_all_that_is_ready_waits_where_an_autoscaler_can_see_it(run, four_gpus: str, tmp_path: Path) -> None:
    """20 stages of one GPU each on four: 16 placement groups wait at once."""
    seen = tmp_path / "seen"
    script = f"""
import ray, time
from pathlib import Path
from ray.util import placement_group_table
ray.init(address={four_gpus!r}, log_to_driver=False)
most = 0
while not Path({str(seen)!r}).exists():
    waiting = sum(row["state"] == "PENDING" for row in placement_group_table().values())
    if waiting >= 16:
        Path({str(seen)!r}).write_text(str(waiting))
    time.sleep(0.3)
"""
    watcher = subprocess.Popen(
        [sys.executable, "-c", script], env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, stderr=subprocess.DEVNULL
    )
    # The stages end when the watcher has seen the queue: were they handed out one at a time, this would never end.
    board, _, _ = run([Stage(wait_for, file=f"{tmp_path}/{'./' * number}seen") for number in range(20)])
    assert watcher.wait(timeout=60) == 0
    assert set(board.state.values()) == {DONE} and int(seen.read_text()) == 16


def test_a_node_that_died_unnoticed_is_passed_over(four_gpus: str, tmp_path: Path, monkeypatch) -> None:
    import ray

    from mss_core.study.execution import joining

    ray.init(address=four_gpus, log_to_driver=False)
    try:
        dead = {"NodeID": "ab" * 28, "NodeManagerHostname": "gone", "NodeManagerAddress": "192.0.2.9"}
        monkeypatch.setattr(joining, "_alive", lambda alive=joining._alive: [dead, *alive()])
        joining.check_store(tmp_path, {}, files.table(), io.StringIO())
        with pytest.raises(RuntimeError, match="does not have data set 'mtat'") as caught:
            joining.check_store(tmp_path, {"mtat": tmp_path / "absent"}, {}, io.StringIO())
        assert "192.0.2.9" not in str(caught.value)
    finally:
        ray.shutdown()


def test_a_node_that_answers_late_is_waited_for_as_long_as_one_that_joins_late(
    four_gpus: str, tmp_path: Path, monkeypatch
) -> None:
    """On a machine at load 17 a node took more than the two minutes that it once had."""
    import ray

    from mss_core.study.execution import joining, nodes

    def late(*arguments, answer=nodes.answer_mark) -> str:
        time.sleep(4)
        return answer(*arguments)

    monkeypatch.setattr(nodes, "answer_mark", late)
    monkeypatch.setattr(joining, "UNTOLD", 0.5)
    monkeypatch.setenv("RAY_ADDRESS", four_gpus)
    ray.init(address=four_gpus, log_to_driver=False)
    try:
        (here,) = joining.machines().values()
        out = io.StringIO()
        joining.check_store(tmp_path, {}, files.table(), out)
        assert out.getvalue() == f"waiting for nodes to answer: {here}\n"
        monkeypatch.setenv("MSS_NODES_SECONDS", "1")
        with pytest.raises(
            RuntimeError, match=f"node {re.escape(here)}: it did not answer within 1 s .--nodes-seconds"
        ):
            joining.check_store(tmp_path, {}, files.table(), out)
    finally:
        ray.shutdown()


def test_out_of_memory_names_the_share_and_the_table(run) -> None:
    board, store, said = run([Stage(out_of_gpu_memory), Stage(process_number, number=0)])
    failed = [key for key, state in board.state.items() if state == FAILED]
    assert [board.stages[key].name for key in failed] == ["out_of_gpu_memory"]
    log = store.log(board.stages[failed[0]])
    assert board.errors[failed[0]] == (
        "not enough GPU memory: 'out_of_gpu_memory' asks for 0.25 of a GPU and may use 25% of its memory; raise 'gpu' "
        "(or 'gpu_memory') of 'out_of_gpu_memory' in a file given with --resources FILE (or MSS_RESOURCES=FILE), or "
        f"make its batch smaller (log: {log})"
    )
    assert "CUDA out of memory" in log.read_text() and "FAILED out_of_gpu_memory" in said


def test_what_no_node_can_hold_is_an_error_at_once(run, monkeypatch) -> None:
    monkeypatch.setitem(work.STAGE_RESOURCES, "process_number", {"cpu": 1, "gpu": 8})
    monkeypatch.setitem(work.STAGE_RESOURCES, "wait_for", {"cpu": 64})
    with pytest.raises(RuntimeError, match="stage 'wait_for' asks for {'CPU': 64}; no node of the cluster has that"):
        run([Stage(wait_for, file="never")])


@pytest.mark.parametrize("who", ["driver", "worker"])
def test_sigterm_writes_checkpoints_before_anything_ends(tmp_path: Path, who: str) -> None:
    """With checkpoints an hour apart, what is there after SIGTERM was written because of it."""
    with cluster(CHAOS_PAUSE="0.1", CHAOS_TRACE=str(tmp_path)) as address:
        _sigterm(address, tmp_path, who)


def _sigterm(address: str, tmp_path: Path, who: str) -> None:
    flags = [
        "--store",
        str(tmp_path),
        "--seeds",
        "1",
        "--set",
        "pretrain.phases.0.epochs=2",
        "--set",
        "finetune.phases.0.epochs=1",
    ]
    driver = subprocess.Popen(
        [sys.executable, str(REPOSITORY / "tests" / "chaos" / "study.py"), *flags],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "RAY_ADDRESS": address, "MSS_CHECKPOINT_SECONDS": "3600"},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    try:
        deadline = time.monotonic() + 480
        while len(list(tmp_path.glob(f"pretrain_small/*.partial/{WORK}/step"))) < 2:
            assert time.monotonic() < deadline and driver.poll() is None
            time.sleep(0.05)
        if who == "driver":
            driver.send_signal(signal.SIGTERM)
            said = driver.communicate(timeout=120)[1]
            assert driver.returncode == 130 and "2 running stages write their checkpoints" in said
            assert len(list(tmp_path.glob(f"pretrain_small/*.partial/{WORK}/checkpoint.pt"))) == 2
            assert not list(tmp_path.glob("*/*.claim"))
        else:
            traces = sorted(path for path in tmp_path.glob("*.*") if path.suffix[1:].isdigit())
            os.kill(int(traces[0].suffix[1:]), signal.SIGTERM)
            said = driver.communicate(timeout=400)[1]
            assert driver.returncode == 0, said
            steps = {
                path.name: [int(line.split()[1]) for line in path.read_text().splitlines()]
                for path in tmp_path.glob(f"{traces[0].stem}.*")
            }
            first, second = steps.pop(traces[0].name), *steps.values()
            assert first + second == list(range(200))  # no step twice, none left out
    finally:
        driver.kill()
        driver.wait()


def test_a_failed_preparation_blocks_only_what_reads_it(run) -> None:
    board, store, _ = run([Stage(work.prepare_broken), *(Stage(process_number_training, number=n) for n in range(3))])
    assert sorted(board.state.values()) == [DONE] * 3 + [FAILED]
    assert len(list(store.root.glob("process_number_training/*/manifest.json"))) == 3


def test_a_recorded_cluster_is_joined_only_if_this_user_recorded_it(tmp_path: Path, monkeypatch) -> None:
    from mss_core.study.execution.joining import recorded_address

    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    record = tmp_path / "ray" / "ray_current_cluster"
    assert recorded_address() == "local"
    record.parent.mkdir()
    record.write_text("10.0.0.1:6379\n")
    assert recorded_address() == "10.0.0.1:6379"
    monkeypatch.setattr(os, "getuid", lambda: record.stat().st_uid + 1)
    assert recorded_address() == ("10.0.0.1:6379" if record.stat().st_uid == 0 else "local")
    monkeypatch.undo()
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    record.rename(tmp_path / "planted")
    record.symlink_to(tmp_path / "planted")
    assert recorded_address() == "local"
    record.unlink()
    if os.getuid() == 0:
        record.write_text("10.0.0.1:6379\n")
        os.chown(record, 65534, 65534)
        assert recorded_address() == "local"
