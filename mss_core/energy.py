"""What a stage takes of a machine: devices that it holds, and energy where the machine counts it.

A GPU's own counter is asked through NVML, the library of its driver (``nvmlDeviceGetTotalEnergyConsumption``): the card
alone, without the machine around it. On a CPU RAPL is read below /sys/class/powercap: packages and their memory. A
machine without such a counter, or one whose counter this user may not read, counts nothing, and the manifest says why.

A counter knows no programs. It counts all that its card or package does meanwhile, idle power and other programs too.
So a stage is given a share of what was counted. In process one stage runs at a time, and its share is all of it. On a
cluster the share is what the stage asked for: a quarter of a GPU is given a quarter of what the card took, one core of
sixteen a sixteenth of what the packages took. What stages are given never adds up to more than was counted; on a
cluster, what nobody asked for is given to nobody.

A card's counter moves some ten times a second, so the energy of a stage that takes less than a second is rough.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mss_core import disk

POWERCAP = Path("/sys/class/powercap")
LIBRARIES = ("libnvidia-ml.so.1", "nvml.dll")
POLL = 30.0
"""Seconds between two looks: RAPL's counter may start again after a few minutes of full power."""
MIG = "the card is split by MIG, and its counter is of the whole card"


@dataclass(frozen=True)
class Part:
    """What a stage holds of the machine that it runs on.

    Attributes:
        devices: GPUs, or cores on a CPU; a fraction of a GPU that stages share. None: one per process.
        share: the part of what the counters count that is given to the stage, in (0, 1].
    """

    devices: float | None = None
    share: float = 1.0


@dataclass(frozen=True)
class Counter:
    """A counter of energy.

    Attributes:
        name: ``NVML`` or ``RAPL``.
        read: joules since some time; raises OSError where it no longer answers.
        range: joules at which it starts again from zero; infinite for one that does not.
    """

    name: str
    read: Callable[[], float]
    range: float = math.inf


def between(before: float, after: float, range: float = math.inf) -> float:
    """Joules from one look at a counter to the next, in which it may have started again once.

    Raises ValueError where a counter without a range went back: it was reset.

    >>> between(10.0, 25.0), between(95.0, 5.0, 100.0)
    (15.0, 10.0)
    """
    if after >= before:
        return after - before
    if not before <= range < math.inf:
        raise ValueError("the counter was reset")
    return range - before + after


def counters(device: str, many: int = 1) -> tuple[list[Counter], str]:
    """The counters of the ``many`` first GPUs of this process, or of this machine's CPUs; none, and why not."""
    try:
        return (of_gpus(range(many)) if device.startswith("cuda") else of_cpus()), ""
    except (OSError, LookupError, ValueError, AttributeError, RuntimeError) as error:
        return [], str(error) or type(error).__name__


# ---- CPUs


def of_cpus(root: Path | None = None) -> list[Counter]:
    """RAPL's counters of the packages and of their memory. A package's cores are part of it and are not counted twice,
    nor is a package that a second interface shows again.

    Raises OSError saying why where there is none, or where this user may not read one.
    """
    root = root or POWERCAP
    zones = sorted(name for name in (disk.names(root) if disk.exists(root) else ()) if name.startswith("intel-rapl:"))
    found = []
    for zone in zones:
        try:
            name = disk.read(root / zone / "name").decode().strip()
            if not name.startswith("package") and name != "dram":
                continue
            most = float(disk.read(root / zone / "max_energy_range_uj")) / 1e6
            counter = Counter("RAPL", lambda file=root / zone / "energy_uj": float(disk.read(file)) / 1e6, most)
            counter.read()
        except PermissionError:
            raise OSError("RAPL's counters may not be read by this user") from None
        found.append(counter)
    if not found:
        raise OSError("this machine shows no RAPL counter")
    return found


# ---- GPUs


def of_gpus(which: Sequence[int], library: Any = None, name: Callable[[int], str] | None = None) -> list[Counter]:
    """The counters of the GPUs that torch calls ``which``.

    Args:
        library: NVML; None: the one of the installed driver.
        name: the UUID of a GPU as NVML writes it; None: asked of torch.

    Raises OSError saying why where the driver has no such library or a card has no such counter.
    """
    nvml, uuid = library or _library(), name or _uuid
    _asked(nvml.nvmlInit_v2)
    return [_of_gpu(nvml, uuid(index)) for index in which]


