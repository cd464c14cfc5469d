"""The code that studies ran with on a store: a line when this one's is older, and what ``ray submit`` left behind.

``<store>/codes.jsonl`` has one line per change of code: time, fingerprint of this project's files, commit, whether that
had been changed, and when it was made.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mss_core.source import files

NAME = "codes.jsonl"


def record(root: Path, facts: Mapping[str, Any], committed: str) -> str:
    """Add this process's code to the store's list, unless it is the last one there.

    Args:
        facts: the environment of the run (``commit``, ``dirty``).
        committed: when the commit was made, as ``YYYY-MM-DDTHH:MM:SSZ``; empty where that is not known.

    Returns a sentence where the last run on this store had newer code, else nothing. Newer is a later commit;
    where that does not decide, code that came to the store after this one's had been used there.
    """
    now = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "files": files.fingerprint(files.table()),
        "commit": str(facts.get("commit") or ""),
        "dirty": bool(facts.get("dirty")),
        "committed": committed,
    }
    known = _read(root / NAME)
    if known and known[-1]["files"] == now["files"]:
        return ""
    with (root / NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(now) + "\n")
    if not known:
        return ""
    last = known[-1]
    first = [line["files"] for line in known] + [now["files"]]
    at, before = committed, str(last.get("committed") or "")
    older = at < before if at and before and at != before else first.index(now["files"]) < first.index(last["files"])
    return older * (
        f"older code: the last study on this store ran {_named(last)} ({last['time']}), which is newer than this one's "
        f"{_named(now)}; is this checkout up to date?"
    )


def _read(path: Path) -> list[dict[str, Any]]:
    try:
        lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return []
    return [line for line in lines if isinstance(line, dict) and {"files", "time"} <= set(line)]


def _named(line: Mapping[str, Any]) -> str:
    commit = str(line.get("commit") or "")[:12]
    return f"{commit or 'code'} with uncommitted changes" if line.get("dirty") else commit or f"code {line['files']}"


def submitted(facts: Mapping[str, Any], script: Path | None = None) -> str:
    """What to say of the code where ``ray submit`` brought the script to this machine alone; empty elsewhere.

    ``ray submit`` copies one file to the home folder, and the packages are what the last copy of the checkout left.

    Raises ValueError where that checkout has another version of the script.
    """
    script = Path(sys.argv[0] if script is None else script).absolute()
    package = Path(__file__).resolve().parents[2]
    if script.parent != Path.home() or not (package / files.CHECKOUT).exists() and (package / ".git").exists():
        return ""
    twin = package / "studies" / script.name
    advice = "copy the checkout first: `bash tools/cluster.sh submit ray_cluster.yaml STUDY` does both"
    if twin.exists() and script.exists() and twin.read_bytes() != script.read_bytes():
        raise ValueError(f"{script} is not the {twin} of the checkout on this machine; {advice}")
    copied = os.path.getmtime(package / files.CHECKOUT) if (package / files.CHECKOUT).exists() else None
    when = time.strftime("copied here %Y-%m-%d %H:%M UTC", time.gmtime(copied)) if copied else "copied at unknown time"
    return f"code: {_named({**facts, 'files': 'without a commit'})}, {when}; `ray submit` alone copies no package"
