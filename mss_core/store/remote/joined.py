"""A store whose artefacts lie in an object store, and of which each machine has copies in a folder of its own.

The folder is a ``Store`` like any other: claims, checkpoints, checksums and commits of the processes of one machine are
its, and nothing of it is changed. This module joins it to the object store stage by stage, for that is where machines
meet. A design in which the store's every file operation were an object's would need a rename, an append and a lock that
object stores have not. Here all that machines must agree on is two objects per stage:

- ``claims/STAGE/KEY.json`` keeps two machines from one stage at a time (``remote/claim.py``);
- ``manifests/STAGE/KEY.json`` is put once, with If-None-Match, after the files that it lists. That put is the commit.
  Who comes second takes the first one's artefact in place of its own.

``files/STAGE/KEY/SHA256`` are an artefact's files, ``work/STAGE/KEY/SHA256`` what is left of a training that has not
ended, which the claim points to. Both are named by their content, so an upload may be repeated and can spoil nothing.
An object below ``files`` is removed only where the stage is committed without it, or its artefact is damaged. A file
that comes down is compared with the manifest's checksum before it gets its name.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import traceback
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from mss_core import disk
from mss_core.claim import Claim, ClaimLost
from mss_core.graph import HISTORY, Context, Stage, Stopped
from mss_core.store import sources
from mss_core.store.artefacts import StageFailed, Store, run_stage
from mss_core.store.manifest import MANIFEST, parsed
from mss_core.store.remote import checkpoints
from mss_core.store.remote.claim import ObjectClaim
from mss_core.store.remote.objects import Objects

SMALL = 2**20
"""Bytes of a file up to which a driver has it here without being asked: scores, histories, notes. Of larger ones only
those that reports read (TOLD, examples)."""

TOLD = frozenset({"predictions.parquet", "scores.csv", HISTORY})
TRIES = 3
"""How often a file that comes down otherwise than its manifest says is fetched before it counts as damaged."""

LOOKERS = 16
"""How many manifests are read at a time."""


class Joined(Store):
    """The store at an object store's URL, with this machine's copies below ``root``."""

    def __init__(self, url: str, root: Path | str, claim_seconds: float = 60.0) -> None:
        super().__init__(root, claim_seconds)
        self.place = url
        self.objects, self.local = Objects(url), Store(root, claim_seconds)
        self._known: dict[str, dict[str, Any]] = {}
        self._wrong: dict[str, str | None] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Joined, (self.place, self.root, self.claim_seconds)  # each process has connections of its own

    # ---- what is there

    def manifest(self, stage: Stage) -> dict[str, Any] | None:
        """The committed artefact's manifest, or None where there is none; then what reports read of it is here."""
        manifest = self._manifest(stage)
        if manifest is not None and stage.key not in self._wrong:
            names = [name for name, facts in manifest["files"].items() if _told(name, facts)]
            self._wrong[stage.key] = self._fetch(stage, manifest, names)
            self._fetch_source(manifest)
        return manifest

    def examine(self, stage: Stage, moved: Path | None = None) -> tuple[dict[str, Any] | None, str | None]:
        """The manifest of a committed artefact, or None and what is wrong. Only what reports read is fetched and
        compared with it; all else is when a stage reads it."""
        manifest = self.manifest(stage)
        harm = "no valid manifest" if manifest is None else self.stranger(stage, manifest) or self._wrong[stage.key]
        return (manifest, None) if harm is None else (None, harm)

    def present(self, stage: Stage) -> bool:
        return self._manifest(stage) is not None

    def among(self, stages: Collection[Stage]) -> list[Stage]:
        """Those of many stages that are committed: one listing per kind of stage."""
        held = {
            name.rpartition("/")[2]
            for kind in sorted({stage.name for stage in stages})
            for name in disk.patiently(self.objects.list, f"manifests/{kind}/")
        }
        found = [stage for stage in stages if f"{stage.key}.json" in held]
        with ThreadPoolExecutor(LOOKERS) as pool:
            list(pool.map(self.manifest, found))
        return found

    def get(self, stage: Stage, claim: Claim | None = None) -> Path | None:
        """The artefact's directory here, all of it fetched and verified; None where it is absent or damaged. Whoever
        has the stage's ``claim`` removes a damaged one from the object store."""
        harmed: dict[str, Any] = {}
        while (manifest := self._manifest(stage)) != harmed:
            if manifest is None:
                return None
            if (self.stranger(stage, manifest) or self._pull(stage, manifest)) is None:
                return self.directory(stage)
            harmed = manifest
            self._known.pop(stage.key, None)  # another machine may have removed it meanwhile, and made it again
        if claim is not None:
            self.set_aside(stage, claim)
        return None

    def set_aside(self, stage: Stage, claim: Claim) -> None:
        """Remove a damaged artefact: its files, then its manifest, of which a copy stays below ``damaged/``."""
        claim.check()
        found = disk.patiently(self.objects.read, _manifest_name(stage))
        if found is not None and parsed(found.content, stage.key) == self._known.get(stage.key):
            self.objects.create(f"damaged/{stage.name}/{stage.key}-{disk.token()[:12]}.json", found.content)
            for name in disk.patiently(self.objects.list, f"files/{stage.name}/{stage.key}/"):
                self.objects.delete(name)
            self.objects.delete(_manifest_name(stage))
        self._known.pop(stage.key, None)
        self._wrong.pop(stage.key, None)

    def settle(self, stages: Iterable[Stage]) -> None:
        """Nothing: an object store answers when a put would outlast a loss of power."""

    def claim(self, stage: Stage) -> Claim:
        return ObjectClaim(self.objects, f"claims/{stage.name}/{stage.key}.json", self.claim_seconds)

    def named_claim(self, name: str) -> Claim:
        return ObjectClaim(self.objects, f"claims/{name.removesuffix('.claim').lstrip('.')}.json", self.claim_seconds)

    def checkpoint_time(self, stage: Stage) -> int:
        claim = ObjectClaim(self.objects, f"claims/{stage.name}/{stage.key}.json")
        return max(self.local.checkpoint_time(stage), int(claim.work().get("time") or 0))

    # ---- running a stage

    def run(self, stage: Stage, ctx: Context) -> Path:
        """Run one stage whose inputs are in the object store, under its claim there, and commit it.

        Where another machine took the claim over meanwhile, its result is waited for, or its work gone on with.
        Raises StageFailed where the stage raises or a store does not answer, Stopped where ``ctx`` asked for it.
        """
        with _as_failure(stage, self):
            while True:
                claim = self.claim(stage)
                assert isinstance(claim, ObjectClaim)
                with contextlib.suppress(ClaimLost):
                    found = self.get(stage)
                    if found is not None:
                        return found
                    with claim:
                        found = self.get(stage, claim) or self._made(stage, ctx, claim)
                        claim.done()
                        return found

    def _made(self, stage: Stage, ctx: Context, claim: ObjectClaim) -> Path:
        for upstream in stage.inputs.values():
            if self.get(upstream) is None:
                raise LookupError(
                    f"its input {upstream} is missing or damaged in {self.place}; the same command computes it again"
                )
        checkpoints.take_over(self, stage, claim)
        kept = checkpoints.Kept(self, stage, claim)
        end = disk.every(max(1.0, ctx.checkpoint_seconds / 4), kept.keep)
        here = dataclasses.replace(ctx, stop=lambda: claim.lost or (ctx.stop is not None and ctx.stop()))
        try:
            run_stage(stage, self.local, here)
        except Stopped:
            end()
            if claim.lost:
                raise ClaimLost(f"another machine took over {stage}") from None
            kept.keep(last=True)
            raise
        except StageFailed:
            if not self.present(stage):
                raise
            raise ClaimLost(f"another machine has made {stage}") from None
        finally:
            end()
        return self._commit(stage, claim)

    def _commit(self, stage: Stage, claim: ObjectClaim) -> Path:
        """Upload an artefact of this machine and put its manifest; where another was first, take that one."""
        directory = self.local.get(stage)
        manifest = self.local.manifest(stage)
        if directory is None or manifest is None:
            if self.present(stage):  # a process of this machine has put another machine's in its place
                raise ClaimLost(f"another machine has made {stage}")
            raise LookupError(f"{stage} was damaged on this machine before it could be uploaded")
        folder = f"files/{stage.name}/{stage.key}/"
        held = disk.patiently(self.objects.list, folder)
        for name, facts in manifest["files"].items():
            if held.get(folder + facts["sha256"]) != facts["size"]:
                disk.patiently(self.objects.upload, folder + facts["sha256"], directory / name)
        self._keep_source(manifest)
        claim.check()
        content = disk.read(directory / MANIFEST)
        disk.patiently(self.objects.create, _manifest_name(stage), content)  # not ours where it is there: see below
        self._known.pop(stage.key, None)
        committed = self._manifest(stage)
        if committed is not None:
            listed = {facts["sha256"] for facts in committed["files"].values()}
            for name in disk.patiently(self.objects.list, folder):
                if name.rpartition("/")[2] not in listed:
                    self.objects.delete(name)
            for name in disk.patiently(self.objects.list, f"work/{stage.name}/{stage.key}/"):
                self.objects.delete(name)
        found = self.get(stage)
        if found is None:
            raise LookupError(f"{stage} was removed from {self.place}, or damaged there, as soon as it was committed")
        return found

    # ---- files

    def _manifest(self, stage: Stage) -> dict[str, Any] | None:
        """As it is in the object store; one that was read is remembered, for it does not change."""
        if stage.key not in self._known:
            found = disk.patiently(self.objects.read, _manifest_name(stage))
            if found is None:
                return None
            manifest = parsed(found.content, stage.key)
            if manifest is None:
                return None
            self._known[stage.key] = manifest
        return self._known[stage.key]

    def _pull(self, stage: Stage, manifest: Mapping[str, Any]) -> str | None:
        """Have all of an artefact here. Returns what is wrong with it in the object store, or None."""
        directory = self.directory(stage)
        if self.local.manifest(stage) == manifest and self.local.get(stage) is not None:
            return None
        disk.make_folder(directory.parent)
        with self.local.claim(stage) as mine:  # one process of a machine at a time
            here = self.local.manifest(stage)
            if here == manifest and self.local.get(stage, mine) is not None:
                return None
            if here is not None and here != manifest and disk.exists(directory):  # ours came second
                mine.check()
                moved = directory.with_name(f"{stage.key}.{disk.token()[:12]}.partial")
                disk.rename(directory, moved)
                disk.remove(moved)
            harm = self._fetch(stage, manifest, manifest["files"])
            if harm:
                return harm
            self._fetch_source(manifest)
            disk.write_atomically(directory / MANIFEST, json.dumps(manifest, indent=1).encode())
            if self.local.get(stage, mine) is None:  # nothing that the object store has to answer for
                raise OSError(errno.EIO, "files do not stay as they were fetched", str(directory))
            left = self.local.partials(stage)
            mine.check()
            self.local.sweep(stage, left)
            self._wrong[stage.key] = None
            return None

    def _fetch(self, stage: Stage, manifest: Mapping[str, Any], names: Iterable[str]) -> str | None:
        """Have some of an artefact's files here; those that are whole stay. Returns what is wrong, or None."""
        for name in names:
            facts, path = manifest["files"][name], self.directory(stage) / name
            harm: str | None = "" if _is_whole(path, facts) else "it is not here"
            for _ in range(TRIES):
                if not harm:
                    break
                disk.make_folder(path.parent)
                harm = disk.patiently(
                    self.objects.download, f"files/{stage.name}/{stage.key}/{facts['sha256']}", path, facts["sha256"]
                )
            if harm:
                return f"{name}: {harm}"
        return None

    def _keep_source(self, manifest: Mapping[str, Any]) -> None:
        """The definitions that a stage has reached, for ``--dry-run --diff`` elsewhere."""
        name = f"{sources.FOLDER}/{manifest.get('source')}.json"
        with contextlib.suppress(FileNotFoundError):
            self.objects.create(name, disk.read(self.root / name))

    def _fetch_source(self, manifest: Mapping[str, Any]) -> None:
        name = f"{sources.FOLDER}/{manifest.get('source')}.json"
        if manifest.get("source") and not disk.exists(self.root / name):
            found = disk.patiently(self.objects.read, name)
            if found is not None:
                disk.make_folder((self.root / name).parent)
                disk.write_atomically(self.root / name, found.content)


def _manifest_name(stage: Stage) -> str:
    return f"manifests/{stage.name}/{stage.key}.json"


def _told(name: str, facts: Mapping[str, Any]) -> bool:
    return int(facts["size"]) <= SMALL or name in TOLD or name.startswith("examples/")


def _is_whole(path: Path, facts: Mapping[str, Any]) -> bool:
    try:
        return bool(disk.status(path).st_size == facts["size"] and disk.checksum(path) == facts["sha256"])
    except (FileNotFoundError, NotADirectoryError):
        return False


@contextlib.contextmanager
def _as_failure(stage: Stage, store: Store) -> Iterator[None]:
    """What the object store or this machine's copies raise is the stage's failure, as the store's own errors are."""
    try:
        yield
    except (StageFailed, Stopped):
        raise
    except Exception as error:
        log = store.log(stage)
        with contextlib.suppress(OSError):
            disk.make_folder(log.parent)
            disk.write(log, traceback.format_exc().encode())
        first = (str(error).splitlines() or [""])[0]
        raise StageFailed(stage, f"{type(error).__name__}: {first}", log) from error
