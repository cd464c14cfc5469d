"""What runs in the simulated world, and what must hold of it: two studies that share a data set and trainings.

A driver does what ``run`` does without Ray: its study's claim, the plan, every stage, the suggestions of a search, the
tables. Whenever one ends before its study is done, another is started, perhaps on another machine. Beside them somebody
prunes and verifies. Stages pack, train and score through the project's own code; only the arithmetic is a toy's.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from mss_core import disk
from mss_core.data import packing
from mss_core.data.items import Item, Sound, Survey
from mss_core.graph import Context, Stage, walk
from mss_core.store import StageFailed, Store, command, run_stage
from mss_core.study import ledger
from mss_core.study.driving import alone
from mss_core.study.plan import make_plan
from mss_core.study.search import journal
from tests.simulation.play import Play

ROOT = Path("/store")
STEPS, ITEMS, CLAIM = 4, 3, 60.0

PLAY: list[Play] = []
"""The schedule that is being played; stages find what is watched there."""


# ---- stages


def prepare_toy(*, size: int, out: Path, ctx: Context) -> None:
    """Packs a few short items."""

    def sound(number: int) -> Sound:
        disk.sleep(2.0)
        wave = np.sin(np.arange(8 + number * size, dtype=np.float32) * (number + size)).astype(np.float32)
        return Sound({"mixture": wave[None]}, 100)

    items = tuple(Item(f"{n}", "train", functools.partial(sound, n)) for n in range(ITEMS))
    packing.pack(Survey(items), ("mixture",), 100, 4, out, ctx, workers=1)


def train_toy(*, data: Path, seed: int, out: Path, ctx: Context) -> None:
    """Goes from step to step as ``training.fit`` does: a report, then a checkpoint."""
    content = disk.read(data / "mixture.i16") + disk.read(data / "index.json")
    state = {"step": 0, "x": seed + int(hashlib.sha256(content).hexdigest()[:8], 16)}
    if disk.exists(ctx.checkpoint):
        state = json.loads(disk.read(ctx.checkpoint))
        ctx.rewind(state["step"])
    watch = PLAY[0].watch
    watch.goes_on(out, state["step"])
    while state["step"] < STEPS:
        disk.sleep(3.0)
        state = {"step": state["step"] + 1, "x": (state["x"] * 1103515245 + 12345) % 2**31}
        ctx.report(step=state["step"], total=STEPS, valid_loss=state["x"])
        if state["step"] % 2:
            ctx.before_checkpoint()
            text = json.dumps(state).encode()
            disk.write_atomically(ctx.checkpoint, text)
            watch.saved(out, state["step"])
    disk.mkdir(out / "songs")
    disk.write(out / "songs" / "a.json", str(state["x"]).encode())
    disk.write(out / "weights.pt", json.dumps(state).encode())


def score_toy(*, models: tuple[Path, ...], out: Path, ctx: Context) -> None:
    found = b"".join(disk.read(model / "weights.pt") for model in models)
    disk.write(out / "scores.csv", hashlib.sha256(found).hexdigest().encode())


DATA = Stage(prepare_toy, size=2)
MODELS = [Stage(train_toy, data=DATA, seed=seed) for seed in range(2)]
STUDIES = {
    "one": [Stage(score_toy, models=(MODELS[0],)), Stage(score_toy, models=tuple(MODELS))],
    "two": [Stage(score_toy, models=(MODELS[0],)), Stage(score_toy, models=(MODELS[1],))],
}
LOST = Stage(train_toy, data=DATA, seed=99)
"""Made by nobody's study: what prune is for."""


# ---- processes


def drive(title: str, stages: bool, search: bool) -> str:
    """One driver of a study, from its claim to its tables."""
    store = Store(ROOT, claim_seconds=CLAIM)
    folder = ROOT / "studies" / title
    with alone(title, store, say=lambda line: None) as driver:
        PLAY[0].watch.registered()
        disk.make_folder(folder)
        failed: set[str] = set()
        if stages:
            trials: Any = [SimpleNamespace(root=root, name=root.key[:8]) for root in STUDIES[title]]
            plan = make_plan(trials, store, settle=True)
            ledger.record(folder, {"study": title}, plan.scored(), driver.name, guard=driver.check)
            PLAY[0].watch.declared(title, driver.name)
            for key in plan.needed:
                stage = plan.stages[key]
                if failed & {upstream.key for upstream in stage.inputs.values()}:
                    failed.add(key)
                    continue
                try:
                    run_stage(stage, store, Context())
                    PLAY[0].watch.done(key)
                except StageFailed as failure:
                    PLAY[0].watch.stage_failed(failure)
                    failed.add(key)
        if search:
            suggest(title, ROOT / "search" / "journal.log")
        if failed:
            return "failed"
        scores, done = b"", list[dict[str, Any]]()
        for root in STUDIES[title] if stages else ():
            if store.damage(root) is not None:
                return "failed"
            scores += disk.read(store.directory(root) / "scores.csv") + b"\n"
            done.append({"trial": root.key[:8], "status": "done", "stages": list(walk([root]))})
        for name, content in {"scores.csv": scores, "study.json": json.dumps({"trials": done}).encode()}.items():
            driver.check()
            disk.write_atomically(folder / name, content)
    return "done"


def suggest(title: str, path: Path) -> None:
    """Three entries in a journal that both studies write to; who comes again goes on from what is there."""
    watch = PLAY[0].watch
    storage = journal.opened(path)
    mine = [line for line in storage.read_logs(0) if line["of"] == title]
    while len(mine) < 3:
        entry = {"of": title, "number": len(mine), "token": disk.token()}
        storage.append_logs([entry])
        watch.noted(entry)
        mine = [line for line in storage.read_logs(0) if line["of"] == title]


def tidy(kind: str) -> str:
    """Somebody at a command line."""
    PLAY[0].watch.pruning()
    with contextlib.suppress(ValueError):  # a study runs, or none has been made
        command.prune(ROOT, delete=True) if kind == "prune" else command.verify(ROOT)
    return "done"


def work_alone(stage: Stage) -> str:
    """A worker that outlives its driver, or whose driver took it for dead."""
    store = Store(ROOT, claim_seconds=CLAIM)
    with contextlib.suppress(StageFailed):
        run_stage(stage, store, Context())
    return "done"
