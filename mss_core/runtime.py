"""The process a stage runs in: device and threads, the same whoever starts it."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import platform
import sys
from collections.abc import Iterator

import torch

THREADS = 1
"""CPU threads of every stage. Fixed, because the order of a sum, and so its last bits, depend on it."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h


def device() -> str:
    """``"cuda"`` where this process may use a CUDA device, else ``"cpu"``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def gpus() -> int:
    """How many CUDA devices this process may use."""
    return torch.cuda.device_count()


def device_name(device: str) -> str:
    """The hardware's own name, e.g. ``"NVIDIA H200"`` or the CPU's model."""
    if device.startswith("cuda"):
        return str(torch.cuda.get_device_name(device))
    with contextlib.suppress(OSError):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def room(device: str) -> int:
    """Bytes of a device that one stage's data may take: a quarter of what is free on a GPU, which other stages may
    share; none on the CPU, where mapped files are in memory already."""
    if not device.startswith("cuda"):
        return 0
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) // 4


def prepare_process() -> None:
    """Fix what numbers depend on beside a stage's arguments: CPU threads, no reduced precision behind its back, and
    cuBLAS's workspace, which it reads once per process. Keep freed memory, too."""
    keep_memory()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(THREADS)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False


@contextlib.contextmanager
def kernels(deterministic: bool) -> Iterator[None]:
    """Run a block with kernels of a GPU that give the same bytes again, on the same card with the same software, or
    with whichever kernels are fast.

    An operation without a deterministic kernel raises RuntimeError in the block. Attention needs no switch of its own:
    in this mode torch takes flash attention, or the memory-efficient one without splitting keys, and not cuDNN's.
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = False  # costs a kernel per tensor; nothing reads it
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        torch.utils.deterministic.fill_uninitialized_memory = filled


def limit_memory(device: str, share: float) -> None:
    """Let this process use at most ``share`` of its GPU's memory, so that stages beside it keep theirs."""
    if device.startswith("cuda"):
        torch.cuda.set_per_process_memory_fraction(share)


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether a GPU had too little memory (not the host)."""
    return isinstance(error, torch.OutOfMemoryError)


def keep_memory() -> None:
    """Let the C library keep memory that is freed, and hand it out again; ``release_memory`` gives it back.

    By default glibc gives large arrays back at once, and the next ones cost a page fault per 4 kB: a third of a
    training step of the embedded default's U-Net (``benchmarks/small_steps.py``).
    """
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            library = ctypes.CDLL("libc.so.6")
            library.mallopt(_M_MMAP_MAX, 0)
            library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def release_memory(taken: float) -> None:
    """Give what a stage freed back to the system, unless it took so few seconds that this would slow a sweep down.

    It costs a fifth of a second of a core where torch is loaded, and what short stages leave is freed by the next.
    """
    if taken < 5.0:
        return
    gc.collect()
    if sys.platform.startswith("linux"):
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


@contextlib.contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """Run a block with torch's global generators seeded, and put them back after it.

    For what draws from them and cannot be given a generator: initialisation and dropout.
    """
    devices = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
