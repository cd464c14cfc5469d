"""The networks that ``benchmarks/gpu.py`` measures: each with the settings of its paper, its loss from waveforms on,
its inference, and how many operations and bytes a step cannot do without."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mss_core import audio, models
from mss_core.apply import inputs
from mss_core.losses import binary_cross_entropy, l1, mse
from mss_core.models.unet import separate
from mss_core.recipe import flatten, override
from mss_core.systems import hmss, iass, tagbox, transfer
from mss_core.systems.hmss.train import value as level_loss
from mss_core.systems.msspt import AST, msspt_cnn
from mss_core.systems.msspt import smoke as msspt_smoke
from mss_core.systems.tagbox.steering import Wanted, steer
from mss_core.systems.transfer.train import value as stem_loss

TINY: dict[str, Any] = {
    "separator.widths": (2, 2, 2, 2, 2, 2),
    "separator.post": 2,
    "tail.widths": (2, 2, 2, 2, 2, 2, 2),
    "tail.dense": 4,
    "separation.size": 12,
    "tagging.size": 14,
    "mixing.valid_segments": 2,
    "pretrain.phases.0.epochs": 2,
    "pretrain.epoch_steps": 2,
    "pretrain.batch": 2,
    "train_tail.phases.0.epochs": 2,
    "train_tail.batch": 4,
    "finetune.phases.0.epochs": 1,
    "finetune.batch": 4,
}
"""MSSPT's recipe at a size for seconds."""
ADAM_BYTES = 40
"""A parameter's bytes in a step: read twice, its gradient written and read, two moments and itself read and written."""


@dataclass
class Case:
    """One network with a batch on a device.

    Attributes:
        loss: of a training step, from the batch on; a scalar.
        infer: what inference does with the batch.
        items: segments of the batch.
        core: the parts that are given to a compiler, each called as a module.
        batch: the tensors of the batch.
        clips: where inference is a search by gradients, how many clips it steers; else 0.
    """

    module: nn.Module
    loss: Callable[[], Tensor]
    infer: Callable[[], Any]
    items: int
    core: tuple[nn.Module, ...]
    batch: list[Tensor]
    clips: int = 0


def noise(device: str, *shape: int) -> Tensor:
    """Waveforms as loud as music."""
    return 0.1 * torch.randn(*shape, device=device)


def place(module: nn.Module, device: str) -> nn.Module:
    """As ``training.fit`` lays it out."""
    return module.to(device, memory_format=torch.channels_last)


def _msspt(quick: bool, departures: dict[str, Any] | None = None) -> Any:
    recipe = override(msspt_cnn(), departures or {})
    if not quick:
        return recipe
    known = flatten(recipe)
    return override(msspt_smoke(recipe), {path: value for path, value in TINY.items() if path in known})


def unet(device: str, quick: bool) -> Case:
    recipe = _msspt(quick)
    items = 2 if quick else recipe.pretrain.batch
    module = place(models.build({**recipe.separator, "sources": 1}), device)
    length = audio.samples_of(64 if quick else recipe.mixing.frames)
    mixtures, references = noise(device, items, length), noise(device, items, 1, length)
    return Case(
        module,
        lambda: l1(separate(module, mixtures), references).mean(),
        lambda: separate(module, mixtures),
        items,
        (module,),
        [mixtures, references],
    )


def _classifier(described: dict[str, Any], frames: int, items: int, device: str) -> Case:
    module = place(models.build(described), device)
    waves = noise(device, items, audio.samples_of(frames))
    labels = (torch.rand(items, 50, device=device) < 0.1).float()

    def read() -> Tensor:
        with torch.autocast(device.split(":")[0], enabled=False):
            return inputs(module, waves)

    return Case(
        module,
        lambda: binary_cross_entropy(module(read()).float(), labels).mean(),
        lambda: module(read()),
        items,
        (module,),
        [waves, labels],
    )


def cnn(device: str, quick: bool) -> Case:
    recipe = _msspt(quick)
    items = 2 if quick else recipe.train_tail.batch
    return _classifier({**recipe.tail, "classes": 50}, recipe.frames, items, device)


def ast(device: str, quick: bool) -> Case:
    recipe = _msspt(quick, AST)
    items = 2 if quick else recipe.train_tail.batch
    return _classifier({**recipe.tail, "classes": 50}, recipe.frames, items, device)


def _joint(recipe: Any, device: str, quick: bool) -> Case:
    described = {
        **recipe.joint,
        "separator": {**recipe.separator, "sources": 1},
        "tail": {**recipe.tail, "classes": 50, "channels": 2},
    }
    return _classifier(described, recipe.frames, 2 if quick else recipe.finetune.batch, device)


def joint_cnn(device: str, quick: bool) -> Case:
    return _joint(_msspt(quick), device, quick)


def joint_ast(device: str, quick: bool) -> Case:
    return _joint(_msspt(quick, AST), device, quick)


def iass_unet(device: str, quick: bool) -> Case:
    recipe = iass.smoke(iass.iass_musdb()) if quick else iass.iass_musdb()
    rate, transform = recipe.data.samplerate, recipe.transform
    items = 2 if quick else recipe.train.batch
    decided = {"bins": transform.bins, "max_bin": transform.bins_below(recipe.bandwidth, rate)}
    module = place(models.build({**recipe.separator, **decided}), device)
    length = round((0.5 if quick else recipe.mixing.seconds) * rate)
    mixtures, references = noise(device, items, length), noise(device, items, length)
    truth = (torch.rand(items, len(transform.training_centres(length)), device=device) < 0.5).float()

    def loss() -> Tensor:
        magnitude = transform.training(mixtures)
        mask, logits = module(magnitude)
        error = mse(mask.float() * magnitude, transform.training(references)).mean()
        return error + recipe.alpha * binary_cross_entropy(logits.float(), truth).mean()

    return Case(
        module, loss, lambda: module(transform.training(mixtures)), items, (module,), [mixtures, references, truth]
    )


