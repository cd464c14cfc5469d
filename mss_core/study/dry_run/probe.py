"""One short measurement of each kind of stage, on the device of this process: what a plan is priced by before it ran.

A training is begun as it stands and stopped after some seconds, which gives the seconds of a step; a copy of two steps
gives its validation and the weights that later kinds read. Any other stage runs to its end, or is stopped and scaled by
how far it came. Prepared data sets go to the store, where the study finds them; all else is thrown away.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mss_core import runtime
from mss_core.graph import WORK, Context, Stage, plain, read_history
from mss_core.store import Store, run_stage
from mss_core.study.dry_run.timings import Timing, length, timing, timings
from mss_core.study.facts import reads_data, trains
from mss_core.study.plan import Plan
from mss_core.training import TrainConfig

FEW = 2
"""Steps of the copy that is trained to its end."""


class _Enough(Exception):
    pass


class _Watch:
    """Takes the place of a stage's clock: notes how far it is whenever it reports, and stops it after ``limit``."""

    def __init__(self, out: Path, limit: float) -> None:
        self.out, self.limit, self.start = out, limit, time.monotonic()
        self.seen: list[tuple[float, int, int]] = []
        self.allowed = 0

    def save(self) -> None:
        rows = read_history(self.out)
        step, total = (rows[-1]["step"], rows[-1]["total"]) if rows else (0, 0)
        try:
            at, of = (self.out / WORK / "step").read_text().split()
            step, total = max(step, int(at)), int(of)
        except (OSError, ValueError):
            pass
        now = time.monotonic() - self.start
        self.seen.append((now, step, len(rows)))
        self.allowed = total
        if now > self.limit and len(self.seen) > 2:
            raise _Enough

    def per_step(self) -> tuple[float, bool] | None:
        """Seconds of a step, and whether validations are in it; None where it took no two steps."""
        within = [
            (b[0] - a[0], b[1] - a[1])
            for a, b in zip(self.seen, self.seen[1:], strict=False)
            if a[2] == b[2] and b[1] > a[1]
        ]
        if within:
            return sum(t for t, _ in within) / sum(n for _, n in within), False
        ends = [(t, step) for i, (t, step, rows) in enumerate(self.seen) if i == 0 or rows > self.seen[i - 1][2]]
        if len(ends) < 2 or ends[-1][1] <= ends[0][1]:
            return None
        return (ends[-1][0] - ends[0][0]) / (ends[-1][1] - ends[0][1]), True


def probe(plan: Plan, store: Store, ctx: Context, seconds: float, say: Callable[[str], None]) -> list[Timing]:
    """Measure one stage of each kind that the plan needs and the store has no timing of on this device.

    Args:
        seconds: at most about so long a training is watched; three times that for any other stage.
    """
    runtime.prepare_process()
    described = {key: plain(stage.arguments) for key, stage in plan.stages.items()}

    def look(name: str, key: str) -> tuple[str, Mapping[str, Any]] | None:
        return (plan.stages[key].name, described[key]) if key in plan.stages else None

    def measured(stage: Stage, taken: float, size: int, steps: int = 0) -> Timing:
        inputs = {name: {"stage": up.name, "key": up.key} for name, up in stage.inputs.items()}
        history = [{"step": steps, "total": steps}] if steps else []
        return timing(stage.name, described[stage.key], inputs, look, ctx.device, taken, size, history, "probe")

    names = dict.fromkeys(plan.stages[key].name for key in plan.needed)
    known = {each.kind for each in timings(store, names) if each.device == ctx.device}
    found: list[Timing] = []
    left: dict[str, Path] = {}  # by kind
    tried: set[str] = set()
    read = {up.key for key in plan.needed for up in plan.stages[key].inputs.values()}
    store.root.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="probe-", dir=store.root))
    try:
        for key in plan.needed:
            stage = plan.stages[key]
            kind = measured(stage, 0.0, 0).kind
            wanted = kind not in known
            if kind in tried or not (wanted or key in read):
                continue
            tried.add(kind)
            arguments = _arguments(stage, store, left, lambda up: measured(up, 0.0, 0).kind)
            if arguments is None:
                continue  # what it reads was stopped early
            if wanted:
                say(f"probing {stage.name} on {ctx.device}")
            out = scratch / f"{len(tried)}"
            if reads_data(stage) and not trains(stage):
                left[kind] = run_stage(stage, store, ctx)
                continue
            taken, steps = (
                _training(stage, arguments, out, ctx, seconds if wanted else 0.0)
                if length(described[key])
                else _other(stage, arguments, out, ctx, 3 * seconds)
            )
            if (out / "done").exists():
                left[kind] = out
            if wanted and taken is not None:
                found.append(measured(stage, taken, _size(out), steps))
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return found


def _arguments(
    stage: Stage, store: Store, left: Mapping[str, Path], kind: Callable[[Stage], str]
) -> dict[str, Any] | None:
    """The stage's arguments with a folder for each input; None where one is missing."""

    def resolved(value: Any) -> Any:
        if isinstance(value, Stage):
            return store.get(value) or left[kind(value)]
        if isinstance(value, tuple | list) and any(isinstance(item, Stage) for item in value):
            return tuple(resolved(item) for item in value)
        return value

    try:
        return {name: resolved(value) for name, value in stage.arguments.items()}
    except KeyError:
        return None


def _call(stage: Stage, arguments: Mapping[str, Any], out: Path, ctx: Context, limit: float) -> tuple[float, _Watch]:
    (out / WORK).mkdir(parents=True)
    watch = _Watch(out, limit)
    here = dataclasses.replace(ctx, out=out, clock=watch, checkpoint_seconds=1e9)  # type: ignore[arg-type]
    try:
        with here.kernels():
            stage.function(**arguments, out=out, ctx=here)
        (out / "done").touch()
    except _Enough:
        pass
    return time.monotonic() - watch.start, watch


def _training(
    stage: Stage, arguments: Mapping[str, Any], out: Path, ctx: Context, seconds: float
) -> tuple[float | None, int]:
    """(seconds, steps) of the whole training."""
    name, train = next((n, a) for n, a in arguments.items() if isinstance(a, TrainConfig))
    once = dataclasses.replace(train.phases[0], epochs=1)
    short = dataclasses.replace(train, phases=(once,), epoch_steps=FEW, max_epochs=1)
    whole, _ = _call(stage, {**arguments, name: short}, out, ctx, 1e9)
    if not seconds:
        return None, 0
    aside = out.with_name(f"{out.name}-watched")
    _, watch = _call(stage, arguments, aside, ctx, seconds)
    finished = (aside / "done").exists()
    shutil.rmtree(aside, ignore_errors=True)
    slope = watch.per_step()
    if finished or slope is None:
        last = watch.seen[-1]
        return (last[0], last[1]) if finished else (None, 0)
    step, with_validation = slope
    first = watch.seen[0]
    start = max(0.0, first[0] - first[1] * step)
    validation = 0.0 if with_validation else max(0.0, whole - start - FEW * step)
    return start + watch.allowed * step + train.epochs() * validation, watch.allowed


def _other(
    stage: Stage, arguments: Mapping[str, Any], out: Path, ctx: Context, limit: float
) -> tuple[float | None, int]:
    taken, watch = _call(stage, arguments, out, ctx, limit)
    if (out / "done").exists():
        return taken, 0
    _, step, _ = watch.seen[-1]
    return (taken * watch.allowed / step, 0) if step else (None, 0)


def _size(folder: Path) -> int:
    return sum(
        path.stat().st_size
        for path in folder.rglob("*")
        if path.is_file() and WORK not in path.relative_to(folder).parts
    )
