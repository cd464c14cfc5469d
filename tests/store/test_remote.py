"""A store in an object store: each stage once, whoever is killed or sleeps; nothing spoiled is used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("obstore", reason="the extra object-store is not installed")

from mss_core.claim import ClaimLost
from mss_core.graph import Context, Stage
from mss_core.store import MANIFEST, StageFailed, Store, run_stage
from mss_core.store.place import check_place
from mss_core.store.remote.claim import ObjectClaim
from mss_core.store.remote.joined import Joined
from mss_core.store.remote.objects import Objects, probe
from mss_core.store.remote.opening import opened
from tests.store import remote_worker
from tests.store.s3 import Bucket, Server

URL = "s3://bucket/below"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    with Server() as server:
        for name, value in {**server.environment, "REMOTE_LOG": str(tmp_path / "log")}.items():
            monkeypatch.setenv(name, value)
        yield server


def log(tmp_path: Path) -> list[str]:
    path = tmp_path / "log"
    return path.read_text().splitlines() if path.exists() else []


def begun(tmp_path: Path, name: str, **given: Any) -> subprocess.Popen:
    """A worker on a machine of this name, with copies of its own."""
    environment = {key: str(given.pop(key)) for key in list(given) if key.startswith("REMOTE_")}
    told = {"url": URL, "copies": str(tmp_path / name), "machine": name, **given}
    return subprocess.Popen(
        [sys.executable, "-m", "tests.store.remote_worker", json.dumps(told)],
        env={**os.environ, "REMOTE_NAME": name, **environment},
    )


def until(true: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := true()):
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.05)
    return value


def undisturbed(tmp_path: Path, **given: Any) -> Path:
    """The training's artefact in a store that is a folder."""
    store = Store(tmp_path / "folder")
    return [run_stage(stage, store, Context()) for stage in remote_worker.stages(**given)][-1]


def left(bucket: Bucket, stage: Stage) -> dict[str, Any]:
    """What the claim on a stage says of its work."""
    content = bucket.objects.get(f"bucket/below/claims/{stage.name}/{stage.key}.json")
    return dict(json.loads(content)["work"]) if content else {}


def same_result(tmp_path: Path, copies: Path, stage: Stage, **given: Any) -> None:
    made, found = undisturbed(tmp_path, **given), copies / stage.name / stage.key
    for name in ("weights.pt", "history.jsonl"):
        assert (found / name).read_bytes() == (made / name).read_bytes()


# ---- the verbs


@pytest.mark.parametrize("url", [URL, "memory://verbs"])
def test_the_verbs(server: Server, tmp_path: Path, url: str) -> None:
    objects = Objects(url)
    first = objects.create("a/b", b"1")
    assert first is not None and objects.create("a/b", b"2") is None
    second = objects.swap("a/b", b"3", first)
    assert second is not None and objects.swap("a/b", b"4", first) is None
    assert objects.swap("a/none", b"4", first) is None and objects.read("a/none") is None
    found = objects.read("a/b")
    assert found is not None and (found.content, dict(found.stamp)) == (b"3", dict(second))
    large = os.urandom(12_000_000)  # in several parts
    (tmp_path / "large").write_bytes(large)
    objects.upload("a/large", tmp_path / "large")
    assert objects.list("a/") == {"a/b": 1, "a/large": 12_000_000}
    objects.delete("a/b")
    objects.delete("a/b")
    assert objects.list("a/") == {"a/large": 12_000_000}
    for number in range(120):  # more than a page
        objects.create(f"many/{number}", b"")
    assert len(objects.list("many/")) == 120


def test_a_store_without_conditions_is_refused_by_name(server: Server, tmp_path: Path) -> None:
    probe(Objects(URL))
    probe(Objects("memory://probed"))
    assert not server.bucket.objects
    server.bucket.conditional = False
    with pytest.raises(RuntimeError, match=r"does not refuse to put an object that is there \(If-None-Match"):
        opened(URL, probed=True)
    with pytest.raises(RuntimeError, match=r"does not replace an object only where it has not changed \(If-Match"):
        opened(f"file://{tmp_path}", probed=True)