def blstm(device: str, quick: bool) -> Case:
    recipe = hmss.HMSS()
    network = {**recipe.network, "sources": recipe.levels, **({"hidden": 8, "layers": 2} if quick else {})}
    described = {"name": "level_separator", "network": network, "mask": recipe.mask, "constraint": recipe.constraint}
    module = place(models.build(described), device)
    items = 2 if quick else recipe.train.batch
    length = round((0.5 if quick else recipe.sampling.seconds) * recipe.data.samplerate)
    mixtures, references = noise(device, items, length), noise(device, items, recipe.levels, length)
    return Case(
        module,
        lambda: level_loss(module, mixtures, references, None, recipe.objective).mean(),
        lambda: module(mixtures),
        items,
        (module.network,),
        [mixtures, references],
    )


def xumx(device: str, quick: bool) -> Case:
    recipe = transfer.Transfer()
    small = {"size": 1024, "hop": 256, "max_bin": 400, "hidden": 16, "layers": 1} if quick else {}
    module = place(models.build({**recipe.xumx, "channels": recipe.channels, **small}), device)
    items = 2 if quick else recipe.train.batch
    length = round((0.5 if quick else recipe.stems.seconds) * module.samplerate)
    stems = noise(device, items, len(module.stems), recipe.channels, length)
    return Case(
        module,
        lambda: stem_loss(module, stems, recipe.stems).mean(),
        lambda: module(module.spectrum(stems.sum(1)).abs()),
        items,
        (module,),
        [stems],
    )


def vqvae(device: str, quick: bool) -> Case:
    """The training step is the VQ-VAE's own; inference steers clips with one tagger (all decodes and updates)."""
    recipe = tagbox.smoke(tagbox.TagBox()) if quick else tagbox.TagBox()
    module, tagger = models.build(recipe.vqvae), models.build({**recipe.models["fcn"], "classes": 50})
    for level in range(len(module.encoders)):
        book = module.codebook(level)
        book.k.normal_()
        book.k_sum.copy_(book.k)
        book.k_elem.fill_(1.0)
    module, tagger = place(module, device), place(tagger, device).eval()
    items, rate = (2 if quick else recipe.train_vqvae.batch), recipe.tracks.samplerate
    config = override(recipe.steer, {"segment_seconds": 0.5, "steps": 2, "clips": 2} if quick else {})
    waves = noise(device, items, round(recipe.vqvae_seconds * rate) // 128 * 128)
    clips = noise(device, config.clips, round(config.segment_seconds * rate))
    wanted = [Wanted(tagger, torch.eye(50)[0].to(device))]
    return Case(
        module,
        lambda: module.loss(waves),
        lambda: steer(module, wanted, clips, rate, config),
        items,
        (*module.encoders, *module.decoders),
        [waves, clips],
        config.clips,
    )


CASES: dict[str, Callable[[str, bool], Case]] = {
    "U-Net": unet,
    "CNN tail": cnn,
    "AST": ast,
    "joint CNN": joint_cnn,
    "joint AST": joint_ast,
    "IASS": iass_unet,
    "BLSTM": blstm,
    "X-UMX": xumx,
    "VQ-VAE steering": vqvae,
}


# ---- what a step cannot do without


def lstm_operations(module: nn.Module, run: Callable[[], Any]) -> float:
    """Operations of the matrix products of every LSTM call in ``run``, forward, which torch's counter leaves out."""
    total = 0.0

    def count(layer: nn.LSTM, arguments: tuple[Tensor, ...], _: Any) -> None:
        nonlocal total
        read = layer.input_size
        directions = 2 if layer.bidirectional else 1
        places = arguments[0].shape[0] * arguments[0].shape[1]
        for _layer in range(layer.num_layers):
            total += 2.0 * places * directions * 4 * layer.hidden_size * (read + layer.hidden_size)
            read = directions * layer.hidden_size

    hooks = [m.register_forward_hook(count) for m in module.modules() if isinstance(m, nn.LSTM)]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    return total


def operations(case: Case, training: bool) -> float:
    """Floating-point operations of a step (forward and backward) or of an inference, a product and a sum being two."""
    counter = FlopCounterMode(display=False)

    def run() -> None:
        with counter:
            if training:
                case.loss().backward()
            else:
                case.infer()

    recurrent = lstm_operations(case.module, run)
    return counter.get_total_flops() + (3.0 if training else 1.0) * recurrent


def least_bytes(case: Case, training: bool) -> float:
    """Bytes that pass through the device's memory at least: of a step every parameter's (:data:`ADAM_BYTES`) and what
    the backward pass keeps, written and read once; of an inference the parameters and the batch, read once."""
    own = {p.data_ptr(): p.numel() for p in case.module.parameters()}
    given = sum(x.numel() * x.element_size() for x in case.batch)
    if not training:
        return 4.0 * sum(own.values()) + given
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in own:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = min(storage.nbytes(), tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = case.loss()
    loss.backward()
    return float(ADAM_BYTES) * sum(own.values()) + 2.0 * sum(kept.values())
