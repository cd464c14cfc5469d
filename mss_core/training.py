"""The one training loop: phases, selection on validation, exact resume.

A batch is a pure function of its step number, so a resumed training sees the batches it would have seen; the
checkpoint holds weights, optimiser, best weights so far, position and the generators' states. Nothing is read from
the clock that could change a result.
"""

from __future__ import annotations

import bisect
import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mss_core import disk
from mss_core.errors import choose
from mss_core.graph import Context, Stopped

OPTIMIZERS = ("adam", "sgd")
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Phase:
    """One stretch of training with one optimiser, started from the best weights so far.

    Attributes:
        optimizer: ``"adam"`` (0.9, 0.999) or ``"sgd"``.
        epochs: at most this many.
        patience: the phase ends after more than this many epochs without a new best validation loss; None: never.
        decay, decay_steps: the rate is multiplied by ``decay`` every ``decay_steps`` steps.
        decay_epochs, decay_after: where given, by ``decay`` after epoch ``decay_after`` of the phase and every
            ``decay_epochs`` epochs from then on, and not by steps.
        factor, plateau: the rate is multiplied by ``factor`` after more than ``plateau`` epochs without a new best
            validation loss, counted anew after each time; None: never.
        clip: gradients are scaled down to this percentile, in (0, 100], of the norms of all gradients so far, the
            present one among them (AutoClip, Seetharaman et al. 2020; the host waits for it at each step); None: never.
        eps: of Adam. The default is Keras's; PyTorch's is 1e-8.
    """

    optimizer: str = "adam"
    lr: float = 1e-4
    epochs: int = 200
    patience: int | None = None
    decay: float = 1.0
    decay_steps: int = 15_000
    decay_epochs: int | None = None
    decay_after: int = 0
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    factor: float = 1.0
    plateau: int | None = None
    clip: float | None = None
    eps: float = 1e-7

    def __post_init__(self) -> None:
        choose("optimizer", self.optimizer, OPTIMIZERS)
        if not 0 < self.factor <= 1 or (self.plateau is not None and self.plateau < 0):
            raise ValueError(f"a phase needs 0 < factor <= 1 and plateau >= 0 (or None for never); got {self}")
        if self.clip is not None and not 0 < self.clip <= 100:
            raise ValueError(f"'clip' is a percentile above 0 and at most 100 (or None), not {self.clip}")
        if self.lr <= 0 or self.epochs < 1 or self.decay_steps < 1:
            raise ValueError(f"a phase needs lr > 0, epochs >= 1 and decay_steps >= 1; got {self}")
        if self.eps <= 0:
            raise ValueError(f"'eps' must be above 0, not {self.eps}")
        if self.decay_after < 0 or (self.decay_epochs is not None and self.decay_epochs < 1):
            raise ValueError(f"a phase needs decay_after >= 0 and decay_epochs >= 1 (or None); got {self}")

    def rate(self, step: int, epoch: int) -> float:
        """The learning rate at a step, in an epoch, both counted from the phase's first, 0."""
        if self.decay_epochs is None:
            return self.lr * self.decay ** (step // self.decay_steps)
        return self.lr * self.decay ** max(0, 1 + (epoch - self.decay_after) // self.decay_epochs)


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. Every field is part of the result's key.

    Attributes:
        phases: run one after another.
        batch: items a step.
        epoch_steps: steps between two validations; None: one pass over the training items.
        max_epochs: over all phases.
        select: ``"best"`` keeps the weights of the lowest validation loss, ``"last"`` the final ones.
        precision: ``"float32"``, or ``"bfloat16"`` autocast.
        seed: of initialisation, batches and dropout.
    """

    phases: tuple[Phase, ...] = (Phase(),)
    batch: int = 16
    epoch_steps: int | None = None
    max_epochs: int = 100_000
    select: str = "best"
    precision: str = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        choose("select", self.select, ("best", "last"))
        choose("precision", self.precision, PRECISIONS)
        if self.batch < 2:
            raise ValueError(f"'batch' must be at least 2 (batch norm needs it), not {self.batch}")
        if self.max_epochs < 1 or (self.epoch_steps is not None and self.epoch_steps < 1):
            raise ValueError(
                f"'max_epochs' and 'epoch_steps' must be at least 1 (or None for one pass); got "
                f"{self.max_epochs} and {self.epoch_steps}"
            )
        if not self.phases:
            raise ValueError("'phases' is empty: leave the stage out (None) instead")

    def epochs(self) -> int:
        """The most epochs this configuration can run."""
        return min(self.max_epochs, sum(phase.epochs for phase in self.phases))


@dataclass
class _Position:
    phase: int = 0
    phase_epoch: int = 0
    epoch: int = 0
    step: int = 0  # over the whole training
    phase_step: int = 0
    bad_epochs: int = 0
    cuts: int = 0  # how often a plateau has lowered the rate of this phase
    waited: int = 0  # epochs since the last new best or cut
    best: float = math.inf
    best_epoch: int = 0


def autocast(device: str, precision: str) -> torch.autocast:
    """The context in which a model of this precision runs."""
    dtype = PRECISIONS[precision]
    return torch.autocast(device.split(":")[0], dtype=dtype or torch.bfloat16, enabled=dtype is not None)


def fit(
    module: nn.Module,
    config: TrainConfig,
    *,
    epoch_steps: int,
    batch: Callable[[int], Any],
    loss: Callable[[nn.Module, Any], Tensor],
    validate: Callable[[nn.Module], dict[str, float]] | None,
    ctx: Context,
) -> dict[str, float]:
    """Train ``module`` in place and leave the selected weights in it.

    Args:
        epoch_steps: steps between two validations.
        batch: step number (from 0) -> whatever ``loss`` takes; pure.
        loss: scalar to minimise.
        validate: metrics on the validation split; ``"loss"`` decides selection and patience. None where there is
            nothing to validate on: every epoch is run, and the last weights are kept.

    Returns the best validation loss, where there is one, and its epoch. Resumes from ``ctx.checkpoint`` where that
    exists. Raises Stopped after writing it where ``ctx.stop`` says so.
    """
    module.to(ctx.device, memory_format=torch.channels_last)
    checkpoint = ctx.checkpoint
    at = _Position()
    optimizer = _optimizer(module, config.phases[0])
    best = copy.deepcopy(module.state_dict())
    total = epoch_steps * config.epochs()
    nothing = torch.zeros((), dtype=torch.float64, device=ctx.device)
    sums, counted = nothing, 0  # on the device: the host waits for no step
    norms: list[float] = []  # of the gradients so far, in order of size
    saved = _load(checkpoint, ctx)
    if saved is not None:
        at = _Position(**saved["position"])
        optimizer = _optimizer(module, config.phases[at.phase])
        module.load_state_dict(saved["module"])
        optimizer.load_state_dict(saved["optimizer"])
        best, counted, norms = saved["best"], saved["counted"], saved["norms"]
        sums = nothing + saved["sums"]
        _set_generators(saved["generators"], ctx.device)
        ctx.rewind(at.epoch * epoch_steps)

    def write() -> None:
        ctx.before_checkpoint()
        _save(
            checkpoint,
            {
                "device": ctx.device.split(":")[0],
                "position": vars(at),
                "module": module.state_dict(),
                "optimizer": optimizer.state_dict(),
                "best": best,
                "sums": sums,
                "counted": counted,
                "norms": norms,
                "generators": _generators(ctx.device),
            },
        )

    begun = written = time.monotonic()
    reported = 0.0
    while at.phase < len(config.phases) and at.epoch < config.max_epochs:
        phase = config.phases[at.phase]
        module.train()
        while at.phase_step < (at.phase_epoch + 1) * epoch_steps:
            for group in optimizer.param_groups:
                group["lr"] = phase.rate(at.phase_step, at.phase_epoch) * phase.factor**at.cuts
            with autocast(ctx.device, config.precision):
                value = loss(module, batch(at.step))
            optimizer.zero_grad(set_to_none=True)
            value.backward()
            if phase.clip is not None:
                _clip(module, phase.clip, norms)
            optimizer.step()
            sums, counted = sums + value.detach(), counted + 1
            at.step += 1
            at.phase_step += 1
            now = time.monotonic()
            if now - reported > min(10.0, max(2.0, (now - begun) / 20)) and at.phase_step % epoch_steps:
                _tick(ctx, at.step, total)
                reported = now
            stop = ctx.stop is not None and ctx.stop()
            if stop or now - written > ctx.checkpoint_seconds:
                write()
                written = now
            if stop:
                raise Stopped(f"stopped at step {at.step} of {total}")
        train_loss = float(sums) / counted
        if not math.isfinite(train_loss):
            raise FloatingPointError(
                f"the training loss became {train_loss} by step {at.step}; lower the learning rate ({phase.lr:g})"
            )
        module.eval()
        with torch.no_grad(), autocast(ctx.device, config.precision):
            metrics = validate(module) if validate else {}
        if not math.isfinite(metrics.get("loss", 0.0)):
            raise FloatingPointError(f"the validation loss became {metrics['loss']} by step {at.step}")
        at.epoch += 1
        at.phase_epoch += 1
        at.bad_epochs += 1
        at.waited += 1
        if not validate:
            at.best_epoch, at.bad_epochs, at.waited = at.epoch, 0, 0
            best = copy.deepcopy(module.state_dict())
        elif metrics["loss"] < at.best:
            at.best, at.best_epoch, at.bad_epochs, at.waited = metrics["loss"], at.epoch, 0, 0
            best = copy.deepcopy(module.state_dict())
        if phase.plateau is not None and at.waited > phase.plateau:
            at.cuts, at.waited = at.cuts + 1, 0
        ctx.report(
            step=at.step,
            total=total,
            train_loss=train_loss,
            learning_rate=optimizer.param_groups[0]["lr"],
            **{f"valid_{name}": value for name, value in metrics.items()},
        )
        sums, counted = nothing, 0
        impatient = phase.patience is not None and at.bad_epochs > phase.patience
        if at.phase_epoch >= phase.epochs or impatient:
            at.phase, at.phase_epoch, at.phase_step, at.bad_epochs = at.phase + 1, 0, 0, 0
            at.cuts, at.waited = 0, 0
            if at.phase < len(config.phases):
                if config.select == "best":
                    module.load_state_dict(best)
                optimizer = _optimizer(module, config.phases[at.phase])
        if time.monotonic() - written > ctx.checkpoint_seconds / 2 and at.phase < len(config.phases):
            write()
            written = time.monotonic()
    if config.select == "best":
        module.load_state_dict(best)
    loss = {"loss": at.best} if validate else {}
    return {**loss, "epoch": at.best_epoch, "epochs": at.epoch, "steps": at.step}


def _clip(module: nn.Module, percentile: float, norms: list[float]) -> None:
    """Scale the gradients down to a percentile of all norms, to which theirs is added."""
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    bisect.insort(norms, float(norm))
    place = percentile / 100 * (len(norms) - 1)
    below = norms[math.floor(place)]
    limit = below + (place % 1) * (norms[math.ceil(place)] - below)
    nn.utils.clip_grads_with_norm_(module.parameters(), limit, norm)


def _optimizer(module: nn.Module, phase: Phase) -> torch.optim.Optimizer:
    if phase.optimizer == "adam":
        return torch.optim.Adam(module.parameters(), lr=phase.lr, eps=phase.eps, weight_decay=phase.weight_decay)
    return torch.optim.SGD(
        module.parameters(),
        lr=phase.lr,
        momentum=phase.momentum,
        nesterov=phase.nesterov,
        weight_decay=phase.weight_decay,
    )


def _load(checkpoint: Path, ctx: Context) -> dict[str, Any] | None:
    """A checkpoint of this kind of device; None where there is none to go on from."""
    if not checkpoint.exists():
        return None
    try:
        saved = torch.load(checkpoint, map_location=ctx.device, weights_only=True)
    except Exception:  # whatever a damaged file makes of it: start anew
        saved = {}
    if saved.get("device") == ctx.device.split(":")[0]:
        return saved
    checkpoint.unlink()
    ctx.rewind(-1)
    return None


def _tick(ctx: Context, step: int, total: int) -> None:
    """Show how far a stage is between two reports; only the progress display reads it."""
    disk.write(ctx.work / "step", f"{step} {total}".encode())
    if ctx.clock is not None:
        ctx.clock.save()


def _generators(device: str) -> dict[str, Tensor]:
    states = {"cpu": torch.get_rng_state()}
    if device.startswith("cuda"):
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def _set_generators(states: dict[str, Tensor], device: str) -> None:
    torch.set_rng_state(states["cpu"].cpu())
    if device.startswith("cuda") and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"].cpu(), device)


def _save(path: Path, content: dict[str, Any]) -> None:
    disk.write_atomically(path, lambda file: torch.save(content, file))
