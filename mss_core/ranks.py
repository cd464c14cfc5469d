"""One training by several processes of a machine, which torch.distributed connects.

Every process makes the whole of each batch, a pure function of seed and step, and takes its slice of it. Its loss is
weighted by the length of the slice, so that the averaged gradients are those of the whole batch, to rounding. The first
process alone validates, writes checkpoints and decides when to stop.
"""

from __future__ import annotations

import copy
import functools
import os
import platform
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
import torch.distributed.nn.functional as differentiable
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

T = TypeVar("T")
Loss = Callable[[nn.Module, Any], Tensor]
PATIENCE = timedelta(days=7)
"""How long a process waits for what another does by itself: a validation has no end that is known. One that has ended
is found by its closed connection."""
STEP = timedelta(minutes=10)
"""How long GPUs wait for one another within a step."""
AGREE = 1e-4
"""How far, relatively, a loss by slices may be from that of the whole batch; rounding in float32 is far below."""


def meeting_place(size: int, port: int | None = None) -> Any:
    """A store over which the processes of this machine find one another: a new one, or the one at a port."""
    kind = dist.TCPStore  # type: ignore[attr-defined]
    return kind("127.0.0.1", port or 0, size, is_master=port is None, wait_for_workers=False)


class Ranks:
    """The processes of one training, as one of them sees them; a training in one process has nobody to ask.

    Args:
        store: over which they find one another.
        checkpoint: the first process's, which the others read.
        meet: waits until the others are there; only the first process has it.
    """

    def __init__(
        self,
        rank: int = 0,
        size: int = 1,
        store: dist.Store | None = None,
        device: str = "cpu",
        checkpoint: Path | None = None,
        meet: Callable[[], None] | None = None,
    ) -> None:
        self.rank, self.size, self.store, self.device = rank, size, store, device
        self.checkpoint, self.meet, self.joined = checkpoint, meet, False
        self.first = rank == 0

    def join(self) -> None:
        """Connect with the others; does nothing the second time."""
        if self.size == 1 or self.joined:
            return
        if self.meet is not None:
            self.meet()
        if platform.system() == "Linux":
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # a host's own name may lead nowhere
        dist.init_process_group("gloo", store=self.store, rank=self.rank, world_size=self.size, timeout=PATIENCE)
        on_gpu = self.device.startswith("cuda")
        self.gradients = dist.new_group(backend="nccl", timeout=STEP) if on_gpu else dist.new_group(backend="gloo")
        self.joined = True

    def leave(self) -> None:
        """Disconnect, whether the others are there or not."""
        if self.joined:
            if self.device.startswith("cuda"):
                self.gradients.abort()
            dist.destroy_process_group()

    def told(self, value: T) -> T:
        """What the first process has, in every process."""
        if self.size == 1:
            return value
        held = [value]
        dist.broadcast_object_list(held, src=0)
        return held[0]

    def mean(self, value: Tensor) -> Tensor:
        """The mean over the processes."""
        if self.size == 1:
            return value
        total = value.detach().cpu()
        dist.all_reduce(total)
        return (total / self.size).to(value.device)

    def part(self, batch: Any) -> tuple[Any, float]:
        """This process's slice of a batch, and the weight of its mean in the average over the processes."""
        items = _items(batch)
        if items < self.size:
            raise ValueError(
                f"a batch of {items} cannot be shared by {self.size} processes: each takes an item at least"
            )
        first, last = (items * rank // self.size for rank in (self.rank, self.rank + 1))
        return _cut(batch, items, first, last), self.size * (last - first) / items

    def shared(self, module: nn.Module, loss: Loss, first: Callable[[], Any]) -> Loss:
        """``loss`` as every process computes it of its slice, weighted; gradients are averaged as they are made.

        Args:
            first: makes a batch with which it is seen that slices mean the same as the whole.

        Raises:
            ValueError: they do not; names the layer, buffer or loss.
        """
        if self.size == 1:
            return loss
        self._check(module, loss, first())
        _synchronise(module, self.gradients)
        averaged = nn.parallel.DistributedDataParallel(
            _Objective(module, loss), process_group=self.gradients, broadcast_buffers=False, find_unused_parameters=True
        )

        def of_slice(_: nn.Module, batch: Any) -> Tensor:
            mine, weight = self.part(batch)
            value: Tensor = averaged(mine)
            return value * weight

        return of_slice

    def release(self, module: nn.Module) -> None:
        """Undo what :meth:`shared` did to the layers."""
        for layer in module.modules():
            if _follows_batches(layer):
                vars(layer).pop("forward", None)

    def _check(self, module: nn.Module, loss: Loss, batch: Any) -> None:
        """Compare one forward pass of the whole batch with one of the slices, on copies of the module. All processes
        raise what the first of them finds."""
        found: list[str] = [""] * self.size
        dist.all_gather_object(found, _drops(module) or self._differs(module, loss, batch))
        for reason in filter(None, found):
            raise ValueError(f"this training cannot be shared by {self.size} processes: {reason}")

    def _differs(self, module: nn.Module, loss: Loss, batch: Any) -> str:
        whole, parts = copy.deepcopy(module).train(), copy.deepcopy(module).train()
        _synchronise(parts, self.gradients)
        mine, weight = self.part(batch)
        devices = [torch.device(self.device)] if self.device.startswith("cuda") else []
        with torch.no_grad(), torch.random.fork_rng(devices=devices):
            before = self._generators()
            expected = float(loss(whole, batch))
            found = float(self.mean(loss(parts, mine).double() * weight))
            drawn = not torch.equal(before, self._generators())
        if drawn:
            return "its loss draws random numbers, which are drawn for a whole batch at once"
        if abs(found - expected) > AGREE * max(abs(expected), abs(found), 1e-6):
            return (
                f"the loss of a batch is {expected:.6g}, and {found:.6g} as the mean over its items, by slices; a loss "
                "must be a mean over items, and no layer may look from one item to another"
            )
        for (name, one), other in zip(whole.named_buffers(), parts.buffers(), strict=True):
            if not torch.allclose(one.double(), other.double(), rtol=AGREE, atol=1e-6):
                return f"the buffer {name!r} follows the items of a whole batch, and is another after a slice"
        return ""

    def _generators(self) -> Tensor:
        states = [torch.get_rng_state()]
        if self.device.startswith("cuda"):
            states.append(torch.cuda.get_rng_state(self.device))
        return torch.cat(states)


ALONE = Ranks()
"""A training in one process."""


class _Objective(nn.Module):
    """A loss as the forward pass of a module, which is what DistributedDataParallel watches."""

    def __init__(self, module: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.module, self.loss = module, loss

    def forward(self, batch: Any) -> Tensor:
        return self.loss(self.module, batch)


def _drops(module: nn.Module) -> str:
    """A sentence about the first layer that drops values at random; empty where none does."""
    for name, layer in module.named_modules():
        share = layer.p if isinstance(layer, _DropoutNd) else getattr(layer, "dropout", 0.0)
        between = not isinstance(layer, nn.RNNBase) or layer.num_layers > 1
        if isinstance(share, int | float) and share > 0 and between:
            return (
                f"its network has dropout (the {type(layer).__name__} {name!r}), which is drawn for a whole batch at "
                "once; train it in one process, or without dropout"
            )
    return ""


# ---- batches


def _items(batch: Any) -> int:
    """How many items a batch has: the length of its tensors. Raises ValueError where they differ or there are none."""
    lengths: set[int] = set()

    def look(part: Any) -> None:
        if isinstance(part, Tensor) and part.ndim:
            lengths.add(len(part))
        elif isinstance(part, Mapping):
            for each in part.values():
                look(each)
        elif isinstance(part, tuple | list):
            for each in part:
                look(each)
        elif part is not None:
            raise ValueError(
                f"a batch that several processes share holds tensors by item, and no {type(part).__name__}"
            )

    look(batch)
    if len(lengths) != 1:
        raise ValueError(f"a batch that several processes share holds tensors of one length, not of {sorted(lengths)}")
    return lengths.pop()


def _cut(batch: Any, items: int, first: int, last: int) -> Any:
    if isinstance(batch, Tensor):
        return batch[first:last]
    if isinstance(batch, Mapping):
        return {name: _cut(part, items, first, last) for name, part in batch.items()}
    if isinstance(batch, tuple | list):
        parts = [_cut(part, items, first, last) for part in batch]
        return type(batch)(*parts) if hasattr(batch, "_fields") else type(batch)(parts)
    return batch


# ---- batch norm


def _follows_batches(layer: nn.Module) -> bool:
    return isinstance(layer, _BatchNorm) and type(layer).forward is _BatchNorm.forward


def _synchronise(module: nn.Module, group: dist.ProcessGroup) -> None:
    """Let batch norm take its statistics of all slices. torch's own SyncBatchNorm does so on GPUs alone."""
    for layer in module.modules():
        if _follows_batches(layer):
            layer.forward = functools.partial(_normalised, layer, group)  # type: ignore[method-assign]


def _normalised(layer: _BatchNorm, group: dist.ProcessGroup, x: Tensor) -> Tensor:
    """Batch norm [Ioffe and Szegedy 2015] with mean and variance over the slices of all processes. Shape: unchanged."""
    if not layer.training and layer.running_mean is not None:
        return _BatchNorm.forward(layer, x)
    layer._check_input_dim(x)
    values, axes = x.float() if x.dtype != torch.float64 else x, [axis for axis in range(x.ndim) if axis != 1]
    shape = [1, -1, *[1] * (x.ndim - 2)]
    count = torch.tensor(x.numel() / x.shape[1], dtype=values.dtype, device=x.device)
    dist.all_reduce(count, group=group)
    mean = differentiable.all_reduce(values.sum(axes), group=group) / count
    centred = values - mean.reshape(shape)
    variance = differentiable.all_reduce(centred.square().sum(axes), group=group) / count
    if layer.running_mean is not None and layer.running_var is not None and layer.num_batches_tracked is not None:
        with torch.no_grad():
            layer.num_batches_tracked.add_(1)
            share = 1.0 / float(layer.num_batches_tracked) if layer.momentum is None else layer.momentum
            layer.running_mean.lerp_(mean.to(layer.running_mean.dtype), share)
            layer.running_var.lerp_((variance * count / (count - 1)).to(layer.running_var.dtype), share)
    y = centred * torch.rsqrt(variance + layer.eps).reshape(shape)
    if layer.affine:
        y = y * layer.weight.reshape(shape) + layer.bias.reshape(shape)
    return y.to(x.dtype)
