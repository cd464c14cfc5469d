"""Part ``loop``: the loader and the training loop, with the data on the device and streamed to it."""

from __future__ import annotations

import dataclasses
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mss_core import audio, models, runtime
from mss_core.data.batches import Feed, waveforms
from mss_core.data.mixing import mix
from mss_core.data.packed import Packed
from mss_core.data.packing import SCALE
from mss_core.graph import Context
from mss_core.losses import l1
from mss_core.models.unet import separate
from mss_core.recipe import override
from mss_core.stages.pretrain import Mixing, mixer_of
from mss_core.systems.msspt import msspt_cnn
from mss_core.training import Phase, TrainConfig, fit
from on_gpu.cases import TINY, place
from on_gpu.tools import Channel, Options, synchronise, timed


def packed_noise(folder: Path, items: int, seconds: float, rate: int = 16_000) -> Packed:
    """A packed set of noise, written as ``data/packed.py`` reads it."""
    rows = ("mixture", "vocals", "drums", "bass", "other")
    length = round(seconds * rate)
    generator = np.random.default_rng(0)
    for row in rows:
        generator.integers(-9000, 9000, items * length, dtype=np.int16).tofile(folder / f"{row}.i16")
    described = [
        {
            "name": str(index),
            "split": "train",
            "start": index * length,
            "length": length,
            "units": [1 / SCALE] * len(rows),
        }
        for index in range(items)
    ]
    index = {"rows": rows, "samplerate": rate, "labels": [], "single_label": False, "items": described}
    (folder / "index.json").write_text(json.dumps(index))
    return Packed(folder)


WAYS: dict[str, dict[str, Any]] = {
    "resident": {"room": 1 << 40},
    "streamed": {"room": 0},
    "streamed, 8 threads": {"room": 0, "workers": 8},
}


def loop(channel: Channel, options: Options) -> None:
    """Mixtures of four-source music as ``pretrain`` makes them, alone and with the U-Net trained on them by ``fit``."""
    runtime.prepare_process()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        packed = packed_noise(folder, *((4, 8.0) if options.quick else (24, 180.0)))
        for way, given in list(WAYS.items())[: 2 if options.quick else None]:
            for task, measure in (("loader", _loader), ("training loop", _fit)):
                ctx = Context(device=options.device, checkpoint_seconds=1e9, out=folder, **given)
                channel.attempt(lambda m=measure, c=ctx: m(packed, options, c), task=task, data=way)


def _batches(packed: Packed, options: Options, ctx: Context, items: int) -> Callable[[int], Any]:
    mixing = Mixing(frames=64) if options.quick else Mixing()
    mixer = mixer_of(packed, ("vocals",), mixing, 0)
    feed = Feed(packed, mixer.rows, audio.samples_of(mixing.frames), lambda step: mixer.draw(step, items), ctx)

    def batch(step: int) -> Any:
        parts, gains = feed(step)
        return mix(mixer, mixer.voices(waveforms(parts)) * gains[..., None])

    return batch


def _loader(packed: Packed, options: Options, ctx: Context) -> dict[str, Any]:
    items = 2 if options.quick else 16
    batch, step = _batches(packed, options, ctx, items), iter(range(10**9))
    found = timed(lambda: batch(next(step)), options, 1.5)
    return {"items": items, **found, "items/s": 1e3 * items / found["ms"]}


def _fit(packed: Packed, options: Options, ctx: Context) -> dict[str, Any]:
    full = msspt_cnn()
    recipe = override(full, {k: v for k, v in TINY.items() if k.startswith("separator")}) if options.quick else full
    items, steps = (2, 2) if options.quick else (full.pretrain.batch, 60)
    ends: list[float] = []

    def listen(row: dict[str, Any]) -> None:
        synchronise(options)
        ends.append(time.perf_counter())

    def loss(module: nn.Module, pair: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return l1(separate(module, pair[0]), pair[1]).mean()

    module = place(models.build({**recipe.separator, "sources": 1}), options.device)
    fit(
        module,
        TrainConfig((Phase(epochs=3),), batch=items, precision="bfloat16"),
        epoch_steps=steps,
        batch=_batches(packed, options, ctx, items),
        loss=loss,
        validate=lambda module: {"loss": 0.0},
        ctx=dataclasses.replace(ctx, listen=listen),
    )
    ms = 1e3 * (ends[-1] - ends[0]) / (steps * (len(ends) - 1))
    return {"items": items, "ms": ms, "items/s": 1e3 * items / ms, "precision": "bfloat16"}
