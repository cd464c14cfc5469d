"""``ray up``, ``ray submit`` and ``ray job submit`` with the project's cluster file, on machines made of namespaces."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mss_core.graph import WORK
from tests.cluster.lab import Lab, address, why_not
from tests.conftest import REPOSITORY, tiny_flags
from tests.data import published

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.timeout(2400),
    pytest.mark.skipif(bool(why_not()), reason=f"no machines of our own here: {why_not()}"),
]

BIN = Path(sys.executable).parent
FLAGS = tiny_flags(Path("STORE"))[5:]
TRIALS = 7 + 2 + 1
"""With one seed: the variants, a placebo that has two runs, and a planted loss."""
STAGES = 2 + 5 * 2 + 4 + 6 + TRIALS * 2
"""Data sets, separators and their scores, tails, joint models, predictions and their scores."""


def cluster_file(folder: Path, nodes: int, installed: bool = True) -> Path:
    """The shipped file with the lab's addresses and key; where Python is there already, nothing is installed."""
    content = yaml.safe_load((REPOSITORY / "ray_cluster.yaml").read_text())
    content["max_workers"] = nodes - 1
    content["provider"] |= {"head_ip": address(1), "worker_ips": [address(n) for n in range(2, nodes + 1)]}
    content["auth"] = {"ssh_user": "root", "ssh_private_key": str(folder / "id")}
    if installed:  # test_setup_commands.py runs the shipped ones
        content["setup_commands"] = [
            f"grep -q MYVENV ~/.bashrc 2>/dev/null || echo 'export RAY_AUTH_MODE=token PATH={BIN}:$PATH "
            "PYTHONPATH=$HOME/mss MYVENV=1' >> ~/.bashrc"
        ]
    for name in ("head_start_ray_commands", "worker_start_ray_commands"):  # fewer cores and less memory than it finds
        content[name] = [
            line.replace("ray start", "ray start --num-cpus=1 --object-store-memory=80000000") for line in content[name]
        ]
    path = folder / "ray_cluster.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


LAPTOP = {
    "RAY_UP_enable_autoscaler_v2": "0",
    "PYTHONPATH": str(REPOSITORY),
    "PATH": f"{BIN}:{os.environ['PATH']}:/usr/sbin:/sbin",
    "RAY_AUTH_MODE": "token",
}


def ray(lab: Lab, *words: str, seconds: float = 900):
    return lab.run([str(BIN / "ray"), *words], seconds, **LAPTOP)


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    folder = Path(tempfile.mkdtemp(prefix="lab"))
    with Lab(folder, 2) as found:
        yield found
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(lab: Lab) -> Path:
    """A head and a worker, started by ``ray up`` from the laptop with one token for both."""
    token = ray(lab, "get-auth-token", "--generate")
    assert token.returncode == 0, token.stderr
    file = cluster_file(lab.folder, 2)
    up = ray(lab, "up", "-y", "--no-config-cache", "--disable-usage-stats", str(file))
    assert up.returncode == 0, up.stdout[-3000:] + up.stderr[-3000:]
    return file


def submission(cluster: Path, *flags: str, study: str = "source_ablation", file: Path | None = None) -> list[str]:
    small = ["--smoke", "--seeds", "1", *FLAGS] if study == "source_ablation" else []
    file = file or REPOSITORY / "studies" / f"{study}.py"
    return ["submit", "--no-config-cache", str(cluster), str(file), "--", *small, *flags]


def submit(lab: Lab, cluster: Path, *flags: str, **which: Any):
    return ray(lab, *submission(cluster, *flags, **which))


def test_a_store_that_one_node_does_not_share_is_an_error(lab: Lab, cluster: Path) -> None:
    done = submit(lab, cluster, "--store", "/root/store")
    said = done.stdout + done.stderr
    assert done.returncode and "see the store /root/store as one folder" in said, said[-3000:]
    assert "node node2 (10.77.0.2): there is no such folder as /root/store" in said


