"""Machines that can be reached over SSH, made of namespaces on this one: for trying ``ray up`` and ``ray submit``.

    python -m tests.cluster.lab laptop FOLDER NODES     the outside machine; inside a PID, mount and network namespace
    python -m tests.cluster.lab node FOLDER NUMBER      one machine; inside namespaces of its own, started by the above

Every machine has its own processes, network address (10.77.0.NUMBER; the laptop is 10.77.0.254), host name, /root, /tmp
(with the lab's folder in it) and /dev/shm, and shares the rest of the file system. All of it is gone when the laptop's
first process ends.
``ray up`` and ``ray stop`` end every Ray process they see, so they must never run outside such a namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

NEEDED = ("unshare", "nsenter", "ip", "ssh", "ssh-keygen", "sshd", "rsync", "mount")
UNSHARE = ["unshare", "-n", "-m", "-p", "-u", "-f", "--mount-proc"]
LAPTOP = "10.77.0.254"


def address(number: int) -> str:
    return f"10.77.0.{number}"


def why_not(needed: Sequence[str] = NEEDED) -> str:
    """Why there can be no such lab here; empty where there can."""
    missing = [name for name in needed if shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin") is None]
    if missing:
        return f"needs {', '.join(missing)} (apt-get install openssh-server rsync iproute2 util-linux)"
    if os.geteuid():
        return "needs root"
    if subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        return "this system allows no namespaces (unshare -n -m -p -u)"
    if subprocess.run(["unshare", "-n", "ip", "link", "add", "br0", "type", "bridge"], capture_output=True).returncode:
        return "this system allows no bridge between network namespaces"
    return ""


class Lab:
    """A laptop and some machines, as long as the block lasts. With a size (as ``mount`` takes it) the folder ``disk``
    of the lab is a disk that small, which all machines see."""

    def __init__(self, folder: Path, nodes: int, disk: str = "") -> None:
        self.folder, self.nodes, self.disk = folder, nodes, disk

    def __enter__(self) -> Lab:
        self.folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "host")], check=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / "id")], check=True)
        self.outer = subprocess.Popen(
            [*UNSHARE, sys.executable, "-m", "tests.cluster.lab", "laptop", str(self.folder), str(self.nodes)]
            + ([self.disk] if self.disk else []),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.outer.stdout is not None
        line = self.outer.stdout.readline()
        assert line == "ready\n", f"the lab did not start: {line!r}"
        self.first = _child(self.outer.pid)
        return self

    def __exit__(self, *exception: object) -> None:
        """End the laptop's first process; the kernel ends everything in its namespaces."""
        os.kill(self.first, 9)
        self.outer.wait()

    def unplug(self, number: int) -> None:
        """End a machine's first process, and with it the machine."""
        for outer in _children(self.first):
            for inner in _children(outer):
                if f"node\0{self.folder}\0{number}\0" in Path(f"/proc/{inner}/cmdline").read_text():
                    os.kill(inner, 9)

    def plug(self, number: int) -> None:
        """Start a machine again that was unplugged: its disk is as it was."""
        up = self.folder / f"sshd{number}"
        up.unlink()
        (self.folder / f"plug{number}").touch()
        deadline = time.monotonic() + 60
        while not up.exists():
            assert time.monotonic() < deadline, f"machine {number} did not come back"
            time.sleep(0.1)

    def inside(self, words: Sequence[str], **more: str) -> dict[str, Any]:
        """What subprocess is to be called with for a command on the laptop."""
        environment = {"PATH": os.environ["PATH"] + ":/usr/sbin:/sbin", "HOME": "/root", "LANG": "C.UTF-8", **more}
        enter = ["nsenter", "-t", str(self.first), "-n", "-m", "-p", "-u", f"--wd={os.getcwd()}"]
        return {"args": [*enter, *words], "env": environment, "text": True}

    @contextlib.contextmanager
    def network(self) -> Iterator[None]:
        """Sockets that are made in this block are the laptop's: what is served on them the machines reach."""
        library = ctypes.CDLL(None, use_errno=True)
        with open("/proc/thread-self/ns/net") as own, open(f"/proc/{self.first}/ns/net") as other:
            assert library.setns(other.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
            try:
                yield
            finally:
                assert library.setns(own.fileno(), 0) == 0

    def run(self, words: Sequence[str], seconds: float, **more: str) -> subprocess.CompletedProcess:
        """Run a command on the laptop."""
        return subprocess.run(**self.inside(words, **more), capture_output=True, timeout=seconds)

    def on(self, number: int, command: str, seconds: float = 120) -> subprocess.CompletedProcess:
        """Run a shell line on a machine, over SSH, as in a terminal there."""
        return self.run(
            [
                "ssh",
                "-i",
                str(self.folder / "id"),
                "-o",
                "StrictHostKeyChecking=no",
                "-o",
                "UserKnownHostsFile=/dev/null",
                f"root@{address(number)}",
                f"bash -ic '{command}'",
            ],
            seconds,
        )


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _child(pid: int) -> int:
    return _children(pid)[0]


def _sh(*words: str) -> None:
    subprocess.run(words, check=True)


def _private(folder: Path) -> None:
    """Own /root (with the running Python's installation, where that is under it), /tmp (with the lab's folder and this
    checkout, where they are in it) and /dev/shm.

    Ray's sockets and SSH's lie in /tmp by the address of a machine, so that two labs would reach each other's.
    """
    _sh("mount", "--make-rprivate", "/")
    home = folder / "root"
    home.mkdir(parents=True, exist_ok=True)
    python = Path(sys.base_prefix)
    if python.is_relative_to("/root"):
        inside = home / python.relative_to("/root")
        inside.mkdir(parents=True, exist_ok=True)
        _sh("mount", "--bind", str(python), str(inside))
    _sh("mount", "--rbind", str(home), "/root")
    lab, temporary = folder.parent, folder / "tmp"
    temporary.mkdir(exist_ok=True)
    temporary.chmod(0o1777)
    for outside in {lab, Path(__file__).parents[2]}:
        if outside.is_relative_to("/tmp"):
            inside = temporary / outside.relative_to("/tmp")
            inside.mkdir(parents=True, exist_ok=True)
            _sh("mount", "--rbind", str(outside), str(inside))
    _sh("mount", "--rbind", str(temporary), "/tmp")
    _sh("mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", "/dev/shm")


def _reap(look: Callable[[], None] = lambda: None) -> None:
    """For ever, as a first process must; ``look`` is called now and then."""
    while True:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        look()
        time.sleep(0.2)


def laptop(folder: Path, nodes: int, size: str = "") -> None:
    """The first process of the outside machine: builds the network and the machines, then lives until killed."""
    if size:
        (folder / "disk").mkdir()
        _sh("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder / "disk"))
    _sh("hostname", "laptop")
    _sh("ip", "link", "set", "lo", "up")
    _sh("ip", "link", "add", "br0", "type", "bridge")
    _sh("ip", "address", "add", f"{LAPTOP}/24", "dev", "br0")
    _sh("ip", "link", "set", "br0", "up")
    for number in range(1, nodes + 1):
        machine(folder, number)
    _private(folder / "laptop")
    for number in range(1, nodes + 1):
        while not (folder / f"sshd{number}").exists():
            time.sleep(0.05)
    print("ready", flush=True)

    def look() -> None:
        for file in folder.glob("plug*"):
            file.unlink()
            machine(folder, int(file.name.removeprefix("plug")))

    _reap(look)


def machine(folder: Path, number: int) -> None:
    """On the laptop: start a machine and connect it."""
    (folder / f"up{number}").unlink(missing_ok=True)
    outer = subprocess.Popen([*UNSHARE, sys.executable, "-m", "tests.cluster.lab", "node", str(folder), str(number)])
    while not (folder / f"up{number}").exists():  # it is in its namespaces
        assert outer.poll() is None
        time.sleep(0.05)
    inside = str(_child(outer.pid))
    _sh("ip", "link", "add", f"v{number}", "type", "veth", "peer", "name", "eth0", "netns", inside)
    _sh("ip", "link", "set", f"v{number}", "master", "br0", "up")


def node(folder: Path, number: int) -> None:
    """The first process of a machine: waits for its network, then serves SSH."""
    here = folder / f"node{number}"
    _sh("hostname", f"node{number}")
    _private(here)
    (folder / f"up{number}").touch()
    while subprocess.run(["ip", "link", "show", "eth0"], capture_output=True).returncode:
        time.sleep(0.05)
    _sh("ip", "link", "set", "lo", "up")
    _sh("ip", "address", "add", f"{address(number)}/24", "dev", "eth0")
    _sh("ip", "link", "set", "eth0", "up")
    _sh("ip", "route", "add", "default", "via", LAPTOP)
    Path("/run/sshd").mkdir(exist_ok=True)
    (here / "sshd_config").write_text(f"""Port 22
ListenAddress {address(number)}
HostKey {folder / "host"}
AuthorizedKeysFile {folder / "id.pub"}
PidFile {here / "sshd.pid"}
StrictModes no
UsePAM no
PermitRootLogin yes
""")
    subprocess.Popen(
        [
            shutil.which("sshd", path="/usr/sbin:/usr/bin") or "sshd",
            "-D",
            "-f",
            str(here / "sshd_config"),
            "-E",
            str(here / "sshd.log"),
        ]
    )
    (folder / f"sshd{number}").touch()
    _reap()


if __name__ == "__main__":
    {"laptop": laptop, "node": node}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]), *sys.argv[4:])
