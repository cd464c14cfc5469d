"""What is to be true of a cluster before a study starts on it: its nodes are there and share the store.

Ray itself is asked in ``launch``; here is what is looked at on a node, and what is said about it.
"""

from __future__ import annotations

import os
import re
import socket
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from mss_core.source import files
from mss_core.store.remote.relay import find_mark

CLUSTER_FILE = Path("~/ray_bootstrap_config.yaml")
"""Where ``ray up`` leaves the cluster file on the head."""

SYNCHRONISE = "`bash tools/cluster.sh sync ray_cluster.yaml` copies the checkout to all nodes"
"""What to do about code that is not the same everywhere."""

MARKS = "nodes"
"""Folder of the store that the probe of its nodes writes to."""


def cluster_file() -> dict[str, Any]:
    """The cluster file that ``ray up`` started this machine with, empty where there is none.

    Raises ValueError for one that is not a cluster file, naming the field.
    """
    try:
        content = yaml.safe_load(CLUSTER_FILE.expanduser().read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(getattr(error, "strerror", None) or error).split())
        raise ValueError(f"the cluster file {CLUSTER_FILE} cannot be read ({reason})") from None
    return _checked(content)


def _checked(content: Any) -> dict[str, Any]:
    """A cluster file whose fields are of the kinds that a study reads; what stands there empty is left out."""
    cluster = _table(content, "its content")
    for name in ("provider", "available_node_types"):
        cluster[name] = _table(cluster.get(name, {}), name)
    addresses = cluster["provider"].get("worker_ips") or []
    if not isinstance(addresses, list) or not all(isinstance(address, str) for address in addresses):
        raise _wrong("provider.worker_ips", "a list of addresses", addresses)
    cluster["provider"]["worker_ips"] = addresses
    _whole(cluster, "max_workers", "")
    for name, kind in cluster["available_node_types"].items():
        kind = cluster["available_node_types"][name] = _table(kind, f"available_node_types.{name}")
        for field in ("min_workers", "max_workers"):
            _whole(kind, field, f"available_node_types.{name}.")
        kind["resources"] = _table(kind.get("resources", {}), f"available_node_types.{name}.resources")
        for resource, amount in kind["resources"].items():
            if isinstance(amount, bool) or not isinstance(amount, int | float) or not 0 <= amount < float("inf"):
                raise _wrong(f"available_node_types.{name}.resources.{resource}", "a number of at least 0", amount)
    return cluster


def _table(value: Any, place: str) -> dict[str, Any]:
    if value is not None and not isinstance(value, dict):
        raise _wrong(place, "a table", value)
    return dict(value or {})


def _whole(table: dict[str, Any], name: str, place: str) -> None:
    value = table.pop(name, None)
    if value is not None:
        if type(value) is not int or value < 0:
            raise _wrong(f"{place}{name}", "a whole number of at least 0", value)
        table[name] = value


def _wrong(place: str, what: str, value: Any) -> ValueError:
    return ValueError(f"the cluster file {CLUSTER_FILE}: {place} must be {what}, not {value!r}")


def expected_nodes(cluster: Mapping[str, Any]) -> int:
    """How many nodes a study waits for: MSS_NODES, or head and workers that the cluster file starts with.

    Spot workers beyond ``min_workers`` come and go, and are not waited for. Raises ValueError for an MSS_NODES that is
    no number.
    """
    asked = os.environ.get("MSS_NODES")
    if asked is not None:
        if not (asked.isascii() and asked.isdigit() and int(asked)):
            raise ValueError(f"MSS_NODES={asked} is not a number of nodes, from 1 on")
        return int(asked)
    provider = cluster.get("provider", {})
    if provider.get("type") == "local":
        workers = len(provider.get("worker_ips", []))
        return 1 + min(int(cluster.get("max_workers", workers)), workers)
    head = cluster.get("head_node_type")
    types = cluster.get("available_node_types", {})
    return 1 + sum(int(kind.get("min_workers", 0)) for name, kind in types.items() if name != head) if types else 0


