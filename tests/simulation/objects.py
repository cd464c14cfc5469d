"""Machines that share an object store alone, in the simulated world: ``python -m tests.simulation.objects [SEED]``.

Each machine has a disk of its own, which loses power, and runs the project's own code over it. The six verbs are
answered by a dictionary, whose every call may be slow, fail, or be the last of its process. Whoever dies is started
again, perhaps on another machine. What must hold: a manifest is put once and never removed, what it lists is there with
its checksum from then on, results are those of an undisturbed run, and it ends.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from mss_core import disk
from mss_core.graph import Context, Stage
from mss_core.store import StageFailed, run_stage
from mss_core.store.artefacts import Store
from mss_core.store.remote.claim import ObjectClaim
from mss_core.store.remote.joined import Joined
from mss_core.store.remote.objects import Found
from tests.simulation.play import Killed, Play, Process

STEPS, CLAIM = 4, 60.0
COUNT = 100
"""Schedules that ``make test`` plays."""


def prepare_words(*, size: int, out: Path, ctx: Context) -> None:
    disk.sleep(2.0)
    disk.write(out / "words", b"abc" * size)


def train_words(*, data: Path, seed: int, out: Path, ctx: Context) -> None:
    """Goes from step to step as ``training.fit`` does: a report, then a checkpoint."""
    state = {"step": 0, "x": seed + len(disk.read(data / "words"))}
    if disk.exists(ctx.checkpoint):
        state = json.loads(disk.read(ctx.checkpoint))
        ctx.rewind(state["step"])
    while state["step"] < STEPS:
        disk.sleep(3.0)
        state = {"step": state["step"] + 1, "x": (state["x"] * 1103515245 + 12345) % 2**31}
        ctx.report(step=state["step"], total=STEPS, loss=state["x"])
        ctx.before_checkpoint()
        disk.write_atomically(ctx.checkpoint, json.dumps(state).encode())
    disk.write(out / "weights.pt", json.dumps(state).encode())


def score_words(*, model: Path, out: Path, ctx: Context) -> None:
    disk.write(out / "scores.csv", hashlib.sha256(disk.read(model / "weights.pt")).hexdigest().encode())


DATA = Stage(prepare_words, size=5)
MODELS = [Stage(train_words, data=DATA, seed=seed) for seed in range(2)]
STAGES = [DATA, *MODELS, *(Stage(score_words, model=model) for model in MODELS)]


class World:
    """The objects, and what is watched of them."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.held: dict[str, tuple[bytes, int]] = {}
        self.version = 0
        self.put = dict[str, int]()

    def ask(self, what: str, name: str, effect: Callable[[], Any]) -> Any:
        return self.play.do(what, name, effect)

    def write(self, name: str, content: bytes) -> Mapping[str, Any]:
        if name.startswith("manifests/"):
            self.put[name] = self.put.get(name, 0) + 1
            self.play.require(self.put[name] == 1, f"{name} was put twice")
            below = name.removeprefix("manifests/").removesuffix(".json")
            for file, facts in json.loads(content)["files"].items():
                there = self.held.get(f"files/{below}/{facts['sha256']}")
                whole = there is not None and hashlib.sha256(there[0]).hexdigest() == facts["sha256"]
                self.play.require(whole, f"{name} lists {file}, which is not there")
        self.version += 1
        self.held[name] = content, self.version
        return {"e_tag": str(self.version), "version": None}

    def remove(self, name: str) -> None:
        self.play.require(not name.startswith("manifests/"), f"{name} was removed")
        if name.startswith("files/"):
            _, stage, key, sha256 = name.split("/")
            manifest = self.held.get(f"manifests/{stage}/{key}.json")
            self.play.require(manifest is not None, f"{name} was removed before its stage was committed")
            assert manifest is not None
            self.play.require(sha256 not in manifest[0].decode(), f"{name} was removed from an artefact")
        self.held.pop(name, None)


class SimObjects:
    """The six verbs in that world, with the promises of ``remote.objects``."""

    def __init__(self, world: World) -> None:
        self.world, self.url = world, "sim://objects"

    def create(self, name: str, content: bytes) -> Any:
        held = self.world.held
        return self.world.ask("put", name, lambda: None if name in held else self.world.write(name, content))

    def swap(self, name: str, content: bytes, stamp: Mapping[str, Any]) -> Any:
        def effect() -> Any:
            there = self.world.held.get(name)
            same = there is not None and str(there[1]) == stamp["e_tag"]
            return self.world.write(name, content) if same else None

        return self.world.ask("put", name, effect)

    def read(self, name: str) -> Found | None:
        def effect() -> Found | None:
            there = self.world.held.get(name)
            return None if there is None else Found(there[0], {"e_tag": str(there[1]), "version": None})

        return self.world.ask("get", name, effect)

    def list(self, prefix: str) -> dict[str, int]:
        held = self.world.held
        return self.world.ask("list", prefix, lambda: {n: len(c[0]) for n, c in held.items() if n.startswith(prefix)})

    def delete(self, name: str) -> None:
        self.world.ask("delete", name, lambda: self.world.remove(name))

    def upload(self, name: str, path: Path) -> None:
        content = disk.read(path)
        self.world.ask("put", name, lambda: self.world.write(name, content))

    def download(self, name: str, path: Path, sha256: str) -> str | None:
        found = self.read(name)
        if found is None or hashlib.sha256(found.content).hexdigest() != sha256:
            return f"{name} is missing or has another checksum"
        disk.write_atomically(path, found.content)
        return None


