"""The one training loop: phases, selection on validation, exact resume.

A batch is a pure function of its number, so a resumed training sees the batches it would have seen; the checkpoint
holds weights, their average, optimiser, best weights so far, position and the generators' states. Nothing is read from
the clock that could change a result.
"""

from __future__ import annotations

import bisect
import copy
import inspect
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mss_core import disk
from mss_core.errors import choose
from mss_core.graph import UNSAID, Context, Stopped
from mss_core.names import imported, outside
from mss_core.ranks import ALONE, Ranks

OPTIMIZERS = ("adam", "adamw", "sgd")
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Phase:
    """One stretch of training with one optimiser, started from the best weights so far.

    Attributes:
        optimizer: ``"adam"`` or ``"adamw"`` (0.9, 0.999), ``"sgd"``, or any other class as ``torch.optim:RAdam``, which
            is called with the rate and ``options`` and has its own defaults for everything else.
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
        options: keyword arguments of an optimiser named by module and class.
        warmup: steps in which the rate rises in a straight line, the first at ``1 / warmup`` of it; None: none.
        cosine: the share of the rate that is left at the end of the phase's last epoch, to which it falls along half a
            cosine once it is warm; None: it does not.
        clip_norm: gradients of a greater norm, over all parameters, are scaled down to this one; None: never.
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
    options: dict[str, Any] | None = field(default=None, metadata=UNSAID)
    warmup: int | None = field(default=None, metadata=UNSAID)
    cosine: float | None = field(default=None, metadata=UNSAID)
    clip_norm: float | None = field(default=None, metadata=UNSAID)

    def __post_init__(self) -> None:
        if outside(self.optimizer):
            if self.weight_decay or self.momentum or self.nesterov:
                raise ValueError(f"of {self.optimizer!r} 'weight_decay' and the like are said in 'options'")
            _named_optimizer([nn.Parameter(torch.zeros(1, 1))], self)
        else:
            choose("optimizer", self.optimizer, OPTIMIZERS)
        if self.options is not None and not outside(self.optimizer):
            raise ValueError(f"'options' are those of an optimizer named package.module:Class, not of {self.optimizer}")
        if not 0 < self.factor <= 1 or (self.plateau is not None and self.plateau < 0):
            raise ValueError(f"a phase needs 0 < factor <= 1 and plateau >= 0 (or None for never); got {self}")
        if self.clip is not None and not 0 < self.clip <= 100:
            raise ValueError(f"'clip' is a percentile above 0 and at most 100 (or None), not {self.clip}")
        if self.clip_norm is not None and (self.clip_norm <= 0 or self.clip is not None):
            raise ValueError(f"'clip_norm' is a norm above 0 (or None), and not given beside 'clip'; got {self}")
        if self.warmup is not None and self.warmup < 1:
            raise ValueError(f"'warmup' is a number of steps from 1 on (or None), not {self.warmup}")
        if self.cosine is not None and not 0 <= self.cosine <= 1:
            raise ValueError(f"'cosine' is a share of the rate from 0 to 1 (or None), not {self.cosine}")
        if self.lr <= 0 or self.epochs < 1 or self.decay_steps < 1:
            raise ValueError(f"a phase needs lr > 0, epochs >= 1 and decay_steps >= 1; got {self}")
        if self.eps <= 0:
            raise ValueError(f"'eps' must be above 0, not {self.eps}")
        if self.decay_after < 0 or (self.decay_epochs is not None and self.decay_epochs < 1):
            raise ValueError(f"a phase needs decay_after >= 0 and decay_epochs >= 1 (or None); got {self}")

    def rate(self, step: int, epoch: int, steps: int) -> float:
        """The learning rate at a step, in an epoch, both counted from the phase's first, 0; ``steps`` is the most that
        the phase can have."""
        if self.decay_epochs is None:
            rate = self.lr * self.decay ** (step // self.decay_steps)
        else:
            rate = self.lr * self.decay ** max(0, 1 + (epoch - self.decay_after) // self.decay_epochs)
        warmup = self.warmup or 0
        if step < warmup:
            return rate * (step + 1) / warmup
        if self.cosine is not None:
            turn = math.cos(math.pi * (step - warmup) / max(1, steps - warmup))
            rate *= self.cosine + (1 - self.cosine) * (1 + turn) / 2
        return rate


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained. Every field is part of the result's key.

    Attributes:
        phases: run one after another.
        batch: items in one piece on the device: those of a step, unless ``accumulate`` says otherwise.
        epoch_steps: steps between two validations; None: one pass over the training items.
        max_epochs: over all phases.
        select: ``"best"`` keeps the weights of the lowest validation loss, ``"last"`` the final ones.
        precision: ``"float32"``, or ``"bfloat16"`` autocast.
        seed: of initialisation, batches and dropout.
        accumulate: batches whose gradients make one step; their losses are averaged. None: one.
        ema: the decay, above 0 and below 1, of an average of the weights over all steps, which is what is validated,
            selected and kept; None: the weights themselves are. The n-th step has ``min(ema, (1 + n) / (10 + n))``, as
            TensorFlow's ExponentialMovingAverage. Buffers, such as batch norm's, are the present ones.
    """

    phases: tuple[Phase, ...] = (Phase(),)
    batch: int = 16
    epoch_steps: int | None = None
    max_epochs: int = 100_000
    select: str = "best"
    precision: str = "float32"
    seed: int = 0
    accumulate: int | None = field(default=None, metadata=UNSAID)
    ema: float | None = field(default=None, metadata=UNSAID)

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
        if self.accumulate is not None and self.accumulate < 1:
            raise ValueError(f"'accumulate' is a number of batches from 1 on (or None), not {self.accumulate}")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"'ema' is a decay above 0 and below 1 (or None), not {self.ema}")

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
        epoch_steps: steps between two validations, where each step has one batch. Where ``config`` does not say how
            many and gradients are accumulated, there are as many times fewer.
        batch: number of the batch (from 0) -> whatever ``loss`` takes; pure.
        loss: scalar to minimise.
        validate: metrics on the validation split; ``"loss"`` decides selection and patience. None where there is
            nothing to validate on: every epoch is run, and the last weights are kept.

    Returns the best validation loss, where there is one, and its epoch. Resumes from ``ctx.checkpoint`` where that
    exists. Raises Stopped after writing it where ``ctx.stop`` says so.

    Several processes may share a training (``ctx.ranks``): its batches are the same, and its result is, to rounding.
    """
    module.to(ctx.device, memory_format=torch.channels_last)
    ranks: Ranks = ctx.ranks or ALONE
    ranks.join()
    checkpoint = ranks.checkpoint or ctx.checkpoint
    at = _Position()
    optimizer = _optimizer(module, config.phases[0])
    judged = module if config.ema is None else copy.deepcopy(module)  # what is validated, selected and kept
    best = copy.deepcopy(judged.state_dict())
    batches = config.accumulate or 1
    if config.epoch_steps is None:
        epoch_steps = max(1, epoch_steps // batches)
    total = epoch_steps * config.epochs()
    nothing = torch.zeros((), dtype=torch.float64, device=ctx.device)
    sums, counted = nothing, 0  # on the device: the host waits for no step
    norms: list[float] = []  # of the gradients so far, in order of size
    saved = _load(checkpoint, ctx) if ranks.first else None
    if ranks.told(saved is not None) and not ranks.first:
        saved = _load(checkpoint, ctx)
    if saved is not None:
        at = _Position(**saved["position"])
        optimizer = _optimizer(module, config.phases[at.phase])
        module.load_state_dict(saved["module"])
        if judged is not module:
            judged.load_state_dict(saved["averaged"])
        optimizer.load_state_dict(saved["optimizer"])
        best, counted, norms = saved["best"], saved["counted"], saved["norms"]
        sums = nothing + saved["sums"]
        _set_generators(saved["generators"], ctx.device)
        ctx.rewind(at.epoch * epoch_steps)

    loss = ranks.shared(module, loss, lambda: batch(at.step * batches))

    def write() -> None:
        shown = ranks.mean(sums)
        if not ranks.first:
            return
        ctx.before_checkpoint()
        _save(
            checkpoint,
            {
                "device": ctx.device.split(":")[0],
                "position": vars(at),
                "module": module.state_dict(),
                **({} if judged is module else {"averaged": judged.state_dict()}),
                "optimizer": optimizer.state_dict(),
                "best": best,
                "sums": shown,
                "counted": counted,
                "norms": norms,
                "generators": _generators(ctx.device),
            },
        )

    begun = written = time.monotonic()
    reported = 0.0
    while at.phase < len(config.phases) and at.epoch < config.max_epochs:
        phase = config.phases[at.phase]
        phase_steps = min(phase.epochs, config.max_epochs) * epoch_steps
        module.train()
        while at.phase_step < (at.phase_epoch + 1) * epoch_steps:
            for group in optimizer.param_groups:
                group["lr"] = phase.rate(at.phase_step, at.phase_epoch, phase_steps) * phase.factor**at.cuts
            optimizer.zero_grad(set_to_none=True)
            for number in range(at.step * batches, (at.step + 1) * batches):
                with autocast(ctx.device, config.precision):
                    value = loss(module, batch(number))
                (value / batches).backward()
                sums, counted = sums + value.detach(), counted + 1
            if phase.clip is not None:
                _clip(module, phase.clip, norms)
            if phase.clip_norm is not None:
                nn.utils.clip_grad_norm_(module.parameters(), phase.clip_norm)
            optimizer.step()
            at.step += 1
            if config.ema is not None:
                _average(judged, module, min(config.ema, (1 + at.step) / (10 + at.step)))
            at.phase_step += 1
            now = time.monotonic()
            if now - reported > min(10.0, max(2.0, (now - begun) / 20)) and at.phase_step % epoch_steps:
                _tick(ctx, at.step, total)
                reported = now
            stop, due = ranks.told((ctx.stop is not None and ctx.stop(), now - written > ctx.checkpoint_seconds))
            if stop or due:
                write()
                written = now
            if stop:
                raise Stopped(f"stopped at step {at.step} of {total}")
        train_loss = float(ranks.mean(sums)) / counted
        if not math.isfinite(train_loss):
            raise FloatingPointError(
                f"the training loss became {train_loss} by step {at.step}; lower the learning rate ({phase.lr:g})"
            )
        module.eval()
        judged.eval()
        with torch.no_grad(), autocast(ctx.device, config.precision):
            metrics = ranks.told(validate(judged) if validate and ranks.first else {})
        if not math.isfinite(metrics.get("loss", 0.0)):
            raise FloatingPointError(f"the validation loss became {metrics['loss']} by step {at.step}")
        at.epoch += 1
        at.phase_epoch += 1
        at.bad_epochs += 1
        at.waited += 1
        if not validate:
            at.best_epoch, at.bad_epochs, at.waited = at.epoch, 0, 0
            best = copy.deepcopy(judged.state_dict())
        elif metrics["loss"] < at.best:
            at.best, at.best_epoch, at.bad_epochs, at.waited = metrics["loss"], at.epoch, 0, 0
            best = copy.deepcopy(judged.state_dict())
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
                    judged.load_state_dict(best)
                optimizer = _optimizer(module, config.phases[at.phase])
        due = ranks.told(time.monotonic() - written > ctx.checkpoint_seconds / 2)
        if due and at.phase < len(config.phases):
            write()
            written = time.monotonic()
    ranks.release(module)
    module.load_state_dict(best if config.select == "best" else judged.state_dict())
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


@torch.no_grad()
def _average(average: nn.Module, module: nn.Module, decay: float) -> None:
    """Move an average of a module's weights towards them, by ``1 - decay`` of the way."""
    for mean, now in zip(average.parameters(), module.parameters(), strict=True):
        mean.lerp_(now, 1 - decay)
    for mean, now in zip(average.buffers(), module.buffers(), strict=True):
        mean.copy_(now)


