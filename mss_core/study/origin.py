"""Where the code of a run comes from, and what was typed to run it.

python -m mss_core.study.origin      leave commit and changes beside the packages, for a copy without .git
"""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mss_core.graph import OURS, Stage, module_of, package
from mss_core.source.files import read_checkout, write_checkout
from mss_core.source.modules import File, Read, installed, roots


def environment(stages: Iterable[Stage] = ()) -> dict[str, Any]:
    """Commit and versions, recorded with every artefact and study.

    ``commit``, ``dirty`` and, where it was installed from a wheel, ``version`` are this package's; ``packages`` has the
    same facts of each other package that a function of ``stages`` is from, and ``paths`` where it lies.
    """
    others, paths = {}, {}
    for function in {stage.function for stage in stages}:
        name, file = package(module_of(function)), inspect.unwrap(function).__globals__.get("__file__")
        if name != OURS and file:
            others[name] = origin(name, str(Path(file).absolute()))
            paths[name] = str(home(name, file))
    return {
        "commit": "",
        "dirty": False,
        **origin(OURS, __file__),
        **machine(),
        **({"packages": dict(sorted(others.items())), "paths": dict(sorted(paths.items()))} if others else {}),
    }


def machine() -> dict[str, str]:
    """What an environment says of the machine that a stage runs on, and not of the code."""
    import torch

    return {"python": platform.python_version(), "torch": torch.__version__, "platform": platform.platform()}


@functools.lru_cache
def origin(name: str, file: str) -> dict[str, Any]:
    """The commit of the repository that a package's file belongs to and whether it, or another file, has changed since;
    for an installed package the version of its distribution; empty where there is neither. For a copy of this project
    the commit that travelled with it."""
    path = Path(file).resolve()
    installed = {"site-packages", "dist-packages"} & set(path.parts)
    commit = None if installed else _git(path, "rev-parse", "HEAD")
    # Git answers for a file that it ignores, too: an environment that lies within some repository.
    if commit and _git(path, "check-ignore", str(path)) is None:
        tracked = _git(path, "ls-files", "--error-unmatch", str(path)) is not None
        return {"commit": commit, "dirty": not tracked or bool(_git(path, "status", "--porcelain", "-uno"))}
    copied = read_checkout(path.parents[2]) if name == OURS and not installed else {}
    if copied:
        return {"commit": copied["commit"], "dirty": copied["dirty"]}
    distributions = importlib.metadata.packages_distributions().get(name)
    return {"version": importlib.metadata.version(distributions[0])} if distributions else {}


def home(name: str, file: str) -> Path:
    """What a package is known by on this machine: the ``__init__.py`` of the package that ``file`` lies in, or ``file``
    itself, of a script."""
    path = Path(file).resolve()
    for folder in path.parents:
        if folder.name == name and (folder / "__init__.py").is_file():
            return folder / "__init__.py"
    return path


def has_commit(file: str, commit: object) -> bool:
    """Whether the repository that ``file`` lies in has a commit."""
    return bool(commit) and _git(Path(file).resolve(), "cat-file", "-e", f"{commit}^{{commit}}") is not None


def _git(path: Path, *words: str) -> str | None:
    """What git says beside a file; None where it fails."""
    try:
        done = subprocess.run(["git", "-C", str(path.parent), *words], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def at_commit(environment: Mapping[str, Any]) -> Read | None:
    """What reads modules as they were in the commits that a manifest names; None where it names none of this package.

    A package whose commit is not known is read as it is now.
    """
    if not environment.get("commit"):
        return None

    def read(name: str) -> File | None:
        top, *below = name.split(".")
        facts = environment.get("packages", {}).get(top, environment)
        places = roots(top)
        if not places or not facts.get("commit") or places[0].suffix == ".py":
            return installed(name)
        for path, is_package in (
            ("/".join([top, *below, "__init__.py"]), True),
            ("/".join([top, *below]) + ".py", False),
        ):
            text = _git(places[0], "show", f"{facts['commit']}:./{path}")
            if text is not None:
                return File(text, is_package, None)
        return None

    return read


def in_short(environment: Mapping[str, Any]) -> str:
    """Commits, or versions, as a line: this package's, then the others' by name."""
    others = [f"{name} {_facts(facts)}" for name, facts in environment.get("packages", {}).items()]
    return "; ".join([_facts(environment), *others])


def _facts(facts: Mapping[str, Any]) -> str:
    if facts.get("commit"):
        return str(facts["commit"]) + (" (with uncommitted changes)" if facts.get("dirty") else "")
    return f"version {facts['version']}" if facts.get("version") else "unknown"


def command(words: Sequence[str]) -> str:
    """The shell line that runs this program with ``words``, from where it was started: its script, or its module."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    script = ["-m", spec.name.removesuffix(".__main__")] if spec else [shown(Path(sys.argv[0]))]
    return shlex.join([Path(sys.executable).name, *script, *words])


def shown(path: Path) -> str:
    """A path below the working directory from there, any other in full."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path.absolute())


def committed() -> str:
    """When the commit of this project's code was made, in UTC; empty where it is not known."""
    path = Path(__file__).resolve()
    facts = origin(OURS, __file__)
    if not facts.get("commit"):
        return ""
    seconds = _git(path, "show", "-s", "--format=%ct", str(facts["commit"]))
    if seconds and seconds.isdigit():
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(int(seconds)))
    return str(read_checkout(path.parents[2]).get("committed", ""))


if __name__ == "__main__":
    write_checkout(
        Path(__file__).resolve().parents[2],
        {"commit": "", "dirty": False, **origin(OURS, __file__), "committed": committed()},
    )