def test_ray_submit_runs_a_study_on_both_nodes(lab: Lab, cluster: Path) -> None:
    store = lab.folder / "store"
    done = submit(lab, cluster, "--store", str(store))
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    assert f"{STAGES} stages executed" in said
    manifests = list(store.glob("*/*/manifest.json"))
    assert len(manifests) == STAGES
    assert {json.loads(path.read_text())["host"] for path in manifests} == {"node1", "node2"}
    assert lab.on(1, "cat ~/.ray/auth_token").stdout == lab.on(2, "cat ~/.ray/auth_token").stdout != ""


def test_ray_job_submit_goes_on_with_the_same_store(lab: Lab, cluster: Path) -> None:
    store = lab.folder / "store"
    before = len(list(store.glob("*/*/manifest.json")))
    flags = " ".join(f'"{word}"' for word in [*FLAGS, "--store", str(store)])
    done = lab.on(
        1,
        f"ray job submit --address http://127.0.0.1:8265 -- python mss/studies/source_ablation.py "
        f"--smoke --seeds 1 {flags}",
        1200,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said[-4000:]
    assert f"{STAGES - before} stages executed, {before} found in the store" in said


def test_ray_submit_rehearses_a_study_on_published_files(lab: Lab, cluster: Path) -> None:
    """What a user types before the real study; the data lie where both nodes see them."""
    data, store = published.musdb18hq(lab.folder / "musdb18hq"), lab.folder / "rehearsed"
    done = submit(
        lab, cluster, "--rehearse", "--store", str(store), "--data", f"musdb18hq={data}", "--lines", study="demo"
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0 and "demo-rehearsal: every table is whole" in said, said[-4000:]
    hosts = {json.loads(path.read_text())["host"] for path in store.glob("*/*/manifest.json")}
    assert hosts == {"node1", "node2"}
    report = (store / "studies" / "demo-rehearsal" / "report.md").read_text(encoding="utf-8")
    assert "A rehearsal, not a result" in report


def test_an_mlflow_server_on_the_head_takes_what_other_hosts_send(lab: Lab, cluster: Path) -> None:
    """As docs/running.md starts it: it shows a finished study, node 2 logs to a run, unknown names are refused."""
    uri = f"http://{address(1)}:5000"
    server = (
        f"mlflow server --backend-store-uri sqlite:///{lab.folder}/mlflow.db --artifacts-destination "
        f"{lab.folder}/artifacts --host 0.0.0.0 --allowed-hosts {address(1)}:5000 --workers 1"
    )
    lab.on(1, f"nohup {server} > {lab.folder}/mlflow.log 2>&1 < /dev/null &")
    health = f"curl -s -o /dev/null -w %{{http_code}} {uri}/health"
    deadline = time.monotonic() + 120
    while lab.on(2, health).stdout.strip() != "200":
        assert time.monotonic() < deadline, (lab.folder / "mlflow.log").read_text()[-2000:]
        time.sleep(2)
    assert (
        lab.on(
            2, f"curl -s -o /dev/null -w %{{http_code}} -H Host:elsewhere:5000 {uri}/api/2.0/mlflow/experiments/search"
        ).stdout.strip()
        == "403"
    )
    done = submit(lab, cluster, "--store", str(lab.folder / "store"), "--tracking-uri", uri)
    said = done.stdout + done.stderr
    assert done.returncode == 0 and f"0 stages executed, {STAGES} found in the store" in said, said[-4000:]
    script = lab.folder / "log.py"
    script.write_text(f"""
from mlflow import MlflowClient
client = MlflowClient({uri!r})
(study,) = [found for found in client.search_experiments() if found.name.startswith("source_ablation")]
runs = client.search_runs([study.experiment_id])
client.log_metric(runs[0].info.run_id, "from_node_2", 1.0)
print(len(runs), client.get_run(runs[0].info.run_id).data.metrics["from_node_2"])
""")
    assert lab.on(2, f"python {script}").stdout.split() == [f"{1 + TRIALS}", "1.0"]  # the study, too


def test_one_node_with_other_code_is_refused_by_name(lab: Lab, cluster: Path) -> None:
    """Before a stage runs."""
    store = lab.folder / "refused"
    lab.on(2, 'cp ~/mss/mss_core/losses.py ~/kept; printf "\\nOTHER = 1\\n" >> ~/mss/mss_core/losses.py')
    done = submit(lab, cluster, "--store", str(store))
    lab.on(2, "cp ~/kept ~/mss/mss_core/losses.py")
    said = done.stdout + done.stderr
    assert done.returncode and "it has other code: mss_core/losses.py differs" in said and "node node2" in said, said
    assert not list(store.glob("*/*/manifest.json"))


def test_a_study_that_was_changed_on_the_laptop_alone_is_refused(lab: Lab, cluster: Path) -> None:
    changed = lab.folder / "source_ablation.py"
    changed.write_text((REPOSITORY / "studies" / "source_ablation.py").read_text() + "\nCHANGED = True\n")
    done = submit(lab, cluster, "--store", str(lab.folder / "refused"), file=changed)
    said = done.stdout + done.stderr
    assert done.returncode and "of the checkout on this machine; copy the checkout first" in said, said[-2000:]
    assert not list((lab.folder / "refused").glob("*/*/manifest.json"))


@pytest.mark.parametrize("how", ["Ctrl-C", "a lost connection"])
def test_a_study_that_loses_who_submitted_it_writes_its_checkpoints(lab: Lab, cluster: Path, how: str) -> None:
    store = lab.folder / how.replace(" ", "")
    words = submission(cluster, "--store", str(store), "--lines")
    words[words.index("pretrain.phases.0.epochs=2")] = "pretrain.phases.0.epochs=4000"
    call = lab.inside([str(BIN / "ray"), *words], **LAPTOP)
    with subprocess.Popen(
        **call, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    ) as study:
        until(lambda: list(store.glob(f"pretrain/*.partial/{WORK}/step")), study)
        if how == "Ctrl-C":
            os.killpg(study.pid, signal.SIGINT)
        else:
            lab.run(["pkill", "-9", "-x", "ssh"], 60)
        until(lambda: not list(store.glob("*/*.claim")))
        os.killpg(study.pid, signal.SIGKILL)
    trained = list(store.glob("pretrain/*.partial"))
    assert trained and all((partial / WORK / "checkpoint.pt").exists() for partial in trained)


def until(happened: Callable[[], object], study: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 240
    while not happened():
        assert time.monotonic() < deadline
        assert study is None or study.poll() is None, study.stdout and study.stdout.read()[-3000:]
        time.sleep(0.2)


def test_a_study_waits_for_nodes_and_then_says_which_are_missing(lab: Lab, cluster: Path) -> None:
    """The worker's machine is gone from here on."""
    lab.unplug(2)
    time.sleep(60)  # Ray takes its time to declare a node dead
    done = lab.on(
        1,
        "export MSS_NODES_SECONDS=40; cd ~/mss && python studies/source_ablation.py --smoke --seeds 1 "
        f"--store {lab.folder / 'other'} --set separation.size=12",
        600,
    )
    assert done.returncode == 2
    cause = "nothing answers at its SSH port"
    said = done.stderr
    assert f"1 of 2 nodes have joined the cluster (10.77.0.1; not 10.77.0.2 ({cause}))" in said, said[-2000:]


def synchronise(lab: Lab, cluster: Path):
    return lab.run(["bash", str(REPOSITORY / "tools" / "cluster.sh"), "sync", str(cluster)], 600, **LAPTOP)


def test_a_machine_that_comes_back_with_another_version_of_ray_is_told_so(lab: Lab, cluster: Path) -> None:
    other = lab.folder / "node2" / "root" / "mss" / "sitecustomize.py"
    other.write_text("import ray\nray.__version__ = str(2)\n")  # before it is on, as Ray's autoscaler may be first
    lab.plug(2)
    done = synchronise(lab, cluster)
    other.unlink()
    said = done.stdout + done.stderr
    assert "not to 10.77.0.2" in said and "Version mismatch" in said, said[-3000:]


def test_a_machine_that_comes_back_joins(lab: Lab, cluster: Path) -> None:
    done = synchronise(lab, cluster)
    assert done.returncode == 0 and "copied to 1 nodes" in done.stdout + done.stderr, done.stdout + done.stderr
    store = lab.folder / "again"
    done = submit(lab, cluster, "--store", str(store))
    assert done.returncode == 0 and f"{STAGES} stages executed" in done.stdout + done.stderr, done.stdout[-3000:]
    assert {json.loads(path.read_text())["host"] for path in store.glob("*/*/manifest.json")} == {"node1", "node2"}
