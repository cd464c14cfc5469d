"""What a training step of the embedded default's U-Net costs on one core: by the channels of its first block, and by
whether the process keeps the memory that it frees, as a stage's does; and batch norm by itself, of as many values.

    python benchmarks/small_steps.py [--steps 5] [--batch 16]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from statistics import median

import torch

from mss_core.models.unet import UNet
from mss_core.runtime import keep_memory

FIRST = (4, 8)


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--steps", type=int, default=5)
    flags.add_argument("--batch", type=int, default=16)
    flags.add_argument("--kept", choices=("yes", "no"), help=argparse.SUPPRESS)
    given = flags.parse_args()
    if given.kept is None:  # what is set of a process's memory holds until it ends
        for kept in ("no", "yes"):
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--kept", kept], check=True)
        return
    torch.set_num_threads(1)
    if given.kept == "yes":
        keep_memory()
    nets = {
        first: UNet(widths=(first, 8, 16, 32, 48, 48), post=first).to(memory_format=torch.channels_last)
        for first in FIRST
    }
    batch = torch.rand(given.batch, 384, 256)
    seconds: dict[int, list[float]] = {first: [] for first in FIRST}
    faults = dict.fromkeys(FIRST, 0)
    for number in range(given.steps + 1):
        for first, net in nets.items():
            begun, pages = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            net.zero_grad()
            net(batch).mean().backward()
            if number:  # the first one prepares kernels
                seconds[first].append(time.process_time() - begun)
                faults[first] += resource.getrusage(resource.RUSAGE_SELF).ru_minflt - pages
    for first in FIRST:
        taken = normalised(first, given.batch, given.steps)
        step, ratio = median(seconds[first]), median(seconds[first]) / median(seconds[FIRST[0]])
        print(
            f"memory kept: {given.kept:3}  {first} channels first: {step:.3f} CPU s, {ratio:.2f} of {FIRST[0]}'s; "
            f"{faults[first] // given.steps:,} page faults per step; batch norm of 3 million values {taken:.3f} CPU s",
            flush=True,
        )


def normalised(channels: int, batch: int, times: int) -> float:
    """CPU seconds of batch norm, there and back, of a value per segment, frame and bin for two channels."""
    norm, frames = torch.nn.BatchNorm2d(channels), 2 * 384 // channels
    values = torch.rand(batch, channels, frames, 256).to(memory_format=torch.channels_last).requires_grad_()
    seconds = []
    for _ in range(times + 1):
        begun = time.process_time()
        norm(values).backward(torch.ones_like(values))
        seconds.append(time.process_time() - begun)
    return median(seconds[1:])


if __name__ == "__main__":
    main()