def _of_gpu(nvml: Any, uuid: str) -> Counter:
    handle, mode, pending = ctypes.c_void_p(), ctypes.c_uint(), ctypes.c_uint()
    _asked(nvml.nvmlDeviceGetHandleByUUID, uuid.encode(), ctypes.byref(handle))
    with contextlib.suppress(OSError, AttributeError):  # a card that cannot be split has no such mode
        _asked(nvml.nvmlDeviceGetMigMode, handle, ctypes.byref(mode), ctypes.byref(pending))
    if mode.value:
        raise OSError(MIG)

    def read() -> float:
        millijoules = ctypes.c_ulonglong()
        _asked(nvml.nvmlDeviceGetTotalEnergyConsumption, handle, ctypes.byref(millijoules))
        return millijoules.value / 1e3

    read()
    return Counter("NVML", read)


def _library() -> Any:
    for name in LIBRARIES:
        with contextlib.suppress(OSError):
            return ctypes.CDLL(name)
    raise OSError("the GPU's driver has no NVML library here")


def _asked(function: Any, *arguments: Any) -> None:
    status = function(*arguments)
    if status:
        reason = {3: "this card has no counter of energy", 4: "NVML may not be read by this user"}
        raise OSError(reason.get(status, f"NVML answered with status {status}"))


def _uuid(index: int) -> str:
    import torch

    return f"GPU-{torch.cuda.get_device_properties(index).uuid}"


# ---- a stage


class Meter:
    """Energy of a stage over all its attempts, as far as each one reported: what was saved before an attempt was cut
    off counts, as in ``graph.Clock``. Where one of the attempts was not measured, the stage was not.

    Args:
        path: where the sum is kept between attempts.
        part: what the stage holds.
        found: the counters, or none and why, as :func:`counters` says.
        devices: that the stage holds where ``part`` does not say.
        fresh: whether this is the first attempt.
    """

    def __init__(
        self, path: Path, part: Part, found: tuple[Sequence[Counter], str], devices: int = 1, fresh: bool = True
    ) -> None:
        self.path, self.part, self.devices = path, part, float(part.devices or devices)
        self._counters, self.why = list(found[0]), found[1]
        self.joules, self.names = 0.0, [counter.name for counter in self._counters]
        self._last: list[float] = []
        self._lock = threading.Lock()
        self._kept: dict[str, Any] = {}
        self._before(fresh)
        self.look()
        self._end = disk.every(POLL, self.look) if self._counters else lambda: None

    def _before(self, fresh: bool) -> None:
        """Take over what earlier attempts have kept."""
        try:
            kept = json.loads(disk.read(self.path))
        except (FileNotFoundError, ValueError):
            if not fresh:
                self._give_up("an earlier attempt at this stage was not measured")
            return
        if kept.get("unmeasured"):
            self._give_up(f"an earlier attempt at this stage was not measured: {kept['unmeasured']}")
        else:
            self.joules, self.names = float(kept["joules"]), [*kept["counters"], *self.names]

    def _give_up(self, why: str) -> None:
        self.why, self._counters = self.why or why, []

    def look(self) -> None:
        """Add what was counted since the last look."""
        with self._lock:
            try:
                now = [counter.read() for counter in self._counters]
                for counter, before, after in zip(self._counters, self._last, now, strict=bool(self._last)):
                    self.joules += self.part.share * between(before, after, counter.range)
                self._last = now
            except (OSError, ValueError) as error:
                self._give_up(str(error))
                self._last = []

    def save(self) -> None:
        """Keep the sum for a later attempt."""
        self.look()
        kept = {"unmeasured": self.why} if self.why else {"joules": self.joules, "counters": sorted(set(self.names))}
        if kept != self._kept:
            disk.write_atomically(self.path, json.dumps(kept).encode(), durable=False)
            self._kept = kept

    def close(self) -> None:
        """Look no more."""
        self._end()

    def said(self) -> dict[str, Any]:
        """What a manifest says: ``devices``; and ``joules``, ``counter`` and ``share``, or ``unmeasured``, why not."""
        self.look()
        if self.why:
            return {"devices": self.devices, "unmeasured": self.why}
        told = {"joules": round(self.joules, 3), "counter": " + ".join(sorted(set(self.names)))}
        return {"devices": self.devices, **told, "share": self.part.share}
