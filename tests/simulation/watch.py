"""What must hold after every step of the simulated world, and at its end."""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from mss_core import disk
from mss_core.claim import ClaimLost
from mss_core.graph import WORK, walk
from mss_core.store import MANIFEST, StageFailed, command
from mss_core.study import ledger
from mss_core.study.search.journal import LOCK_SECONDS
from tests.simulation import workload
from tests.simulation.play import LIMIT, Killed, Play, Process
from tests.simulation.world import Inode, parts_of

KEY = re.compile(r"[0-9a-f]{64}")
ENDS = 40
"""Drivers that a study may need, beside one per fault, before its schedule counts as one that never ends."""

RIVAL = "rival"
"""A second driver of a study, started by hand while the first may run."""

Content = dict[str, bytes]
EXPECTED: dict[str, Content] = {}
"""By key, and by "studies": the files that an undisturbed run leaves."""


class Watch:
    """The invariants. Each is checked at the call that could break it."""

    def __init__(self, play: Play, stages: bool, search: bool) -> None:
        self.play, self.stages, self.search = play, stages, search
        self.durable: dict[str, int] = {}
        self.committed: Counter[str] = Counter()
        self.finished: set[str] = set()
        self.flipped: dict[int, str] = {}
        self.mistaken: dict[str, Process] = {}
        self.given_back: set[int] = set()
        self.prune_began, self.beside = 0, False
        self.entries: list[dict[str, Any]] = []
        self.declarations: dict[str, list[str]] = {title: [] for title in workload.STUDIES}
        self.waiting, self.starts, self.others = set(workload.STUDIES), 0, 0
        self.printed: list[str] = []
        play.watch = self
        play.ended, play.lost = self.ended, self.power_lost
        play.files.changed, play.files.renamed, play.files.removed = self.changed, self.renamed, self.removed
        self.drivers: dict[int, int] = {}

    def told(self, *words: object, **_: object) -> None:
        """What the command of stores prints."""
        self.printed.append(" ".join(map(str, words)))

    # ---- after every step

    def changed(self, inode: Inode, what: str) -> None:
        if inode.frozen and not what.startswith("."):
            self.play.require(False, f"a committed artefact was changed: {inode.frozen[:8]}, {what}")

    def renamed(self, path: str, target: str, inode: Inode) -> None:
        _, stage, name, *below = [*parts_of(path), ""]
        _, _, new, *_ = [*parts_of(target), "", ""]
        if new == MANIFEST or target.endswith(f"/{MANIFEST}"):
            self.play.current.sealed_at = self.play.count
        if below != [""] or not inode.folder or not KEY.match(name.lstrip(".")):
            return
        key = name.lstrip(".")[:64]
        if KEY.fullmatch(new):
            self.commit(key, inode)
        elif name == key and ".damaged-" in new:
            if tree(inode) == EXPECTED[key] and inode.number not in self.flipped:
                self.mistaken[key] = self.play.current.process  # it must move it back, unless it dies
            self.gone(key, inode)
        elif new.endswith(".pruned"):
            alive = {process.number for process in self.play.processes if process.alive}
            began = min((at for number, at in self.drivers.items() if number in alive), default=LIMIT)
            self.play.require(began > self.prune_began, f"{stage} {key[:8]} was pruned while a study ran")
            self.gone(key, inode)
        elif name == key:
            self.play.require(not inode.frozen, f"a committed artefact was moved to {new}")

    def removed(self, path: str, inode: Inode) -> None:
        """A claim goes only by its owner's hand, or when that is dead or silent."""
        if path.startswith("/store/drivers/") and path.endswith(f"-{self.play.current.process.number}-{path[-13:]}"):
            self.drivers.pop(self.play.current.process.number, None)  # it runs its study no more
        if (".claim" in path or ".lock" in path) and not path.endswith(".tmp"):
            try:
                holder = json.loads(bytes(inode.data))
            except ValueError:
                return
            process, me = self.play.processes[holder["pid"] - 100], self.play.current.process
            if process is me:
                self.given_back.add(inode.number)
            if inode.links > 1 or inode.number in self.given_back:
                return
            seconds = LOCK_SECONDS if ".lock" in path else workload.CLAIM
            silent = self.play.clock + 1e9 - inode.mtime / 1e9 > 0.9 * seconds
            kind = ".lock" if ".lock" in path else ".claim"
            base = path[: path.rindex(kind)] + kind if f"{kind}." in path else ""
            if base and parts_of(base)[-1] in self.play.files.parent(base)[0].entries:
                return  # it was put back, or its owner has a new one
            self.play.require(
                not process.alive or silent or me.name in ("prune", "inspect"),
                f"{me.name} removed a live claim of {process.name}: {path}",
            )

    def registered(self) -> None:
        """A driver has said that it runs: nobody who looks from now on may prune."""
        self.drivers[self.play.current.process.number] = self.play.count

    def pruning(self) -> None:
        self.prune_began = self.play.count

    def commit(self, key: str, inode: Inode) -> None:
        require, found, task = self.play.require, tree(inode), self.play.current
        require(MANIFEST in inode.entries, f"a commit without a manifest: {key[:8]}")
        files = json.loads(bytes(inode.entries[MANIFEST].data))["files"]
        listed = {name: facts["sha256"] for name, facts in files.items()}
        require(listed == {n: hashlib.sha256(c).hexdigest() for n, c in found.items()}, "a manifest is not its tree")
        other = [name for name, content in EXPECTED.get(key, {}).items() if found.get(name) != content]
        require(not other, f"other bytes for one key: {key[:8]} {[(name, found.get(name)) for name in other]}")
        require(not self.committed[key], f"a second commit of {key[:8]}")
        require(task.claim_read > task.sealed_at, "a commit by one who did not look at its claim")
        self.committed[key] += 1
        self.mistaken.pop(key, None)
        freeze(inode, key)

    def gone(self, key: str, inode: Inode) -> None:
        """An artefact was damaged or pruned: it may be made again, from the start."""
        self.committed.pop(key, None)
        self.durable.pop(key, None)
        self.finished.discard(key)
        freeze(inode, "")

    def power_lost(self, chance: Random) -> None:
        """What was finished is there; sometimes a bit of it has changed."""
        self.committed.clear()
        freeze(self.play.files.root, "")
        whole = []
        for stage in self.play.files.root.entries.get("store", Inode(0, True, 0)).entries.values():
            for name, inode in stage.entries.items():
                if KEY.fullmatch(name) and inode.folder and MANIFEST in inode.entries:
                    if tree(inode) == EXPECTED.get(name):
                        freeze(inode, name)
                        self.committed[name] += 1
                        whole.append((name, inode))
        lost = self.finished - set(self.committed)
        if lost:
            self.play.fail(f"a finished artefact was lost with the power: {sorted(lost)[0][:8]}")
        elif whole and chance.random() < 0.3:
            name, inode = chance.choice(whole)
            file = inode.entries[chance.choice([n for n in sorted(inode.entries) if not inode.entries[n].folder])]
            if file.data:
                file.data[chance.randrange(len(file.data))] ^= 1
                file.synced = bytes(file.data)
                file.ctime += 10**10
                freeze(inode, "")
                self.flipped[inode.number] = name
                self.committed.pop(name)
                self.finished.discard(name)
                self.durable.pop(name, None)

    def owns(self, out: Path) -> bool:
        """Whether who works in a folder has the claim, and has not slept past it."""
        claim = self.play.files.parent(out)[0].entries.get(f"{out.name[:64]}.claim")
        owner = json.loads(bytes(claim.data) or b"{}").get("owner", "") if claim is not None else ""
        return owner[:12] == out.name.split(".")[1]

    def goes_on(self, out: Path, step: int) -> None:
        if not self.owns(out):
            return
        before = self.durable.get(out.name[:64], 0)
        self.play.require(step >= before, f"a training starts at step {step}, and step {before} was on the disk")

    def saved(self, out: Path, step: int) -> None:
        if self.owns(out):
            self.durable[out.name[:64]] = max(step, self.durable.get(out.name[:64], 0))

    def done(self, key: str) -> None:
        """``run_stage`` has come back: whatever happens, the artefact is there."""
        self.finished.add(key)

    def noted(self, entry: dict[str, Any]) -> None:
        self.entries.append(entry)

    def declared(self, title: str, driver: str) -> None:
        """``ledger.record`` has come back: whatever happens, the driver's line is there."""
        self.declarations[title].append(driver)

    def stage_failed(self, failure: StageFailed) -> None:
        if not self.excused(failure.__cause__):
            self.play.require(False, f"a stage failed without a lasting fault: {failure.message}")

    def excused(self, error: BaseException | None) -> bool:
        """Whether faults of the storage explain an error."""
        while error is not None:
            if isinstance(error, OSError) and error.errno in (28, 13) and self.play.lasting:
                return True
            if isinstance(error, OSError) and error.errno in disk.TRANSIENT and self.play.transient > 3:
                return True
            if isinstance(error, LookupError) and "missing or damaged" in str(error):
                return True
            error = error.__cause__ or error.__context__
        return False

    # ---- processes

    def begin(self) -> None:
        """Start both studies, and whoever is beside them."""
        chance = Random(f"begin {self.play.seed}")
        for title in sorted(self.waiting):
            self.start(title, chance.choice((0.0, 0.0, 5.0, 40.0)))
        beside = {"prune": lambda: workload.tidy("prune"), "verify": lambda: workload.tidy("verify")}
        if self.stages:
            beside["lost"] = lambda: workload.work_alone(workload.LOST)
            beside["alone"] = lambda: workload.work_alone(workload.MODELS[0])
        for name, body in beside.items():
            if chance.random() < 0.4:
                self.others += 1
                self.beside = True
                self.play.spawn(chance.choice(self.play.machines), name, body, chance.uniform(0, 90))
        chance = Random(f"rival {self.play.seed}")
        if chance.random() < 0.3:  # the same study once more, on any machine: refused, or it goes on where one has died
            title, delay = chance.choice(sorted(workload.STUDIES)), chance.choice((0.0, chance.uniform(0, 90)))
            self.others += 1
            self.play.spawn(chance.choice(self.play.machines), RIVAL, self.driver(title), delay)

    def start(self, title: str, delay: float) -> None:
        self.starts += 1
        chance = Random(f"start {self.play.seed} {self.starts}")
        machine = chance.choice(self.play.machines)
        self.play.spawn(machine, title, self.driver(title), delay, chance.choice((0, 0, 0, 7)))

    def driver(self, title: str) -> Callable[[], str]:
        return lambda: workload.drive(title, self.stages, self.search)

    def ended(self, process: Process, outcome: object) -> None:
        """A process is gone: whatever it was not able to say is an error of ours."""
        driver = process.name in workload.STUDIES
        if isinstance(outcome, Killed):
            self.mistaken = {key: who for key, who in self.mistaken.items() if who is not process}
        if isinstance(outcome, Exception) and not self.expected(outcome, driver or process.name == RIVAL):
            self.play.fail(f"{process.name} ended with {type(outcome).__name__}: {outcome}")
            self.play.error = outcome
        elif process.name == "inspect":
            return
        elif not driver:
            self.others -= 1
        elif outcome == "done":
            self.waiting.discard(process.name)
        elif self.starts > ENDS + self.play.faults:  # each of them may end a driver
            self.play.fail(f"study {process.name} does not end: {outcome!r}")
        else:
            self.start(process.name, Random(f"{self.play.seed} {self.starts}").choice((0.0, 30.0, 100.0)))
        if not self.waiting and not self.others:
            self.others = 1
            self.play.left = 0
            self.play.spawn(self.play.machines[0], "inspect", self.inspect, 9000.0)

    def expected(self, error: Exception, driver: bool) -> bool:
        if isinstance(error, ClaimLost):
            return True
        if driver and isinstance(error, RuntimeError) and "is running study" in str(error):
            return True
        if isinstance(error, OSError) and error.errno in disk.TRANSIENT:  # the same command goes on
            return self.play.transient > 0
        if isinstance(error, RuntimeError) and "cannot be written to" in str(error):
            return self.play.lasting or self.play.transient > 0
        return self.excused(error)

    # ---- when all is quiet

    def inspect(self) -> None:
        require, play = self.play.require, self.play
        require(not self.mistaken, f"a whole artefact was set aside: {sorted(self.mistaken)}")
        for attempt in ("clean", "pruned"):
            if attempt == "pruned" or not play.faults and not self.beside:
                self.pruning()
                command.prune(workload.ROOT, attempt == "pruned")
                require(attempt == "pruned" or "0 entries" in self.printed[-1], f"left behind: {self.printed}")
        require(command.verify(workload.ROOT) == 0 or self.flipped, f"verify: {self.printed}")
        found = tree(play.files.root.entries["store"])
        for title in workload.STUDIES:
            if self.stages and EXPECTED.get("studies"):
                mine = {name: found.get(name) for name in EXPECTED["studies"] if name.startswith(f"studies/{title}/")}
                require(mine == {n: EXPECTED["studies"][n] for n in mine}, f"other tables of study {title}")
        for title, drivers in self.declarations.items():
            lines = found.get(f"studies/{title}/{ledger.NAME}", b"").splitlines()
            told = [json.loads(line) for line in lines]
            recorded = [line["commit"] for line in told if line["commit"] in drivers]
            require(
                sorted(recorded) == sorted(drivers), f"declarations of study {title} are lost: {drivers}, {recorded}"
            )
            chain = ["", *(hashlib.sha256(line).hexdigest() for line in lines)]
            require([line["previous"] for line in told] == chain[:-1], f"the ledger of study {title} is no chain")
        if self.search:
            suggested = [json.loads(line) for line in found["search/journal.log"].splitlines()]
            for entry in self.entries:
                require(suggested.count(entry) == 1, f"a suggestion is there {suggested.count(entry)} times: {entry}")
        wanted = {name.split("/")[1] for name in found if len(name.split("/")) > 2 and name.startswith(STAGES)}
        needed = EXPECTED.keys() - {"studies", workload.LOST.key} if self.stages else set()
        missing = needed - wanted
        # A damaged artefact that is set aside comes back when somebody reads it: it may be missing only where all that
        # read it are there, or are missing for the same reason.
        excused = {key for key in missing if key in self.flipped.values() and READERS[key] <= wanted | missing}
        begun = {name for name in wanted if name.endswith(".partial") and name[:64] in excused}  # and a disk was full
        other = sorted((missing - excused) | (wanted - needed - begun))
        require(not EXPECTED.get("studies") or not other, f"left over or missing: {other}")
        stray = [name for name in found if not name.startswith((*STAGES, "sources/", "studies/", "search/journal.log"))]
        stray += [name for name in found if Path(name).name.startswith(".") or WORK in name.split("/")]
        emptied = {name for name, keys in KEYS.items() if keys <= missing}
        stray += [f"{path}/" for path in empty(play.files.root.entries["store"], "") if path not in emptied]
        stray = [name for name in stray if not (".partial/" in name and name.split("/")[1][:64] in excused)]
        require(not stray, f"left behind: {stray}")


