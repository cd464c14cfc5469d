"""A small system whose trainings are real and take their time: what the chaos tests run.

Every batch waits CHAOS_PAUSE seconds, so that a training on a few kilobytes lasts long enough to be killed in; where
CHAOS_TRACE is a folder, every step leaves the time, which shows who worked on a stage when. Neither changes a result.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mss_core import disk, store, training
from mss_core.graph import Context, Stage
from mss_core.runtime import seeded
from mss_core.training import Phase, TrainConfig, fit

TRAINING = TrainConfig(phases=(Phase(lr=3e-3, epochs=8),), batch=16, epoch_steps=100)


STAGE_RESOURCES = {
    "score_small": {"warm": 1},
    "sleep_root": {"gpu": 1},
    "sleep_middle": {"gpu": 1},
    "sleep_last": {"gpu": 1, "warm": 1},
    "process_number": {"gpu": 1, "warm": 1},
    "wait_for": {"gpu": 1, "warm": 1},
    "process_number_training": {"gpu": 0.5},
    "out_of_gpu_memory": {"gpu": 0.25},
}


def prepare_numbers(*, size: int = 256, version: int = 1, out: Path, ctx: Context) -> None:
    """Leaves numbers.npz: inputs and a target that a small network can learn."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((size, 8)).astype(np.float32)
    targets = np.sin(inputs.sum(1, keepdims=True)).astype(np.float32)
    np.savez(out / "numbers.npz", inputs=inputs, targets=targets)
    ctx.report(step=1, total=1)


def pretrain_small(*, data: Path, width: int, train: TrainConfig, version: int = 1, out: Path, ctx: Context) -> None:
    """Leaves weights.pt of a network trained from random weights."""
    _train(_network(width, train.seed), data, train, out, ctx)


def finetune_small(
    *, data: Path, base: Path, width: int, train: TrainConfig, version: int = 1, out: Path, ctx: Context
) -> None:
    """Leaves weights.pt of a network trained on from ``base``."""
    module = _network(width, train.seed)
    module.load_state_dict(torch.load(base / "weights.pt", weights_only=True))
    _train(module, data, train, out, ctx)


def score_small(*, data: Path, model: Path, width: int, version: int = 1, out: Path, ctx: Context) -> None:
    """Leaves scores.csv: the error on the last quarter of the numbers."""
    module = _network(width, 0)
    module.load_state_dict(torch.load(model / "weights.pt", weights_only=True))
    module.eval()
    inputs, targets = _numbers(data)
    with torch.no_grad():
        error = float(((module(inputs[-64:]) - targets[-64:]) ** 2).mean())
    (out / "scores.csv").write_text(f"track,target,metric,aggregation,score\n,macro,error,mean,{error!r}\n")
    ctx.report(step=1, total=1)


@dataclass(frozen=True)
class Small:
    """Two trainings and a score: one network, started from another."""

    width: int = 8
    pretrain: TrainConfig = TRAINING
    finetune: TrainConfig = field(default_factory=lambda: replace(TRAINING, phases=(Phase(lr=1e-3, epochs=8),)))

    def pipeline(self) -> Stage:
        data = Stage(prepare_numbers)
        base = Stage(pretrain_small, data=data, width=self.width, train=self.pretrain)
        tuned = Stage(finetune_small, data=data, base=base, width=self.width, train=self.finetune)
        return Stage(score_small, data=data, model=tuned, width=self.width)


def sleep_root(*, seconds: float, number: int, out: Path, ctx: Context) -> None:
    """Takes ``seconds`` and a GPU of its own."""
    _sleep(seconds)
    (out / "done").touch()


def sleep_middle(*, parts: tuple[Path, ...], seconds: float, number: int, out: Path, ctx: Context) -> None:
    """The same, of another kind, after what it reads."""
    _sleep(seconds)
    (out / "done").touch()


def sleep_last(*, parts: tuple[Path, ...], seconds: float, number: int, out: Path, ctx: Context) -> None:
    """The same, of a kind that trains nothing."""
    _sleep(seconds)
    (out / "done").touch()


