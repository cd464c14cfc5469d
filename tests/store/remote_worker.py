"""A process that runs one stage on an object store, as on a machine of its own; its argument is JSON.

The stage trains in steps that depend on one another, writes a checkpoint after each and says in a log what it did.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from mss_core import disk
from mss_core.graph import Context, Stage, Stopped
from mss_core.store.remote.joined import Joined


def said(text: str) -> None:
    with open(os.environ["REMOTE_LOG"], "a") as file:
        file.write(f"{os.environ.get('REMOTE_NAME', '')} {text}\n")


def prepare(*, size: int, version: int = 1, out: Path, ctx: Context) -> None:
    said("prepare")
    (out / "data.bin").write_bytes(hashlib.sha256(b"data").digest() * (size // 32))


def train(*, data: Path, steps: int, seed: int = 0, version: int = 1, out: Path, ctx: Context) -> None:
    """REMOTE_SECONDS is how long a step takes. While the file REMOTE_PAUSE is there, the process stops itself before it
    ends."""
    digest, first = hashlib.sha256((data / "data.bin").read_bytes()).hexdigest(), 0
    if ctx.checkpoint.exists():
        saved = json.loads(ctx.checkpoint.read_text())
        digest, first = saved["digest"], saved["step"]
        ctx.rewind(first)
    said(f"train seed {seed} from {first}")
    for step in range(first, steps):
        if ctx.stop is not None and ctx.stop():
            raise Stopped("asked to")
        time.sleep(float(os.environ.get("REMOTE_SECONDS", "0")))
        digest = hashlib.sha256(f"{digest} {seed} {step}".encode()).hexdigest()
        ctx.report(step=step + 1, total=steps, loss=int(digest[:6], 16) / 2**24)
        ctx.before_checkpoint()
        disk.write_atomically(ctx.checkpoint, json.dumps({"digest": digest, "step": step + 1}).encode())
    (out / "weights.pt").write_text(digest)
    pause = os.environ.get("REMOTE_PAUSE")
    if pause and Path(pause).exists():
        os.kill(os.getpid(), signal.SIGSTOP)


def score(*, model: Path, version: int = 1, out: Path, ctx: Context) -> None:
    said("score")
    value = int((model / "weights.pt").read_text()[:8], 16) / 2**32
    (out / "scores.csv").write_text(f"track,target,metric,aggregation,score\n,macro,roc_auc,mean over tags,{value}\n")


def stages(steps: int = 12, size: int = 64) -> tuple[Stage, Stage]:
    data = Stage(prepare, size=size)
    return data, Stage(train, data=data, steps=steps)


def main() -> None:
    given: dict[str, Any] = json.loads(sys.argv[1])
    disk.machine = lambda: given["machine"]  # type: ignore[assignment]
    store = Joined(given["url"], given["copies"], given.get("seconds", 60.0))
    for stage in stages(given.get("steps", 12)):
        store.run(stage, Context(checkpoint_seconds=1.0))
    said("done")


if __name__ == "__main__":
    main()
