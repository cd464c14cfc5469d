"""Part ``models``: training step and inference of each network, held against what the card can do."""

from __future__ import annotations

import time
from typing import Any

import torch

from mss_core import runtime
from on_gpu.cases import CASES, Case, least_bytes, operations
from on_gpu.tools import (
    PRECISIONS,
    Channel,
    Meter,
    Options,
    at_most,
    cast,
    graph_of,
    inference,
    set_precision,
    short,
    synchronise,
    timed,
    training_step,
)

COMPILE_SECONDS = 75


def model(channel: Channel, options: Options, name: str, compiled: bool = True) -> None:
    """Compile beside others; then, alone on the device, measure everything."""
    runtime.prepare_process()
    torch.manual_seed(0)
    made = _compiled(channel, options, name) if compiled else None
    facts = channel.wait()
    bench = _Bench(channel, options, facts, Meter(options.device))
    case = CASES[name](options.device, options.quick)
    precisions = PRECISIONS[-1 if options.quick else 0 :]
    for training in (True, False):
        bench.count(case, training)
        for precision in precisions:
            bench.measure(case, training, precision, "eager")
    torch.backends.cudnn.benchmark = True
    bench.measure(case, True, "bfloat16", "eager, cudnn.benchmark")
    torch.backends.cudnn.benchmark = False
    for training in (True, False):
        if made is not None and (training or not made.clips):
            bench.measure(made, training, "bfloat16", "compiled")
    for training in (False, True):  # a capture that fails may spoil those after it
        for precision in precisions:
            bench.measure(case, training, precision, "graph", captured=True)
        if made is not None and (training or not made.clips):
            bench.measure(made, training, "bfloat16", "compiled, graph", captured=True)


def _compiled(channel: Channel, options: Options, name: str) -> Case | None:
    """The network compiled, for bfloat16; None where that failed or took too long."""
    done: list[Case] = []

    def compile_it() -> dict[str, Any]:
        begun = time.monotonic()
        case = CASES[name](options.device, options.quick)
        for part in case.core:
            part.compile(backend="eager" if options.quick else "inductor")
        with at_most(COMPILE_SECONDS):
            case.module.train()
            training_step(case, options, "bfloat16")()
            case.module.eval()
            if not case.clips:  # the search takes tens of gigabytes, and others are here
                inference(case, options, "bfloat16")()
            synchronise(options)
        case.module.zero_grad(set_to_none=True)
        if options.cuda:
            torch.cuda.empty_cache()
        done.append(case)
        return {"s": time.monotonic() - begun}

    if options.quick and name != "BLSTM":  # seconds each, and the way is the same
        return None
    channel.attempt(compile_it, task="compiling, beside the others", precision="bfloat16", mode="compiled")
    return done[0] if done else None


class _Bench:
    """One network's measurements against what the card can do."""

    def __init__(self, channel: Channel, options: Options, facts: dict[str, Any], meter: Meter) -> None:
        self.channel, self.options, self.facts, self.meter = channel, options, facts or {}, meter
        self.operations: dict[bool, float] = {}

    def count(self, case: Case, training: bool) -> None:
        case.module.train(training)
        try:
            with torch.set_grad_enabled(training or case.clips > 0):
                self.operations[training] = operations(case, training)
        except Exception as error:
            self.channel.send({"task": "counting operations", "error": short(error)})
        case.module.zero_grad(set_to_none=True)

    def floor(self, case: Case, training: bool, precision: str) -> dict[str, Any]:
        """The least milliseconds: by operations at the measured peak rate, or by bytes at the rate of a copy."""
        if training not in self.operations or not self.facts.get("copy") or not self.facts.get(precision):
            return {}
        with cast(self.options, precision):
            least = least_bytes(case, training)
        case.module.zero_grad(set_to_none=True)
        sums = 1e-9 * self.operations[training] / self.facts[precision]
        moves = 1e-6 * least / self.facts["copy"]
        return {
            "GFLOP": self.operations[training] / 1e9,
            "MB": least / 1e6,
            "floor ms": max(sums, moves),
            "bound by": "operations" if sums > moves else "bytes",
        }

    def measure(self, case: Case, training: bool, precision: str, mode: str, captured: bool = False) -> None:
        items = case.items if training or not case.clips else case.clips

        def run() -> dict[str, Any]:
            set_precision(precision)
            case.module.train(training)
            floor = self.floor(case, training, precision) if mode in ("eager", "graph") else {}
            step = (training_step if training else inference)(case, self.options, precision, captured)
            if self.options.cuda:
                torch.cuda.reset_peak_memory_stats()
            found = timed(graph_of(step, self.options) if captured else step, self.options, meter=self.meter)
            found |= {"items/s": 1e3 * items / found["ms"], **floor}
            if floor:
                found["times floor"] = found["ms"] / floor["floor ms"]
            if "W" in found:
                found["mJ/item"] = found["W"] * found["ms"] / items
            if self.options.cuda:
                found["peak GB"] = torch.cuda.max_memory_allocated() / 1e9
            return found

        task = "training step" if training else "inference"
        self.channel.attempt(run, task=task, precision=precision, mode=mode, items=items)
        case.module.zero_grad(set_to_none=True)