def wait_for(*, file: str, out: Path, ctx: Context) -> None:
    """Ends when a file is there."""
    while not Path(file).exists():
        time.sleep(0.1)
    (out / "done").touch()


def out_of_gpu_memory(*, number: int = 0, out: Path, ctx: Context) -> None:
    """Fails as torch does where a GPU is full."""
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def prepare_broken(*, out: Path, ctx: Context) -> None:
    """Fails as a preparation does that finds no data."""
    raise ValueError("no such data")


def process_number(*, number: int, out: Path, ctx: Context) -> None:
    """Leaves the number of its process and the GPU it was given."""
    (out / "process.txt").write_text(f"{os.getpid()} {os.environ.get('CUDA_VISIBLE_DEVICES', '')}")
    time.sleep(0.5)


def process_number_training(*, number: int, out: Path, ctx: Context) -> None:
    """The same, of a kind that trains."""
    process_number(number=number, out=out, ctx=ctx)


def _sleep(seconds: float) -> None:
    trace = os.environ.get("CHAOS_TRACE")
    begun = time.time()
    time.sleep(seconds)
    if trace:
        (Path(trace) / f"{begun:.3f}-{os.getpid()}").write_text(f"{begun} {time.time()}")


def _numbers(data: Path) -> tuple[torch.Tensor, torch.Tensor]:
    content = np.load(data / "numbers.npz")
    return torch.from_numpy(content["inputs"]), torch.from_numpy(content["targets"])


def _network(width: int, seed: int) -> nn.Module:
    with seeded(seed, "cpu"):
        return nn.Sequential(nn.Linear(8, width), nn.Tanh(), nn.Dropout(0.1), nn.Linear(width, 1))


def _train(module: nn.Module, data: Path, train: TrainConfig, out: Path, ctx: Context) -> None:
    inputs, targets = _numbers(data)
    pause = float(os.environ.get("CHAOS_PAUSE", "0"))
    _arm()

    def batch(step: int) -> torch.Tensor:
        time.sleep(pause)
        _trace(out, step)
        return torch.from_numpy(np.random.default_rng((train.seed, step)).integers(0, len(inputs) - 64, train.batch))

    def loss(network: nn.Module, chosen: torch.Tensor) -> torch.Tensor:
        return nn.functional.mse_loss(network(inputs[chosen]), targets[chosen])

    def validate(network: nn.Module) -> dict[str, float]:
        return {"loss": float(nn.functional.mse_loss(network(inputs[-64:]), targets[-64:]))}

    with seeded(train.seed, "cpu"):
        fit(module, train, epoch_steps=train.epoch_steps or 1, batch=batch, loss=loss, validate=validate, ctx=ctx)
    torch.save(module.state_dict(), out / "weights.pt")


def _trace(out: Path, step: int) -> None:
    folder = os.environ.get("CHAOS_TRACE")
    if folder:
        with open(Path(folder) / f"{out.name.split('.')[0]}.{os.getpid()}", "a", encoding="utf-8") as file:
            file.write(f"{time.time()} {step}\n")


def _arm() -> None:
    """Kill this process, once a run, in the middle of writing a checkpoint or between manifest and commit."""
    place, marker = os.environ.get("CHAOS_KILL"), os.environ.get("CHAOS_MARKER", "")
    if not place:
        return

    def once() -> bool:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    if place == "checkpoint":
        save = training._save

        def half(path: Path, content: dict) -> None:
            if path.exists() and once():  # not the first, so that there is one to go on from
                path.with_suffix(".tmp").write_bytes(path.read_bytes()[:500])
                os.kill(os.getpid(), signal.SIGKILL)
            save(path, content)

        training._save = half
    elif place == "commit":
        write = disk.write_atomically

        def written(path: Path, content: bytes, durable: bool = True) -> None:
            write(path, content, durable)
            if path.name == store.MANIFEST and once():
                os.kill(os.getpid(), signal.SIGKILL)

        disk.write_atomically = written