class Turns:
    """A lock among the tasks of one simulated process: a thread's own would stop them all."""

    def __init__(self, play: Play) -> None:
        self.play, self.taken = play, False

    def __enter__(self) -> None:
        while self.taken:
            self.play.yield_to(self.play.current, 0.5)
        self.taken = True

    def __exit__(self, *error: object) -> None:
        self.taken = False


class SimJoined(Joined):
    def __init__(self, world: World, root: Path) -> None:
        Store.__init__(self, root, CLAIM)
        self.place, self.world = "sim://objects", world
        self.objects, self.local = SimObjects(world), Store(root, CLAIM)  # type: ignore[assignment]
        self._known, self._wrong = {}, {}

    def claim(self, stage: Stage) -> ObjectClaim:
        claim = super().claim(stage)
        assert isinstance(claim, ObjectClaim)
        claim._lock = Turns(self.world.play)  # type: ignore[assignment]
        return claim


def work(world: World, root: Path) -> str:
    """A worker that makes every stage, and comes again where one has failed."""
    store, failed = SimJoined(world, root), False
    for stage in STAGES:
        try:
            run_stage(stage, store, Context())
        except StageFailed as failure:
            told = world.play.lasting or world.play.transient or world.play.lost_power or "is missing" in str(failure)
            world.play.require(told, f"without a cause: {failure}")
            failed = True
    return "failed" if failed else "done"


def play(seed: int, decisions: dict[int, Any] | None = None, workers: int = 3) -> Play:
    """One schedule, and after it a look at everything; ``failure`` says what went wrong."""
    made = Play(seed, decisions)
    made.nfs = made.files.nfs = False
    made.watch = SimpleNamespace(told=lambda *words, **how: None)
    world = World(made)
    chance, done = Random(f"machines {seed}"), list[str]()

    def start(name: str, delay: float) -> None:
        machine = made.machines[chance.randrange(len(made.machines))]
        root = Path(f"/{machine.name}/copies")
        made.spawn(machine, name, lambda: work(world, root), delay)

    def ended(process: Process, outcome: object) -> None:
        if outcome == "done":
            done.append(process.name)
        elif isinstance(outcome, Exception):
            made.fail(f"{process.name} raised {type(outcome).__name__}: {outcome}")
            made.error = outcome
        else:
            assert outcome == "failed" or isinstance(outcome, Killed), outcome
            start(process.name, chance.choice((0.0, 5.0, 90.0)))

    made.ended = ended
    for number in range(workers):
        start(f"worker{number}", number * chance.choice((0.0, 1.0)))
    if not made.run():
        made.failure = _wrong(world, done, workers)
    return made


def _wrong(world: World, done: list[str], workers: int) -> str:
    """What does not hold at the end; nothing where all does."""
    if len(done) != workers:
        return f"only {done} ended"
    results = {}
    for stage in STAGES:
        manifest = world.held.get(f"manifests/{stage.name}/{stage.key}.json")
        if manifest is None:
            return f"{stage} is not committed"
        for name, facts in json.loads(manifest[0])["files"].items():
            results[f"{stage.key} {name}"] = facts["sha256"]
    if _EXPECTED and results != _EXPECTED:
        return "other results than those of an undisturbed run"
    if not _EXPECTED:
        _EXPECTED.update(results)
    return ""


_EXPECTED: dict[str, str] = {}


def first_failure(seeds: range) -> Play | None:
    if not _EXPECTED:
        calm = play(0, {}, workers=1)
        assert not calm.failure, calm.failure
    return next((made for seed in seeds if (made := play(seed)).failure), None)


def main() -> None:
    first, count = (int(word) for word in [*sys.argv[1:], "0", str(COUNT)][:2])
    if len(sys.argv) == 2:
        count = 1
    failed = first_failure(range(first, first + count))
    print(f"seed {failed.seed}: {failed.failure}" if failed else f"{count} schedules, nothing went wrong")
    raise SystemExit(failed is not None)


if __name__ == "__main__":
    main()
