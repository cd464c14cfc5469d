"""The content-addressed store of stage results, and running a stage into it.

An artefact is the directory ``<store>/<stage>/<key>/``. Its ``manifest.json`` is written last and lists every file
with its checksum: a directory without a manifest is not an artefact, wherever a crash or an object store left it.
Work happens in ``<key>.partial/``, where a later attempt finds the checkpoint of an earlier one. A claim file keeps
two workers from computing one key at a time; a worker whose claim was taken over writes nothing more.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mss_core.claim import Claim, ClaimLost
from mss_core.graph import WORK, Clock, Context, Stage, checksum, plain, write_atomically

MANIFEST = "manifest.json"


class StageFailed(Exception):
    """A stage raised. ``log`` is the file that holds its traceback."""

    def __init__(self, stage: Stage, message: str, log: Path) -> None:
        super().__init__(f"{stage.name} {stage.key[:12]} failed: {message} (log: {log})")
        self.stage, self.message, self.log = stage, message, log


class Store:
    """A directory of artefacts addressed by content; see the module's docstring for its rules."""

    def __init__(self, root: Path | str, claim_seconds: float = 60.0) -> None:
        self.root = Path(root).absolute()
        self.claim_seconds = claim_seconds
        self._verified: dict[str, tuple[int, ...]] = {}

    def directory(self, stage: Stage) -> Path:
        return self.root / stage.name / stage.key

    def partial(self, stage: Stage) -> Path:
        return self.root / stage.name / f"{stage.key}.partial"

    def log(self, stage: Stage) -> Path:
        return self.root / stage.name / f"{stage.key}.log"

    def manifest(self, stage: Stage) -> dict[str, Any] | None:
        """The committed artefact's manifest, or None where there is none (or it cannot be read)."""
        try:
            content = json.loads((self.directory(stage) / MANIFEST).read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
            return None
        return content if isinstance(content, dict) and content.get("key") == stage.key else None

    def damage(self, stage: Stage) -> str | None:
        """What is wrong with a committed artefact's files, or None. Hashes each version of a file once."""
        directory, manifest = self.directory(stage), self.manifest(stage)
        if manifest is None:
            return "no readable manifest"
        for name, facts in manifest["files"].items():
            path = directory / name
            try:
                status = path.stat()
            except FileNotFoundError:
                return f"{name} is missing"
            if status.st_size != facts["size"]:
                return f"{name} has {status.st_size} bytes instead of {facts['size']}"
            version = (status.st_ino, status.st_size, status.st_mtime_ns)
            if self._verified.get(str(path)) != version:
                if checksum(path) != facts["sha256"]:
                    return f"{name} has another checksum than its manifest"
                self._verified[str(path)] = version
        return None

    def get(self, stage: Stage) -> Path | None:
        """The artefact's directory, verified; None where it is absent. A damaged one is set aside first."""
        directory = self.directory(stage)
        if not directory.exists():
            return None
        if not (directory / MANIFEST).exists():
            return None
        if self.damage(stage) is not None:
            self.set_aside(stage)
            return None
        return directory

    def set_aside(self, stage: Stage) -> Path:
        """Move a damaged artefact out of the way, keeping it for whoever wants to look."""
        directory = self.directory(stage)
        target = directory.with_name(f"{stage.key}.damaged-{time.time_ns():x}")
        with contextlib.suppress(FileNotFoundError):
            directory.rename(target)
        return target

    def begin(self, stage: Stage) -> Path:
        """The partial directory to work in: an earlier attempt's where there is one."""
        directory, partial = self.directory(stage), self.partial(stage)
        if directory.exists() and not (directory / MANIFEST).exists():
            # A crash between the move and the manifest: the work is all there, so go on from it.
            if partial.exists():
                shutil.rmtree(partial)
            directory.rename(partial)
        partial.mkdir(parents=True, exist_ok=True)
        return partial

    def commit(self, stage: Stage, facts: Mapping[str, Any], claim: Claim | None = None) -> Path:
        """Turn the partial directory into the artefact; the manifest, written last, makes it true."""
        directory, partial = self.directory(stage), self.partial(stage)
        files = {
            str(path.relative_to(partial)): {"sha256": checksum(path), "size": path.stat().st_size}
            for path in sorted(partial.rglob("*"))
            if path.is_file() and path.relative_to(partial).parts[0] != WORK
        }
        manifest = {
            "stage": stage.name,
            "key": stage.key,
            "function": f"{stage.function.__module__}.{stage.function.__name__}",
            "arguments": plain(stage.arguments),
            "inputs": {name: {"stage": up.name, "key": up.key} for name, up in stage.inputs.items()},
            "files": files,
            **facts,
        }
        if claim is not None:
            claim.check()
        partial.rename(directory)
        write_atomically(directory / MANIFEST, json.dumps(manifest, indent=1).encode())
        shutil.rmtree(directory / WORK, ignore_errors=True)
        return directory

    def claim(self, stage: Stage) -> Claim:
        return Claim(self.root / stage.name / f"{stage.key}.claim", seconds=self.claim_seconds)


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
    """Run one stage whose inputs are in the store, under its claim, and commit it."""
    (store.root / stage.name).mkdir(parents=True, exist_ok=True)
    with store.claim(stage) as claim:
        found = store.get(stage)  # somebody may have finished it while we waited
        if found is not None:
            return found
        partial = store.begin(stage)
        (partial / WORK).mkdir(exist_ok=True)
        clock = Clock(partial / WORK / "seconds")
        here = dataclasses.replace(ctx, out=partial, claim=claim, clock=clock)
        if not here.checkpoint.exists():
            here.rewind(-1)
        with _logged_failure(stage, store):
            arguments = {name: _resolve(value, store) for name, value in stage.arguments.items()}
            stage.function(**arguments, out=partial, ctx=here)
        facts = {"seconds": round(clock.total(), 3), "finished": _now(), "device": ctx.device,
                 "device_name": ctx.device_name, "environment": dict(ctx.environment)}
        done = store.commit(stage, facts, claim)
        store.log(stage).unlink(missing_ok=True)
        return done


def _resolve(value: Any, store: Store) -> Any:
    if isinstance(value, Stage):
        directory = store.get(value)
        if directory is None:
            raise LookupError(f"{value} is not in the store {store.root}")
        return directory
    if isinstance(value, tuple | list) and any(isinstance(item, Stage) for item in value):
        return tuple(_resolve(item, store) for item in value)
    return value


@contextlib.contextmanager
def _logged_failure(stage: Stage, store: Store) -> Iterator[None]:
    try:
        yield
    except ClaimLost:
        raise
    except Exception as error:
        log = store.log(stage)
        log.write_text(traceback.format_exc(), encoding="utf-8")
        first = (str(error).splitlines() or [""])[0]
        raise StageFailed(stage, f"{type(error).__name__}: {first}", log) from error


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


if __name__ == "__main__":
    import sys

    from mss_core.store_tool import main

    sys.exit(main())
