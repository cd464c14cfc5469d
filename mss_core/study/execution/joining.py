"""The Ray cluster that a study joins or starts, and what is looked at there before a stage runs.

What Ray reads when it is imported is set here: whatever imports ray imports this module first.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import os
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

# Ray and Tune read these when they are imported. Pending trials are visible to an autoscaler at once, not one at a
# time; the default loggers would write every result a second and third time; Ctrl-C is ours to handle; workers run at
# the priority of whoever started the study, not at the lowest.
os.environ.setdefault("TUNE_MAX_PENDING_TRIALS_PG", "200")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
os.environ.setdefault("TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S", "1000000")
os.environ.setdefault("TUNE_DISABLE_SIGINT_HANDLER", "1")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")

import ray  # noqa: E402
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: E402

from mss_core.graph import Context  # noqa: E402
from mss_core.source import files  # noqa: E402
from mss_core.store import Store  # noqa: E402
from mss_core.store.remote.joined import Joined  # noqa: E402
from mss_core.store.remote.relay import leave_mark, relayed  # noqa: E402
from mss_core.study.execution import nodes, on_worker  # noqa: E402
from mss_core.study.variables import seconds  # noqa: E402


def connect() -> bool:
    """Join the Ray cluster this machine belongs to, or start one here; True where it was started here.

    ``RAY_ADDRESS`` decides where it is set (``local``: always one of its own). Otherwise a cluster counts that
    ``ray start`` recorded on this machine, not one that another program runs for itself.

    Raises RuntimeError where the cluster to join does not answer.
    """
    options: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    address = os.environ.get("RAY_ADDRESS") or recorded_address()
    if address != "local":
        print(f"joining the Ray cluster at {address}", file=sys.stderr, flush=True)
        try:
            ray.init(address=address, **options)
        except (ConnectionError, TimeoutError) as error:
            raise RuntimeError(
                f"no Ray cluster answers at {address} ({error}); set RAY_ADDRESS, or RAY_ADDRESS=local "
                "for one of this machine's own"
            ) from None
        return False
    print("starting Ray", file=sys.stderr, flush=True)
    # Stages exchange files, not objects: the smallest object store will do.
    ray.init(address="local", include_dashboard=False, object_store_memory=100 * 2**20, **options)
    return True


_started_here: bool | None = None
"""Of the cluster that this process is in, by `connected`; None where it is in none."""


@contextlib.contextmanager
def connected() -> Iterator[bool]:
    """The cluster that this process is in until the end; True where it was started here.

    Inside another one it is the same cluster: looks of a study, and what a search reads and its trainings, take the one
    that is there. A process joins only once: Ray refuses a second time.
    """
    global _started_here
    if _started_here is not None:
        yield _started_here
        return
    _started_here = connect()
    try:
        yield _started_here
    finally:
        _started_here = None
        ray.shutdown()


def recorded_address() -> str:
    """The address that ``ray start`` recorded on this machine; ``local`` where it did not.

    Everybody may write to that folder, and a cluster runs what it is sent as the user who joins it: a record counts
    only if it is a file of this user's or root's in such a folder.
    """
    folder = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray"
    record = folder / "ray_current_cluster"
    try:
        owners = {record.lstat().st_uid, folder.lstat().st_uid}
        regular = stat.S_ISREG(record.lstat().st_mode)
        return record.read_text().strip() if regular and owners <= {os.getuid(), 0} else "local"
    except (FileNotFoundError, NotADirectoryError):
        return "local"


@dataclasses.dataclass(frozen=True)
class Cluster:
    """What a driver works with.

    Attributes:
        scratch: a folder of this driver's own that every node sees.
        room: resources of each node that is there or that an autoscaler may start.
    """

    scratch: Path
    room: list[dict[str, float]]

    @property
    def gpus(self) -> float:
        """How many GPUs there can be."""
        return sum(node.get("GPU", 0.0) for node in self.room)

    def clean(self) -> None:
        """Drop the folder; what died has its log there, so a driver keeps it then."""
        shutil.rmtree(self.scratch, ignore_errors=True)


@contextlib.contextmanager
def joined(store: Store, ctx: Context, out: Any) -> Iterator[Cluster]:
    """A cluster whose nodes are all there and see the store and the data as this process does.

    Raises RuntimeError where they are not, or do not.
    """
    with connected() as started_here:
        cluster = {} if started_here else nodes.cluster_file()
        _wait_for_nodes(cluster, out)
        if not started_here:  # this machine's own cluster sees what this process sees
            code = files.table(ctx.environment.get("packages", ()))
            if isinstance(store, Joined):
                check_objects(store, ctx.data, code, out)
            else:
                check_store(store.root, ctx.data, code, out)
        # A folder of its own: two drivers on one store would overwrite each other's Tune state.
        scratch = store.root / "ray" / f"{socket.gethostname()}-{os.getpid()}-{time.time_ns():x}"
        scratch.mkdir(parents=True)
        room = [*(node["Resources"] for node in _alive()), *nodes.possible_nodes(cluster), *nodes.promised()]
        if not started_here and not any(node.get("GPU") for node in room):
            room += asked_for(out)
        with relayed(store, scratch, on_worker.STOP):
            yield Cluster(scratch, room)


# ---- before a study starts

ANSWERED = 12.0
"""Seconds after which an autoscaler, which looks at what is wanted each 5 s, has begun to start what it can."""

UNTOLD = 10.0
"""Seconds that nodes take to answer without a word about it."""


def _alive() -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]


def asked_for(out: Any) -> list[dict[str, float]]:
    """A machine with a GPU, where Ray's newer autoscaler starts one when it is asked for one.

    It tells nobody beforehand what it may start (on KubeRay, say). The question is withdrawn; a machine that it has led
    to and that nothing uses goes when it has been idle.
    """
    from ray.autoscaler.sdk import request_resources

    try:
        from ray.autoscaler.v2.sdk import get_cluster_status

        address = ray.get_runtime_context().gcs_address
        status = get_cluster_status(address)
    except Exception:  # not an interface that Ray promises
        return []
    if not int(status.stats.autoscaler_version or 0):
        return []
    print("asking the cluster's autoscaler for a GPU", file=out, flush=True)
    before, until = {launch.ray_node_type_name for launch in status.pending_launches}, time.monotonic() + ANSWERED
    request_resources(bundles=[{"GPU": 1}])
    try:
        while time.monotonic() < until:
            launches = {launch.ray_node_type_name for launch in get_cluster_status(address).pending_launches}
            if launches - before or gpus_up():
                return [{"CPU": 1024.0, "GPU": 1.0}]
            time.sleep(0.3)
        return []
    finally:
        request_resources(bundles=[])


def gpus_up() -> float:
    """How many GPUs the living nodes have now."""
    return float(sum(node["Resources"].get("GPU", 0.0) for node in _alive()))


def machines() -> dict[str, str]:
    """Host name and address of each living node, by its number in the cluster."""
    return {node["NodeID"]: f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})" for node in _alive()}


def cores() -> float:
    """Cores of this node, as the cluster counts them: all that its stages can ask for at a time."""
    here = ray.get_runtime_context().get_node_id()
    return next((float(node["Resources"].get("CPU", 1)) for node in _alive() if node["NodeID"] == here), 1.0)


def addresses() -> tuple[str, list[str]]:
    """The address of this node, and those of the other living nodes of the cluster that it belongs to."""
    connect()
    try:
        here = str(ray.util.get_node_ip_address())  # type: ignore[no-untyped-call]
        return here, sorted({str(node["NodeManagerAddress"]) for node in _alive()} - {here})
    finally:
        ray.shutdown()


def _wait_for_nodes(cluster: Mapping[str, Any], out: Any) -> None:
    expected = nodes.expected_nodes(cluster)
    deadline = time.monotonic() + seconds("MSS_NODES_SECONDS")
    logs = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "session_latest" / "logs"
    said = ""
    while len(joined := [str(node["NodeManagerAddress"]) for node in _alive()]) < expected:
        absent = nodes.missing(joined, cluster)
        told = nodes.awaited(joined, expected, absent, nodes.causes(logs, absent, cluster))
        if time.monotonic() > deadline:
            raise RuntimeError(nodes.too_few(told))
        if told != said:
            said = told
            print(f"waiting for nodes: {told}", file=out, flush=True)
        time.sleep(1)


def check_store(root: Path, data: Mapping[str, Path], code: Mapping[str, str], out: Any) -> None:
    """Raise RuntimeError naming the nodes that have other code, do not see the store as this process does, or lack a
    data set.

    A node answers once it has started a process that imports this project. That takes minutes where its cores are
    busy, so a node has as long for it as for joining. A node that died, of which Ray had not yet known, runs nothing
    and is passed over.
    """
    mark = nodes.leave_mark(root)
    alive, problems = _answers(nodes.answer_mark, lambda node: (root, mark, node, data, code), out)
    for node in nodes.read_answers(root, mark, [node for node in alive if alive[node] not in problems]):
        problems[alive[node]] = f"{root} is another folder there"
    if problems:
        raise RuntimeError(nodes.unshared(root, problems))


def check_objects(store: Joined, data: Mapping[str, Path], code: Mapping[str, str], out: Any) -> None:
    """As ``check_store``, where the nodes are to reach an object store."""
    mark = leave_mark(store.objects)
    try:
        _, problems = _answers(nodes.answer_object, lambda node: (store.place, mark, data, code), out)
    finally:
        store.objects.delete(mark)
    if problems:
        raise RuntimeError(nodes.unreached(store.place, problems))


def _answers(
    answer: Callable[..., str], arguments: Callable[[str], tuple[Any, ...]], out: Any
) -> tuple[dict[str, str], dict[str, str]]:
    """What each living node answers: all that live, by their number, and what is wrong, by machine."""
    limit = seconds("MSS_NODES_SECONDS")
    alive = machines()
    # Bound here, so that nodes need nothing that this process does not have.
    probe = ray.remote(num_cpus=0)(answer)
    asked = {
        probe.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)).remote(
            *arguments(node)
        ): node
        for node in alive
    }
    _, silent = ray.wait(list(asked), num_returns=len(asked), timeout=min(limit, UNTOLD))
    if silent:
        names = ", ".join(sorted(alive[asked[each]] for each in silent))
        print(f"waiting for nodes to answer: {names}", file=out, flush=True)
        ray.wait(silent, num_returns=len(silent), timeout=max(0.0, limit - UNTOLD))
    problems = dict[str, str]()
    for reference, node in asked.items():
        try:
            problem = ray.get(reference, timeout=0)
        except (ray.exceptions.TaskUnschedulableError, ray.exceptions.NodeDiedError):
            del alive[node]
            continue
        except ray.exceptions.GetTimeoutError:
            problem = f"it did not answer within {limit:g} s (--nodes-seconds or MSS_NODES_SECONDS gives it longer)"
        except ray.exceptions.RayError as error:
            problem = f"it cannot run this project ({str(error).strip().splitlines()[-1]})"
        if problem:
            problems[alive[node]] = problem
    return alive, problems