def possible_nodes(cluster: Mapping[str, Any]) -> list[dict[str, float]]:
    """Resources of the nodes that an autoscaler may still add."""
    head = cluster.get("head_node_type")
    return [
        {name: float(amount) for name, amount in kind.get("resources", {}).items()}
        for name, kind in cluster.get("available_node_types", {}).items()
        if name != head and kind.get("max_workers", cluster.get("max_workers", 0))
    ]


def promised() -> list[dict[str, float]]:
    """A machine with so many GPUs as MSS_GPUS says may come later, for autoscalers that tell Ray nothing.

    Raises ValueError for what is no number of GPUs.
    """
    asked = os.environ.get("MSS_GPUS")
    if asked is None:
        return []
    if not (asked.isascii() and asked.isdigit()):
        raise ValueError(f"MSS_GPUS={asked} is not a number of GPUs of one machine")
    return [{"CPU": 1024.0, "GPU": float(asked)}]


def missing(joined: Iterable[str], cluster: Mapping[str, Any]) -> list[str]:
    """The addresses of the cluster file that have not joined; none where it names none."""
    provider = cluster.get("provider", {})
    named = [provider.get("head_ip"), *provider.get("worker_ips", [])] if provider.get("type") == "local" else []
    here = set(joined)
    return [address for address in named if address and address not in here]


def awaited(joined: Iterable[str], expected: int, absent: Iterable[str], causes: Mapping[str, str]) -> str:
    """How many nodes have joined, which have not, and the likely cause of each."""
    here = sorted(joined)
    told = [f"{address} ({causes[address]})" if causes.get(address) else address for address in absent]
    return (
        f"{len(here)} of {expected} nodes have joined the cluster ({', '.join(here)}"
        + (f"; not {', '.join(told)}" if told else "")
        + ")"
    )


def too_few(awaited: str) -> str:
    """What to say where nodes are still missing after the wait: where to look, and how to do without them."""
    return (
        f"{awaited}. `ray monitor ray_cluster.yaml` has Ray's own words, `tools/cluster.sh sync` tries to start them "
        "(see docs/cluster.md). --nodes N (or MSS_NODES) starts with N nodes, --nodes-seconds S (or MSS_NODES_SECONDS) "
        "is how long to wait for them"
    )


SYMPTOMS = (
    (
        r"InvalidAuthToken|[Uu]nauthenticated|[Aa]uthentication (token|failed)",
        "its ~/.ray/auth_token is not the head's",
    ),
    (r"No route to host|Connection (refused|timed out|reset)|Network is unreachable", "SSH does not reach it"),
    (r"Permission denied", "SSH refuses user or key"),
    (r"ray: command not found", "`ray` is not on the PATH there: the set-up commands did not run"),
    (r"No space left on device", "its disk is full"),
)
"""What stands in Ray's log where a node cannot be started, and what it means."""

VERSIONS = re.compile(
    r"Version mismatch: .*?Ray: (\S+)\s+Python: (\S+)\s+This process on (\S+) was .*?Ray: (\S+)\s+Python: (\S+)", re.S
)
"""Ray's words where a node has another version of Ray or Python, over six lines."""


def looked_up(logs: Path, absent: Sequence[str]) -> dict[str, str]:
    """The likely cause by missing address, as far as the autoscaler's log on this machine tells.

    Of two, the later one counts. Output of a command on a node does not always name it: then it is that of the address
    that was named last.
    """
    found: dict[str, str] = {}
    for file in ("monitor.log", "monitor.err", "monitor.out"):
        try:
            text = (logs / file).read_bytes()[-300_000:].decode(errors="replace")
        except OSError:
            continue
        address = absent[0] if len(absent) == 1 else ""
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)  # colours
        text = VERSIONS.sub(r"\n\3 versions: Ray \4 and Python \5, here Ray \1 and Python \2\n", text)
        for line in text.splitlines():
            address = next((each for each in absent if re.search(rf"\b{re.escape(each)}\b", line)), address)
            if not address:
                continue
            if " versions: Ray " in line:
                found[address] = f"it has other versions: {line.partition(' versions: ')[2]}"
            if "Ray runtime started" in line:
                found.pop(address, None)
            found.update((address, meaning) for pattern, meaning in SYMPTOMS if re.search(pattern, line))
    return found