def test_who_cannot_reach_it_is_told_before_anything_runs(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.bucket.down = True
    with pytest.raises(RuntimeError, match=r"s3://bucket/below: .*does not answer.*AWS_ENDPOINT_URL"):
        opened(URL, probed=True)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with pytest.raises(ValueError, match=r"Missing AccessKeyId.*AWS_ACCESS_KEY_ID"):
        opened(URL, probed=True)
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", server.url)  # where a cloud's machine would ask for its own
    with pytest.raises(RuntimeError, match=r"s3://bucket/below: .*credentials are read from.*AWS_ACCESS_KEY_ID"):
        opened(URL, probed=True)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(RuntimeError, match=r"needs obstore.*pip install 'mss-ablation\[object-store\]'"):
        opened(URL)
    with pytest.raises(ValueError, match="works on a folder"):
        check_place(URL)
    check_place(URL, objects=True)


# ---- claims


def test_a_claim_is_fenced_by_what_its_owner_wrote_last(server: Server) -> None:
    objects = Objects(URL)
    first, second = (ObjectClaim(objects, "claims/x.json", seconds=0.5) for _ in range(2))
    assert first.acquire()
    first._end_renewals()  # its process sleeps
    first.note({"time": 7})
    assert not second.acquire()
    second._holder_lives = False
    until(lambda: time.sleep(0.2) or _aged(second))
    assert second.work() == {"time": 7} and second.holder()["owner"] == second.owner
    with pytest.raises(ClaimLost):
        first.note({"time": 8})
    assert first.lost and not second.lost
    first.release()
    second.check()
    second.release()
    assert not second.lost and second.holder() == {}
    third = ObjectClaim(objects, "claims/x.json")
    with third:
        assert third.work() == {"time": 7}
        assert not ObjectClaim(objects, "claims/x.json").acquire_or_refuse()
        third.done()
    assert not third.lost and objects.read("claims/x.json") is None


def _aged(claim: ObjectClaim) -> bool:
    """Takes a claim whose owner lives and is not renewed."""
    return claim.acquire()


def test_an_answer_that_was_lost_is_no_other_owner(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    objects = Objects(URL)
    claim = ObjectClaim(objects, "claims/x.json")
    for verb in ("create", "swap"):
        whole = getattr(Objects, verb)
        monkeypatch.setattr(Objects, verb, lambda *a, whole=whole: (whole(*a), None)[1])
    assert claim.acquire()
    claim.note({"time": 1})
    assert not claim.lost and claim.work() == {"time": 1}
    claim.release()
    assert not claim.lost and claim.holder() == {}


# ---- stages


def test_two_machines_race_and_the_stage_is_made_once(server: Server, tmp_path: Path) -> None:
    workers = [begun(tmp_path, name, REMOTE_SECONDS=0.1) for name in ("one", "two")]
    assert [worker.wait(120) for worker in workers] == [0, 0]
    told = [line.partition(" ")[2] for line in log(tmp_path)]
    assert sorted(told) == ["done", "done", "prepare", "train seed 0 from 0"]
    assert list(server.bucket.created("/manifests/").values()) == [1, 1]
    assert not server.bucket.under("bucket/below/claims/") and not server.bucket.under("bucket/below/work/")
    for stage in remote_worker.stages():
        one, two = ((tmp_path / name / stage.name / stage.key / MANIFEST).read_bytes() for name in ("one", "two"))
        assert one == two == server.bucket.objects[f"bucket/below/manifests/{stage.name}/{stage.key}.json"]
    same_result(tmp_path, tmp_path / "two", stage)


def test_another_machine_goes_on_from_the_checkpoint_of_one_that_is_killed(server: Server, tmp_path: Path) -> None:
    _, stage = remote_worker.stages(steps=30)
    killed = begun(tmp_path, "one", steps=30, seconds=3.0, REMOTE_SECONDS=0.3)
    until(lambda: left(server.bucket, stage))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    other = begun(tmp_path, "two", steps=30, seconds=3.0)
    assert other.wait(120) == 0
    resumed = [int(line.rpartition(" ")[2]) for line in log(tmp_path) if line.startswith("two train")]
    assert len(resumed) == 1 and resumed[0] > 0
    assert not any(line == "two prepare" for line in log(tmp_path))
    assert set(server.bucket.created("/manifests/").values()) == {1}
    same_result(tmp_path, tmp_path / "two", stage, steps=30)


@pytest.mark.parametrize("when", ["training", "committing"])
def test_a_machine_that_slept_past_its_claim_commits_nothing(server: Server, tmp_path: Path, when: str) -> None:
    _, stage = remote_worker.stages(steps=30)
    pause = tmp_path / "pause"
    pause.touch()
    slow = {"REMOTE_SECONDS": 0.3} if when == "training" else {"REMOTE_PAUSE": pause}
    asleep = begun(tmp_path, "one", steps=30, seconds=3.0, **slow)
    if when == "training":
        until(lambda: left(server.bucket, stage))
        asleep.send_signal(signal.SIGSTOP)
    else:
        until(lambda: Path(f"/proc/{asleep.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
    assert begun(tmp_path, "two", steps=30, seconds=3.0).wait(120) == 0
    manifest = server.bucket.objects[f"bucket/below/manifests/{stage.name}/{stage.key}.json"]
    asleep.send_signal(signal.SIGCONT)
    assert asleep.wait(120) == 0
    assert server.bucket.objects[f"bucket/below/manifests/{stage.name}/{stage.key}.json"] == manifest
    assert set(server.bucket.created("/manifests/").values()) == {1}
    assert (tmp_path / "one" / stage.name / stage.key / MANIFEST).read_bytes() == manifest
    same_result(tmp_path, tmp_path / "one", stage, steps=30)


def test_who_puts_the_manifest_second_takes_the_first_ones_artefact(server: Server, tmp_path: Path) -> None:
    data, stage = remote_worker.stages()
    one, two = (Joined(URL, tmp_path / name) for name in ("one", "two"))
    for store in (one, two):
        run_stage(data, store, Context())
        run_stage(stage, store.local, Context())  # both have it, each with its own seconds
    first, late = (store.claim(stage) for store in (one, two))
    late.check = lambda: None  # type: ignore[method-assign]  # it slept after it had looked
    with first:
        one._commit(stage, first)  # type: ignore[arg-type]
    two._commit(stage, late)  # type: ignore[arg-type]
    assert two.local.manifest(stage) == one.local.manifest(stage)
    assert server.bucket.created(stage.key)[f"bucket/below/manifests/{stage.name}/{stage.key}.json"] == 1


def test_a_spoiled_download_is_refused_and_fetched_again(server: Server, tmp_path: Path) -> None:
    data, stage = remote_worker.stages()
    one, two = (Joined(URL, tmp_path / name) for name in ("one", "two"))
    for each in (data, stage):
        run_stage(each, one, Context())
    (weights,) = [name for name in server.bucket.under(f"bucket/below/files/{stage.name}/") if _of(one, stage, name)]
    server.bucket.spoiled[weights] = 2
    assert two.get(stage) is not None and not server.bucket.spoiled[weights]
    assert two.get(stage) == run_stage(stage, two, Context())
    same_result(tmp_path, tmp_path / "two", stage)


def _of(store: Joined, stage: Stage, name: str) -> bool:
    manifest = store.manifest(stage)
    return manifest is not None and name.endswith(manifest["files"]["weights.pt"]["sha256"])


def test_an_artefact_that_is_damaged_in_the_object_store_is_made_again(server: Server, tmp_path: Path) -> None:
    data, stage = remote_worker.stages()
    one, two = (Joined(URL, tmp_path / name) for name in ("one", "two"))
    for each in (data, stage):
        run_stage(each, one, Context())
    (weights,) = [name for name in server.bucket.under(f"bucket/below/files/{stage.name}/") if _of(one, stage, name)]
    server.bucket.objects[weights] = b"x" * len(server.bucket.objects[weights])
    assert "checksum" in str(two.damage(stage))
    assert two.get(stage) is None
    run_stage(stage, two, Context())
    assert two.damage(stage) is None and two.get(stage) is not None
    assert [line.strip() for line in log(tmp_path)].count("train seed 0 from 0") == 2
    assert server.bucket.under("bucket/below/damaged/")
    assert Joined(URL, tmp_path / "three").get(stage) is not None


def test_a_copy_that_is_damaged_is_fetched_again(server: Server, tmp_path: Path) -> None:
    data, stage = remote_worker.stages()
    one = Joined(URL, tmp_path / "one")
    for each in (data, stage):
        run_stage(each, one, Context())
    (one.directory(stage) / "weights.pt").write_text("spoiled")
    assert Joined(URL, tmp_path / "one").get(stage) is not None
    assert len(log(tmp_path)) == 2
    same_result(tmp_path, tmp_path / "one", stage)


def test_what_an_object_store_does_not_answer_fails_the_stage(server: Server, tmp_path: Path) -> None:
    data, _ = remote_worker.stages()
    store = Joined(URL, tmp_path / "one")
    store.objects = Objects(URL, retries=0)
    server.bucket.down = True
    with pytest.raises(StageFailed, match="the object store does not answer") as failed:
        run_stage(data, store, Context())
    assert failed.value.log.exists()
    server.bucket.down = False
    run_stage(data, store, Context())