def _optimizer(module: nn.Module, phase: Phase) -> torch.optim.Optimizer:
    if outside(phase.optimizer):
        return _named_optimizer(list(module.parameters()), phase)
    if phase.optimizer in ("adam", "adamw"):
        kind = torch.optim.Adam if phase.optimizer == "adam" else torch.optim.AdamW
        return kind(module.parameters(), lr=phase.lr, eps=phase.eps, weight_decay=phase.weight_decay)
    return torch.optim.SGD(
        module.parameters(),
        lr=phase.lr,
        momentum=phase.momentum,
        nesterov=phase.nesterov,
        weight_decay=phase.weight_decay,
    )


def _named_optimizer(parameters: list[nn.Parameter], phase: Phase) -> torch.optim.Optimizer:
    """Raises ValueError for what is no optimiser, takes no such options, or needs a closure."""
    kind = imported("optimizer", phase.optimizer)
    try:
        found = kind(parameters, lr=phase.lr, **(phase.options or {}))
    except TypeError as error:
        raise ValueError(f"optimizer {phase.optimizer!r} cannot be made of {phase.options}: {error}") from None
    if not isinstance(found, torch.optim.Optimizer):
        raise ValueError(f"{phase.optimizer!r} makes a {type(found).__name__}, no torch.optim.Optimizer")
    closure = inspect.signature(kind.step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        raise ValueError(
            f"optimizer {phase.optimizer!r} evaluates the loss by itself (a closure), which has no place here"
        )
    return found


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