STAGES = ("prepare_toy/", "train_toy/", "score_toy/")
GRAPH = walk(root for roots in workload.STUDIES.values() for root in roots)
READERS = {
    key: {name for name, reader in GRAPH.items() if stage in reader.inputs.values()} for key, stage in GRAPH.items()
}
"""By key, what reads it; a score is read by its study's tables, which are compared."""
KEYS = {stage.rstrip("/"): {key for key, each in GRAPH.items() if f"{each.name}/" == stage} for stage in STAGES}


def tree(inode: Inode, prefix: str = "", manifests: bool = False) -> Content:
    """The files below a folder by name: scratch folders, manifests and what a file server keeps are left out."""
    found: Content = {}
    for name, there in inode.entries.items():
        if there.folder:
            if name != WORK or prefix == "/":
                found |= tree(there, f"{prefix}{name}/")
        elif name != MANIFEST and not name.startswith(".nfs"):
            found[f"{prefix}{name}"] = bytes(there.data)
    return found


def empty(inode: Inode, prefix: str) -> list[str]:
    """The folders that are of no use when all is quiet."""
    found = []
    for name, there in inode.entries.items():
        if there.folder and name not in ("drivers", "search"):
            found += [f"{prefix}{name}"] if not there.entries or name == WORK else empty(there, f"{prefix}{name}/")
    return found


