"""Two machines with a small disk for their store, and two that share nothing but an object store."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mss_core.graph import WORK
from tests.chaos.test_chaos import STAGES, STUDY, environment, scores
from tests.cluster.lab import LAPTOP, Lab, address, why_not
from tests.cluster.test_ray_submit import BIN
from tests.conftest import REPOSITORY
from tests.store.s3 import Server

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(bool(why_not()), reason=f"no machines of our own here: {why_not()}"),
]

PORT = 6379
THREADS = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}


@pytest.fixture
def folder() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="lab"))  # short: Ray's sockets lie below it
    yield found
    shutil.rmtree(found, ignore_errors=True)


def typed(lab: Lab, number: int, words: list[str], seconds: float, **variables: str) -> subprocess.CompletedProcess:
    """Runs a command on a machine with these variables, and what this project needs."""
    given = THREADS | {"PYTHONPATH": str(REPOSITORY), "RAY_worker_niceness": "0", "RAY_AUTH_MODE": "disabled"}
    given |= {"PATH": f"{BIN}:/usr/sbin:/usr/bin:/sbin:/bin", "MSS_CHECKPOINT_SECONDS": "2"} | variables
    script = lab.folder / f"typed{number}"
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in given.items())
    script.write_text(f"{exports}cd ~ && {shlex.join(words)}\n")
    return lab.on(number, f"bash {script}", seconds)


def start_ray(lab: Lab, **variables: str) -> None:
    for number in range(1, lab.nodes + 1):
        where = ["--head", f"--port={PORT}"] if number == 1 else [f"--address={address(1)}:{PORT}"]
        size = ["--num-cpus=2", "--num-gpus=2", "--object-store-memory=80000000"]
        words = ["ray", "start", *where, f"--node-ip-address={address(number)}", *size]
        done = typed(lab, number, words, 240, **variables)
        assert done.returncode == 0, done.stdout + done.stderr


def study(lab: Lab, store: str, **variables: str) -> subprocess.CompletedProcess:
    words = ["python", str(STUDY), "--store", store, "--nodes", str(lab.nodes), "--lines"]
    return typed(lab, 1, words, 900, RAY_ADDRESS=f"{address(1)}:{PORT}", **variables)


def undisturbed(folder: Path) -> bytes:
    """The scores of a run in one process on a store that is a folder."""
    words = [sys.executable, str(STUDY), "--in-process", "--store", str(folder / "alone")]
    subprocess.run(words, env=environment(), check=True, capture_output=True)
    return scores(folder / "alone")


FILL = """
until [ "$(ls -d {store}/pretrain_small/*/manifest.json 2> /dev/null | grep -vc partial)" = 2 ] &&
    ls {store}/finetune_small/*.partial/{work}/checkpoint.pt > /dev/null 2>&1; do sleep 0.05; done
dd if=/dev/zero of={store}/../ballast bs=4k 2> /dev/null
touch {store}/../filled
"""


def test_a_disk_that_is_full_in_the_middle_of_a_study(folder: Path) -> None:
    """It ends with what failed and a hint; what is committed stays; after room is made the same command goes on."""
    with Lab(folder, 2, disk="24m") as lab:
        disk = folder / "disk"
        store = disk / "store"
        start_ray(lab)
        (folder / "fill").write_text(FILL.format(store=store, work=WORK))
        filling = subprocess.Popen(**lab.inside(["timeout", "600", "bash", str(folder / "fill")]))
        done = study(lab, str(store), CHAOS_PAUSE="0.025")
        assert filling.wait(timeout=60) == 0, done.stdout + done.stderr
        said = done.stdout + done.stderr
        print(said)
        assert done.returncode == 1 and "stages failed" in said and "is full (" in said, said
        assert "make room on that disk: what is committed stays" in said and "try again with the same command" in said
        assert "Traceback" not in said, said
        before = committed(lab, store)
        assert len(before) >= 3
        lab.run(["rm", f"{disk}/ballast"], 60)
        again = study(lab, str(store))
        said = again.stdout + again.stderr
        print(said)
        assert again.returncode == 0 and f"{len(before)} found in the store" in said, said
        after = committed(lab, store)
        assert before.items() <= after.items() and len(after) == STAGES
        table = lab.run(["cat", f"{store}/studies/chaos/scores.csv"], 60).stdout
    assert table == undisturbed(folder).decode()


def committed(lab: Lab, store: Path) -> dict[str, str]:
    """When and as which file each artefact was committed."""
    found = lab.run(["find", str(store), "-name", "manifest.json", "-printf", "%P %i %T@\n"], 60).stdout
    return dict(line.split(" ", 1) for line in found.splitlines() if ".partial" not in line)


def test_two_nodes_that_share_nothing_but_an_object_store(folder: Path) -> None:
    """Both take part, each with a copy of its own, and the scores are those of a folder, byte for byte."""
    pytest.importorskip("obstore", reason="the extra object-store is not installed")
    with Lab(folder, 2) as lab:
        with lab.network():
            server = Server(LAPTOP)
        with server:
            start_ray(lab, **server.environment)
            done = study(lab, "s3://bucket/shared", CHAOS_PAUSE="0.01", **server.environment)
            said = done.stdout + done.stderr
            print(said)
            assert done.returncode == 0 and f"{STAGES} stages executed" in said, said
            objects = server.bucket.objects
            manifests = [json.loads(objects[name]) for name in server.bucket.under("bucket/shared/manifests/")]
            assert len(manifests) == STAGES and {made["host"] for made in manifests} == {"node1", "node2"}
            assert set(server.bucket.created("/manifests/").values()) == {1}
            for number in (1, 2):  # /root is a machine's own
                assert list((folder / f"node{number}" / "root").glob(".cache/**/finetune_small/*/weights.pt"))
            assert objects["bucket/shared/studies/chaos/scores.csv"] == undisturbed(folder)
