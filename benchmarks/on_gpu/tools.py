"""What all parts of ``benchmarks/gpu.py`` use: the way back to the table, time, energy, precision, a step."""

from __future__ import annotations

import contextlib
import signal
import statistics
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from on_gpu.cases import Case

PRECISIONS = ("float32", "tf32", "bfloat16")


@dataclass(frozen=True)
class Options:
    device: str
    quick: bool
    networks: tuple[str, ...]

    @property
    def cuda(self) -> bool:
        return self.device == "cuda"


class Channel:
    """The way back to the table."""

    def __init__(self, send: Callable[[Any], None], wait: Callable[[], Any]) -> None:
        self.send, self.wait = send, wait

    def attempt(self, measure: Callable[[], dict[str, Any]], **labels: Any) -> None:
        """Send a row, with the reason where there is no measurement."""
        try:
            found = measure()
        except Exception as error:
            traceback.print_exc()
            found = {"error": short(error)}
        self.send({**labels, **found})


def short(error: BaseException) -> str:
    """
    >>> short(ValueError("first line\\nsecond"))
    'ValueError: first line'
    """
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ''}"[:200]


class Meter:
    """Joules that the card has taken: NVML's counter, or nvidia-smi's power summed up, or nothing."""

    def __init__(self, device: str) -> None:
        self.source, self._joules = "nothing", 0.0
        if not device.startswith("cuda"):
            return
        try:
            import pynvml

            pynvml.nvmlInit()
            self._handle, self._nvml = pynvml.nvmlDeviceGetHandleByIndex(0), pynvml
            pynvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
            self.source = "NVML"
        except Exception:  # neither the module nor every card has it
            with contextlib.suppress(OSError):
                query = ["nvidia-smi", "--query-gpu=power.draw", "--format=csv,noheader,nounits", "-lms", "50"]
                self._process = subprocess.Popen(query, stdout=subprocess.PIPE, text=True)
                threading.Thread(target=self._sum, daemon=True).start()
                self.source = "nvidia-smi"

    def _sum(self) -> None:
        last = time.monotonic()
        for line in self._process.stdout or ():
            now = time.monotonic()
            with contextlib.suppress(ValueError):
                self._joules += float(line) * (now - last)
            last = now

    def read(self) -> float | None:
        if self.source == "NVML":
            return self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1e3
        return self._joules if self.source == "nvidia-smi" else None


def synchronise(options: Options) -> None:
    if options.cuda:
        torch.cuda.synchronize()


def timed(
    step: Callable[[], Any], options: Options, seconds: float = 0.4, meter: Meter | None = None
) -> dict[str, Any]:
    """Median milliseconds of a call, of three groups of calls, and the watts meanwhile."""
    step()
    synchronise(options)
    begun = time.perf_counter()
    step()
    synchronise(options)
    once = time.perf_counter() - begun
    count = 1 if options.quick else max(1, min(300, round(seconds / 3 / once)))
    for _ in range(min(3, count - 1)):
        step()
    synchronise(options)
    before, start, took = meter and meter.read(), time.perf_counter(), []
    for _ in range(1 if options.quick else 3):
        begun = time.perf_counter()
        for _ in range(count):
            step()
        synchronise(options)
        took.append((time.perf_counter() - begun) / count)
    found = {"ms": 1e3 * statistics.median(took)}
    after = meter and meter.read()
    if before is not None and after is not None:
        found["W"] = (after - before) / (time.perf_counter() - start)
    return found


def set_precision(precision: str) -> None:
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision == "tf32"


def cast(options: Options, precision: str, cached: bool = True) -> torch.autocast:
    return torch.autocast(options.device, dtype=torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=cached)


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """TimeoutError after so many seconds."""

    def stop(number: int, frame: Any) -> None:
        raise TimeoutError(f"not done within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def training_step(case: Case, options: Options, precision: str, captured: bool = False) -> Callable[[], None]:
    """One step with Adam as the harness has it, or as a graph can hold it."""
    how = {"fused": True, "capturable": options.cuda} if captured else {}
    optimizer = torch.optim.Adam(case.module.parameters(), lr=1e-4, eps=1e-7, **how)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with cast(options, precision, not captured):
            loss = case.loss()
        loss.backward()
        optimizer.step()

    return step


def inference(case: Case, options: Options, precision: str, captured: bool = False) -> Callable[[], None]:
    def run() -> None:
        with torch.set_grad_enabled(case.clips > 0), cast(options, precision, not captured):
            case.infer()

    return run


def graph_of(step: Callable[[], None], options: Options) -> Callable[[], None]:
    """The same work, recorded once and replayed; the work itself where there are no graphs."""
    if not options.cuda:
        return step
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay
