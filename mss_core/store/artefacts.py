"""The content-addressed store of stage results, and running a stage into it.

An artefact is the directory ``<store>/<stage>/<key>/``. Its ``manifest.json`` is written last and lists every file
with its checksum, and itself has one (``store/manifest.py``): a directory without a valid manifest is not an artefact,
wherever a crash or an object store left it.
A claim file keeps two workers from computing one key at a time. Work happens in ``<key>.<claim's owner>.partial/``;
whoever takes a key over goes on from what earlier attempts have left, in a folder that they do not reach
(``store/attempts.py``). They may still hold files open: scratch files that stay open while a stage works belong to one
attempt only (``data/pieces.py``).
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import time
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mss_core import disk, energy
from mss_core.claim import Claim, ClaimLost
from mss_core.disk import PAUSES, passes
from mss_core.graph import WORK, Clock, Context, Stage, Stopped, listing, module_of, package, plain
from mss_core.source.stage import of as source_of
from mss_core.store import attempts, calls, failures, helpers, sources
from mss_core.store.manifest import MANIFEST, damaged_file, is_present, read_manifest, sealed
from mss_core.store.verified import is_large, recall, remember

TAKEOVERS = 3
"""How often one call of ``run_stage`` starts again after its claim was taken over."""


class StageFailed(Exception):
    """A stage raised. ``log`` is the file that holds its traceback."""

    def __init__(self, stage: Stage, message: str, log: Path) -> None:
        super().__init__(f"{stage.name} {stage.key[:12]} failed: {message} (log: {log})")
        self.stage, self.message, self.log = stage, message, log


class Store:
    """A directory of artefacts addressed by content; see the module's docstring for its rules.

    ``place`` is what ``store.remote.opening.opened`` makes the same store of elsewhere.
    """

    def __init__(self, root: Path | str, claim_seconds: float = 60.0) -> None:
        self.root = Path(root).absolute()
        self.place = str(self.root)
        self.claim_seconds = claim_seconds
        self._verified: dict[str, tuple[int, ...]] = {}

    def directory(self, stage: Stage) -> Path:
        return self.root.joinpath(stage.name, stage.key)

    def partial(self, stage: Stage, claim: Claim | None = None) -> Path:
        """Where the owner of ``claim`` works on a stage; without one, where whoever has the claim now does."""
        return attempts.partial_folder(self.root, stage.name, stage.key, claim)

    def partials(self, stage: Stage) -> list[Path]:
        """What attempts have left, the last one first."""
        return attempts.left(self.directory(stage))

    def log(self, stage: Stage) -> Path:
        return self.root / stage.name / f"{stage.key}.log"

    def manifest(self, stage: Stage) -> dict[str, Any] | None:
        """The committed artefact's manifest, or None where there is none (or it cannot be read)."""
        return read_manifest(self.directory(stage))

    def damage(self, stage: Stage) -> str | None:
        """What is wrong with a committed artefact, or None: its files, or that a function of another package made it.
        Hashes each version of a file once per process, and of a large artefact once per machine.
        """
        return self.examine(stage)[1]

    def examine(self, stage: Stage, moved: Path | None = None) -> tuple[dict[str, Any] | None, str | None]:
        """The manifest of a committed artefact that is whole, or None and what is wrong with it. ``moved`` is where it
        lies, if not at its place."""
        directory = moved or self.directory(stage)
        manifest = read_manifest(directory, stage.key)
        harm = "no valid manifest" if manifest is None else self._harm(stage, manifest, directory)
        return (manifest, None) if harm is None else (None, harm)

    def _harm(self, stage: Stage, manifest: Mapping[str, Any], directory: Path) -> str | None:
        strange = self.stranger(stage, manifest)
        if strange:
            return strange
        large = is_large(manifest) and not all(str(directory / name) in self._verified for name in manifest["files"])
        if large:
            self._verified.update(recall(directory, manifest))
        before = dict(self._verified) if large else {}
        harm = damaged_file(directory, manifest, self._verified)
        if large and harm is None and before != self._verified:
            remember(directory, manifest, self._verified)
        return harm

    def stranger(self, stage: Stage, manifest: Mapping[str, Any]) -> str | None:
        """A sentence where a function of another package made an artefact; None where one of this did."""
        made_by, module = str(manifest.get("function", "")), module_of(stage.function)
        if package(made_by) == package(module):
            return None
        return f"it was made by {made_by or 'an unnamed function'}, and this stage is {module}.{stage.name}"

    def present(self, stage: Stage) -> bool:
        """Whether there is something with the name of a stage's artefact and a manifest, whole or not."""
        return is_present(self.directory(stage))

    def among(self, stages: Collection[Stage]) -> list[Stage]:
        """Those of many stages that are present: folders are listed once, and only what is listed is looked at."""
        held = set[str]()
        for name in {stage.name for stage in stages}:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                held.update(disk.patiently(disk.names, self.root / name))
        return [stage for stage in stages if stage.key in held and self.present(stage)]

    def get(self, stage: Stage, claim: Claim | None = None) -> Path | None:
        """The artefact's directory, verified; None where it is absent or damaged. Whoever has the stage's ``claim``
        sets a damaged one aside."""
        if not self.present(stage):
            return None
        if self.damage(stage) is None:
            return self.directory(stage)
        if claim is not None:
            self.set_aside(stage, claim)
        return None

    def set_aside(self, stage: Stage, claim: Claim) -> None:
        """Move a damaged artefact out of the way, keeping it for whoever wants to look. A whole one, which another
        worker has made since the damage was seen, is moved back."""
        directory = self.directory(stage)
        target = directory.with_name(f"{stage.key}.damaged-{int(disk.wall() * 1e9):x}")
        claim.check()
        with contextlib.suppress(FileNotFoundError):
            disk.rename(directory, target)
            if self.examine(stage, target)[1] is None:
                attempts.move_back(target, directory)

    def checkpoint_time(self, stage: Stage) -> int:
        """When the last checkpoint of unfinished work was written (ns, the storage's clock); 0 where there is none."""
        times = [0]
        for partial in self.partials(stage):
            with contextlib.suppress(OSError):
                times.append(disk.status(partial / WORK / "checkpoint.pt").st_mtime_ns)
        return max(times)

    def begin(self, stage: Stage, claim: Claim | None = None) -> Path:
        """A new folder to work in, with the scratch files and the history of earlier attempts."""
        partial = self.partial(stage, claim)
        attempts.begin(self.directory(stage), partial, claim)
        return partial

    def commit(self, stage: Stage, facts: Mapping[str, Any], claim: Claim | None = None) -> Path:
        """Turn the partial directory into the artefact with one rename; its manifest is written last.

        All of it is on the disk before the rename, and the rename is before the checkpoint is removed. Where another
        worker has committed the stage meanwhile, its artefact is the result. Raises ValueError where the stage has left
        no file, OSError where one cannot be listed, read or renamed.
        """
        directory, partial = self.directory(stage), self.partial(stage, claim)
        disk.touch(partial)  # a machine may remember the folder as it was; now it looks again
        names = listing(partial)
        if not names:
            raise ValueError(f"{stage.name} has left no file in its folder: there is nothing to keep")
        files = {}
        for name in names:
            disk.force_out(partial / name)
            size = disk.status(partial / name).st_size
            files[name] = {"sha256": disk.checksum(partial / name), "size": size}
        for folder in sorted({(partial / name).parent for name in names}):
            disk.force_out(folder)
        manifest = {
            "stage": stage.name,
            "key": stage.key,
            "function": f"{module_of(stage.function)}.{stage.name}",
            "arguments": plain(stage.arguments),
            "inputs": {name: {"stage": up.name, "key": up.key} for name, up in stage.inputs.items()},
            "files": files,
            **facts,
        }
        disk.write_atomically(partial / MANIFEST, json.dumps(sealed(manifest), indent=1).encode())
        earlier = [path for path in self.partials(stage) if path != partial]
        if claim is not None:
            claim.check()  # after the look at what is there: a later owner's folder is not among it
        self._publish(stage, partial, claim)
        disk.force_out(directory.parent)
        self.sweep(stage, [partial, *earlier])
        return directory

    def _publish(self, stage: Stage, partial: Path, claim: Claim | None) -> None:
        """Rename the partial directory. Success too is that a whole artefact is there already: another worker's, or
        one's own, of a rename whose answer was lost."""
        for last in (False, True):
            try:
                disk.rename(partial, self.directory(stage))
                return
            except OSError as error:
                if self.get(stage, claim) is not None:
                    return
                if last or error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise

    def sweep(self, stage: Stage, partials: Iterable[Path]) -> None:
        """Remove what attempts at a committed stage have left: its scratch folder, and ``partials``."""
        for left in (self.directory(stage) / WORK, *partials):
            attempts.clear(left)

    def settle(self, stages: Iterable[Stage]) -> None:
        """Force out the names of artefacts that were found: who committed one may have died before doing so, and a loss
        of power would take it from whoever relies on it."""
        for name in sorted({stage.name for stage in stages}):
            disk.patiently(disk.force_out, self.root / name)

    def claim(self, stage: Stage) -> Claim:
        return Claim(self.root / stage.name / f"{stage.key}.claim", seconds=self.claim_seconds)

    def named_claim(self, name: str) -> Claim:
        """A claim on something else than a stage, such as a study's tables."""
        return Claim(self.root / name, seconds=self.claim_seconds)

    def run(self, stage: Stage, ctx: Context) -> Path:
        """As ``run_stage`` says; a store whose artefacts lie elsewhere has a way of its own."""
        taken, pauses, refused = 0, iter(PAUSES), iter(PAUSES[:1])
        while True:
            try:
                return _attempt(stage, self, ctx)
            except ClaimLost:
                taken += 1
                if taken == TAKEOVERS:
                    raise
            except StageFailed as failure:
                pause = next(pauses, None) if passes(failure.__cause__) else None
                if pause is None and failures.may_pass(failure.__cause__, self.root):
                    pause = next(refused, None)
                if pause is None:
                    raise
                disk.sleep(pause)


def materialize(stage: Stage, store: Store, ctx: Context) -> Path:
    """The directory of ``stage``'s artefact, computing it and whatever it needs where the store lacks it.

    Raises StageFailed where a stage function raises; nothing is committed then, and its log keeps the traceback.
    """
    found = store.get(stage)
    if found is not None:
        return found
    for upstream in stage.inputs.values():
        materialize(upstream, store, ctx)
    return run_stage(stage, store, ctx)


def run_stage(stage: Stage, store: Store, ctx: Context) -> Path:
    """Run one stage whose inputs are in the store, under its claim, and commit it.

    Where another worker took the claim over meanwhile, waits for that one's result, or goes on from its checkpoint;
    goes on from there too, a few times, where the storage had a transient error, and once where it refused a call or an
    input went while the stage read it.
    Raises StageFailed where the stage raises or the store cannot be written, Stopped where ``ctx`` asked for it.
    """
    return store.run(stage, ctx)


def _attempt(stage: Stage, store: Store, ctx: Context) -> Path:
    claim = store.claim(stage)
    with _logged_failure(stage, store, claim):
        disk.make_folder(store.root / stage.name)
        with claim:
            found = store.get(stage, claim)  # somebody may have finished it while we waited
            if found is None:
                partial = store.begin(stage, claim)
                found = store.get(stage)  # or before its folder could be renamed: only now nobody else has one
            if found is not None:
                left = store.partials(stage)
                claim.check()
                store.settle([stage])
                store.sweep(stage, left)
                disk.remove(store.log(stage))
                return found
            clock = Clock(partial / WORK / "seconds")
            here = dataclasses.replace(ctx, out=partial, claim=claim, clock=clock)
            if not disk.exists(here.checkpoint):
                here.rewind(-1)
            arguments = {name: resolve(value, store) for name, value in stage.arguments.items()}
            reached = source_of(stage)  # as it is now: it may be edited while the stage runs
            with _metered(here), ctx.kernels(), helpers.beside(stage, store.root, here) as shared:
                stage.function(**arguments, out=partial, ctx=shared)
            if ctx.accept is not None:
                ctx.accept(stage, partial)
            facts: dict[str, Any] = {
                "seconds": round(clock.total(), 3),
                **({"cost": clock.meter.said()} if clock.meter is not None else {}),
                "finished": _now(),
                "device": ctx.device,
                "device_name": ctx.device_name,
                "host": disk.hostname(),
                "environment": {**ctx.environment, **_said(ctx)},
            }
            if reached is not None:
                sources.keep(store.root, reached.fingerprint, reached.functions)
                facts["source"] = reached.fingerprint
            done = store.commit(stage, facts, claim)
            disk.remove(store.log(stage))
            return done


@contextlib.contextmanager
def _metered(ctx: Context) -> Iterator[None]:
    """A stage's clock has a meter, where the context says what the stage holds of its machine."""
    if ctx.part is None or ctx.clock is None:
        yield
        return
    found = energy.counters(ctx.device, ctx.processes)
    fresh = not ctx.clock.before
    ctx.clock.meter = energy.Meter(ctx.work / "energy", ctx.part, found, ctx.processes, fresh)
    with contextlib.closing(ctx.clock.meter):
        yield


def _said(ctx: Context) -> dict[str, Any]:
    """What a manifest's environment says of a GPU's kernels, and of processes that shared a training."""
    kernels = {"kernels": "deterministic" if ctx.deterministic else "free"} if ctx.device.startswith("cuda") else {}
    return {**kernels, **({"processes": ctx.processes} if ctx.processes > 1 else {})}


def resolve(value: Any, store: Store) -> Any:
    """An argument of a stage, its inputs as their folders. Raises LookupError where one is missing."""
    if isinstance(value, Stage):
        directory = store.get(value)
        if directory is None:
            raise LookupError(
                f"its input {value} is missing or damaged in the store {store.root}; the same command computes it again"
            )
        return directory
    if isinstance(value, tuple | list) and any(isinstance(item, Stage) for item in value):
        return tuple(resolve(item, store) for item in value)
    return value


@contextlib.contextmanager
def _logged_failure(stage: Stage, store: Store, claim: Claim) -> Iterator[None]:
    try:
        yield
    except (ClaimLost, Stopped):
        raise
    except (Exception, SystemExit) as error:  # somebody's stage, or what it calls, may end its program
        if claim.lost or failures.was_moved(error, store.partial(stage, claim)):
            # its directory was renamed under it: whatever it raised says nothing about the stage
            raise ClaimLost(f"another worker took over {stage}") from error
        log = store.log(stage)
        with contextlib.suppress(OSError):  # the disk may be what failed
            disk.write(log, f"{traceback.format_exc()}\n{calls.described(stage)}\n".encode())
        raise StageFailed(stage, failures.in_short(error, store.root), log) from error


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(disk.wall()))
