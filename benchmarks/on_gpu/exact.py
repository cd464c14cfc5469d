"""Parts ``exact`` and ``stages``: whether a training, and a chain of stages, comes out the same again."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

import torch

from mss_core import runtime
from mss_core.disk import checksum
from mss_core.graph import Context, Stage, Stopped
from mss_core.recipe import override
from mss_core.store import Store, run_stage
from mss_core.systems.msspt import msspt_cnn, smoke
from on_gpu.cases import CASES, TINY, Case
from on_gpu.tools import Channel, Options, cast, short, synchronise, training_step

SETTINGS = ("deterministic", "free")
TURNS = (("whole", "again", "stopped"), ("resumed",))


def settings(options: Options) -> tuple[str, ...]:
    return SETTINGS[:1] if options.quick else SETTINGS


def repeats(channel: Channel, options: Options, setting: str) -> None:
    """Each network's training twice from one start: which tensors differ, and what a step takes. With deterministic
    kernels an operation that has none is an error."""
    runtime.prepare_process()
    with runtime.kernels(setting == "deterministic"):
        _networks(channel, options)


def _networks(channel: Channel, options: Options) -> None:
    for name in options.networks:
        try:
            torch.manual_seed(0)
            case = CASES[name](options.device, options.quick)
        except Exception as error:
            channel.send({"model": name, "error": short(error)})
            continue
        for precision in ("bfloat16",) if options.quick else ("float32", "bfloat16"):
            for training in (True, False):
                task = "training step" if training else "inference"
                if training or case.clips:
                    channel.attempt(
                        lambda case=case, precision=precision, training=training: _twice(
                            case, options, precision, training
                        ),
                        model=name,
                        task=task,
                        precision=precision,
                    )
        del case
        if options.cuda:
            torch.cuda.empty_cache()


def _twice(case: Case, options: Options, precision: str, training: bool) -> dict[str, Any]:
    start = copy.deepcopy(case.module.state_dict())
    steps = (1 if options.quick else 8) if training else 1
    found: list[dict[str, torch.Tensor]] = []
    ms = 0.0
    for _ in range(2):
        case.module.load_state_dict(start)
        case.module.train(training)
        torch.manual_seed(1)
        step = training_step(case, options, precision)
        synchronise(options)
        begun = time.perf_counter()
        if training:
            for _ in range(steps):
                step()
        else:
            with cast(options, precision):
                masked = case.infer().masked
        synchronise(options)
        ms = 1e3 * (time.perf_counter() - begun) / steps
        found.append(copy.deepcopy(case.module.state_dict()) if training else {"masked": masked.clone()})
    case.module.load_state_dict(start)
    first, second = found
    differing = [name for name, value in first.items() if not torch.equal(value, second[name])]
    most = max((float((first[n].double() - second[n].double()).abs().max()) for n in differing), default=0.0)
    return {
        "ms": ms,
        "steps": steps,
        "equal": not differing,
        "tensors that differ": f"{len(differing)} of {len(first)}",
        "most": most,
        "finite": all(bool(torch.isfinite(v).all()) for v in first.values() if v.is_floating_point()),
    }


def _chain(options: Options) -> tuple[Stage, Stage, Stage]:
    """pretrain, train_tail and finetune at full width on a little synthetic music."""
    full = msspt_cnn()
    recipe = dataclasses.replace(smoke(full), separator=full.separator, tail=full.tail, joint=full.joint)
    changes: dict[str, Any] = {
        "separation.size": 12,
        "tagging.size": 40,
        "mixing.valid_segments": 4,
        "pretrain.phases.0.epochs": 2,
        "pretrain.epoch_steps": 12,
        "train_tail.phases.0.epochs": 4,
        "train_tail.epoch_steps": 6,
        "train_tail.precision": "float32",
        "train_tail.batch": 8,
        "finetune.phases.0.epochs": 2,
        "finetune.epoch_steps": 12,
        "finetune.batch": 8,
    }
    if options.quick:
        changes |= {**TINY, "train_tail.epoch_steps": 2, "finetune.phases.0.epochs": 2, "finetune.epoch_steps": 2}
    joint = override(recipe, changes).pipeline().inputs["predictions"].inputs["model"]
    return joint.inputs["separator"], joint.inputs["tail"], joint


def stages_data(channel: Channel, options: Options, folder: Path) -> None:
    runtime.prepare_process()
    store = Store(folder / "data")
    for stage in _chain(options)[:2]:
        run_stage(stage.inputs["data"], store, Context())


def stages(channel: Channel, options: Options, folder: Path, setting: str, what: str) -> None:
    """Run the trainings in a store of their own; ``stopped`` leaves the first two in the middle, ``resumed`` goes on
    with them and stops and goes on with the third."""
    runtime.prepare_process()
    place_of = folder / setting / ("stopped" if what == "resumed" else what)
    if not place_of.exists():
        shutil.copytree(folder / "data", place_of)
    store, chain = Store(place_of), _chain(options)
    calls = iter(range(10_000))
    half = 3 if options.quick else 15
    ctx = Context(device=options.device, checkpoint_seconds=1e9, deterministic=setting == "deterministic")
    stopping = dataclasses.replace(ctx, stop=lambda: next(calls) % half == half - 1)
    begun = time.monotonic()
    for stage in chain:
        if what == "stopped" or (what == "resumed" and stage is chain[-1]):
            if what == "stopped" and stage is chain[-1]:
                break
            with contextlib.suppress(Stopped):
                calls = iter(range(10_000))
                run_stage(stage, store, stopping)
                raise RuntimeError(f"{stage.name} was not stopped")
        if what != "stopped":
            run_stage(stage, store, ctx)
    channel.send({"s": time.monotonic() - begun})


def compare_stages(channel: Channel, options: Options, folder: Path) -> None:
    """Whether the files of weights are the same, byte for byte, and how far their numbers are apart."""
    for setting in settings(options):
        for stage in _chain(options):
            for other in ("again", "stopped"):

                def differ(setting: str = setting, stage: Stage = stage, other: str = other) -> dict[str, Any]:
                    files = [
                        Store(folder / setting / what).directory(stage) / "weights.pt" for what in ("whole", other)
                    ]
                    a, b = (torch.load(file, map_location="cpu", weights_only=True) for file in files)
                    most = max(float((a[name].double() - b[name].double()).abs().max()) for name in a)
                    return {"byte-equal": checksum(files[0]) == checksum(files[1]), "most": most}

                name = "resumed" if other == "stopped" else other
                channel.attempt(differ, kernels=setting, what=f"{stage.name}, {name}")