def answers_ssh(address: str) -> bool:
    """Whether something listens where SSH does."""
    try:
        socket.create_connection((address, 22), timeout=2).close()
    except OSError:
        return False
    return True


def causes(logs: Path, absent: Sequence[str], cluster: Mapping[str, Any]) -> dict[str, str]:
    """The likely cause by missing address: from Ray's log, and by knocking at the machines that are not there."""
    found = looked_up(logs, absent)
    if not (cluster.get("auth") or {}).get("ssh_proxy_command"):
        found |= {address: "nothing answers at its SSH port" for address in absent if not answers_ssh(address)}
    return found


# ---- the store, seen from every node


def leave_mark(root: Path) -> str:
    """Write what the other nodes are to find in the store. Raises OSError where the store cannot be written."""
    mark = uuid.uuid4().hex
    (root / MARKS).mkdir(parents=True, exist_ok=True)
    (root / MARKS / mark).write_text(socket.gethostname(), encoding="utf-8")
    return mark


def answer_mark(root: Path, mark: str, answer: str, data: Mapping[str, Path], code: Mapping[str, str]) -> str:
    """On a node: read the mark, write an answer beside it; compare its code with the driver's table of files. Returns
    what is wrong, or nothing."""
    wrong, absent = _differs(data, code)
    if wrong:
        return wrong
    folder = root / MARKS
    if not folder.is_dir():
        return f"there is no such folder as {root}" if not root.is_dir() else f"{root} is another folder there"
    if not appears(folder / mark):
        return f"{root} is another folder there"
    try:
        (folder / f"{mark}.{answer}").write_text(socket.gethostname(), encoding="utf-8")
    except OSError as error:
        return f"{root} cannot be written to there ({error.strerror or error})"
    return absent


def answer_object(url: str, mark: str, data: Mapping[str, Path], code: Mapping[str, str]) -> str:
    """On a node: as ``answer_mark``, where the mark is in an object store."""
    wrong, absent = _differs(data, code)
    return wrong or find_mark(url, mark) or absent


def _differs(data: Mapping[str, Path], code: Mapping[str, str]) -> tuple[str, str]:
    """What is wrong here with the code, and with the data sets."""
    other = code and files.other_code(files.table({Path(name).parts[0].removesuffix(".py") for name in code}), code)
    absent = [f"data set {name!r} ({path})" for name, path in data.items() if not path.is_dir()]
    return f"{other}; {SYNCHRONISE}" if other else "", f"it does not have {', '.join(absent)}" if absent else ""


def read_answers(root: Path, mark: str, answers: Iterable[str]) -> list[str]:
    """The answers that cannot be read here; the mark and all answers are removed."""
    folder = root / MARKS
    missing = [answer for answer in answers if not appears(folder / f"{mark}.{answer}")]
    for path in folder.glob(f"{mark}*"):
        path.unlink(missing_ok=True)
    return missing


def appears(path: Path, seconds: float = 5.0) -> bool:
    """Whether a file is there, or comes within the time that network file systems remember old listings for."""
    deadline = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def unreached(url: str, problems: Mapping[str, str]) -> str:
    """What to say where nodes have other code, or do not reach the object store or lack data."""
    lines = "\n  ".join(f"node {node}: {problem}" for node, problem in sorted(problems.items()))
    wanted = f"every node must have this process's code, reach {url}, and have the data sets under the same paths"
    return f"{wanted}:\n  {lines}"


def unshared(root: Path, problems: Mapping[str, str]) -> str:
    """What to say where nodes have other code, or do not share the store or the data."""
    lines = [f"node {node}: {problem}" for node, problem in sorted(problems.items())]
    elsewhere = any(str(root) in problem for problem in problems.values())
    return (
        f"every node must have this process's code, see the store {root} as one folder, and the data sets under the "
        "same paths:\n  "
        + "\n  ".join(lines)
        + ("\nGive --store a path on storage that all nodes mount (see docs/cluster.md)" if elsewhere else "")
    )