def freeze(inode: Inode, key: str) -> None:
    inode.frozen = key
    for name, there in inode.entries.items():
        if name != WORK and not name.startswith(".nfs"):
            freeze(there, key)


def play(seed: int, decisions: dict[int, Any] | None = None, tracing: bool = False, **more: Any) -> Play:
    """Play one schedule to its end."""
    if not EXPECTED:
        learn()
    played = Play(seed, decisions, **more)
    played.tracing = tracing
    chance = Random(f"parts {seed}")
    kind = chance.random()
    watch = Watch(played, kind < 0.75, kind > 0.6)
    workload.PLAY[:] = [played]
    watch.begin()
    played.run()
    return played


def learn() -> None:
    """What an undisturbed run leaves."""
    EXPECTED["studies"] = {}
    played = Play(0, {})
    watch = Watch(played, True, False)
    workload.PLAY[:] = [played]
    watch.start("one", 0.0)
    watch.start("two", 1000.0)
    watch.others, watch.beside = 1, True
    played.spawn(played.machines[0], "lost", lambda: workload.work_alone(workload.LOST), 2000.0)
    assert not played.run(), played.failure
    store = played.files.root.entries["store"]
    for stage in STAGES:
        for key, folder in store.entries[stage.rstrip("/")].entries.items():
            EXPECTED[key] = tree(folder)
    tables = tree(store.entries["studies"])
    EXPECTED["studies"] = {
        f"studies/{name}": tables[name]
        for name in tables
        if not name.endswith(ledger.NAME) and ledger.TURNS not in name.split("/")
    }
